//! `souk keys`: counts the rows sealed under each key, and re-seals all of them under the first key.

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{ConfigArgument, Failure, Outcome, logging, output, table};
use crate::sealing::Keyring;
use crate::stores;
use crate::stores::open::keyring;
use crate::stores::rotation::{self, Progress, StoreStatus};

/// Arguments of `souk keys`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count the rows of each store under each key.
    Status(Common),
    /// Re-seal every row that is not under the first key, also while nodes run. All nodes must have that key first.
    Rotate(Common),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    config: ConfigArgument,
    /// Write JSON instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    logging::start_quiet()?;
    match arguments.what {
        What::Status(common) => status(&common).await,
        What::Rotate(common) => rotate(&common).await,
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::failed("the stores can't be read", error)
}

async fn status(common: &Common) -> Result<Outcome, Failure> {
    let config = common.config.load()?;
    let keyring = keyring(&config.cluster, &config.sealing).map_err(failed)?;
    let stores = stores::open(&config).await.map_err(failed)?;
    let found = rotation::status(&stores.at_rest, &keyring)
        .await
        .map_err(failed)?;
    if common.json {
        output::json(&json!({ "first": keyring.first(), "keys": ids(&keyring), "stores": found }))?;
    } else {
        output::line(&format!(
            "{} seals; {} open",
            keyring.first(),
            ids(&keyring).join(", ")
        ))?;
        let items: Vec<Value> = found.iter().map(|store| row(&keyring, store)).collect();
        output::line(&table::render(&json!({ "items": items })))?;
    }
    Ok(Outcome::Done)
}

async fn rotate(common: &Common) -> Result<Outcome, Failure> {
    let config = common.config.load()?;
    let keyring = keyring(&config.cluster, &config.sealing).map_err(failed)?;
    let stores = stores::open(&config).await.map_err(failed)?;
    let bar = output::progress(ProgressBar::new_spinner(), "{spinner} {msg}");
    let result = rotation::rotate(&stores.at_rest, &keyring, |progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let rotated = result.map_err(failed)?;
    let left: u64 = rotated.iter().map(|store| store.status.left).sum();
    for store in &rotated {
        for reason in &store.reasons {
            eprintln!("{}: {reason}", store.status.store);
        }
    }
    if left > 0 {
        eprintln!(
            "{left} rows are not under {}: a node still seals under another key, or a key is missing",
            keyring.first()
        );
    }
    if common.json {
        output::json(&json!({
            "first": keyring.first(),
            "keys": ids(&keyring),
            "resealed": rotated.iter().map(|store| store.resealed).sum::<u64>(),
            "left": left,
            "stores": rotated,
        }))?;
    } else {
        for store in &rotated {
            output::line(&format!(
                "{}: {} of {} rows re-sealed, {} left",
                store.status.store, store.resealed, store.status.rows, store.status.left
            ))?;
        }
    }
    Ok(if left == 0 { Outcome::Done } else { Outcome::Wrong })
}

/// A row of the table: a column for each key, including those that are not configured any more.
fn row(keyring: &Keyring, store: &StoreStatus) -> Value {
    let mut row = json!({
        "store": store.store, "rows": store.rows, "unsealed": store.unsealed, "unreadable": store.unreadable,
        "left": store.left,
    });
    for key in keyring.ids().chain(store.under.keys().map(String::as_str)) {
        row[format!("under {key}")] = store.under.get(key).copied().unwrap_or_default().into();
    }
    row
}

fn ids(keyring: &Keyring) -> Vec<&str> {
    keyring.ids().collect()
}

fn show(bar: &ProgressBar, progress: Progress<'_>) {
    bar.set_message(format!(
        "{}: {} rows read, {} re-sealed",
        progress.store, progress.seen, progress.resealed
    ));
    bar.tick();
}
