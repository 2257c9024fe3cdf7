//! `/v1/me`: the caller's own data.

pub mod addresses;
pub mod claimable;
mod erasure;
pub mod export;
pub mod preferences;
pub mod profile;
pub mod purchases;
