//! `loadtest goose`: journeys of shoppers, and whether every reply was right.

mod choice;
mod merchant;
mod scenario;
mod shopper;
mod shopping;
mod weights;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::prelude::*;

use crate::catalogue::{self, Merchant};
use crate::failure::{Failure, Outcome};
use crate::table::{grouped, lines};
use crate::target::{Target, TargetArguments, with_target};
use choice::Choice;
use scenario::{Journey, Scenario};
use shopper::{Session, Shopper, Stop};
use weights::Weights;
use world::{Event, World};

/// Products that shoppers choose from.
const PRODUCTS: usize = 200;
/// Part of the shoppers of a Black Friday that are there before the ramp.
const CALM_PART: u64 = 5;

/// Arguments of `loadtest goose`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What shoppers do.
    #[arg(value_enum)]
    scenario: Scenario,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    options: Options,
}

/// How the journeys are made.
#[derive(Debug, Args)]
struct Options {
    /// Shoppers at the same time; at the peak of black-friday.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    users: u64,
    /// Seconds of the run.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How often each journey is made; default: loadtest/weights.toml.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Zipf's exponent, in zipf.
    #[arg(long, default_value_t = 1.0)]
    exponent: f64,
    /// Pieces of the SKU that everybody wants, in flash-sale.
    #[arg(long, default_value_t = 100)]
    pieces: u64,
    /// Write goose's report (HTML).
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Options {
    /// The arguments of goose.
    fn of_goose(&self, scenario: Scenario) -> Result<Vec<String>, Failure> {
        let users = self.users;
        // Its summary of errors would list documented replies that it counts as right; failures are printed at the end.
        let always = ["--no-telnet", "--quiet", "--no-error-summary"];
        let mut arguments: Vec<String> = always.map(str::to_owned).to_vec();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if scenario == Scenario::BlackFriday {
            let (calm, third) = ((users / CALM_PART).max(1), (self.seconds / 3).max(1));
            add(
                "--test-plan",
                format!("{calm},1s;{users},{third}s;{users},{third}s;0,{third}s"),
            );
        } else {
            add("--users", users.to_string());
            add("--increase-rate", users.to_string());
            add("--run-time", format!("{}s", self.seconds));
            // Nor is what the first shoppers did forgotten when the last one starts.
            arguments.push("--no-reset-metrics".to_owned());
        }
        if let Some(report) = &self.report {
            let is_html = report
                .extension()
                .is_some_and(|end| end == "html" || end == "htm");
            let report = report.to_str().filter(|_| is_html);
            let report = report.ok_or_else(|| Failure::Usage("--report must end in .html".into()))?;
            arguments.extend(["--report-file".to_owned(), report.to_owned()]);
        }
        Ok(arguments)
    }
}

/// `loadtest goose`.
///
/// # Errors
/// [`Failure`] where the journeys can't be made.
pub async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let Arguments {
        scenario,
        target,
        options,
    } = arguments;
    // What is wrong with the arguments is told before a demo is started.
    let weights = Weights::load(options.weights.as_deref(), scenario)?;
    options.of_goose(scenario)?;
    Choice::zipf(PRODUCTS, options.exponent)?;
    with_target(target, async |target| {
        run(scenario, &options, weights, target).await
    })
    .await
}

async fn run(
    scenario: Scenario,
    options: &Options,
    weights: Weights,
    target: &Target,
) -> Result<Outcome, Failure> {
    if target.admin.is_none() && weights.has(Journey::is_merchants) {
        return Err(Failure::Usage(format!(
            "{} has journeys of merchants: name one with --admin",
            scenario.name()
        )));
    }
    let items = catalogue::read(&target.shops[0], PRODUCTS).await?;
    catalogue::stock_up(&target.shops[0], target.admin.as_ref(), &items).await?;
    let choice = if scenario == Scenario::Zipf {
        Choice::zipf(items.len(), options.exponent)?
    } else {
        Choice::Uniform(items.len())
    };
    let world = Arc::new(World::new(
        weights,
        items,
        choice,
        target.shops.clone(),
        target.admin.clone(),
    ));
    let sale = match scenario {
        Scenario::FlashSale => prepare_sale(&world, options.pieces).await?,
        _ => None,
    };
    let metrics = attack(scenario, options, &world).await?;
    report(&world, &metrics);
    check_sale(&world, sale).await?;
    let failed: usize = metrics.requests.values().map(|request| request.fail_count).sum();
    Ok(if failed == 0 && world.failed() == 0 {
        Outcome::Done
    } else {
        Outcome::Wrong
    })
}

