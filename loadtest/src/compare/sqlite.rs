//! A plain SQLite that writes the rows of PostgreSQL's checkout, one transaction each: write-ahead log, `synchronous=FULL`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::{PIECES, SKUS, draw_skus};
use crate::failure::Failure;

/// Threads, each with a connection. They take turns: SQLite has one writer at a time, and would make the others poll.
pub const WRITERS: usize = 4;

const SCHEMA: &str = "
    CREATE TABLE stock (sku INTEGER PRIMARY KEY, on_hand INTEGER NOT NULL CHECK (on_hand >= 0));
    CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer TEXT, body TEXT, created_at TEXT DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE lines (order_id INTEGER, sku INTEGER, quantity INTEGER);
    CREATE INDEX lines_by_order ON lines (order_id);";

/// A database in a temporary folder.
pub struct Sqlite {
    writers: Vec<Arc<Mutex<Connection>>>,
    body: Arc<str>,
    _folder: tempfile::TempDir,
}

fn failed(error: rusqlite::Error) -> Failure {
    Failure::failed("SQLite", error)
}

impl Sqlite {
    /// Makes one.
    ///
    /// # Errors
    /// [`Failure`] where it can't be written.
    pub fn start() -> Result<Self, Failure> {
        let folder =
            tempfile::tempdir().map_err(|error| Failure::failed("no temporary folder can be made", error))?;
        let file = folder.path().join("shop.db");
        let mut first = open(&file).map_err(failed)?;
        fill(&mut first).map_err(failed)?;
        let others = (1..WRITERS).map(|_| open(&file));
        let writers: Result<Vec<_>, _> = std::iter::once(Ok(first)).chain(others).collect();
        Ok(Self {
            writers: writers
                .map_err(failed)?
                .into_iter()
                .map(|writer| Arc::new(Mutex::new(writer)))
                .collect(),
            body: "x".repeat(500).into(),
            _folder: folder,
        })
    }

    /// Transactions a second over `length`.
    ///
    /// # Errors
    /// [`Failure`] where one fails.
    pub async fn rate(&self, length: Duration) -> Result<f64, Failure> {
        let began = Instant::now();
        let turn = Arc::new(Mutex::new(()));
        let writing: Vec<_> = self
            .writers
            .iter()
            .map(|writer| {
                let (writer, turn, body) = (Arc::clone(writer), Arc::clone(&turn), Arc::clone(&self.body));
                tokio::task::spawn_blocking(move || {
                    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut done = 0_u64;
                    while began.elapsed() < length {
                        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                        done += u64::from(checkout(&mut writer, &body)?);
                    }
                    Ok::<_, rusqlite::Error>(done)
                })
            })
            .collect();
        let mut done = 0;
        for writer in writing {
            let counted = writer
                .await
                .map_err(|error| Failure::failed("a writer of SQLite ended early", error))?;
            done += counted.map_err(failed)?;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

fn fill(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    for sku in 1..=SKUS {
        transaction.execute("INSERT INTO stock VALUES (?1, ?2)", (sku, PIECES))?;
    }
    transaction.commit()
}

/// One checkout; whether there was stock for it.
fn checkout(connection: &mut Connection, body: &str) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let skus = draw_skus();
    {
        let update = "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = ?1 AND on_hand >= 1";
        let mut take = transaction.prepare_cached(update)?;
        for sku in skus {
            if take.execute([sku])? == 0 {
                // Undone with the transaction.
                return Ok(false);
            }
        }
        let mut place =
            transaction.prepare_cached("INSERT INTO orders (buyer, body) VALUES ('somebody', ?1)")?;
        let order = place.insert([body])?;
        let mut line = transaction.prepare_cached("INSERT INTO lines VALUES (?1, ?2, 1)")?;
        for sku in skus {
            line.execute((order, sku))?;
        }
    }
    transaction.commit()?;
    Ok(true)
}
