//! What must not lie in a store for everybody to read who gets hold of its files: sealed at rest.
//!
//! - [`Keyring`] seals and opens single values. A sealed value is a text, `sealed:v1:KEY:BASE64`, and names the key that it
//!   is under. Store, row and field are bound to it ([`Place`]): in another place it does not open.
//! - [`layout`](mod@layout) is the one table of what is sealed in which store. The wrappers
//!   [`SealedDocuments`](crate::stores::documents::sealed::SealedDocuments) and
//!   [`SealedReplies`](crate::stores::idempotency::sealed::SealedReplies) go by it, between the adapters and everybody else:
//!   an adapter never sees a plain value, and nobody else a sealed one. Adapters of the users store, whose port is typed,
//!   seal and open by [`UserSeals`](crate::stores::users::seals::UserSeals).
//! - [`rotation`] puts everything under the first key while the shop runs.

mod cipher;
mod keyring;
pub mod layout;
pub mod rotation;
mod text;

pub use keyring::{Key, Keyring, Place, SealingError};
pub use text::SealedText;
