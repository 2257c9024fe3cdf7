//! `souk seed`: the demo catalogue.

use clap::Args;
use indicatif::ProgressBar;

use super::{ConfigArgument, Failure, Outcome, logging, output};

/// Default number of products.
pub(super) const PRODUCTS: u64 = 1_000;

/// The seed where nothing else is said.
pub(super) const SEED: u64 = 1;

/// Arguments of `souk seed`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How many products; a larger catalogue begins with the smaller one.
    #[arg(long, default_value_t = PRODUCTS)]
    products: u64,
    /// Which catalogue.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let progress = progress(arguments.products);
    let result = async {
        let stores = crate::stores::open(&config).await?;
        crate::demo::seed::run(&stores, arguments.products, arguments.seed, &progress).await
    }
    .await;
    progress.finish_and_clear();
    let seeded = result.map_err(|error| Failure::failed("the catalogue can't be seeded", error))?;
    output::line(&format!(
        "{} products with {} SKUs stand in the catalogue",
        seeded.products, seeded.skus
    ))?;
    Ok(Outcome::Done)
}

/// A progress bar of products.
pub(super) fn progress(products: u64) -> ProgressBar {
    output::progress(
        ProgressBar::new(products),
        "{bar:40} {human_pos} of {human_len} products, {per_sec}",
    )
}
