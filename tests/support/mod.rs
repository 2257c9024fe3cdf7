//! Shared by the black-box tests: a cluster of processes, clients, and waiting.
//!
//! Used by several test targets, each as `#[path = "../support/mod.rs"] mod support;`.

// Each target uses a part of this module only.
#![allow(dead_code)]

/// Whether tests run at full size (`SOUK_TEST_SCALE=full`): by hand, on an otherwise idle machine. Only then are times
/// compared with what is promised; otherwise limits are generous.
pub fn full() -> bool {
    std::env::var("SOUK_TEST_SCALE").is_ok_and(|scale| scale == "full")
}

pub mod attacks;
pub mod client;
pub mod cluster;
pub mod command;
pub mod guard;
#[cfg(feature = "full")]
pub mod stores;
pub mod waiting;
