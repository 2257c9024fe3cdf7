//! Every scenario of `loadtest goose` for a few seconds: every reply is right, and the audit finds every invariant kept. What
//! it measures means nothing here.
//!
//! The binary of souk is that of `$SOUK_BINARY`, or the one in the target folder (`cargo build` makes it).

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest wait for a start, an end or a run, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(180);

fn souk() -> PathBuf {
    let neighbour = || Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("souk");
    let souk = std::env::var_os("SOUK_BINARY").map_or_else(neighbour, PathBuf::from);
    assert!(
        souk.is_file(),
        "there is no {}: build it with `cargo build`, or name another in $SOUK_BINARY",
        souk.display()
    );
    souk
}

/// A running demo, and the file with its ready line.
struct Demo {
    process: Child,
    ready: PathBuf,
    _folder: tempfile::TempDir,
}

impl Demo {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(souk())
            .args([
                "demo",
                "--port",
                "0",
                "--nodes",
                "3",
                "--products",
                "60",
                "--data",
            ])
            .arg(folder.path().join("data"))
            .env("SOUK_GATEWAY__REQUESTS_PER_MINUTE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let ready = folder.path().join("ready.json");
        std::fs::write(&ready, line.expect("the demo ended before it was ready")).unwrap();
        Self {
            process,
            ready,
            _folder: folder,
        }
    }

    async fn stop(mut self) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        let status = timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap();
        assert!(status.success(), "the demo ended with {status}");
    }
}

async fn loadtest(arguments: &[&str], demo: &Demo) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(arguments)
        .arg("--ready")
        .arg(&demo.ready)
        .arg("--souk")
        .arg(souk())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(PATIENCE, run)
        .await
        .expect("a run that does not end")
        .unwrap()
}

/// Runs a scenario, whose output must contain each of `events`.
async fn scenario(name: &str, more: &[&str], events: &[&str], demo: &Demo) {
    let arguments = [&["goose", name, "--users", "6", "--seconds", "6"], more].concat();
    let output = loadtest(&arguments, demo).await;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
    assert!(
        err.contains("every invariant holds"),
        "{name} was not audited:\n{err}"
    );
    for event in events {
        assert!(out.contains(event), "{name}: no {event:?}\n{out}");
    }
}

#[tokio::test]
async fn every_journey_gets_the_right_replies() {
    let demo = Demo::start().await;
    let report = demo.ready.with_file_name("report.html");
    let with_report = ["--report", report.to_str().unwrap()];
    scenario("steady", &with_report, &["journeys: browse", "0 failed"], &demo).await;
    assert!(std::fs::read_to_string(&report).unwrap().contains("/v1/products"));
    scenario(
        "flash-sale",
        &["--pieces", "5"],
        &["sold out", "5 sold, 0 left"],
        &demo,
    )
    .await;
    scenario("black-friday", &[], &["0 failed"], &demo).await;
    scenario("zipf", &[], &["orders confirmed"], &demo).await;
    scenario("marketplace", &[], &["orders confirmed"], &demo).await;
    demo.stop().await;
}

/// A loadtest that found nothing wrong with anything would be of no use.
#[tokio::test]
async fn a_wrong_reply_fails_the_run() {
    let demo = Demo::start().await;
    let text = std::fs::read_to_string(&demo.ready).unwrap();
    let mut ready: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Merchants who are shoppers: 403 is documented, and right in no journey.
    ready["admin"] = ready["shopper"].clone();
    std::fs::write(&demo.ready, ready.to_string()).unwrap();
    let output = loadtest(&["goose", "marketplace", "--users", "2", "--seconds", "2"], &demo).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("403"));
    std::fs::write(&demo.ready, text).unwrap();
    demo.stop().await;
}
