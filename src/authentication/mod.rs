//! Who is calling. Above the stores and below HTTP.

pub mod passwords;
pub mod pool;

pub use passwords::{PasswordError, PasswordSettings, Passwords};
