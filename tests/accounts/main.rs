//! Accounts from outside: what their owners do with them, and what everybody else tries. Two node processes, asked over
//! HTTP; one file a class.
//!
//! The tests share one cluster, which is started when the first of them runs and ends with this process, and whose log is
//! talkative, so that [`secrets`] looks for leaks where there is more to leak. Each has accounts and addresses of its own:
//! see [`shared`].
//!
//! `SOUK_TEST_SCALE=full` runs more rounds of what is a race, and holds logouts to the time that is promised.

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
mod strangers;
mod tokens;
