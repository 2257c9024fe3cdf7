//! What a request passes before its handler, and what handlers read it with: authentication, authorisation, rate limits,
//! idempotency, validation, conditions.

pub mod asset;
pub mod background;
pub mod bodies;
pub mod caller;
pub mod entity;
pub mod etag;
pub mod exports;
pub mod front;
pub mod idempotency;
pub mod json;
pub mod keys;
pub mod parameter;
pub mod path;
pub mod policy;
pub mod query;
pub mod rate_limit;
pub mod route;

mod refusals;
