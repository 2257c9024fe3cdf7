//! A cluster of this machine for the length of one command: `souk demo` in a temporary folder, on ports that the system chooses.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::Failure;

/// Longest time until a demo is ready.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Longest time for a demo to stop its nodes.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Characters of a demo's log that are shown where it does not start.
const LOG_SHOWN: usize = 2_000;

/// An account with its password.
#[derive(Clone, Deserialize)]
pub struct Credentials {
    /// The address it signs in with.
    pub email: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// The line that `souk demo` prints when it is ready.
#[derive(Deserialize)]
pub struct Ready {
    /// The shop of each node.
    pub shop: Vec<String>,
    /// The operator's address of each node.
    pub operator: Vec<String>,
    /// The cluster's configuration.
    pub config: PathBuf,
    /// An account that may do everything.
    pub admin: Credentials,
    /// The operator's token.
    pub operator_token: String,
}

/// A running demo. Where it is dropped without [`Demo::stop`], the demo is killed, and its nodes end with it.
pub struct Demo {
    process: Child,
    /// What it said when it was ready.
    pub ready: Ready,
    _folder: TempDir,
}

impl Demo {
    /// Starts `nodes` nodes with `products` products on the stores of a configuration, or on embedded ones, and waits until they are
    /// ready.
    ///
    /// # Errors
    /// [`Failure`] where they do not become ready.
    pub async fn start(
        souk: &Path,
        nodes: u16,
        products: u64,
        stores: Option<&Path>,
    ) -> Result<Self, Failure> {
        match Self::try_start(souk, nodes, products, stores).await {
            // Somebody took a port between its choice and its use: once more, with others.
            Err(Failure::Plain(text)) if text.contains("Address already in use") => {
                Self::try_start(souk, nodes, products, stores).await
            }
            started => started,
        }
    }

    async fn try_start(
        souk: &Path,
        nodes: u16,
        products: u64,
        stores: Option<&Path>,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("souk-loadtest-")
            .tempdir()
            .map_err(|error| Failure::failed("no temporary folder can be made", error))?;
        let log = folder.path().join("demo.log");
        let errors = std::fs::File::create(&log)
            .map_err(|error| Failure::failed("the demo's log can't be written", error))?;
        let mut command = Command::new(souk);
        command.args(["demo", "--port", "0"]);
        if let Some(stores) = stores {
            command.arg("--stores").arg(stores);
        }
        let mut process = command
            .args(["--nodes", &nodes.to_string(), "--products", &products.to_string()])
            .arg("--data")
            .arg(folder.path().join("data"))
            // Few clients make all of the load here: how often one may call is not what is measured.
            .env("SOUK_GATEWAY__REQUESTS_PER_MINUTE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::failed(format!("{} can't be started", souk.display()), error))?;
        let output = process
            .stdout
            .take()
            .ok_or_else(|| Failure::Plain("the demo has no standard output".into()))?;
        let line = match timeout(START_LIMIT, BufReader::new(output).lines().next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => return Err(not_ready("it ended", &log)),
            Err(_) => {
                return Err(not_ready(
                    &format!("{} s have passed", START_LIMIT.as_secs()),
                    &log,
                ));
            }
        };
        let ready = serde_json::from_str(&line)
            .map_err(|error| Failure::failed("the demo's ready line is not the documented one", error))?;
        Ok(Self {
            process,
            ready,
            _folder: folder,
        })
    }

    /// Stops the nodes in order, and removes their folder.
    ///
    /// # Errors
    /// [`Failure`] where the demo does not end, or not well.
    pub async fn stop(mut self) -> Result<(), Failure> {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)
                .map_err(|error| Failure::failed("the demo can't be stopped", error))?;
        }
        match timeout(STOP_LIMIT, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::Plain(format!("the demo ended badly: {status}"))),
            Ok(Err(error)) => Err(Failure::failed("the demo can't be waited for", error)),
            Err(_) => Err(Failure::Plain(format!(
                "the demo did not stop within {} s, and was killed",
                STOP_LIMIT.as_secs()
            ))),
        }
    }
}

fn not_ready(why: &str, log: &Path) -> Failure {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let from = text.char_indices().rev().nth(LOG_SHOWN).map_or(0, |(at, _)| at);
    Failure::Plain(format!(
        "the demo did not become ready ({why}): {}",
        text[from..].trim()
    ))
}
