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
    let (peak, crowd) = match options.peak {
        Some(peak) => (peak, None),
        None => {
            let (peak, crowd) = bench.peak().await?;
            (peak, Some(crowd))
        }
    };
    if peak <= 0.0 {
        return Err(Failure::Plain(
            "nothing was accepted, so that there is no peak".into(),
        ));
    }
    let mut report = Report::new(options.journey, target.shops.len(), peak, crowd);
    for percent in &options.rates {
        report.runs.push(bench.run(*percent, peak).await?);
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
        usize::try_from(self.options.in_flight).unwrap_or(usize::MAX)
    }

    /// The most that a closed loop gets through in a second, and the shoppers it took: twice as many as before, as long as
    /// that is worthwhile.
    async fn peak(&self) -> Result<(f64, usize), Failure> {
        let unit = self.options.journey.unit();
        let (mut best, mut best_crowd, mut disappointments) = (0.0, 0, 0);
        let mut crowd = FIRST_CROWD.min(self.most_in_flight());
        // The first run warms up.
        driver::closed(self.shoppers(crowd).await?, self.length() / 4).await?;
        loop {
            let (tally, _) = driver::closed(self.shoppers(crowd).await?, self.length() / 2).await?;
            let rate = tally.goodput();
            eprintln!("closed loop, {crowd} shoppers: {rate:.0} {unit}/s");
            if let Some(failure) = tally.failure {
                return Err(Failure::Plain(format!("the closed loop failed: {failure}")));
            }
            if rate > best * WORTHWHILE {
                disappointments = 0;
            } else {
                disappointments += 1;
            }
            if rate > best {
                (best, best_crowd) = (rate, crowd);
            }
            if disappointments == DISAPPOINTMENTS || crowd == self.most_in_flight() {
                return Ok((best, best_crowd));
            }
            crowd = (crowd * 2).min(self.most_in_flight());
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
