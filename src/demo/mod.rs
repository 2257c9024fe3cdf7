//! Seeds the stores of a demo with its catalogue, opening stock and accounts.

pub mod accounts;
pub mod seed;
