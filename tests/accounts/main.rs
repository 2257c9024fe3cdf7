//! Accounts from outside: what owners do, and what attackers try, over HTTP with two node processes. One file per kind of
//! test.
//!
//! The tests share one cluster, which starts with the first test and ends with this process. It logs at debug level, so
//! that [`secrets`] has more to search. Each test has accounts and addresses of its own: see [`shared`].
//!
//! `SOUK_TEST_SCALE=full` runs more rounds of races, and checks that logouts take effect within the promised time.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod codes;
mod erased_replies;
mod erasure;
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
