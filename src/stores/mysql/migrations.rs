//! Brings the tables of a store up to date.
//!
//! A definition commits by itself here, so that a node that dies in between leaves the first part of a migration: each
//! statement of a migration must therefore be one that may run again (`IF NOT EXISTS`).

use tokio::time::timeout;

use super::Mysql;
use super::connection::{Server, ask};
use super::values::text;
use crate::stores::StoreError;
use crate::stores::sql_pool::{
    Access, Connection, Failure, MIGRATION_LIMIT, STATEMENT_LIMIT, is_behind, refused, unavailable,
};
use souk_embedded::Value;

const HAS_TABLE: &str = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{store}_migrations'";
const APPLIED: &str = "SELECT COALESCE(MAX(version), 0) FROM {store}_migrations";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS {store}_migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB";
/// The name of a database may be as long as that of a lock.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('souk ', MD5(CONCAT(DATABASE(), '/', ?1))), ?2)";
const UNLOCK: &str = "DO RELEASE_LOCK(CONCAT('souk ', MD5(CONCAT(DATABASE(), '/', ?1))))";
const LIMIT: &str = "SET SESSION lock_wait_timeout = ?1 /*M! , max_statement_time = ?1 */";

/// Applies what the schema lacks, under a lock: of several nodes that start at once one does it while the others wait. A schema
/// that is up to date needs no rights but to read it.
///
/// # Errors
/// [`StoreError::Refused`] where the schema is newer than `migrations`.
pub(super) async fn apply(
    server: &Server,
    connection: &mut Connection<Mysql>,
    migrations: &[&'static str],
) -> Result<(), StoreError> {
    let applied = applied(server, connection).await?;
    if !is_behind(server.store, applied, migrations)? {
        return Ok(());
    }
    let work = async {
        let store = text(server.store);
        let seconds = MIGRATION_LIMIT.as_secs().to_string();
        run(server, connection, LIMIT, std::slice::from_ref(&seconds)).await?;
        // It ends with the connection, where anything below fails.
        let lock = run(server, connection, LOCK, &[store.clone(), seconds]).await?;
        if lock != Value::Integer(1) {
            return Err(unavailable(server.store, "another node migrates for too long"));
        }
        run(server, connection, TABLE, &[]).await?;
        // Another node may have been faster.
        let applied = self::applied(server, connection).await?;
        if is_behind(server.store, applied, migrations)? {
            for (version, migration) in (1_i64..).zip(migrations).skip(applied) {
                run(server, connection, migration, &[]).await?;
                let apply = "INSERT INTO {store}_migrations (version) VALUES (?1)";
                run(server, connection, apply, &[version.to_string()]).await?;
            }
        }
        run(server, connection, UNLOCK, &[store]).await?;
        let seconds = STATEMENT_LIMIT.as_secs().to_string();
        run(server, connection, LIMIT, &[seconds]).await.map(drop)
    };
    timeout(MIGRATION_LIMIT, work)
        .await
        .map_err(|error| unavailable(server.store, error))?
}

/// How many migrations have been applied.
async fn applied(server: &Server, connection: &mut Connection<Mysql>) -> Result<usize, StoreError> {
    if run(server, connection, HAS_TABLE, &[]).await? == Value::Integer(0) {
        return Ok(0);
    }
    match run(server, connection, APPLIED, &[]).await? {
        Value::Integer(version) => usize::try_from(version).map_err(|error| refused(server.store, error)),
        other => Err(refused(
            server.store,
            format!("the table of migrations holds {other:?}"),
        )),
    }
}

/// Runs statements and gives the first value that they return.
async fn run(
    server: &Server,
    connection: &mut Connection<Mysql>,
    sql: &str,
    literals: &[String],
) -> Result<Value, StoreError> {
    let sql = super::values::filled(&sql.replace("{store}", server.store), literals);
    let rows = ask(&mut connection.session, sql).await;
    // Whatever it was, it may be done again.
    let rows = rows.map_err(|error| Failure::of::<Mysql>(server.store, Access::Read, error).into_error())?;
    Ok(rows.into_iter().flatten().next().unwrap_or(Value::Null))
}
