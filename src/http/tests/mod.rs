//! The routes of the shop over the real entities, in one process.

mod accounts;
mod conventions;
mod flow;
