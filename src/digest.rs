//! SHA-256, of bytes and of lists of parts.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};

/// Bytes that are read from a file at a time.
const PIECE: usize = 64 * 1024;

/// A SHA-256 hash.
pub type Sha256 = [u8; SHA256_OUTPUT_LEN];

/// The hash of bytes.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The hash of a file, which is read in pieces.
///
/// # Errors
/// Where it can't be read.
pub fn sha256_of_file(file: &Path) -> io::Result<Sha256> {
    let mut file = File::open(file)?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        context.update(&piece[..length]);
    }
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}

/// The hash of parts in hexadecimal. Each has its length before it, so that no two lists of parts look alike.
pub fn of_parts(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex::encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_sha256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            hex::encode(sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let counted = [&3_u64.to_be_bytes()[..], b"abc"].concat();
        assert_eq!(of_parts(&[b"abc"]), hex::encode(sha256(&counted)));
    }

    #[test]
    fn lists_of_parts_differ() {
        assert_ne!(of_parts(&[b"a", b"bc"]), of_parts(&[b"ab", b"c"]));
        assert_eq!(of_parts(&[]).len(), 64);
    }
}
