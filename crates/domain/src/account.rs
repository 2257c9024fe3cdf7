//! Accounts and their roles.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address::{self, FieldError};
use super::text::text_error;
use super::{EmailAddress, Timestamp, UserId};

pub mod password;

/// Longest name of a person, in characters.
pub const NAME_LIMIT: usize = address::TEXT_LIMIT;

/// A role of an account. No role includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May buy.
    Customer,
    /// Manages catalogue, stock, orders and refunds.
    Merchant,
    /// May do everything.
    Admin,
}

impl Role {
    /// The reverse of [`Role::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Customer, Self::Merchant, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
    }

    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Merchant => "merchant",
            Self::Admin => "admin",
        }
    }
}

/// An account without its credential. Debug output, which ends in logs, hides personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its identifier.
    pub id: UserId,
    /// The e-mail address as its owner writes it. [`email_key`] decides whether two addresses are the same.
    pub email: EmailAddress,
    /// The owner's name.
    pub name: String,
    /// The owner's phone number.
    pub phone: Option<String>,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Whether the owner has proved access to the e-mail address.
    pub email_verified: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Counts the changes, from 1.
    pub version: u64,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("roles", &self.roles)
            .field("email_verified", &self.email_verified)
            .field("created_at", &self.created_at)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The normalised e-mail address, unique among accounts. As personal as the address itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailKey(String);

impl EmailKey {
    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EmailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailKey(redacted)")
    }
}

/// The key of an address: the whole in lower case, since no common provider distinguishes `Ada@` from `ada@`.
pub fn email_key(email: &EmailAddress) -> EmailKey {
    EmailKey(email.as_str().to_ascii_lowercase())
}

/// Checks a name: 1 to [`NAME_LIMIT`] printable characters, not only spaces.
///
/// # Errors
/// [`FieldError`] of the field `name`.
pub fn check_name(name: &str) -> Result<(), FieldError> {
    text_error(name, NAME_LIMIT).map_or(Ok(()), |message| Err(FieldError::new("name", message)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> EmailKey {
        email_key(&EmailAddress::parse(text).unwrap())
    }

    #[test]
    fn spellings_of_an_address_share_a_key() {
        assert_eq!(key("Ada@Example.ORG"), key("ada@example.org"));
        assert_eq!(key("ADA@example.org").as_str(), "ada@example.org");
        for other in ["ada+shop@example.org", "a.da@example.org", "ada@example.com"] {
            assert_ne!(key(other), key("ada@example.org"), "{other}");
        }
    }

    #[test]
    fn names_are_checked() {
        for good in [
            "A",
            "Ada Example",
            "山田 太郎",
            "O'Neil-Smith",
            &"é".repeat(NAME_LIMIT),
        ] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in [
            "",
            " \t",
            "Ada\n",
            "Ada\u{202e}",
            "\u{200b}",
            "\u{0}",
            &"a".repeat(NAME_LIMIT + 1),
        ] {
            assert_eq!(check_name(bad).unwrap_err().field, "name", "{bad:?}");
        }
    }

    #[test]
    fn roles_have_their_names_in_json() {
        for role in [Role::Customer, Role::Merchant, Role::Admin] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }

    #[test]
    fn debug_output_hides_personal_data() {
        let account = Account {
            id: UserId::from_suffix(1),
            email: EmailAddress::parse("ada@private.example").unwrap(),
            name: "Lovelace".into(),
            phone: Some("+44 20 5550100".into()),
            roles: BTreeSet::from([Role::Customer]),
            email_verified: true,
            created_at: Timestamp::from_millis(0),
            version: 1,
        };
        let shown = format!("{account:?} {:?}", email_key(&account.email));
        assert!(shown.contains("usr_1"));
        for secret in ["ada", "private", "Lovelace", "5550100"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn capitals_never_make_another_account(local in "[a-zA-Z0-9.+]{1,8}", domain in "[a-zA-Z]{1,8}") {
            let text = format!("{local}@{domain}.example");
            if let Ok(email) = EmailAddress::parse(&text) {
                let key = email_key(&email);
                prop_assert_eq!(&key, &email_key(&EmailAddress::parse(&text.to_uppercase()).unwrap()));
                prop_assert!(EmailAddress::parse(key.as_str()).is_ok());
            }
        }
    }
}
