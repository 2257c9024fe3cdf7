//! Souk: a storefront engine in which every cart, order and SKU is a supervised actor.
//!
//! The map of the crate stands in `ARCHITECTURE.md`. In one breath: [`http`] turns requests into commands,
//! [`actors`] route them to the one entity that decides them, [`souk_domain`] is the deciding (pure code),
//! [`stores`] make the decision durable, and [`souk_cluster`] says which node an entity lives on.

pub mod actors;
pub mod audit;
pub mod authentication;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod digest;
pub mod fail;
pub mod gateways;
pub mod http;
pub mod node;
pub mod operator;
mod panics;
pub mod projections;
pub mod sagas;
pub mod sealing;
pub mod stores;
pub mod traces;
