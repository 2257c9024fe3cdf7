//! `souk export`: all rows of a shop as files of JSON lines.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::{ConfigArgument, Failure, Outcome, logging, output};
use crate::stores::export::export;

/// Arguments of `souk export`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The folder that is made for the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let bar = output::progress(
        ProgressBar::new_spinner(),
        "{spinner} {human_pos} rows, {per_sec}",
    );
    let exported = export(&config, &arguments.out, |rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    let exported = exported.map_err(|error| Failure::failed("the stores can't be exported", error))?;
    output::line(&format!(
        "{} rows in {} tables are in {}",
        exported.rows,
        exported.tables,
        arguments.out.display()
    ))?;
    Ok(Outcome::Done)
}
