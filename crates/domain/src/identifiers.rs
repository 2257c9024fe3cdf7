//! Identifiers: opaque strings with a prefix per type. They are reference-counted: every command clones a state that
//! consists mostly of identifiers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// Longest identifier accepted anywhere, in bytes.
pub const IDENTIFIER_LIMIT: usize = 64;

/// The string is not a valid identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}")]
pub struct InvalidIdentifier {
    /// Name of the identifier's type.
    pub what: &'static str,
}

/// Whether a text could be an identifier of any type.
pub fn well_formed(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= IDENTIFIER_LIMIT
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// How an identifier is described to clients.
fn schema(prefix: &str) -> RefOr<Schema> {
    let rest = IDENTIFIER_LIMIT - prefix.len();
    let example = if prefix.is_empty() {
        "SHIRT-M".to_owned()
    } else {
        format!("{prefix}000001")
    };
    let object = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^{prefix}[A-Za-z0-9_.-]{{1,{rest}}}$")))
        .examples([example]);
    RefOr::T(Schema::Object(object.build()))
}

macro_rules! identifiers {
    ($($(#[$documentation:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What each begins with.
            pub const PREFIX: &str = $prefix;

            /// Accepts a string of ASCII letters, digits, `_`, `-` and `.` with the right prefix.
            ///
            /// # Errors
            /// [`InvalidIdentifier`] for anything else, or above [`IDENTIFIER_LIMIT`] bytes.
            pub fn parse(text: &str) -> Result<Self, InvalidIdentifier> {
                if well_formed(text) && text.starts_with($prefix) && text.len() > $prefix.len() {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidIdentifier { what: stringify!($name) })
                }
            }

            /// Prefixes a suffix that is known to be well-formed (hexadecimal, a UUID).
            pub fn from_suffix(suffix: impl fmt::Display) -> Self {
                Self(format!("{}{suffix}", $prefix).into())
            }

            /// The identifier, with its prefix.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                schema($prefix)
            }
        }

        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

// Each with its prefix.
identifiers! {
    /// A shopping cart.
    CartId = "crt_";
    /// An order.
    OrderId = "ord_";
    /// A payment of an order.
    PaymentId = "pay_";
    /// A product, which has one or more SKUs.
    ProductId = "prd_";
    /// A stock-keeping unit: a variant that is counted, reserved and sold.
    Sku = "";
    /// An account.
    UserId = "usr_";
    /// A session: one device on which an account is logged in.
    SessionId = "ses_";
    /// An address saved in an account.
    AddressId = "adr_";
    /// A command, so that its repetition is recognised and answered from the record (invariant 9).
    CommandId = "";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_and_alphabet_are_checked() {
        assert!(CartId::parse("crt_0a").is_ok());
        for bad in ["", "crt_", "ord_1", "crt_é", "crt_a b", "crt_a/../b"] {
            assert!(CartId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Sku::parse(&"x".repeat(IDENTIFIER_LIMIT + 1)).is_err());
    }
}
