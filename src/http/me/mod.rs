//! `/v1/me`: what is the caller's own.

pub(super) mod addresses;
pub(super) mod export;
pub(super) mod preferences;
pub(super) mod profile;
pub(super) mod purchases;
