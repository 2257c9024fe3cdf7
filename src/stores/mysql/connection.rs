//! Opens connections.

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, raw_sql};
use tokio::time::timeout;

use super::{Mysql, values};
use crate::stores::StoreError;
use crate::stores::sql::Columns;
use crate::stores::sql_pool::{
    ABANDONED_LIMIT, CONNECT_LIMIT, Connection, STATEMENT_LIMIT, refused, unavailable,
};
use souk_embedded::Rows;

/// How long a statement waits for the lock of a row before it is repeated.
const LOCK_LIMIT_SECONDS: u64 = 2;
/// After this long without a statement the server closes a connection: twice as long as the pool keeps one.
const SILENCE_LIMIT_SECONDS: u64 = 600;
/// The oldest servers with all that is used.
const OLDEST_MARIADB: (u32, u32) = (10, 6);
const OLDEST_MYSQL: (u32, u32) = (8, 0);
/// The server must take statements of this many bytes (`max_allowed_packet`).
pub(in crate::stores) const STATEMENT_BYTES: usize = 16 * 1024 * 1024;

/// Parameters that a URL may have. The driver ignores others, and so a misspelt one that was meant to protect.
const PARAMETERS: &[&str] = &[
    "ssl-mode", "sslmode", "ssl-ca", "sslca", "ssl-cert", "sslcert", "ssl-key", "sslkey", "socket",
];

/// Names of the session, and what it needs to know of the server.
const CHECK: &str = "SELECT VERSION(), CAST(@@global.read_only AS CHAR), @@global.max_allowed_packet, \
     @@global.innodb_page_size, GET_LOCK('{name}', 0)";

/// Settings by which the server keeps what it acknowledges.
const SETTINGS: &str = "SELECT @@global.innodb_flush_log_at_trx_commit, @@global.log_bin, @@global.sync_binlog, \
     CAST(@@global.binlog_format AS CHAR), CAST(@@global.innodb_doublewrite AS CHAR)";

/// Where a store is kept. Has a password: no `Debug`.
pub struct Server {
    pub(super) store: &'static str,
    options: MySqlConnectOptions,
}

/// A session, by the named lock that it holds as long as it lives: the numbers of sessions are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend(pub(super) String);

impl Server {
    /// The server of a URL.
    pub(super) fn parse(store: &'static str, url: &str) -> Result<Self, StoreError> {
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        let names = parameters
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or(pair));
        for name in names.filter(|name| !name.is_empty()) {
            if !PARAMETERS.contains(&name) {
                let known = PARAMETERS.join(", ");
                return Err(refused(
                    store,
                    format!("the URL has the unknown parameter {name}; known are {known}"),
                ));
            }
        }
        let options: MySqlConnectOptions = url.parse().map_err(|error: sqlx::Error| refused(store, error))?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(refused(
                store,
                "the URL names no database: mysql://USER:PASSWORD@HOST:PORT/DATABASE",
            ));
        }
        let options = options
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .disable_statement_logging();
        Ok(Self { store, options })
    }
}

/// Settings of a session. What stands in a comment is executed by MariaDB alone, or by MySQL from that version on.
fn settings() -> String {
    let (statement, abandoned) = (STATEMENT_LIMIT.as_secs(), ABANDONED_LIMIT.as_secs());
    let milliseconds = STATEMENT_LIMIT.as_millis();
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, \
         innodb_lock_wait_timeout = {LOCK_LIMIT_SECONDS}, wait_timeout = {SILENCE_LIMIT_SECONDS} \
         /*M! , max_statement_time = {statement}, idle_transaction_timeout = {abandoned} */ \
         /*!80000 , max_execution_time = {milliseconds} */"
    )
}

/// Opens a connection to a server that fits.
pub(super) async fn connect(server: &Server) -> Result<Connection<Mysql>, StoreError> {
    let store = server.store;
    let name = format!("souk {}", uuid::Uuid::new_v4().simple());
    let opened = timeout(CONNECT_LIMIT, async {
        let mut session = server.options.connect().await?;
        let sql = format!("{}; {}", settings(), CHECK.replace("{name}", &name));
        let rows = ask(&mut session, sql).await?;
        Ok::<_, sqlx::Error>((session, rows))
    })
    .await
    .map_err(|error| unavailable(store, error))?;
    let (session, mut rows) = opened.map_err(|error| unavailable(store, error))?;
    check(Columns::new(store, rows.pop().unwrap_or_default()), store)?;
    Ok(Connection {
        session,
        backend: Backend(name),
    })
}

