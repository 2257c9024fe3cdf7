//! Who is calling: passwords, access tokens, the keys that sign them, and the sessions that were revoked. Above the
//! stores and below HTTP.
//!
//! An access token is read without asking anyone: [`tokens`] checks it against the keys in memory ([`ring`], which
//! [`signing`] keeps as the store has it) and against the revocations in memory ([`revocations`], which polls them).
//! What decides is pure and gets the time as an argument; what waits has a time limit.

pub mod guests;
pub mod passwords;
mod polling;
pub mod pool;
pub mod revocations;
pub mod ring;
pub mod sealing;
pub mod service;
pub mod signing;
pub mod throttle;
pub mod tokens;

pub use passwords::{PasswordError, PasswordSettings, Passwords};
pub use revocations::{RevocationSettings, Revocations, RevokedSessions};
pub use ring::{Ring, RingRules, SharedRing};
pub use sealing::Sealer;
pub use signing::{SigningError, SigningKeySettings, SigningKeys};
pub use tokens::{AccessToken, Claims, Grant, Issuer, TokenError, TokenSettings, Verifier};
