//! Brings the tables of a store up to date.

use tokio::time::timeout;

use super::connection::Server;
use super::values::Query;
use super::{LOCK, Mssql, lock_of, milliseconds, sql_of};
use crate::stores::StoreError;
use crate::stores::sql::Columns;
use crate::stores::sql_pool::{Access, Connection, Failure, MIGRATION_LIMIT, is_behind, unavailable};
use souk_embedded::Rows;

const HAS_TABLE: &str =
    "SELECT CAST(CASE WHEN OBJECT_ID(N'{store}_migrations') IS NULL THEN 0 ELSE 1 END AS bigint)";
const APPLIED: &str = "SELECT CAST(COALESCE(MAX(version), 0) AS bigint) FROM {store}_migrations";
const APPLY: &str = "INSERT INTO {store}_migrations (version) VALUES (@P1)";
const TABLE: &str = "CREATE TABLE {store}_migrations (\
     version bigint NOT NULL PRIMARY KEY, \
     applied_at datetime2 NOT NULL DEFAULT SYSUTCDATETIME())";

/// Applies what the tables lack, in one transaction: a node that dies in between leaves nothing, and of several nodes that
/// start at once one does it while the others wait. Tables that are up to date need no rights but to read them.
///
/// # Errors
/// [`StoreError::Refused`] where they are newer than `migrations`.
pub(super) async fn apply(
    server: &Server,
    connection: &mut Connection<Mssql>,
    migrations: &[&'static str],
) -> Result<(), StoreError> {
    let work = async {
        let applied = applied(server, connection).await?;
        if !is_behind(server.store, applied, migrations)? {
            return Ok(());
        }
        run(server, connection, Query::new("BEGIN TRANSACTION")).await?;
        let lock = Query::new(LOCK)
            .bind(lock_of(server, "migrations"))
            .bind(milliseconds(MIGRATION_LIMIT));
        run(server, connection, lock).await?;
        // Another node may have been faster.
        let applied = self::applied(server, connection).await?;
        if applied == 0 && !has_table(server, connection).await? {
            run(server, connection, of(server, TABLE)).await?;
        }
        if is_behind(server.store, applied, migrations)? {
            for (version, migration) in (1_i64..).zip(migrations).skip(applied) {
                run(server, connection, of(server, migration)).await?;
                run(server, connection, of(server, APPLY).bind(version)).await?;
            }
        }
        run(server, connection, Query::new("COMMIT TRANSACTION"))
            .await
            .map(drop)
    };
    timeout(MIGRATION_LIMIT, work)
        .await
        .map_err(|error| unavailable(server.store, error))?
}

fn of(server: &Server, sql: &str) -> Query<'static> {
    Query::new(sql_of(server.store, sql))
}

async fn has_table(server: &Server, connection: &mut Connection<Mssql>) -> Result<bool, StoreError> {
    Ok(one(server, connection, HAS_TABLE).await? != 0)
}

/// How many migrations have been applied.
async fn applied(server: &Server, connection: &mut Connection<Mssql>) -> Result<usize, StoreError> {
    if !has_table(server, connection).await? {
        return Ok(0);
    }
    one(server, connection, APPLIED).await
}

/// Reads the only number of a statement.
async fn one(server: &Server, connection: &mut Connection<Mssql>, sql: &str) -> Result<usize, StoreError> {
    let mut rows = run(server, connection, of(server, sql)).await?;
    Columns::new(server.store, rows.pop().unwrap_or_default()).integer("version")
}

async fn run(
    server: &Server,
    connection: &mut Connection<Mssql>,
    query: Query<'_>,
) -> Result<Rows, StoreError> {
    let rows = query.rows(&mut connection.session).await;
    // Whatever it was, it may be done again.
    rows.map_err(|error| Failure::of::<Mssql>(server.store, Access::Read, error).into_error())
}
