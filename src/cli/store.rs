//! `souk store`: the one process that writes the embedded stores of a folder. Hidden: nodes start it themselves, unless
//! something else does that should keep it apart from them.

use std::path::PathBuf;

use clap::Args;

use souk_embedded::server;

use super::{Failure, Outcome, logging};
use crate::stores::sqlite::SCHEMAS;

/// What `souk store` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the embedded stores.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Stay when the last node has gone, until SIGTERM.
    #[arg(long)]
    stay: bool,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    logging::start_quiet()?;
    server::run(&arguments.data, SCHEMAS, arguments.stay)
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
