//! `/openapi.json`: what the shop's interface looks like, as an OpenAPI 3.1 document; and `/docs`, the page that shows it.
//!
//! Nothing is said twice: paths, policies and what a repetition means come from the table of routes, the shapes of bodies
//! from their types, the problems from `problem.rs`. What is left to say of a route stands in [`operations`], in a function
//! that is named as its handler: the table needs it to compile.

mod document;
mod operation;
pub(super) mod operations;
mod problems;
#[cfg(test)]
mod tests;

pub use document::document;
pub(super) use operation::Operation;
