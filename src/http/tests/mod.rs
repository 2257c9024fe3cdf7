//! The routes of the shop over the real entities, in one process.

mod accounts;
mod carts;
mod catalogue;
mod claims;
mod client;
mod conventions;
mod openapi;
mod orders;
mod routes;
