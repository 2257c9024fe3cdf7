//! `/v1/me`: what is the caller's own.

pub mod addresses;
mod erasure;
pub mod export;
pub mod preferences;
pub mod profile;
pub mod purchases;
