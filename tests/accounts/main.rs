//! Accounts from outside: what their owners do with them, and what everybody else tries. Two node processes, asked over
//! HTTP; one file a class.
//!
//! The tests share one cluster, which is started when the first of them runs and ends with this process, and whose log is
//! talkative, so that [`secrets`] looks for leaks where there is more to leak. Each has accounts and addresses of its own:
//! see [`shared`].
//!
//! `SOUK_TEST_SCALE=full` runs more rounds of what is a race, and holds the storm to its strict figure: a release build by
//! hand.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod codes;
mod forge;
mod journey;
mod login;
mod merchant;
mod orders;
mod ownership;
mod refresh;
mod secrets;
mod shared;
mod storm;
mod strangers;
mod tokens;

/// Whether the tests run at full size.
fn full() -> bool {
    std::env::var("SOUK_TEST_SCALE").is_ok_and(|scale| scale == "full")
}
