//! Failures of processes and network, seen from outside: node processes are killed, stopped, cut off, drained and crashed
//! under load, and nothing acknowledged is lost.
//!
//! By default the scenarios are scaled down; `SOUK_TEST_SCALE=full` runs them at full size. The crashes at fail points need
//! the feature `failpoints`, and the partition needs the right to make network name spaces (it says so and is skipped
//! without). Scenarios run one after another, since each needs the machine for itself. Figures are printed; `--nocapture`
//! shows them.

#[cfg(feature = "failpoints")]
mod crashes;
#[cfg(feature = "failpoints")]
mod cut_off;
mod harness;
mod keys;
mod kill_node;
mod load;
#[cfg(feature = "full")]
mod network;
#[cfg(feature = "failpoints")]
mod panic;
mod partition;
mod rolling;
mod same_name;
#[cfg(feature = "full")]
mod servers;
mod shop;
mod stop_node;
#[cfg(feature = "full")]
#[path = "../support/stores.rs"]
mod stores;
mod two_killed;

/// Whether the scenarios run at full size.
fn full() -> bool {
    std::env::var("SOUK_TEST_SCALE").is_ok_and(|scale| scale == "full")
}

/// `small` by default, `large` at full size.
fn scaled<T>(small: T, large: T) -> T {
    if full() { large } else { small }
}
