//! The one codec of everything that crosses a process boundary. bincode lives here and nowhere else: it is no longer
//! maintained (RUSTSEC-2025-0141), so that a successor has to be put into one file only.

use serde::{Serialize, de::DeserializeOwned};

/// First byte of every encoded value; another version is refused.
const VERSION: u8 = 2;

/// Largest value that is decoded, in bytes: below the 16 MiB at which ractor_cluster ends a session.
pub const DECODE_LIMIT: usize = 12 * 1024 * 1024;

/// Why bytes are no value, or a value has no bytes.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The first byte names another version of the format.
    #[error("the peer speaks version {0} of the wire format, this node version {VERSION}")]
    Version(u8),
    /// Nothing at all.
    #[error("the message is empty")]
    Empty,
    /// Larger than [`DECODE_LIMIT`].
    #[error("the message of {0} bytes is larger than {DECODE_LIMIT}")]
    TooLarge(usize),
    /// The bytes do not decode.
    #[error("the message does not decode")]
    Decode(#[from] bincode::error::DecodeError),
    /// The value does not encode.
    #[error("the message does not encode")]
    Encode(#[from] bincode::error::EncodeError),
    /// Bytes were left over.
    #[error("{0} bytes were left over")]
    Trailing(usize),
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT>()
}

/// Encodes a value behind its version byte.
///
/// # Errors
/// [`WireError::TooLarge`] or [`WireError::Encode`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, configuration())?;
    if bytes.len() > DECODE_LIMIT {
        return Err(WireError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Decodes what [`encode`] made; nothing may be left over.
///
/// # Errors
/// [`WireError`], never a panic, whatever the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > DECODE_LIMIT {
        return Err(WireError::TooLarge(bytes.len()));
    }
    let (&version, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let (value, used) = bincode::serde::decode_from_slice(body, configuration())?;
    if used != body.len() {
        return Err(WireError::Trailing(body.len() - used));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(value: (u64, String, Option<Vec<u8>>)) {
            prop_assert_eq!(decode::<(u64, String, Option<Vec<u8>>)>(&encode(&value).unwrap()).unwrap(), value);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = decode::<Vec<(String, u64)>>(&bytes);
        }
    }

    #[test]
    fn another_version_and_left_over_bytes_are_refused() {
        let mut bytes = encode(&7u64).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<u64>(&bytes), Err(WireError::Trailing(1))));
        bytes[0] = 9;
        assert!(matches!(decode::<u64>(&bytes), Err(WireError::Version(9))));
        assert!(matches!(decode::<u64>(&[]), Err(WireError::Empty)));
    }
}
