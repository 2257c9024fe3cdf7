//! `souk node`: one node, in the foreground.

use std::sync::Arc;

use clap::Args;

use super::{ConfigArgument, Failure, Outcome, logging, process};
use crate::config::Config;
use crate::node::NodeError;

/// Arguments of `souk node`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The name of the node in the configuration.
    #[arg(long)]
    name: String,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = Arc::new(arguments.config.load()?);
    // Sends the remaining traces when it is dropped.
    let _kept = logging::start(&config.log, &arguments.name)?;
    run(config, &arguments.name).await
}

/// Runs the node `name` until a termination signal and the drain that follows.
///
/// # Errors
/// [`Failure::Usage`] where the configuration has no such node; [`Failure::Superseded`] where a newer process has its name;
/// [`Failure::Failed`] where the node fails.
pub async fn run(config: Arc<Config>, name: &str) -> Result<Outcome, Failure> {
    if config.node(name).is_none() {
        let known: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "{} has no node {name:?}; it has {}",
            config.file.display(),
            known.join(", ")
        )));
    }
    process::die_with_demo()?;
    let shutdown = process::termination()?.first_gently_then_at_once();
    for warning in config.warnings() {
        tracing::warn!(key = warning.key, "{warning}");
    }
    match crate::node::run(config, name.to_owned(), shutdown).await {
        Ok(()) => Ok(Outcome::Done),
        Err(error @ NodeError::Superseded(_)) => Err(Failure::Superseded(error.to_string())),
        Err(error) => Err(Failure::failed(format!("node {name} ended"), error)),
    }
}
