//! Opening stores: URLs, migrations, servers that do not fit.

use futures::future::join_all;
use sqlx::{AssertSqlSafe, raw_sql};

use super::testing::TestDatabase;
use super::*;
use crate::stores::sql::SqlDatabase;
use crate::stores::testing::as_user;
use souk_embedded::Value;

const ONE: &str = "CREATE TABLE one (id BIGINT); SELECT pg_sleep(0.2)";
const TWO: &str = "CREATE TABLE two (id BIGINT)";

fn cause(error: &StoreError) -> String {
    souk_error_chain::Chain(error).to_string()
}

async fn refusal(url: &str, migrations: &[&'static str]) -> String {
    let Err(error) = PostgresPool::open("carts", url, migrations).await else {
        panic!("it opened");
    };
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    cause(&error)
}

#[tokio::test]
async fn an_unknown_parameter_of_a_url_is_refused_without_its_value() {
    let refusal = refusal("postgres://host/souk?sslmode=require&sslpassword=secret", &[]).await;
    assert!(
        refusal.contains("sslpassword") && !refusal.contains("secret"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let opened = PostgresPool::open("carts", "postgres://souk:secret@127.0.0.1:1/souk", &[]).await;
    let Err(error) = opened else {
        panic!("it opened");
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(!cause(&error).contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes_that_start_at_once_one_migrates() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let opened = join_all((0..6).map(|_| {
        let url = database.url().to_owned();
        tokio::spawn(async move { PostgresPool::open("carts", &url, &[ONE, TWO]).await.map(drop) })
    }))
    .await;
    for opened in opened {
        opened.unwrap().unwrap();
    }
    // Again, and from an older version.
    drop(database.open("carts", &[ONE, TWO]).await);
    drop(database.open("orders", &[ONE]).await);
    let pool = database.open("orders", &[ONE, TWO]).await;
    for table in ["one", "two"] {
        let rows = pool.read(Statement::new(format!("SELECT id FROM {table}"))).await;
        assert_eq!(rows.unwrap(), Rows::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_and_a_failed_migration_are_refused() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let failed = refusal(database.url(), &[ONE, "CREATE TABLE one (id BIGINT)"]).await;
    assert!(failed.contains("already exists"), "{failed}");
    // Nothing of it is left.
    drop(database.open("carts", &[TWO, ONE]).await);
    let refusal = refusal(database.url(), &[TWO]).await;
    assert!(
        refusal.contains("carts has version 2, and this build knows 1"),
        "{refusal}"
    );
}

/// A role that may not create anything runs a store whose schema is up to date.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_schema_needs_no_rights_to_create() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    drop(database.open("carts", &[TWO]).await);
    let role = format!("souk_test_role_{}", uuid::Uuid::new_v4().simple());
    let mut session = database.connect("carts").await;
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA souk_carts TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA souk_carts TO {role}"
    );
    raw_sql(AssertSqlSafe(grants))
        .execute(&mut session)
        .await
        .unwrap();
    let url = as_user(database.url(), &role, "secret");
    let pool = PostgresPool::open("carts", &url, &[TWO]).await.unwrap();
    let insert = Statement::new("INSERT INTO two (id) VALUES (?1)").bind(1_u32);
    pool.transact_one(insert).await.unwrap();
    let behind = PostgresPool::open("carts", &url, &[TWO, ONE]).await.map(drop);
    assert!(cause(&behind.unwrap_err()).contains("permission denied"));
    drop(pool);
    let remove = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    raw_sql(AssertSqlSafe(remove))
        .execute(&mut session)
        .await
        .unwrap();
}

/// Values of each kind, and texts as PostgreSQL can't hold them.
#[tokio::test(flavor = "multi_thread")]
async fn errors_say_whose_fault_they_are() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database
        .open(
            "carts",
            &["CREATE TABLE one (id BIGINT PRIMARY KEY, name TEXT, bytes BYTEA)"],
        )
        .await;
    let insert = |id: u32, name: &str| {
        Statement::new("INSERT INTO one (id, name, bytes) VALUES (?1, ?2, ?3)")
            .bind(id)
            .bind(name)
            .bind(vec![0_u8, 255])
    };
    pool.transact_one(insert(1, "one")).await.unwrap();
    for statement in [
        insert(1, "again"),
        insert(2, "\0"),
        Statement::new("SELECT no_such_column"),
    ] {
        let refused = pool.transact_one(statement).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }
    // A transaction that fails in the middle leaves nothing, and its connection goes on.
    let half = pool.transact(vec![insert(3, "three"), insert(1, "again")]).await;
    assert!(matches!(half, Err(StoreError::Refused { .. })), "{half:?}");
    let all = "SELECT id, name, bytes, NULL::text, id > 0, 7 FROM one ORDER BY id";
    let rows = pool.read(Statement::new(all)).await.unwrap();
    let expected = vec![
        1_i64.into(),
        "one".into(),
        vec![0_u8, 255].into(),
        Value::Null,
        true.into(),
        7_i64.into(),
    ];
    assert_eq!(rows, [expected]);
    let unknown = pool.read(Statement::new("SELECT 1.5::numeric")).await;
    assert!(matches!(unknown, Err(StoreError::Corrupt { .. })), "{unknown:?}");
}

/// Two transactions that lock two rows in opposite order: one is ended by the server, and repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_reaches_no_caller() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let fill = "CREATE TABLE one (id BIGINT PRIMARY KEY, count BIGINT NOT NULL); INSERT INTO one VALUES (1, 0), (2, 0)";
    let pool = database.open("carts", &[fill]).await;
    let touch = |id: u32| Statement::new("UPDATE one SET count = count + 1 WHERE id = ?1").bind(id);
    let pause = || Statement::new("SELECT 1 FROM pg_sleep(0.1)");
    let rounds = (0..2_u32).map(|round| {
        let (first, second) = (1 + round % 2, 2 - round % 2);
        let pool = pool.clone();
        async move { pool.transact(vec![touch(first), pause(), touch(second)]).await }
    });
    for done in join_all(rounds).await {
        done.unwrap();
    }
    let rows = pool
        .read(Statement::new("SELECT count FROM one ORDER BY id"))
        .await;
    assert_eq!(rows.unwrap(), [[Value::from(2_u32)], [Value::from(2_u32)]]);
}
