//! What a panic said, for the log: the work it befell is given up, and the rest goes on.

use std::any::Any;

/// The message of a panic that was caught.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
