//! Lines of text that people fill in: names, streets, cities.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// The error of a line of text, if any; `limit` in characters.
pub(super) fn text_error(text: &str, limit: usize) -> Option<String> {
    if shows_nothing(text) {
        Some("must not be empty".to_owned())
    } else if text.chars().count() > limit {
        Some(format!("has more than {limit} characters"))
    } else if text.chars().any(is_unprintable) {
        Some("contains unprintable characters".to_owned())
    } else {
        None
    }
}

/// Whether the text is empty or looks so.
pub fn shows_nothing(text: &str) -> bool {
    // Braille without a dot has its width, and no ink.
    text.chars()
        .all(|character| character.is_whitespace() || is_invisible(character) || character == '\u{2800}')
}

/// Whether a character has no width and no ink: joiners, fillers, marks of direction
/// (<https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point>).
pub(super) fn is_invisible(character: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// Control characters, line separators, and bidirectional marks (a label could read differently from what is stored).
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_shows_nothing_is_empty() {
        for blank in [
            "",
            " \t",
            "\u{a0}",
            "\u{200b}",
            "\u{3164}",
            "\u{feff}",
            "\u{2800}",
            "\u{115f}\u{1160}",
            "\u{ad} \u{2060}",
        ] {
            assert_eq!(
                text_error(blank, 9).as_deref(),
                Some("must not be empty"),
                "{blank:?}"
            );
        }
        // A joiner belongs to how some words are written.
        for shown in ["a", "東", "می\u{200c}خواهم", "\u{200b}a", "-"] {
            assert_eq!(text_error(shown, 9), None, "{shown:?}");
        }
    }
}
