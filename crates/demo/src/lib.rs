//! The demo catalogue: products, their opening stock and their pictures, generated from a seed. Pure: no I/O.

pub mod generator;
pub mod picture;
mod vocabulary;
