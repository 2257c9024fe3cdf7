//! `souk store`: the single process that writes the embedded stores of a folder. Hidden: nodes start it on demand; the demo
//! starts it to keep it apart from its nodes.

use std::path::PathBuf;

use clap::Args;

use souk_embedded::server;

use super::{Failure, Outcome, logging};
use crate::stores::sqlite::SCHEMAS;

/// Arguments of `souk store`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the embedded stores.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Stay after the last node has disconnected, until SIGTERM.
    #[arg(long)]
    stay: bool,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    logging::start_quiet()?;
    server::run(&arguments.data, &SCHEMAS, arguments.stay)
        .await
        .map_err(|error| {
            Failure::failed(
                format!(
                    "the embedded stores in {} can't be served",
                    arguments.data.display()
                ),
                error,
            )
        })?;
    Ok(Outcome::Done)
}
