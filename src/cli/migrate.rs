//! `souk migrate`: moves all rows from the stores of one configuration to those of another.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::{Failure, Outcome, logging, output};
use crate::config::Config;
use crate::stores::migration::{self, Phase, Progress};

/// Arguments of `souk migrate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration with the stores that have the rows.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration with the stores that get them.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The file that says how far the migration is; by default beside the configuration that the rows go to.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let (from, to) = (Config::load(&arguments.from)?, Config::load(&arguments.to)?);
    logging::start_quiet()?;
    crate::fail::set_up();
    let state = arguments
        .state
        .unwrap_or_else(|| migration::default_state_file(&to));
    let bar = output::progress(
        ProgressBar::new(0),
        "{bar:40} {human_pos} of {human_len} rows, {per_sec} {msg}",
    );
    let moved = migration::migrate(&from, &to, &state, |progress| show(&bar, &progress)).await;
    bar.finish_and_clear();
    let moved = moved.map_err(|error| Failure::failed("the migration is not complete", error))?;
    output::line(&format!(
        "{} rows in {} tables of {} were moved, and are the same on both sides",
        moved.rows,
        moved.tables,
        moved.stores.join(", ")
    ))?;
    Ok(Outcome::Done)
}

fn show(bar: &ProgressBar, progress: &Progress<'_>) {
    let what = match progress.phase {
        Phase::Copying => "copying",
        Phase::Comparing => "comparing",
    };
    bar.set_length(progress.total);
    bar.set_position(progress.rows);
    bar.set_message(format!("{what} {}", progress.table));
}
