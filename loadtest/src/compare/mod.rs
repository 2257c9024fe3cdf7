//! `loadtest compare`: Souk beside its yardsticks, taking turns on one machine.

pub mod bare;
mod machine;
mod postgres;
mod redis;
mod report;
mod section;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rand::Rng;

use crate::catalogue;
use crate::client::Endpoint;
use crate::failure::{Failure, Outcome};
use crate::open::driver;
use crate::open::shopper::{Journey, Shop, Shopper};
use crate::target::{Target, TargetArguments, with_target};
use bare::Bare;
use postgres::Postgres;
use redis::Redis;
use report::{Report, Setting};
use sqlite::Sqlite;

/// SKUs that are bought at Souk.
const BOUGHT: usize = 100;
/// SKUs of the stores beside it, as in PostgreSQL's schema.
const SKUS: u32 = 1_000;
/// Pieces of each of them: more than any run sells.
const PIECES: i64 = 1_000_000_000;

/// Three different SKUs, drawn as PostgreSQL's checkout draws them: in ascending order, so that no two wait for each other.
fn draw_skus() -> [u32; 3] {
    let mut random = rand::rng();
    [
        random.random_range(1..=330),
        random.random_range(331..=660),
        random.random_range(661..=SKUS),
    ]
}

/// Arguments of `loadtest compare`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    options: Options,
}

/// How it is measured.
#[derive(Debug, Args)]
struct Options {
    /// Rounds, beside one that warms up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Seconds of each side in each round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Shoppers of Souk and of bare axum, each with one request under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    shoppers: u64,
    /// Replace the section between the markers of this document.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// `loadtest compare`.
///
/// # Errors
/// [`Failure`] where it can't be measured.
pub async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let Arguments { target, options } = arguments;
    if let Some(document) = &options.write {
        // Not after minutes of measurements.
        replaced(document, "")?;
    }
    let mut measured = None;
    let mut work = async |targets: &[&Target]| {
        let report = measure(&options, targets).await?;
        print!("{}", report.text());
        let outcome = report.outcome();
        measured = Some(report);
        Ok(outcome)
    };
    let outcome = match target.embedded() {
        None => with_target(target, async |target| work(&[target]).await).await?,
        Some(embedded) => {
            with_target(embedded, async |embedded| {
                with_target(target, async |target| work(&[target, embedded]).await).await
            })
            .await?
        }
    };
    if let (Outcome::Done, Some(document), Some(report)) = (outcome, &options.write, measured) {
        // Only of a shop that kept its invariants.
        let text = replaced(document, &report.markdown())?;
        std::fs::write(document, text)
            .map_err(|error| Failure::failed(format!("{} can't be written", document.display()), error))?;
    }
    Ok(outcome)
}

/// The text of a document with this section.
fn replaced(document: &Path, section: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(document)
        .map_err(|error| Failure::failed(format!("{} can't be read", document.display()), error))?;
    section::replace(&text, section)
        .map_err(|error| Failure::failed(format!("{} has no section for it", document.display()), error))
}

/// One of those that take turns.
enum Side {
    Souk(Crowd),
    Bare { _server: Bare, crowd: Crowd },
    Postgres(Postgres),
    Redis(Redis),
    Sqlite(Sqlite),
}

/// Shoppers that make checkouts over HTTP.
struct Crowd {
    /// Beside the number of nodes.
    about: String,
    nodes: Vec<Endpoint>,
    shop: Arc<Shop>,
    shoppers: usize,
}

/// What one side did in one round.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Checkouts a second.
    rate: f64,
    /// The latency of a checkout, where it is measured: p50 and p99.
    latency: Option<(Duration, Duration)>,
}

impl Crowd {
    async fn run(&self, length: Duration) -> Result<Measured, Failure> {
        let mut shoppers = Shopper::several(self.shoppers, &self.nodes, &self.shop, Journey::Checkout);
        for shopper in &mut shoppers {
            shopper.prepare().await?;
        }
        let (tally, _) = driver::closed(shoppers, Duration::ZERO, length).await?;
        match tally.failure {
            Some(failure) => Err(Failure::Plain(format!("a checkout failed: {failure}"))),
            None => Ok(Measured {
                rate: tally.goodput(),
                latency: Some((tally.quantile(0.5), tally.quantile(0.99))),
            }),
        }
    }
}

