//! The text form of a sealed value.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cipher::NONCE_BYTES;
use super::keyring::SealingError;

/// Prefix of a sealed value of any version.
const MARK: &str = "sealed:v";
/// Prefix of a sealed value of this version; the key's id, a colon and the rest in base64url follow.
const PREFIX: &str = "sealed:v1:";

/// A sealed value: `sealed:v1:KEY:BASE64`, where the last part is nonce, ciphertext and tag. It may be shown, since it
/// reveals only its key's id and its length.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedText(String);

impl SealedText {
    /// From the parts: `sealed` is nonce, ciphertext and tag.
    pub(super) fn new(key: &str, sealed: &[u8]) -> Self {
        Self(format!("{PREFIX}{key}:{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Whether a stored text is a sealed value.
    pub fn recognise(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// Whether a JSON text may contain a sealed value. Fast: most rows of most stores contain none.
    pub fn may_occur_in(json: &str) -> bool {
        json.contains("\"sealed:v")
    }

    /// The id of the key that a value is sealed under; `None` for anything but a sealed value of this version.
    pub fn key_of(text: &str) -> Option<&str> {
        text.strip_prefix(PREFIX)?.split_once(':').map(|(key, _)| key)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// The parts of a text: the key's id, the nonce, and ciphertext with tag.
pub(super) fn parts(text: &str) -> Result<(&str, [u8; NONCE_BYTES], Vec<u8>), SealingError> {
    let (key, encoded) = text
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once(':'))
        .ok_or(SealingError::Malformed)?;
    let mut bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| SealingError::Malformed)?;
    let nonce = bytes
        .first_chunk::<NONCE_BYTES>()
        .copied()
        .ok_or(SealingError::Malformed)?;
    bytes.drain(..NONCE_BYTES);
    Ok((key, nonce, bytes))
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SealedText(under {})",
            Self::key_of(&self.0).unwrap_or_default()
        )
    }
}
