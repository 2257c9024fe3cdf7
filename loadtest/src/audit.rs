//! `souk audit` on the cluster that was loaded: figures of a shop that broke an invariant are worth nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::failure::{Failure, Outcome};

/// Longest time for an audit.
const LIMIT: Duration = Duration::from_secs(600);

/// Audits the cluster of `config`, and prints the result to stderr.
///
/// # Errors
/// [`Failure`] where it can't be audited.
pub async fn audit(souk: &Path, config: &Path) -> Result<Outcome, Failure> {
    let audit = Command::new(souk)
        .args(["audit", "--json", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(LIMIT, audit)
        .await
        .map_err(|_| Failure::Plain(format!("the audit did not end within {} s", LIMIT.as_secs())))?
        .map_err(|error| Failure::failed(format!("{} audit can't be started", souk.display()), error))?;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match report["violations"].as_array() {
        Some(violations) if violations.is_empty() && output.status.success() => {
            eprintln!("audit: every invariant holds");
            Ok(Outcome::Done)
        }
        Some(violations) if !violations.is_empty() => {
            for violation in violations {
                eprintln!("audit: {violation}");
            }
            eprintln!(
                "THE FIGURES ARE VOID: the audit found {} violations",
                violations.len()
            );
            Ok(Outcome::Wrong)
        }
        _ => Err(Failure::Plain(format!(
            "souk audit: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that prints `report` and ends with `code`, in the place of souk.
    async fn audited(report: &str, code: u8) -> Result<Outcome, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("souk");
        std::fs::write(
            &program,
            format!("#!/bin/sh\necho '{report}'\necho reason >&2\nexit {code}\n"),
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        audit(&program, Path::new("cluster.toml")).await
    }

    #[tokio::test]
    async fn a_violation_makes_the_figures_void() {
        assert_eq!(audited(r#"{"violations":[]}"#, 0).await.unwrap(), Outcome::Done);
        assert_eq!(
            audited(r#"{"violations":["oversold"]}"#, 1).await.unwrap(),
            Outcome::Wrong
        );
        let failure = audited("", 1).await.unwrap_err();
        assert!(failure.to_string().contains("reason"), "{failure}");
    }
}
