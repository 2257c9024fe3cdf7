//! Resident memory: of a live idle cart at 100,000, and with 1,000,000 carts touched while the cap on live entities
//! holds.
//!
//! `cargo bench --bench memory`

#[path = "support/mod.rs"]
#[allow(dead_code)] // Each bench uses its part of it.
mod support;

use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::{StreamExt, stream};
use support::{Rig, add, ask};

/// Live carts in the first part.
const LIVE: usize = 100_000;
/// Carts touched in the second.
const TOUCHED: usize = 1_000_000;
/// The cap in the second.
const CAP: usize = 100_000;
/// Carts asked at once.
const CONCURRENCY: usize = 512;

/// Resident bytes of this process, as the kernel counts them in pages of 4 KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux kernel");
    let pages: usize = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * 4096
}

async fn touch(rig: &Rig, from: usize, until: usize) {
    stream::iter(from..until)
        .for_each_concurrent(CONCURRENCY, |number| async move {
            let id = format!("crt_{number:032x}");
            rig.carts.ask(&id, ask(add())).await.expect("an answer");
        })
        .await;
}

async fn live_carts() {
    let rig = Rig::start(10 * LIVE).await;
    touch(&rig, 0, 1_000).await;
    let before = resident();
    touch(&rig, 1_000, 1_000 + LIVE).await;
    let grown = resident() - before;
    println!(
        "a live idle cart at {LIVE}: {:.1} KB resident",
        grown as f64 / LIVE as f64 / 1000.0
    );
}

async fn capped_carts() {
    let rig = Rig::start(CAP).await;
    let began = Instant::now();
    let (mut most, mut peak) = (0, 0);
    for step in 0..100 {
        touch(&rig, step * TOUCHED / 100, (step + 1) * TOUCHED / 100).await;
        most = most.max(rig.carts.context().entity.metrics.live.load(Ordering::Relaxed));
        peak = peak.max(resident());
    }
    println!(
        "{TOUCHED} carts touched with a cap of {CAP}: at most {most} live, {:.0} MB resident at most, {:.1} s",
        peak as f64 / 1e6,
        began.elapsed().as_secs_f64()
    );
}

/// Each part has a process of its own, so that one does not find the other's memory.
#[tokio::main]
async fn main() {
    match std::env::var("SOUK_BENCH_PART").as_deref() {
        Ok("live") => live_carts().await,
        Ok("capped") => capped_carts().await,
        _ => {
            let own = std::env::current_exe().expect("this binary");
            for part in ["live", "capped"] {
                let status = std::process::Command::new(&own)
                    .env("SOUK_BENCH_PART", part)
                    .status();
                assert!(status.expect("a process").success(), "the part {part} failed");
            }
        }
    }
}
