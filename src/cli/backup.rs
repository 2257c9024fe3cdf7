//! `souk backup` and `souk restore`: the embedded stores at one moment.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::{ConfigArgument, Failure, Outcome, logging, output};
use crate::stores::backup::{self, BackupError, Moment};

/// Arguments of `souk backup`.
#[derive(Debug, Args)]
pub struct BackupArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The folder that is made for the backup.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Arguments of `souk restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The folder of the backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Bring back sessions too, also those that have ended since.
    #[arg(long)]
    sessions: bool,
}

pub(super) async fn back_up(arguments: BackupArguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let target = arguments.out;
    // Before a store process is started for nothing.
    if target.exists() {
        return Err(not_made(&target, BackupError::Exists(target.clone())));
    }
    let moment = Moment::take(&config.stores, &config.cluster.data, Timestamp::now())
        .await
        .map_err(|error| not_made(&target, error))?;
    let (progress, paused) = (progress(moment.bytes()), moment.paused);
    let (folder, bar) = (target.clone(), progress.clone());
    let written = spawn_blocking(move || moment.write(&folder, |bytes| bar.inc(bytes))).await;
    progress.finish_and_clear();
    let manifest = written
        .map_err(|error| not_made(&target, error))?
        .map_err(|error| not_made(&target, error))?;
    output::line(&format!(
        "{} databases with {} bytes, as they were at {:.0}, are in {} (writes were held for {} ms)",
        manifest.databases.len(),
        manifest.bytes(),
        manifest.taken_at,
        target.display(),
        paused.as_millis()
    ))?;
    Ok(Outcome::Done)
}

fn not_made(target: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::failed(format!("the backup {} can't be made", target.display()), error)
}

pub(super) async fn restore(arguments: RestoreArguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let (from, sessions) = (arguments.from, arguments.sessions);
    let not_restored = {
        let from = from.clone();
        move |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::failed(format!("the backup {} can't be restored", from.display()), error)
        }
    };
    let restored = spawn_blocking(move || {
        let manifest = backup::verify(&from)?;
        let progress = progress(manifest.bytes());
        let data = &config.cluster.data;
        let copied = |bytes| progress.inc(bytes);
        let restored = backup::restore(&manifest, &from, &config.stores, data, sessions, copied);
        progress.finish_and_clear();
        restored.map(|()| manifest)
    })
    .await;
    let manifest = match restored {
        Ok(Ok(manifest)) => manifest,
        Ok(Err(error)) => return Err(not_restored(error.into())),
        Err(error) => return Err(not_restored(error.into())),
    };
    let sessions = if sessions { "" } else { ", without the sessions" };
    output::line(&format!(
        "the stores are as they were at {:.0}{sessions}",
        manifest.taken_at
    ))?;
    Ok(Outcome::Done)
}

/// A progress bar of bytes.
fn progress(bytes: u64) -> ProgressBar {
    output::progress(
        ProgressBar::new(bytes),
        "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}",
    )
}
