//! Postal addresses.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{shows_nothing, text_error};
use super::{country, phone, postcode};

/// Longest name, line, city or region, in characters.
pub const TEXT_LIMIT: usize = 100;
/// Longest postcode, in characters.
pub const POSTCODE_LIMIT: usize = 16;

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
    /// State, province, county; required in AU, BR, CA and US.
    #[schema(max_length = 100, example = "IL")]
    pub region: Option<String>,
    /// The postcode, in the form of the country; required where the country has postcodes throughout.
    #[schema(max_length = 16, example = "62701")]
    pub postcode: Option<String>,
    /// ISO 3166-1 alpha-2, in capital letters.
    #[schema(pattern = "^[A-Z]{2}$", example = "US")]
    pub country: String,
    /// Phone number for the carrier, with an extension if need be.
    #[schema(max_length = 32, example = "+1 217 555 0100")]
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
            postcode: None,
            country: self.country.clone(),
            phone: None,
        }
    }

    /// The address as it is stored: without optional fields that show nothing, which is what a form sends for an empty input,
    /// and with its phone number [normalised](phone::normalise).
    ///
    /// # Errors
    /// Its invalid fields.
    pub fn normalised(mut self) -> Result<Self, Vec<FieldError>> {
        for optional in [
            &mut self.line2,
            &mut self.region,
            &mut self.postcode,
            &mut self.phone,
        ] {
            if optional.as_deref().is_some_and(shows_nothing) {
                *optional = None;
            }
        }
        let mut errors: Vec<FieldError> = [
            ("name", Some(&self.name), TEXT_LIMIT),
            ("line1", Some(&self.line1), TEXT_LIMIT),
            ("line2", self.line2.as_ref(), TEXT_LIMIT),
            ("city", Some(&self.city), TEXT_LIMIT),
            ("region", self.region.as_ref(), TEXT_LIMIT),
            ("postcode", self.postcode.as_ref(), POSTCODE_LIMIT),
        ]
        .into_iter()
        .filter_map(|(field, text, limit)| Some(FieldError::new(field, text_error(text?, limit)?)))
        .collect();
        if country::is_known(&self.country) {
            errors.extend(self.missing_parts());
        } else {
            let message = "must be an ISO 3166-1 country code of two capital letters";
            errors.push(FieldError::new("country", message));
        }
        match self.phone.as_deref().map(phone::normalise).transpose() {
            Ok(phone) => self.phone = phone,
            Err(error) => errors.push(FieldError::new("phone", error.to_string())),
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// What the country asks for and the address does not have.
    fn missing_parts(&self) -> Vec<FieldError> {
        let country = &self.country;
        let mut errors = Vec::new();
        if self.region.is_none() && postcode::needs_region(country) {
            errors.push(FieldError::new("region", format!("is required in {country}")));
        }
        match &self.postcode {
            None if postcode::is_required(country) => {
                errors.push(FieldError::new("postcode", format!("is required in {country}")));
            }
            Some(text) if text.chars().count() <= POSTCODE_LIMIT && !postcode::has_form(text, country) => {
                let example = postcode::example(country);
                let message = format!("must be a postcode of {country}, such as {example}");
                errors.push(FieldError::new("postcode", message));
            }
            _ => {}
        }
        errors
    }
}

impl FieldError {
    /// A field, without its parents, and what is wrong with it.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("country", &self.country)
            .finish_non_exhaustive()
    }
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
            postcode: Some("62701".into()),
            country: "US".into(),
            phone: Some("+1 (217) 555-0100".into()),
        }
    }

    fn blamed(change: impl FnOnce(&mut Address)) -> Vec<&'static str> {
        let mut address = address();
        change(&mut address);
        let errors = address.normalised().err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn valid_addresses_are_accepted() {
        assert_eq!(address().normalised(), Ok(address()));
        assert!(blamed(|a| a.city = "東京".into()).is_empty());
        assert!(blamed(|a| a.name = "é".repeat(TEXT_LIMIT)).is_empty());
        assert!(blamed(|a| a.phone = None).is_empty());
    }

    #[test]
    fn each_invalid_field_is_named() {
        assert_eq!(blamed(|a| a.name = " \u{a0}".into()), ["name"]);
        assert_eq!(blamed(|a| a.line1 = "x".repeat(TEXT_LIMIT + 1)), ["line1"]);
        assert_eq!(blamed(|a| a.city = "a\u{0}b".into()), ["city"]);
        assert_eq!(blamed(|a| a.region = Some("a\u{202e}b".into())), ["region"]);
        assert_eq!(
            blamed(|a| a.postcode = Some("1".repeat(POSTCODE_LIMIT + 1))),
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
    fn what_shows_nothing_is_absent_or_missing() {
        assert_eq!(blamed(|a| a.name = "\u{200b}".into()), ["name"]);
        assert_eq!(blamed(|a| a.city = "\u{3164}".into()), ["city"]);
        assert_eq!(blamed(|a| a.postcode = Some("\u{feff}".into())), ["postcode"]);
        let mut given = address();
        (given.line2, given.phone) = (Some(" ".into()), Some("\u{200b}".into()));
        let stored = given.normalised().unwrap();
        assert_eq!((stored.line2, stored.phone), (None, None));
    }

    #[test]
    fn each_country_has_its_own_parts() {
        let at = |country: &str, postcode: Option<&str>, region: Option<&str>| {
            blamed(|a| {
                a.country = country.into();
                a.postcode = postcode.map(Into::into);
                a.region = region.map(Into::into);
            })
        };
        for country in ["HK", "AE", "PA"] {
            assert!(at(country, None, None).is_empty(), "{country}");
        }
        for country in ["US", "CA", "AU", "BR"] {
            assert_eq!(at(country, None, None), ["region", "postcode"], "{country}");
        }
        assert!(at("GB", Some("sw1y 4jh"), None).is_empty());
        for (country, postcode) in [("AU", "ABCD"), ("PT", "hello"), ("DE", "1"), ("US", "not a zip")] {
            assert_eq!(
                at(country, Some(postcode), Some("a state")),
                ["postcode"],
                "{country}"
            );
        }
    }

    #[test]
    fn phones_are_normalised() {
        let mut given = address();
        given.phone = Some("+1\u{a0}217\u{2013}555 ext. 5".into());
        assert_eq!(
            given.normalised().unwrap().phone.as_deref(),
            Some("+1 217-555 ext. 5")
        );
        assert_eq!(blamed(|a| a.phone = Some("+".into())), ["phone"]);
    }

    /// Addresses were stored with a postcode in any case.
    #[test]
    fn addresses_of_before_are_read() {
        let stored = r#"{"name":"A","line1":"B","line2":null,"city":"C","region":null,"postcode":"1","country":"US","phone":null}"#;
        let read: Address = serde_json::from_str(stored).unwrap();
        assert_eq!(read.postcode.as_deref(), Some("1"));
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
