//! What the black-box tests share: a cluster of processes of the built binary, clients of it, and waiting.
//!
//! Used by several test targets, each as `#[path = "../support/mod.rs"] mod support;`.

// Each target uses a part of this module only.
#![allow(dead_code)]

/// Whether tests run at full size (`SOUK_TEST_SCALE=full`): by hand, on a machine that is there for them. Figures of time
/// are held to what is promised there only; otherwise a limit is far more than anything takes.
pub fn full() -> bool {
    std::env::var("SOUK_TEST_SCALE").is_ok_and(|scale| scale == "full")
}

pub mod client;
pub mod cluster;
pub mod command;
pub mod guard;
pub mod waiting;
