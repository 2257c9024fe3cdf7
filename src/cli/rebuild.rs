//! `souk rebuild`: a projection made anew (invariant 14), also while the shop runs.

use clap::{Args, ValueEnum};

use super::{ConfigArgument, Failure, Outcome, logging, output};
use crate::actors::clock;
use crate::actors::purchases::PurchaseProjector;
use crate::authentication::guests::Guests;
use crate::cluster::key::ClusterKey;

/// A projection.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Projection {
    /// The purchase histories of accounts, from the orders.
    Purchases,
}

/// What `souk rebuild` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which projection.
    #[arg(value_enum)]
    projection: Projection,
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let key = ClusterKey::new(config.cluster.key.expose().to_vec())
        .map_err(|error| Failure::failed("the cluster's key can't be used", error))?;
    let stores = crate::stores::open(&config)
        .await
        .map_err(|error| Failure::failed("the stores do not open", error))?;
    let Projection::Purchases = arguments.projection;
    let projector = PurchaseProjector {
        orders: stores.orders,
        users: stores.users,
        guests: Guests::new(&key),
        clock: clock::system(),
    };
    let count = projector
        .rebuild()
        .await
        .map_err(|error| Failure::failed("the purchases can't be made anew", error))?;
    output::line(&format!(
        "{count} orders were looked at; the purchases are as they say"
    ))?;
    Ok(Outcome::Done)
}
