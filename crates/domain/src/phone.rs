//! Phone numbers, as people type and paste them.

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

use super::text::is_invisible;

/// Longest phone number as it is stored, in characters.
pub const PHONE_LIMIT: usize = 32;
/// Fewest digits: emergency and service numbers.
const FEWEST_DIGITS: usize = 3;
/// Most digits, without the extension (ITU-T E.164, section 6).
const MOST_DIGITS: usize = 15;
/// Most digits of an extension.
const EXTENSION_DIGITS: usize = 7;
/// How extensions are marked, in lower case, longer ones first (RFC 3966, section 5.3, for `;ext=`).
const EXTENSION_MARKS: [&str; 7] = [";ext=", "extension", "extn", "ext", "x", "#", ","];

/// The text is no phone number. Its message is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a phone number of {FEWEST_DIGITS} to {MOST_DIGITS} digits, such as +1 217 555 0100 or +1 217 555 0100 ext. 5"
)]
pub struct InvalidPhone;

/// The number as it is stored: ASCII digits, one `+` at most, at its start, the separators that were given, and the extension
/// as `ext. 5`. Whether it can be called, only a call can tell.
///
/// # Errors
/// [`InvalidPhone`]
pub fn normalise(text: &str) -> Result<String, InvalidPhone> {
    // What is much longer can't become short enough.
    if text.len() > 8 * PHONE_LIMIT {
        return Err(InvalidPhone);
    }
    let plain: String = text
        .chars()
        .filter(|character| !is_invisible(*character))
        .map(plain)
        .collect();
    let lower = plain.to_ascii_lowercase();
    let (number, extension) = EXTENSION_MARKS
        .iter()
        .find_map(|mark| lower.split_once(mark))
        .map_or((lower.as_str(), None), |(number, extension)| {
            (number, Some(extension))
        });
    let mut number = number.split_whitespace().collect::<Vec<_>>().join(" ");
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let is_separated = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'/' | b'(' | b')' | b' '))
    };
    let national = number.trim_start_matches([' ', '(']);
    let national = national.strip_prefix('+').unwrap_or(national);
    if !(FEWEST_DIGITS..=MOST_DIGITS).contains(&digits) || !is_separated(national) {
        return Err(InvalidPhone);
    }
    if let Some(extension) = extension {
        let extension = extension.trim_matches([' ', '.', ':']);
        let is_short = (1..=EXTENSION_DIGITS).contains(&extension.len());
        if !is_short || !extension.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPhone);
        }
        number = format!("{} ext. {extension}", number.trim_end());
    }
    if number.len() > PHONE_LIMIT {
        return Err(InvalidPhone);
    }
    Ok(number)
}

/// The ASCII character for a space, dash, sign or digit of typography and of East Asian keyboards; others stay.
fn plain(character: char) -> char {
    match character {
        '\u{ff0b}' => '+',
        '\u{ff08}' => '(',
        '\u{ff09}' => ')',
        '\u{2212}' => '-',
        '\u{ff10}'..='\u{ff19}' => char::from_digit(character as u32 - 0xff10, 10).unwrap_or(character),
        _ => match CodePointMapData::<GeneralCategory>::new().get(character) {
            GeneralCategory::SpaceSeparator => ' ',
            GeneralCategory::DashPunctuation => '-',
            _ => character,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_normalised() {
        for (text, stored) in [
            ("+1 (217) 555-0100", "+1 (217) 555-0100"),
            ("112", "112"),
            ("(+44) 20 7946 0000", "(+44) 20 7946 0000"),
            ("+49\u{a0}30\u{2013}901820", "+49 30-901820"),
            ("\u{202a}+49 30 901820\u{202c}", "+49 30 901820"),
            ("０３－１２３４－５６７８", "03-1234-5678"),
            ("  217  555 0100 ", "217 555 0100"),
            ("217 555 0100 ext. 5", "217 555 0100 ext. 5"),
            ("217 555 0100 EXT 5", "217 555 0100 ext. 5"),
            ("217.555.0100x5", "217.555.0100 ext. 5"),
            ("217 555 0100 extension: 12", "217 555 0100 ext. 12"),
            ("+1-217-555-0100;ext=5", "+1-217-555-0100 ext. 5"),
            ("217 555 0100 #5", "217 555 0100 ext. 5"),
        ] {
            assert_eq!(normalise(text).as_deref(), Ok(stored), "{text:?}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "+",
            "12",
            "++49 30 901820",
            "49+30",
            "call me",
            "1234567890123456",
            "217 555 0100 ext.",
            "217 555 0100 ext. five",
            "217 555 0100 ext. 12345678",
            "ext. 555",
            "1 2 3 4 5 6 7 8 9 0 1 2 3 4 ext. 1234567",
            &"1 ".repeat(1_000),
        ] {
            assert_eq!(normalise(text), Err(InvalidPhone), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_stored_is_stable_and_plain(text in "[+０-９0-9 ()./\u{a0}\u{2013}-]{0,24}( ?(ext|x|#) ?[0-9]{1,3})?") {
            if let Ok(stored) = normalise(&text) {
                prop_assert!(stored.is_ascii() && stored.len() <= PHONE_LIMIT);
                prop_assert_eq!(normalise(&stored), Ok(stored.clone()));
            }
        }
    }
}
