//! The handlers: one file per resource, named as in the URL. `call` has what they take from a request.

pub mod health;

pub(super) mod account;
pub(super) mod auth;
mod call;
pub(super) mod cart;
pub(super) mod categories;
pub(super) mod checkout;
pub(super) mod claim;
pub(super) mod credentials;
pub(super) mod docs;
pub(super) mod images;
pub(super) mod inventory;
pub(super) mod jwks;
pub(super) mod me;
pub(super) mod orders;
pub(super) mod products;
