//! The password policy: a minimum length and a list of common passwords. No rule asks for digits or signs, which make
//! passwords harder to remember but not to guess.

use std::collections::BTreeSet;

use super::EmailAddress;

/// Shortest password, in characters.
pub const SHORTEST: usize = 10;
/// Longest password, in characters, to bound the cost of hashing.
pub const LONGEST: usize = 128;
/// Fewest distinct characters; below it a password counts as common: `aaaaaaaaaa`, `1212121212`.
const DISTINCT_MINIMUM: usize = 3;

/// Common passwords of at least [`SHORTEST`] characters in lower case, one per line, sorted.
static COMMON: &str = include_str!("common_passwords.txt");

/// Why a password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefusal {
    /// Fewer than [`SHORTEST`] characters.
    #[error("has fewer than {SHORTEST} characters")]
    TooShort,
    /// More than [`LONGEST`] characters.
    #[error("has more than {LONGEST} characters")]
    TooLong,
    /// It is among the first that attackers guess.
    #[error("is a common password")]
    Common,
    /// It is the e-mail address or the name.
    #[error("must not be the e-mail address or the name")]
    Personal,
}

/// Checks the password of an account with this e-mail address and name.
///
/// # Errors
/// [`PasswordRefusal`], the first that applies.
pub fn check(password: &str, email: &EmailAddress, name: &str) -> Result<(), PasswordRefusal> {
    check_strength(password)?;
    let lower = password.to_lowercase();
    let same = |other: &str| lower.trim() == other.trim().to_lowercase();
    let local_part = email.as_str().split('@').next().unwrap_or_default();
    if same(email.as_str()) || same(local_part) || same(name) {
        return Err(PasswordRefusal::Personal);
    }
    Ok(())
}

/// Checks a password regardless of the account.
///
/// # Errors
/// [`PasswordRefusal`], the first that applies.
pub fn check_strength(password: &str) -> Result<(), PasswordRefusal> {
    // Counts no further than the limit: the input may be huge.
    let characters = password.chars().take(LONGEST + 1).count();
    if characters < SHORTEST {
        return Err(PasswordRefusal::TooShort);
    }
    if characters > LONGEST {
        return Err(PasswordRefusal::TooLong);
    }
    let lower = password.to_lowercase();
    let distinct = lower.chars().collect::<BTreeSet<_>>().len();
    if distinct < DISTINCT_MINIMUM || COMMON.lines().any(|common| common == lower) {
        return Err(PasswordRefusal::Common);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(password: &str) -> Option<PasswordRefusal> {
        let email = EmailAddress::parse("ada.lovelace@example.org").unwrap();
        check(password, &email, "Augusta Ada King").err()
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(refusal("x7#kQ2m!9"), Some(PasswordRefusal::TooShort));
        assert_eq!(refusal("x7#kQ2m!9z"), None);
        // Nine characters in many more bytes.
        assert_eq!(refusal("pässwörtß"), Some(PasswordRefusal::TooShort));
        assert_eq!(refusal("mäßigkeit!"), None);
        let long: String = "ab c".chars().cycle().take(LONGEST).collect();
        assert_eq!(refusal(&long), None);
        assert_eq!(refusal(&format!("{long}d")), Some(PasswordRefusal::TooLong));
    }

    #[test]
    fn common_passwords_are_refused() {
        for password in [
            "password123",
            "PassWord123",
            "QWERTYUIOP",
            "1234567890",
            "aaaaaaaaaaaaa",
            "1212121212",
            "aAaAaAaAaA",
        ] {
            assert_eq!(refusal(password), Some(PasswordRefusal::Common), "{password}");
        }
        assert_eq!(refusal("password123 and more"), None);
    }

    #[test]
    fn email_and_name_are_refused() {
        for password in [
            "Ada.Lovelace@example.org",
            "ADA.LOVELACE",
            "augusta ada king",
            " Augusta Ada King ",
        ] {
            assert_eq!(refusal(password), Some(PasswordRefusal::Personal), "{password}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_lower_case() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.len() >= 200);
        assert!(lines.is_sorted_by(|one, next| one < next), "sorted, none twice");
        for line in lines {
            assert_eq!(line, line.to_lowercase().trim(), "{line:?}");
            assert!(line.chars().count() >= SHORTEST, "{line:?} needs no listing");
        }
    }

    proptest! {
        #[test]
        fn every_common_password_is_refused_in_any_case(index in any::<prop::sample::Index>(), capitals in any::<u64>()) {
            let lines: Vec<&str> = COMMON.lines().collect();
            let password: String = lines[index.index(lines.len())]
                .chars()
                .enumerate()
                .map(|(at, letter)| if capitals >> (at % 64) & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
                .collect();
            prop_assert_eq!(refusal(&password), Some(PasswordRefusal::Common));
        }

        #[test]
        fn nothing_is_accepted_outside_of_the_lengths(password in "\\PC{0,200}") {
            if refusal(&password).is_none() {
                let characters = password.chars().count();
                prop_assert!((SHORTEST..=LONGEST).contains(&characters));
            }
        }
    }
}
