//! `/v1/me`: the caller's own data.

pub mod addresses;
mod erasure;
pub mod export;
pub mod preferences;
pub mod profile;
pub mod purchases;