/// Whether a server fits that answers this to [`CHECK`].
fn check(mut row: Columns, store: &'static str) -> Result<(), StoreError> {
    fits(store, &row.text("version")?)?;
    if !["0", "OFF"].contains(&row.text("read_only")?.as_str()) {
        return Err(unavailable(
            store,
            "the server only reads (read_only); the URL must lead to the primary",
        ));
    }
    let bytes: usize = row.integer("max_allowed_packet")?;
    if bytes < STATEMENT_BYTES {
        return Err(refused(
            store,
            format!("max_allowed_packet of the server is {bytes}; it must be {STATEMENT_BYTES} or more"),
        ));
    }
    let page: u32 = row.integer("innodb_page_size")?;
    if page < 16 * 1024 {
        return Err(refused(
            store,
            format!("innodb_page_size of the server is {page}; keys need pages of 16384 or more"),
        ));
    }
    if row.optional_integer("the session's lock")? != Some(1) {
        return Err(unavailable(store, "the server gave the session no named lock"));
    }
    Ok(())
}

/// Whether a server of this version has all that is used.
fn fits(store: &'static str, version: &str) -> Result<(), StoreError> {
    let (product, oldest) = if version.contains("MariaDB") {
        ("MariaDB", OLDEST_MARIADB)
    } else {
        ("MySQL", OLDEST_MYSQL)
    };
    let mut numbers = version
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < oldest {
        let (major, minor) = oldest;
        return Err(refused(
            store,
            format!("the server is {version}; {product} must be {major}.{minor} or later"),
        ));
    }
    Ok(())
}

/// Runs statements and gives their rows.
pub(super) async fn ask(session: &mut MySqlConnection, sql: String) -> Result<Rows, sqlx::Error> {
    values::rows(&raw_sql(AssertSqlSafe(sql)).fetch_all(session).await?)
}

/// Warns of settings with which the server acknowledges what it may lose.
pub(super) async fn check_settings(
    connection: &mut Connection<Mysql>,
    store: &'static str,
) -> Result<(), StoreError> {
    let rows = ask(&mut connection.session, SETTINGS.to_owned()).await;
    let row = rows.map_err(|error| unavailable(store, error))?.pop();
    let mut row = Columns::new(store, row.unwrap_or_default());
    let flush: i64 = row.integer("innodb_flush_log_at_trx_commit")?;
    let has_binlog = row.integer::<i64>("log_bin")? != 0;
    let sync: i64 = row.integer("sync_binlog")?;
    let format = row.text("binlog_format")?;
    let doublewrite = row.text("innodb_doublewrite")?;
    if has_binlog && format == "STATEMENT" {
        return Err(refused(
            store,
            "binlog_format of the server is STATEMENT, with which it can't write at READ COMMITTED; it must be ROW or MIXED",
        ));
    }
    for (setting, is_right, right) in [
        ("innodb_flush_log_at_trx_commit", flush == 1, "1"),
        ("sync_binlog", !has_binlog || sync == 1, "1"),
        (
            "innodb_doublewrite",
            !["0", "OFF"].contains(&doublewrite.as_str()),
            "ON",
        ),
    ] {
        if !is_right {
            tracing::warn!(
                store,
                setting,
                "this setting of the server must be {right}: acknowledged writes may be lost when it fails"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_can_not_keep_rows_are_refused() {
        let checked = |read_only: &str, packet: i64, page: i64, lock: i64| {
            let row = vec![
                "11.4.2-MariaDB".into(),
                read_only.into(),
                packet.into(),
                page.into(),
                lock.into(),
            ];
            check(Columns::new("carts", row), "carts")
        };
        let (packet, page) = (16 * 1024 * 1024, 16 * 1024);
        for read_only in ["0", "OFF"] {
            checked(read_only, packet, page, 1).unwrap();
        }
        for read_only in ["1", "ON", "NO_LOCK_NO_ADMIN"] {
            let replica = checked(read_only, packet, page, 1);
            assert!(
                matches!(replica, Err(StoreError::Unavailable { .. })),
                "{read_only}"
            );
        }
        for (packet, page) in [(packet - 1, page), (packet, 8 * 1024)] {
            let small = checked("0", packet, page, 1);
            assert!(matches!(small, Err(StoreError::Refused { .. })));
        }
        assert!(checked("0", packet, page, 0).is_err());
    }

    #[test]
    fn old_servers_are_refused() {
        for version in [
            "10.11.14-MariaDB-0+deb12u2",
            "11.8.3-MariaDB",
            "8.0.36",
            "8.4.0-log",
            "10.6.1-MariaDB",
        ] {
            fits("carts", version).unwrap();
        }
        for version in ["10.5.29-MariaDB", "5.7.44", "5.5.5-MariaDB", "unknown"] {
            assert!(
                matches!(fits("carts", version), Err(StoreError::Refused { .. })),
                "{version}"
            );
        }
    }
}
