//! The shop as its clients see it: three node processes, over HTTP and the command line. One file per subject, named
//! after the URL.
//!
//! Most tests share one cluster, which is started when the first of them runs and ends with this process. They use
//! carts of their own and, where they buy, SKUs of their own: see [`shared`].
//!
//! With the feature `full`, `SOUK_TEST_STORES=servers` keeps the stores of the shared cluster on the servers of
//! `SOUK_TEST_POSTGRES_URL` and so on.
//!
//! `SOUK_TEST_SCALE=full` runs the flash sales at full size: 2,000 buyers.

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod bad_input;
mod cart;
mod categories;
mod checkout;
mod cli;
mod conventions;
mod document;
mod flash_sale;
mod half_sent;
mod health;
mod idempotency;
mod kept_replies;
mod migrate;
mod operator;
mod orders;
mod payments;
mod products;
mod rate_limits;
mod shared;
#[cfg(feature = "otlp")]
mod traces;
mod unread;
