//! E-mail addresses.

use std::borrow::Cow;
use std::fmt;

use icu_properties::CodePointMapData;
use icu_properties::props::Script;
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

/// The text is no e-mail address. Its message is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmailAddress {
    /// Something else is wrong.
    #[error("is not a valid e-mail address")]
    Malformed,
    /// Letters of other scripts look alike, and nobody must be mistaken for another. Nor do all mail servers take them.
    #[error("must be written in ASCII before the @ (letters without accents, digits and signs)")]
    ForeignLocalPart,
}

impl EmailAddress {
    /// Accepts a plausible address; whether it exists, only an e-mail can tell. Deliberately narrower than
    /// RFC 5321: no quoted local part, no address literal, a domain that has a dot or is `localhost`. An international domain
    /// is stored in ASCII (RFC 5891): `bücher.example` as `xn--bcher-kva.example`.
    ///
    /// # Errors
    /// [`InvalidEmailAddress`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidEmailAddress> {
        let malformed = InvalidEmailAddress::Malformed;
        if text.len() > EMAIL_LIMIT {
            return Err(malformed);
        }
        let (local, domain) = text.split_once('@').ok_or(malformed)?;
        let domain = to_ascii(domain).ok_or(malformed)?;
        if !is_local_part(local) || !is_domain(&domain) {
            return Err(malformed);
        }
        if !local.is_ascii() {
            return Err(InvalidEmailAddress::ForeignLocalPart);
        }
        let address = format!("{local}@{domain}");
        if address.len() > EMAIL_LIMIT {
            return Err(malformed);
        }
        Ok(Self(address))
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
        !character.is_control() && !character.is_whitespace() && !r#"@"(),:;<>[]\"#.contains(character)
    };
    !local.is_empty()
        && local.len() <= LOCAL_PART_LIMIT
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(allowed)
}

/// The domain as the DNS has it; one in ASCII stays as it is.
fn to_ascii(domain: &str) -> Option<Cow<'_, str>> {
    if domain.is_ascii() {
        return Some(domain.into());
    }
    if domain.split('.').any(mixes_look_alikes) {
        return None;
    }
    idna::domain_to_ascii_strict(domain).ok().map(Cow::from)
}

/// Whether a label has Latin letters beside some of a script whose letters look like them: no language does, only somebody
/// who pretends to be another.
fn mixes_look_alikes(label: &str) -> bool {
    let scripts = CodePointMapData::<Script>::new();
    let has = |script| label.chars().any(|character| scripts.get(character) == script);
    has(Script::Latin)
        && [Script::Cyrillic, Script::Greek, Script::Armenian]
            .into_iter()
            .any(has)
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
            "a@\u{430}ccounts.example",
            "a@.bücher.example",
            ".a@b.example",
            "a..b@c.example",
            "a\r\nBcc: x@y.example",
            "a\u{a0}b@c.example",
            "<a>@b.example",
            "a@b.example\n",
            &long_local,
            &long,
        ] {
            assert_eq!(
                EmailAddress::parse(bad),
                Err(InvalidEmailAddress::Malformed),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_international_domain_is_stored_in_ascii() {
        for (text, stored) in [
            ("test@bücher.example", "test@xn--bcher-kva.example"),
            ("test@BÜCHER.example", "test@xn--bcher-kva.example"),
            ("a@почта.example", "a@xn--80a1acny.example"),
            ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), stored);
        }
    }

    #[test]
    fn look_alike_letters_are_refused() {
        // The first letter is Cyrillic; the second would become ASCII in lower case (a Kelvin sign).
        for text in [
            "\u{430}da@example.org",
            "\u{212a}ate@example.org",
            "jürgen@example.de",
        ] {
            assert_eq!(
                EmailAddress::parse(text),
                Err(InvalidEmailAddress::ForeignLocalPart),
                "{text}"
            );
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
