//! `souk audit`: checks the invariants in the stores.

use clap::Args;

use super::{ConfigArgument, Failure, Outcome, logging, output};
use crate::audit::{Limits, audit};
use crate::clock;

/// Arguments of `souk audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Write JSON instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let audited = async {
        let stores = crate::stores::open(&config).await?;
        audit(&stores, &clock::system(), Limits::of(&config.limits)).await
    };
    let violations = audited
        .await
        .map_err(|error| Failure::failed("the stores can't be audited", error))?;
    if arguments.json {
        output::json(&serde_json::json!({ "violations": violations }))?;
    } else if violations.is_empty() {
        output::line("every invariant holds")?;
    } else {
        for violation in &violations {
            output::line(&violation.to_string())?;
        }
    }
    Ok(if violations.is_empty() {
        Outcome::Done
    } else {
        Outcome::Wrong
    })
}
