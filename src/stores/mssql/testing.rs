//! Substitutes for SQL Server in tests: a small engine, where its dialect allows, and a peer with scripted replies.

pub mod peer;

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

use tokio::process::Command;

use super::connection::Server;
use super::values::Query;
use crate::stores::testing::own_server::OwnServer;
use crate::stores::testing::{is_required, until};

/// Names the program `iridium-server`. All tests of the process talk to it in its own dialect then.
const VARIABLE: &str = "SOUK_TEST_IRIDIUM";

/// The small engine has no named locks; everybody gets every one.
const NAMED_LOCKS: [&str; 2] = [
    "CREATE PROCEDURE sp_getapplock @Resource nvarchar(255), @LockMode nvarchar(32), @LockOwner nvarchar(32), @LockTimeout int \
     AS RETURN 0",
    "CREATE PROCEDURE sp_releaseapplock @Resource nvarchar(255), @LockOwner nvarchar(32) AS RETURN 0",
];

fn program() -> Option<&'static str> {
    static PROGRAM: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::env::var(VARIABLE).ok().filter(|program| !program.is_empty());
    PROGRAM.get_or_init(read).as_deref()
}

/// What the small engine understands of a statement: it has no collations but its own, no filtered indexes, no unique keys of
/// several columns, no hints of joins, and
/// no milliseconds, and `varchar(max)` in a way that the driver does not read.
pub(super) fn translated(sql: Cow<'_, str>) -> Cow<'_, str> {
    const WORDS: [(&str, &str); 10] = [
        (" COLLATE Latin1_General_100_BIN2_UTF8", ""),
        ("INNER LOOP JOIN", "INNER JOIN"),
        (") WHERE due_at IS NOT NULL;", ");"),
        (") WHERE owner IS NOT NULL;", ");"),
        (") WHERE retry_at IS NOT NULL;", ");"),
        (
            "DATEDIFF_BIG(millisecond, '19700101', SYSUTCDATETIME())",
            "CAST(1800000000000 AS bigint)",
        ),
        (",\n    UNIQUE (entity, version, ordinal)", ""),
        ("COUNT_BIG(", "COUNT("),
        ("varchar(", "nvarchar("),
        ("nnvarchar(", "nvarchar("),
    ];
    if program().is_none() {
        return sql;
    }
    if sql.starts_with("SET ANSI_NULLS, ") {
        return "SET XACT_ABORT ON; SET NOCOUNT ON".into();
    }
    if sql.contains("is_read_committed_snapshot_on") {
        return "SELECT CAST(1 AS bigint), N'DISABLED'".into();
    }
    WORDS
        .iter()
        .fold(sql, |sql, (from, to)| sql.replace(from, to).into())
}

/// The small engine in a process of the test's own.
pub struct SmallEngine {
    server: OwnServer,
}

impl SmallEngine {
    /// Starts it; nothing where it is not there, unless it is required.
    pub async fn start() -> Option<Self> {
        if program().is_none() {
            assert!(!is_required("iridium"), "{VARIABLE} is not set");
            println!("skipped: {VARIABLE} is not set");
            return None;
        }
        let server = OwnServer::start(command).await?;
        let engine = Self { server };
        let place = Server::parse("orders", &engine.url()).await.unwrap();
        let mut session = until("signing in", async || place.sign_in().await.ok()).await;
        for procedure in NAMED_LOCKS {
            Query::new(procedure).rows(&mut session).await.unwrap();
        }
        Some(engine)
    }

    /// Its address.
    pub fn url(&self) -> String {
        url(self.server.port())
    }

    /// Ends it by SIGKILL, and starts it anew.
    pub async fn crash(&mut self) {
        self.server.kill().await;
        self.server.restart().await;
    }
}

fn command(port: u16, folder: &Path) -> Command {
    let mut command = Command::new(program().unwrap_or("iridium-server"));
    command.args(["--host", "127.0.0.1", "--no-tls", "-u", "sa", "-P", "Souk_12345"]);
    command
        .args(["--port", &port.to_string(), "--data-dir"])
        .arg(folder);
    command
}

/// The address of a server on this port of loopback.
pub fn url(port: u16) -> String {
    format!("mssql://sa:Souk_12345@127.0.0.1:{port}/master?encrypt=off")
}
