//! Brings the schema of a store up to date.

use sqlx::{AssertSqlSafe, query, raw_sql};
use tokio::time::timeout;

use super::connection::Server;
use super::{Postgres, values};
use crate::stores::StoreError;
use crate::stores::sql_pool::{
    Access, Connection, Failure, MIGRATION_LIMIT, is_behind, refused, unavailable,
};
use souk_embedded::Value;

const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
const HAS_TABLE: &str = "SELECT to_regclass($1 || '.migrations') IS NOT NULL";
const APPLIED: &str = "SELECT coalesce(max(version), 0) FROM migrations";
const APPLY: &str = "INSERT INTO migrations (version) VALUES ($1)";
const TABLE: &str = "CREATE TABLE migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)";

/// Applies what the schema lacks, in one transaction: a node that dies in between leaves nothing, and of several nodes that
/// start at once one does it while the others wait. A schema that is up to date needs no rights but to read it.
///
/// # Errors
/// [`StoreError::Refused`] where the schema is newer than `migrations`.
pub(super) async fn apply(
    server: &Server,
    connection: &mut Connection<Postgres>,
    migrations: &[&'static str],
) -> Result<(), StoreError> {
    let applied = applied(server, connection).await?;
    if !is_behind(server.store, applied, migrations)? {
        return Ok(());
    }
    let limit = MIGRATION_LIMIT.as_millis();
    let begin = format!("BEGIN; SET LOCAL statement_timeout = {limit}");
    let work = async {
        run(server, connection, begin).await?;
        one(server, connection, super::LOCK, Some(&server.schema)).await?;
        if !is_true(&one(server, connection, HAS_SCHEMA, Some(&server.schema)).await?) {
            run(server, connection, format!("CREATE SCHEMA {}", server.schema)).await?;
        }
        // Another node may have been faster.
        let applied = self::applied(server, connection).await?;
        if applied == 0 && !has_table(server, connection).await? {
            run(server, connection, TABLE.to_owned()).await?;
        }
        if is_behind(server.store, applied, migrations)? {
            for (version, migration) in (1_i64..).zip(migrations).skip(applied) {
                run(server, connection, (*migration).to_owned()).await?;
                let apply = query(APPLY).bind(version);
                let applied = apply.execute(&mut connection.session).await;
                applied.map_err(|error| failed(server, error))?;
            }
        }
        run(server, connection, "COMMIT".to_owned()).await
    };
    timeout(MIGRATION_LIMIT, work)
        .await
        .map_err(|error| unavailable(server.store, error))?
}

async fn has_table(server: &Server, connection: &mut Connection<Postgres>) -> Result<bool, StoreError> {
    Ok(is_true(
        &one(server, connection, HAS_TABLE, Some(&server.schema)).await?,
    ))
}

/// How many migrations have been applied.
async fn applied(server: &Server, connection: &mut Connection<Postgres>) -> Result<usize, StoreError> {
    if !has_table(server, connection).await? {
        return Ok(0);
    }
    match one(server, connection, APPLIED, None).await? {
        Value::Integer(version) => usize::try_from(version).map_err(|error| refused(server.store, error)),
        other => Err(refused(
            server.store,
            format!("the table migrations holds {other:?}"),
        )),
    }
}

fn is_true(value: &Value) -> bool {
    *value == Value::from(true)
}

/// Reads the only value of a statement.
async fn one(
    server: &Server,
    connection: &mut Connection<Postgres>,
    sql: &'static str,
    parameter: Option<&str>,
) -> Result<Value, StoreError> {
    let query = match parameter {
        Some(parameter) => query(sql).bind(parameter),
        None => query(sql),
    };
    let row = query.fetch_one(&mut connection.session).await;
    let rows = row.and_then(|row| values::rows(&[row]));
    let rows = rows.map_err(|error| failed(server, error))?;
    Ok(rows.into_iter().flatten().next().unwrap_or(Value::Null))
}

async fn run(server: &Server, connection: &mut Connection<Postgres>, sql: String) -> Result<(), StoreError> {
    let done = raw_sql(AssertSqlSafe(sql)).execute(&mut connection.session).await;
    done.map(drop).map_err(|error| failed(server, error))
}

fn failed(server: &Server, error: sqlx::Error) -> StoreError {
    // Whatever it was, it may be done again.
    Failure::of::<Postgres>(server.store, Access::Read, error).into_error()
}
