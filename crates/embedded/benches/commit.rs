//! What a durable transaction costs: 1, 8 and 32 of one row at once, replaced rows of about 500 bytes, through an engine in
//! this process. The time of the processor counts all of its threads.
//!
//! `cargo bench -p souk-embedded`; `SOUK_BENCH_ROUNDS` sets the rounds.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use souk_embedded::{Database, Engine, Schema, Statement, Writer};

const SCHEMAS: &[Schema] = &[Schema {
    name: "carts",
    migrations: &[
        "CREATE TABLE documents (id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL) STRICT",
    ],
    formers: &[],
}];

const WRITE: &str = "INSERT INTO documents (id, version, body) VALUES (?1, 1, ?2) \
     ON CONFLICT (id) DO UPDATE SET version = version + 1, body = excluded.body RETURNING id";

/// The rows that are written, one after the other.
const ROWS: usize = 10_000;

/// The processor time of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("since the start");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("below a second"))
}

fn main() {
    let rounds: usize =
        std::env::var("SOUK_BENCH_ROUNDS").map_or(2_000, |rounds| rounds.parse().expect("a number"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for at_once in [1, 8, 32] {
        let (took, processor) = runtime.block_on(measure(at_once, rounds));
        let transactions = u32::try_from(at_once * rounds).expect("fits");
        println!(
            "{at_once} at once: {:.1} µs a transaction, {:.1} µs of the processor",
            took.as_secs_f64() * 1e6 / f64::from(transactions),
            processor.as_secs_f64() * 1e6 / f64::from(transactions)
        );
    }
}

async fn measure(at_once: usize, rounds: usize) -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = Writer::in_process(Engine::open(folder.path(), SCHEMAS).expect("an engine"));
    let database = Database::open(&writer, folder.path(), "carts")
        .await
        .expect("a database");
    let body = "x".repeat(500);
    let (began, processor) = (Instant::now(), processor_time());
    for round in 0..rounds {
        let writes = (0..at_once).map(|number| {
            let id = (round * at_once + number) % ROWS;
            let statement = Statement::new(WRITE)
                .bind(format!("cart-{id}"))
                .bind(body.as_str());
            database.transact(vec![statement])
        });
        for outcome in join_all(writes).await {
            outcome.expect("a commit");
        }
    }
    (began.elapsed(), processor_time() - processor)
}
