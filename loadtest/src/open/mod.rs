//! `loadtest open`: arrivals at a constant rate, below and beyond what the cluster can do.

pub mod driver;
mod memory;
mod report;
mod schedule;
pub mod shopper;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::catalogue;
use crate::failure::{Failure, Outcome};
use crate::target::{Target, TargetArguments, with_target};
use driver::Tally;
use memory::Watch;
use report::{Report, Run};
use schedule::Schedule;
use shopper::{Journey, Shop, Shopper};

/// SKUs that are bought.
const SKUS: usize = 100;
/// Shoppers of the first closed loop; each next one has twice as many.
const FIRST_CROWD: usize = 8;
/// A crowd of twice the size is worthwhile if it does so many times as much.
const WORTHWHILE: f64 = 1.05;
/// The search for the peak ends after so many crowds in a row that were not: one of them may have met a slow moment.
const DISAPPOINTMENTS: u32 = 2;

/// Arguments of `loadtest open`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    options: Options,
}

/// What is measured.
#[derive(Debug, Args)]
struct Options {
    /// What arrives.
    #[arg(long, value_enum, default_value = "checkout")]
    journey: Journey,
    /// Rounds: each takes the peak anew, and then all rates of it.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Seconds of each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Seconds of arrivals before each run that are not counted: until the cluster knows its load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=3_600))]
    warm_up: u64,
    /// Rates, in per cent of the peak of the closed loop.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_values_t = [50, 70, 90, 200])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rates: Vec<u64>,
    /// The peak, where it is known: arrivals a second. The closed loop is left out.
    #[arg(long, value_name = "RATE")]
    peak: Option<f64>,
    /// The shoppers of the closed loop, where it is known how many get through most. The search is left out.
    #[arg(long, value_name = "SHOPPERS", conflicts_with = "peak")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    crowd: Option<u64>,
    /// Most arrivals in flight, and most shoppers of the closed loop.
    #[arg(long, default_value_t = 2_048, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    in_flight: u64,
    /// An arrival that has not started so long after it was due is missed.
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    patience_ms: u64,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `loadtest open`.
///
/// # Errors
/// [`Failure`] where it can't be measured.
pub async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let Arguments { target, options } = arguments;
    if options.peak.is_some_and(|peak| !peak.is_finite() || peak <= 0.0) {
        return Err(Failure::Usage("--peak must be above 0".into()));
    }
    with_target(target, async |target| measure(&options, target).await).await
}

async fn measure(options: &Options, target: &Target) -> Result<Outcome, Failure> {
    let items = catalogue::read(&target.shops[0], SKUS).await?;
    catalogue::stock_up(&target.shops[0], target.admin.as_ref(), &items).await?;
    let shop = Shop::new(items.iter().map(|item| item.sku.as_str()));
    let bench = Bench {
        options,
        target,
        shop,
    };
    let crowd = match (options.peak, options.crowd) {
        (Some(_), _) => None,
        (None, Some(crowd)) => Some(count(crowd)),
        (None, None) => Some(bench.best_crowd().await?),
    };
    let mut report = Report::new(options.journey, target.shops.len(), crowd);
    for _ in 0..options.rounds {
        let peak = bench.peak(crowd).await?;
        for percent in &options.rates {
            report.runs.push(bench.run(*percent, peak).await?);
        }
    }
    print!("{}", report.text());
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    for failure in report.failures() {
        eprintln!("failed: {failure}");
    }
    Ok(if report.failures().next().is_none() {
        Outcome::Done
    } else {
        Outcome::Wrong
    })
}

struct Bench<'a> {
    options: &'a Options,
    target: &'a Target,
    shop: Arc<Shop>,
}

