//! Encryption at rest: personal data and payment references are sealed in the stores.
//!
//! - [`Keyring`] seals and opens single values. A sealed value is a text, `sealed:v1:KEY:BASE64`, and names its key. Store, row
//!   and field are authenticated with it ([`Place`]): in another place it does not open.
//! - [`layout`](mod@layout) is the table of what is sealed in each store. The wrappers
//!   [`SealedDocuments`](crate::stores::documents::sealed::SealedDocuments) and
//!   [`SealedReplies`](crate::stores::idempotency::sealed::SealedReplies) apply it between the adapters and their callers: an
//!   adapter never sees a plain value, and a caller never a sealed one. Adapters of the users store, whose port is typed, use
//!   [`UserSeals`](crate::stores::users::seals::UserSeals).

mod cipher;
mod keyring;
pub mod layout;
mod text;

pub use keyring::{Key, Keyring, Place, SealingError};
pub use text::SealedText;
