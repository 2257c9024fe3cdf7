//! Makes the published OpenAPI 3.1 document out of the endpoints: what their handlers document, completed by what follows from
//! policies, idempotency keys, bodies and conditions.

mod document;
mod problems;

pub use document::document;
