//! Bytes as text.

use std::fmt;

/// Bytes as lower-case hexadecimal digits.
pub struct Hexadecimal<'a>(pub &'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits() {
        assert_eq!(Hexadecimal(&[0, 1, 0xab, 0xff]).to_string(), "0001abff");
    }
}