/// Makes so many pieces of the wanted SKU available; `None` where no merchant is known.
async fn prepare_sale(world: &World, pieces: u64) -> Result<Option<u64>, Failure> {
    let Some(admin) = &world.admin else {
        return Ok(None);
    };
    let mut merchant = Merchant::sign_in(&world.shops[0], admin).await?;
    let reference = format!("flash sale {}", world.run);
    merchant
        .set_available(&world.the_one().sku, pieces, &reference)
        .await?;
    Ok(Some(pieces))
}

/// No more orders were confirmed than there were pieces, and what is left agrees with them.
async fn check_sale(world: &World, pieces: Option<u64>) -> Result<(), Failure> {
    let (Some(pieces), Some(admin)) = (pieces, &world.admin) else {
        return Ok(());
    };
    let left = Merchant::sign_in(&world.shops[0], admin)
        .await?
        .available(&world.the_one().sku)
        .await?;
    let events = world.events();
    let count = |event| events.get(&event).copied().unwrap_or_default();
    let (confirmed, pending) = (count(Event::Confirmed), count(Event::Pending));
    println!("flash sale: {pieces} pieces, {confirmed} sold, {left} left");
    if confirmed + left > pieces || confirmed + pending + left < pieces {
        world.fail(format!(
            "{pieces} pieces became {confirmed} confirmed orders, {pending} pending ones and {left} pieces left"
        ));
    }
    Ok(())
}

/// Runs goose. Each transaction of goose is one journey, drawn by weight for each shopper anew: goose itself would let all
/// shoppers follow one order.
async fn attack(scenario: Scenario, options: &Options, world: &Arc<World>) -> Result<GooseMetrics, Failure> {
    let failed = |error: GooseError| Failure::failed("goose does not run", error);
    let shared = Arc::clone(world);
    let visit: TransactionFunction = Arc::new(move |user| {
        let world = Arc::clone(&shared);
        Box::pin(async move { visit(user, &world).await })
    });
    let (least, most) = world.weights.pause();
    let shopping = Scenario::name(scenario);
    let shopping = goose::goose::Scenario::new(shopping)
        .set_host(&world.shops[0].to_string())
        .set_wait_time(least, most)
        .map_err(failed)?
        .register_transaction(Transaction::new(visit).set_name("journey"));
    let configuration =
        GooseConfiguration::parse_args_default(&options.of_goose(scenario)?).map_err(failed)?;
    let client = GooseClientBuilder::new().without_cookies();
    GooseAttack::initialize_with_config(configuration)
        .and_then(|attack| attack.set_client_builder_without_cookies(client))
        .map_err(failed)?
        .register_scenario(shopping)
        .execute()
        .await
        .map_err(failed)
}

/// One journey of one shopper.
async fn visit(user: &mut GooseUser, world: &World) -> TransactionResult {
    let mut session = user.get_session_data::<Session>().cloned().unwrap_or_default();
    let journey = world.weights.draw(&mut rand::rng());
    let mut shopper = Shopper {
        user,
        world,
        session: &mut session,
    };
    let result = match shopper.change_node() {
        Ok(()) => shopper.shop(journey).await,
        Err(stop) => Err(stop),
    };
    user.set_session_data(session);
    match result {
        Ok(()) => {
            world.note(Event::Finished(journey));
            Ok(())
        }
        Err(Stop::Refused) => {
            world.note(Event::GivenUp(journey));
            Ok(())
        }
        Err(Stop::Wrong(error)) => Err(error),
    }
}

/// Prints what goose does not count.
fn report(world: &World, metrics: &GooseMetrics) {
    let rows: Vec<_> = world
        .events()
        .iter()
        .map(|(event, count)| vec![event.to_string(), grouped(*count as f64)])
        .collect();
    print!("\n{}", lines(&rows));
    let count = |of: fn(&goose::metrics::GooseRequestMetricAggregate) -> usize| -> usize {
        metrics.requests.values().map(of).sum()
    };
    println!(
        "{} requests were right, {} failed; {} journeys went wrong",
        grouped(count(|request| request.success_count) as f64),
        grouped(count(|request| request.fail_count) as f64),
        grouped(world.failed() as f64),
    );
    for failure in world.failures() {
        eprintln!("failed: {failure}");
    }
}
