//! `souk rebuild`: rebuilds a projection (invariant 14), also while the shop runs.

use clap::{Args, ValueEnum};

use super::{ConfigArgument, Failure, Outcome, logging, output};
use crate::authentication::guests::Guests;
use crate::clock;
use crate::projections::purchases::PurchaseProjector;

/// A projection.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Projection {
    /// The purchase histories of accounts, from the orders.
    Purchases,
}

/// Arguments of `souk rebuild`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The projection.
    #[arg(value_enum)]
    projection: Projection,
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let stores = crate::stores::open(&config)
        .await
        .map_err(|error| Failure::failed("the stores do not open", error))?;
    let Projection::Purchases = arguments.projection;
    let projector = PurchaseProjector {
        orders: stores.orders,
        users: stores.users,
        guests: Guests::new(&config.cluster.shared_key()),
        clock: clock::system(),
    };
    let rebuilt = projector
        .rebuild()
        .await
        .map_err(|error| Failure::failed("the purchases can't be rebuilt", error))?;
    for reason in &rebuilt.unreadable {
        output::line(&format!("left out: {reason}"))?;
    }
    let (orders, unreadable) = (rebuilt.orders, rebuilt.unreadable.len());
    if unreadable == 0 {
        output::line(&format!("the purchases were rebuilt from {orders} orders"))?;
        return Ok(Outcome::Done);
    }
    output::line(&format!(
        "the purchases were rebuilt from {orders} orders, without {unreadable} that can't be read"
    ))?;
    Ok(Outcome::Wrong)
}