impl Bench<'_> {
    fn length(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    /// Shoppers who are connected, so that no arrival waits for that.
    async fn shoppers(&self, count: usize) -> Result<Vec<Shopper>, Failure> {
        let mut shoppers = Shopper::several(count, &self.target.shops, &self.shop, self.options.journey);
        for shopper in &mut shoppers {
            shopper.prepare().await?;
        }
        Ok(shoppers)
    }

    fn most_in_flight(&self) -> usize {
        count(self.options.in_flight)
    }

    /// What the best crowd gets through in a second now, or the peak that is given. What it did when it was found the best was likely
    /// a lucky moment.
    async fn peak(&self, crowd: Option<usize>) -> Result<f64, Failure> {
        let peak = match crowd {
            Some(crowd) => self.closed(crowd, self.length()).await?,
            // Then it is given.
            None => self.options.peak.unwrap_or_default(),
        };
        if peak > 0.0 {
            return Ok(peak);
        }
        Err(Failure::Plain(
            "nothing was accepted, so that there is no peak".into(),
        ))
    }

    /// The crowd that gets through most: twice as many as before, as long as that is worthwhile.
    async fn best_crowd(&self) -> Result<usize, Failure> {
        let (mut best, mut best_crowd, mut disappointments) = (0.0, 0, 0);
        let mut crowd = FIRST_CROWD.min(self.most_in_flight());
        // The first run warms up.
        self.closed(crowd, self.length() / 4).await?;
        loop {
            let rate = self.closed(crowd, self.length() / 2).await?;
            if rate > best * WORTHWHILE {
                disappointments = 0;
            } else {
                disappointments += 1;
            }
            if rate > best {
                (best, best_crowd) = (rate, crowd);
            }
            if disappointments == DISAPPOINTMENTS || crowd == self.most_in_flight() {
                return Ok(best_crowd);
            }
            crowd = (crowd * 2).min(self.most_in_flight());
        }
    }

    /// What a closed loop of so many shoppers gets through in a second.
    async fn closed(&self, crowd: usize, length: Duration) -> Result<f64, Failure> {
        let warm_up = Duration::from_secs(self.options.warm_up);
        let (tally, _) = driver::closed(self.shoppers(crowd).await?, warm_up, length).await?;
        let (rate, unit) = (tally.goodput(), self.options.journey.unit());
        eprintln!(
            "closed loop, {crowd} shoppers: {rate:.0} {unit}/s, p50 {:.0} ms, p99 {:.0} ms, {} refused",
            tally.quantile(0.5).as_secs_f64() * 1e3,
            tally.quantile(0.99).as_secs_f64() * 1e3,
            tally.refused
        );
        match tally.failure {
            Some(failure) => Err(Failure::Plain(format!("the closed loop failed: {failure}"))),
            None => Ok(rate),
        }
    }

    async fn run(&self, percent: u64, peak: f64) -> Result<Run, Failure> {
        let rate = peak * percent as f64 / 100.0;
        let watch = match &self.target.operator {
            Some(operator) => Some(Watch::begin(operator).await?),
            None => None,
        };
        let tally = self.open(rate).await?;
        let memory = match watch {
            Some(watch) => Some(watch.end().await?),
            None => None,
        };
        eprintln!("{percent} % of the peak: {:.0} of {rate:.0}/s", tally.goodput());
        Ok(Run {
            percent,
            peak,
            rate,
            tally,
            memory,
        })
    }

    async fn open(&self, rate: f64) -> Result<Tally, Failure> {
        let patience = Duration::from_millis(self.options.patience_ms);
        let shoppers = self.shoppers(self.most_in_flight()).await?;
        let warm_up = Duration::from_secs(self.options.warm_up);
        let schedule = Schedule::new(Instant::now(), rate, self.length()).with_warm_up(warm_up);
        let mut pacing = None;
        let pacer = |gate: Arc<tokio::sync::Semaphore>, farewells| {
            pacing = Some(tokio::task::spawn_blocking(move || {
                schedule.pace(&gate, farewells)
            }));
        };
        let (tally, _) = driver::open(shoppers, schedule, self.length(), patience, pacer).await?;
        if let Some(pacing) = pacing {
            pacing
                .await
                .map_err(|error| Failure::failed("the schedule ended early", error))?;
        }
        Ok(tally)
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
