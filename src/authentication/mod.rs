//! Authentication: passwords, access tokens with their signing keys, sessions and their revocation, and accounts.
//!
//! An access token is verified without a call to a store: [`tokens`] checks it against the keys in memory ([`ring`], which
//! [`signing`] loads) and against the revoked sessions in memory ([`revocations`], which polls them). Decisions are pure and
//! get the time as an argument.

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
