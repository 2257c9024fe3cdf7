//! The demo shop: a catalogue made up from a seed, with a picture for each product, and how it gets into the stores.

pub mod accounts;
pub mod generator;
pub mod picture;
pub mod seed;
mod vocabulary;