impl Side {
    fn name(&self) -> String {
        match self {
            Self::Souk(crowd) => format!(
                "Souk{}, {} nodes, {} shoppers",
                crowd.about,
                crowd.nodes.len(),
                crowd.shoppers
            ),
            Self::Bare { crowd, .. } => format!(
                "bare axum: parses and answers the same requests, {} shoppers",
                crowd.shoppers
            ),
            Self::Postgres(_) => format!(
                "PostgreSQL: three guarded UPDATEs, four INSERTs, one transaction, {} connections",
                postgres::CLIENTS
            ),
            Self::Redis(_) => format!(
                "Redis: one Lua script, appendfsync always, {} connections",
                redis::CLIENTS
            ),
            Self::Sqlite(_) => format!(
                "SQLite: the same rows, WAL, synchronous=FULL, {} writers in turn",
                sqlite::WRITERS
            ),
        }
    }

    async fn run(&self, length: Duration) -> Result<Measured, Failure> {
        let rate = match self {
            Self::Souk(crowd) | Self::Bare { crowd, .. } => return crowd.run(length).await,
            Self::Postgres(postgres) => postgres.rate(length).await?,
            Self::Redis(redis) => redis.rate(length).await?,
            Self::Sqlite(sqlite) => sqlite.rate(length).await?,
        };
        Ok(Measured { rate, latency: None })
    }
}

/// All sides that there are, the clusters of Souk first, and the names of those that are not installed.
async fn sides(options: &Options, targets: &[&Target]) -> Result<(Vec<Side>, Vec<&'static str>), Failure> {
    let shoppers = usize::try_from(options.shoppers).unwrap_or(usize::MAX);
    let mut sides = Vec::new();
    let mut shop = Shop::new([]);
    for target in targets {
        let items = catalogue::read(&target.shops[0], BOUGHT).await?;
        catalogue::stock_up(&target.shops[0], target.admin.as_ref(), &items).await?;
        shop = Shop::new(items.iter().map(|item| item.sku.as_str()));
        let on = |stores: &PathBuf| format!(" on the stores of {}", stores.display());
        sides.push(Side::Souk(Crowd {
            about: target.stores.as_ref().map(on).unwrap_or_default(),
            nodes: target.shops.clone(),
            shop: Arc::clone(&shop),
            shoppers,
        }));
    }
    let bare = Bare::start().await?;
    let crowd = Crowd {
        about: String::new(),
        nodes: vec![bare.endpoint.clone()],
        shop,
        shoppers,
    };
    sides.push(Side::Bare { _server: bare, crowd });
    let mut missing = Vec::new();
    match Postgres::start().await? {
        Some(postgres) => sides.push(Side::Postgres(postgres)),
        None => missing.push("PostgreSQL"),
    }
    match Redis::start().await? {
        Some(redis) => sides.push(Side::Redis(redis)),
        None => missing.push("Redis"),
    }
    sides.push(Side::Sqlite(Sqlite::start()?));
    Ok((sides, missing))
}

async fn measure(options: &Options, targets: &[&Target]) -> Result<Report, Failure> {
    let (sides, missing) = sides(options, targets).await?;
    for name in &missing {
        eprintln!("{name} is not installed, and is left out");
    }
    let length = Duration::from_secs(options.seconds);
    let mut report = Report::new(
        Setting {
            machine: machine::description(),
            commit: machine::commit(),
            rounds: options.rounds,
            seconds: options.seconds,
        },
        sides.iter().map(Side::name),
        missing,
    );
    for round in 0..=options.rounds {
        for (at, side) in sides.iter().enumerate() {
            let measured = side.run(length).await?;
            let is_warm_up = if round == 0 { " (warm-up)" } else { "" };
            eprintln!(
                "round {round}{is_warm_up}, {}: {:.0}/s",
                side.name(),
                measured.rate
            );
            // The first round warms up.
            if round > 0 {
                report.add(at, measured);
            }
        }
    }
    Ok(report)
}
