//! Runs commands of the binary to their end.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::waiting::within;

/// The binary under test.
pub const SOUK: &str = env!("CARGO_BIN_EXE_souk");

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(120);

/// The result of a command.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Ended {
    /// Checks the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "exit code; stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "stdout is no JSON ({error}): {:?}\nstderr: {}",
                self.stdout, self.stderr
            )
        })
    }
}

/// A command of the binary without the caller's `SOUK_*` environment.
pub fn souk(arguments: &[&str], settings: &[(String, String)]) -> std::process::Command {
    let mut command = std::process::Command::new(SOUK);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if (name_text.starts_with("SOUK_") && !name_text.starts_with("SOUK_TEST_")) || name_text == "RUST_LOG"
        {
            command.env_remove(&name);
        }
    }
    command
        .args(arguments)
        .envs(settings.iter().map(|(name, value)| (name, value)));
    command
}

/// Runs a command of the binary to its end.
pub async fn run(arguments: &[&str], settings: &[(String, String)]) -> Ended {
    let mut command = tokio::process::Command::from(souk(arguments, settings));
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = within(&format!("souk {}", arguments.join(" ")), LIMIT, command.output())
        .await
        .expect("the binary can't be started");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have readable names")
}
