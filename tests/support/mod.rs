//! What the black-box tests share: a cluster of processes of the built binary, clients of it, and waiting.
//!
//! Used by several test targets, each as `#[path = "../support/mod.rs"] mod support;`.

// Each target uses a part of this module only.
#![allow(dead_code)]

pub mod client;
pub mod cluster;
pub mod command;
pub mod guard;
pub mod waiting;
