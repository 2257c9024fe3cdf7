//! Opening stores: URLs, migrations, servers that do not fit.

use futures::future::join_all;
use sqlx::{AssertSqlSafe, raw_sql};

use super::testing::TestDatabase;
use super::*;
use crate::stores::testing::as_user;

const ONE: &str = "CREATE TABLE IF NOT EXISTS {store}_one (id BIGINT); DO SLEEP(0.2)";
const TWO: &str = "CREATE TABLE IF NOT EXISTS {store}_two (id BIGINT)";

fn cause(error: &StoreError) -> String {
    souk_error_chain::Chain(error).to_string()
}

async fn refusal(url: &str, migrations: &[&'static str]) -> String {
    let Err(error) = MysqlPool::open("carts", url, migrations).await else {
        panic!("it opened");
    };
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    cause(&error)
}

#[tokio::test]
async fn urls_that_can_not_be_meant_are_refused_without_their_values() {
    let unknown = refusal("mysql://host/souk?ssl-mode=REQUIRED&password=secret", &[]).await;
    assert!(
        unknown.contains("password") && !unknown.contains("secret"),
        "{unknown}"
    );
    for url in ["mysql://host", "mysql://host/"] {
        let nowhere = refusal(url, &[]).await;
        assert!(nowhere.contains("names no database"), "{nowhere}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let opened = MysqlPool::open("carts", "mysql://souk:secret@127.0.0.1:1/souk", &[]).await;
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
        tokio::spawn(async move { MysqlPool::open("carts", &url, &[ONE, TWO]).await.map(drop) })
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
        let sql = format!("SELECT id FROM orders_{table}");
        assert_eq!(pool.read(Statement::new(sql)).await.unwrap(), Rows::new());
    }
}

/// A node that dies in a migration leaves its first part: the next one runs it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_and_a_failed_migration_are_refused() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let failed = refusal(
        database.url(),
        &[TWO, "CREATE TABLE {store}_three (id BIGINT); nonsense"],
    )
    .await;
    assert!(failed.contains("nonsense"), "{failed}");
    drop(
        database
            .open(
                "carts",
                &[TWO, "CREATE TABLE IF NOT EXISTS {store}_three (id BIGINT)"],
            )
            .await,
    );
    let refusal = refusal(database.url(), &[TWO]).await;
    assert!(
        refusal.contains("carts has version 2, and this build knows 1"),
        "{refusal}"
    );
}

/// A user who may not create anything runs a store whose schema is up to date.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_schema_needs_no_rights_to_create() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    drop(database.open("carts", &[TWO]).await);
    let user = format!("souk_{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let mut session = database.connect().await;
    let grants = format!(
        "CREATE USER {user}@'%' IDENTIFIED BY 'secret'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {}.* TO {user}@'%'",
        database.name()
    );
    raw_sql(AssertSqlSafe(grants))
        .execute(&mut session)
        .await
        .unwrap();
    let url = as_user(database.url(), &user, "secret");
    let pool = MysqlPool::open("carts", &url, &[TWO]).await.unwrap();
    let insert = Statement::new("INSERT INTO carts_two (id) VALUES (?1)").bind(1_u32);
    pool.transact_one(insert).await.unwrap();
    let behind = MysqlPool::open("carts", &url, &[TWO, ONE]).await.map(drop);
    assert!(cause(&behind.unwrap_err()).contains("denied"));
    drop(pool);
    let remove = format!("DROP USER {user}@'%'");
    raw_sql(AssertSqlSafe(remove))
        .execute(&mut session)
        .await
        .unwrap();
}

/// Values of each kind, and the settings of a session.
#[tokio::test(flavor = "multi_thread")]
async fn errors_say_whose_fault_they_are() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let table = "CREATE TABLE {store}_one (id BIGINT PRIMARY KEY, name VARBINARY(10), bytes BLOB)";
    let pool = database.open("carts", &[table]).await;
    let insert = |id: u32, name: &str| {
        Statement::new("INSERT INTO carts_one (id, name, bytes) VALUES (?1, ?2, ?3)")
            .bind(id)
            .bind(name)
            .bind(vec![0_u8, 255])
    };
    pool.transact_one(insert(1, "o'\\\0")).await.unwrap();
    for statement in [
        insert(1, "again"),
        // Nothing is cut off.
        insert(2, "far too long"),
        Statement::new("SELECT no_such_column"),
    ] {
        let refused = pool.transact_one(statement).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }
    // A transaction that fails in the middle leaves nothing, and its connection goes on.
    let half = pool.transact(vec![insert(3, "three"), insert(1, "again")]).await;
    assert!(matches!(half, Err(StoreError::Refused { .. })), "{half:?}");
    let all = "SELECT id, name, bytes, NULL, id > 0, 7 FROM carts_one ORDER BY id";
    let rows = pool.read(Statement::new(all)).await.unwrap();
    let expected = vec![
        1_i64.into(),
        "o'\\\0".into(),
        vec![0_u8, 255].into(),
        Value::Null,
        true.into(),
        7_i64.into(),
    ];
    assert_eq!(rows, [expected]);
    let unknown = pool.read(Statement::new("SELECT 1.5")).await;
    assert!(matches!(unknown, Err(StoreError::Corrupt { .. })), "{unknown:?}");
}

/// Two transactions that lock two rows in opposite order: one is ended by the server, and repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_reaches_no_caller() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let fill = "CREATE TABLE {store}_one (id BIGINT PRIMARY KEY, count BIGINT NOT NULL); \
         INSERT INTO {store}_one VALUES (1, 0), (2, 0)";
    let pool = database.open("carts", &[fill]).await;
    let touch = |id: u32| Statement::new("UPDATE carts_one SET count = count + 1 WHERE id = ?1").bind(id);
    let pause = || Statement::new("DO SLEEP(0.1)");
    let rounds = (0..2_u32).map(|round| {
        let (first, second) = (1 + round % 2, 2 - round % 2);
        let pool = pool.clone();
        async move { pool.transact(vec![touch(first), pause(), touch(second)]).await }
    });
    for done in join_all(rounds).await {
        done.unwrap();
    }
    let rows = pool
        .read(Statement::new("SELECT count FROM carts_one ORDER BY id"))
        .await;
    assert_eq!(rows.unwrap(), [[Value::from(2_u32)], [Value::from(2_u32)]]);
}

/// What looks at rows that are not there yet, and then adds one.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_under_one_name_run_one_after_another() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("carts", &[TWO]).await;
    let add = || {
        Statement::new(
            "SET @next = (SELECT COUNT(*) FROM carts_two); DO SLEEP(0.02); INSERT INTO carts_two VALUES (@next)",
        )
    };
    let added = (0..6).map(|_| pool.transact_alone("number", vec![add(), Statement::new("SELECT 1")]));
    for added in join_all(added).await {
        added.unwrap();
    }
    let rows = pool
        .read(Statement::new("SELECT id FROM carts_two ORDER BY id"))
        .await;
    assert_eq!(
        rows.unwrap(),
        (0..6_u32).map(|id| vec![Value::from(id)]).collect::<Rows>()
    );
}
