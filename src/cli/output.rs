//! Data on stdout.

use std::io::{self, Write as _};

use super::Failure;

/// Writes one line (or several) to stdout at once. A closed pipe (`| head`) is not a failure.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("stdout can't be written", error))
        }
        _ => Ok(()),
    }
}

/// Writes a value as indented JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("the reply can't be written as JSON", error))?;
    line(&text)
}
