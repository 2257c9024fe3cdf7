//! Data on stdout.

use std::io::{self, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

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

/// A progress bar on stderr that looks as `template` says; invisible where that is not a terminal.
pub(super) fn progress(bar: ProgressBar, template: &'static str) -> ProgressBar {
    // A template is a constant; where it were wrong, the plain bar would do.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Writes a value as indented JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("the reply can't be written as JSON", error))?;
    line(&text)
}
