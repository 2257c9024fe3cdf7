//! Postal addresses.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::country;

/// Longest name, line, city or region, in characters.
pub const TEXT_LIMIT: usize = 100;
/// Longest postcode, in characters.
pub const POSTCODE_LIMIT: usize = 16;
/// Longest phone number, in characters.
pub const PHONE_LIMIT: usize = 32;

/// A postal address. Debug output, which ends in logs, shows only the country.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(description = "Where a parcel goes.")]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The recipient.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Ada Example")]
    pub name: String,
    /// Street and number.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "1 Test Street")]
    pub line1: String,
    /// Floor, company.
    #[schema(max_length = 100, example = "Floor 2")]
    pub line2: Option<String>,
    /// The city.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Springfield")]
    pub city: String,
    /// State, province, county.
    #[schema(max_length = 100, example = "IL")]
    pub region: Option<String>,
    /// The postcode.
    #[schema(min_length = 1, max_length = 16, pattern = r"\S", example = "62701")]
    pub postcode: String,
    /// ISO 3166-1 alpha-2, in capital letters.
    #[schema(pattern = "^[A-Z]{2}$", example = "US")]
    pub country: String,
    /// Phone number for the carrier.
    #[schema(max_length = 32, pattern = "^[0-9+./() -]*$", example = "+1 217 555 0100")]
    pub phone: Option<String>,
}

/// An invalid field of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name, without its parents.
    pub field: &'static str,
    /// What is wrong, for the client.
    pub message: String,
}

impl Address {
    /// The address after an erasure: the country alone, which accounting needs for taxes.
    #[must_use]
    pub fn erased(&self) -> Self {
        let erased = || "erased".to_owned();
        Self {
            name: erased(),
            line1: erased(),
            line2: None,
            city: erased(),
            region: None,
            postcode: erased(),
            country: self.country.clone(),
            phone: None,
        }
    }

    /// Its invalid fields; empty if the address is valid.
    pub fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut check = |field, text: &str, limit| {
            if let Some(message) = text_error(text, limit) {
                errors.push(FieldError { field, message });
            }
        };
        check("name", &self.name, TEXT_LIMIT);
        check("line1", &self.line1, TEXT_LIMIT);
        check("city", &self.city, TEXT_LIMIT);
        check("postcode", &self.postcode, POSTCODE_LIMIT);
        for (field, text, limit) in [
            ("line2", &self.line2, TEXT_LIMIT),
            ("region", &self.region, TEXT_LIMIT),
        ] {
            if let Some(text) = text {
                check(field, text, limit);
            }
        }
        errors.extend(self.phone.as_deref().into_iter().flat_map(phone_errors));
        if !country::is_known(&self.country) {
            errors.push(FieldError {
                field: "country",
                message: "must be an ISO 3166-1 country code of two capital letters".to_owned(),
            });
        }
        errors
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("country", &self.country)
            .finish_non_exhaustive()
    }
}

/// The errors of a phone number, for the field `phone`.
pub(super) fn phone_errors(phone: &str) -> Vec<FieldError> {
    let foreign = (!phone.chars().all(is_dialled))
        .then(|| "contains characters that are not part of a phone number".to_owned());
    text_error(phone, PHONE_LIMIT)
        .into_iter()
        .chain(foreign)
        .map(|message| FieldError {
            field: "phone",
            message,
        })
        .collect()
}

/// The error of a line of text, if any; `limit` in characters.
pub(super) fn text_error(text: &str, limit: usize) -> Option<String> {
    if text.trim().is_empty() {
        Some("must not be empty".to_owned())
    } else if text.chars().count() > limit {
        Some(format!("has more than {limit} characters"))
    } else if text.chars().any(is_unprintable) {
        Some("contains unprintable characters".to_owned())
    } else {
        None
    }
}

/// Control characters, line separators, and bidirectional marks (a label could read differently from what is stored).
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_dialled(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '+' | '-' | '.' | '/' | '(' | ')' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> Address {
        Address {
            name: "Ada Example".into(),
            line1: "1 Test Street".into(),
            line2: None,
            city: "Springfield".into(),
            region: Some("IL".into()),
            postcode: "62701".into(),
            country: "US".into(),
            phone: Some("+1 (217) 555-0100".into()),
        }
    }

    fn blamed(change: impl FnOnce(&mut Address)) -> Vec<&'static str> {
        let mut address = address();
        change(&mut address);
        address.validate().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn valid_addresses_are_accepted() {
        assert_eq!(address().validate(), []);
        assert!(blamed(|a| a.city = "東京".into()).is_empty());
        assert!(blamed(|a| a.name = "é".repeat(TEXT_LIMIT)).is_empty());
        assert!(blamed(|a| (a.phone, a.region) = (None, None)).is_empty());
    }

    #[test]
    fn each_invalid_field_is_named() {
        assert_eq!(blamed(|a| a.name = " \u{a0}".into()), ["name"]);
        assert_eq!(blamed(|a| a.line1 = "x".repeat(TEXT_LIMIT + 1)), ["line1"]);
        assert_eq!(blamed(|a| a.line2 = Some(String::new())), ["line2"]);
        assert_eq!(blamed(|a| a.city = "a\u{0}b".into()), ["city"]);
        assert_eq!(blamed(|a| a.region = Some("a\u{202e}b".into())), ["region"]);
        assert_eq!(
            blamed(|a| a.postcode = "1".repeat(POSTCODE_LIMIT + 1)),
            ["postcode"]
        );
        assert_eq!(blamed(|a| a.country = "us".into()), ["country"]);
        assert_eq!(blamed(|a| a.phone = Some("call me".into())), ["phone"]);
        assert_eq!(
            blamed(|a| (a.name, a.city) = (String::new(), "\n".into())),
            ["name", "city"]
        );
    }

    #[test]
    fn debug_output_shows_only_the_country() {
        let shown = format!("{:?}", address());
        assert!(shown.contains("US") && !shown.contains("Ada") && !shown.contains("Test"));
    }

    proptest! {
        #[test]
        fn a_control_character_is_refused_wherever_it_stands(
            before in "[a-z]{0,5}", control in prop::char::range('\u{0}', '\u{1f}'), after in "[a-z]{0,5}"
        ) {
            let text = format!("{before}{control}{after}");
            prop_assert!(!blamed(|a| a.line1 = text).is_empty());
        }
    }
}
