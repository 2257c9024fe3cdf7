//! E-mail addresses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest address, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub const EMAIL_LIMIT: usize = 254;
/// Longest part before the `@`, in bytes (RFC 5321, section 4.5.3.1.1).
const LOCAL_PART_LIMIT: usize = 64;
/// Longest label of a domain, in bytes (RFC 1035, section 2.3.4).
const LABEL_LIMIT: usize = 63;

/// A valid e-mail address. Debug output, which ends in logs, hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EmailAddress(String);

/// The string is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid e-mail address")]
pub struct InvalidEmailAddress;

impl EmailAddress {
    /// Accepts a plausible address; whether it exists, only an e-mail can tell. Deliberately narrower than
    /// RFC 5321: no quoted local part, no address literal, a domain in ASCII that has a dot or is `localhost`.
    ///
    /// # Errors
    /// [`InvalidEmailAddress`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidEmailAddress> {
        let (local, domain) = text.split_once('@').ok_or(InvalidEmailAddress)?;
        if text.len() <= EMAIL_LIMIT && is_local_part(local) && is_domain(domain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEmailAddress)
        }
    }

    /// Replaces an erased address; it can't exist (RFC 2606, section 2).
    pub fn erased() -> Self {
        Self("erased@erased.invalid".to_owned())
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(redacted)")
    }
}

fn is_local_part(local: &str) -> bool {
    // The characters left out would need quoting, or could break out of a mail header.
    let allowed = |character: char| {
        !character.is_control()
            && !character.is_whitespace()
            && !matches!(
                character,
                '@' | '"' | '(' | ')' | ',' | ':' | ';' | '<' | '>' | '[' | ']' | '\\'
            )
    };
    !local.is_empty()
        && local.len() <= LOCAL_PART_LIMIT
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(allowed)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_LIMIT
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    domain.eq_ignore_ascii_case("localhost") || (domain.contains('.') && domain.split('.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_addresses_are_accepted() {
        for good in [
            "a@b.example",
            "first.last+tag@sub.domain.example",
            "o'neil@example.org",
            "jürgen@example.de",
            "root@localhost",
        ] {
            assert_eq!(
                EmailAddress::parse(good).map(|email| email.0),
                Ok(good.to_owned())
            );
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        let long_local = format!("{}@example.org", "a".repeat(LOCAL_PART_LIMIT + 1));
        let long = format!("a@{}.org", vec!["b".repeat(60); 5].join("."));
        for bad in [
            "",
            "a",
            "@",
            "a@",
            "@b.example",
            "a@b",
            "a@b@c.example",
            "a b@c.example",
            "a@b .example",
            "a@b..example",
            "a@.example",
            "a@example.",
            "a@-b.example",
            "a@bücher.example",
            ".a@b.example",
            "a..b@c.example",
            "a\r\nBcc: x@y.example",
            "a\u{a0}b@c.example",
            "<a>@b.example",
            "a@b.example\n",
            &long_local,
            &long,
        ] {
            assert_eq!(EmailAddress::parse(bad), Err(InvalidEmailAddress), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_address() {
        let email = EmailAddress::parse("somebody@example.org").unwrap();
        assert!(!format!("{email:?}").contains("somebody"));
    }

    proptest! {
        #[test]
        fn nothing_accepted_can_break_a_header(text in "\\PC{0,12}[\r\n\t @.a]{0,3}@[a-z\r\n]{1,6}\\.\\PC{0,6}") {
            if let Ok(email) = EmailAddress::parse(&text) {
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
                prop_assert!(!email.as_str().chars().any(|c| c.is_control() || c.is_whitespace()));
            }
        }
    }
}
