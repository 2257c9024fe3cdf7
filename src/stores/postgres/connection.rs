//! Opens connections.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, query};
use tokio::time::timeout;

use super::{Postgres, values};
use crate::stores::StoreError;
use crate::stores::sql::Columns;
use crate::stores::sql_pool::{
    ABANDONED_LIMIT, CONNECT_LIMIT, Connection, STATEMENT_LIMIT, refused, unavailable,
};

/// Memory of a statement before it uses a temporary file. The largest is a batch of rows with their bodies.
const WORKING_MEMORY: &str = "16MB";
/// Statements that a connection keeps prepared.
const PREPARED: usize = 100;
/// The oldest server with all functions that are used, as `server_version_num` has it.
const OLDEST_SERVER: i64 = 140_000;

/// Each statement is written for one plan, by nested loops over indexes, whatever its values. To plan it anew for each call would cost as much as to run
/// it; and a scan that was right for a small table must not stay when the table grows.
const PLANNER: &[(&str, &str)] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_sort", "off"),
    ("jit", "off"),
];

/// Parameters that a URL may have. The driver would log the value of another one, which may be a password.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

const CHECK: &str = "SELECT pid::int8, backend_start::text, pg_is_in_recovery(), \
         current_setting('server_version_num')::int8, current_setting('server_encoding') \
     FROM pg_stat_activity WHERE pid = pg_backend_pid()";
const SETTINGS: &str = "SELECT name, setting FROM pg_settings \
     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'";

/// Where a store is kept. Has a password: no `Debug`.
pub struct Server {
    pub(super) store: &'static str,
    pub(super) schema: String,
    options: PgConnectOptions,
}

/// A session of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The process.
    pub(super) id: i64,
    /// When it began, as the server writes it.
    pub(super) started: String,
}

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
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| refused(store, error))?;
        let schema = format!("souk_{store}");
        let milliseconds = |limit: Duration| limit.as_millis().to_string();
        let settings = [
            ("search_path", schema.clone()),
            ("statement_timeout", milliseconds(STATEMENT_LIMIT)),
            (
                "idle_in_transaction_session_timeout",
                milliseconds(ABANDONED_LIMIT),
            ),
            ("work_mem", WORKING_MEMORY.to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
        ];
        let options = options
            .statement_cache_capacity(PREPARED)
            .options(settings)
            .options(PLANNER.iter().copied())
            .disable_statement_logging();
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name(&format!("souk {store}")),
        };
        Ok(Self {
            store,
            schema,
            options,
        })
    }
}

/// Opens a connection to a server that fits.
pub(super) async fn connect(server: &Server) -> Result<Connection<Postgres>, StoreError> {
    let store = server.store;
    let opened = timeout(CONNECT_LIMIT, async {
        let mut session = server.options.connect().await?;
        let row = query(CHECK).fetch_one(&mut session).await?;
        Ok::<_, sqlx::Error>((session, values::rows(&[row])?))
    })
    .await
    .map_err(|error| unavailable(store, error))?;
    let (session, mut rows) = opened.map_err(|error| unavailable(store, error))?;
    let mut row = Columns::new(store, rows.pop().unwrap_or_default());
    let backend = Backend {
        id: row.integer("pid")?,
        started: row.text("backend_start")?,
    };
    if row.integer::<i64>("pg_is_in_recovery")? != 0 {
        return Err(unavailable(
            store,
            "the server is a standby; the URL must lead to the primary",
        ));
    }
    let version: i64 = row.integer("server_version_num")?;
    if version < OLDEST_SERVER {
        return Err(refused(
            store,
            format!("the server's version is {version}; it must be {OLDEST_SERVER} or later"),
        ));
    }
    let encoding = row.text("server_encoding")?;
    if encoding != "UTF8" {
        return Err(refused(
            store,
            format!("the database is encoded in {encoding}; create it with ENCODING 'UTF8'"),
        ));
    }
    Ok(Connection { session, backend })
}

/// Warns of settings with which the server acknowledges what it may lose.
pub(super) async fn warn_of_settings(
    connection: &mut Connection<Postgres>,
    store: &'static str,
) -> Result<(), StoreError> {
    let rows = query(SETTINGS).fetch_all(&mut connection.session).await;
    let rows = rows.and_then(|rows| values::rows(&rows));
    for row in rows.map_err(|error| unavailable(store, error))? {
        let setting = Columns::new(store, row).text("name")?;
        tracing::warn!(
            store,
            setting,
            "this setting of PostgreSQL is off: acknowledged writes may be lost when the server fails"
        );
    }
    Ok(())
}
