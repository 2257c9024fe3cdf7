//! Databases for tests.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, query, raw_sql};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pool::Access;
use super::{CALL_LIMIT, PostgresPool};
use crate::stores::testing::server_url;

/// An empty database on the server of `SOUK_TEST_POSTGRES_URL`, dropped with this value.
pub struct TestDatabase {
    server: PgConnectOptions,
    name: String,
    url: String,
}

impl TestDatabase {
    /// A new one; nothing where there is no server.
    pub async fn create() -> Option<Self> {
        let url = server_url("POSTGRES")?;
        let server: PgConnectOptions = url.parse().unwrap();
        let name = format!("souk_test_{}", uuid::Uuid::new_v4().simple());
        let separator = if url.contains('?') { '&' } else { '?' };
        let database = Self {
            url: format!("{url}{separator}dbname={name}"),
            server,
            name,
        };
        // In an order of dictionaries: whoever forgets the collation of a column shall notice.
        let create = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en'",
            database.name
        );
        run(&database.server, create).await;
        Some(database)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A store in it.
    pub async fn open(&self, store: &'static str, migrations: &[&'static str]) -> PostgresPool {
        PostgresPool::open(store, &self.url, migrations).await.unwrap()
    }

    /// A connection beside those of the stores, on the schema of one.
    pub async fn connect(&self, store: &str) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options
            .options([("search_path", format!("souk_{store}"))])
            .connect()
            .await
            .unwrap()
    }
}

/// A way to the server on which messages get lost or stuck.
pub struct Proxy {
    url: String,
    /// How many connections there were.
    opened: watch::Receiver<usize>,
    /// How many have ended.
    ended: Arc<watch::Sender<usize>>,
    /// Of connections below this number no request is passed on.
    held: Arc<watch::Sender<usize>>,
    /// Connections below this number end instead of passing an answer on.
    mute: Arc<watch::Sender<usize>>,
}

impl Proxy {
    /// A new one to the server of `database`.
    pub async fn start(database: &TestDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = (database.server.get_host().to_owned(), database.server.get_port());
        let (open, opened) = watch::channel(0);
        let [ended, held, mute] = [(); 3].map(|()| Arc::new(watch::Sender::new(0)));
        let proxy = Self {
            url: format!("{}&host=127.0.0.1&port={port}", database.url),
            opened,
            ended: Arc::clone(&ended),
            held: Arc::clone(&held),
            mute: Arc::clone(&mute),
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                let number = *open.borrow();
                open.send_modify(|opened| *opened += 1);
                let (held, mute, ended) = (held.subscribe(), mute.subscribe(), Arc::clone(&ended));
                tokio::spawn(async move {
                    // Either may find its socket closed, which is what a test is about.
                    let _ = pass(client, server, number, held, mute).await;
                    ended.send_modify(|ended| *ended += 1);
                });
            }
        });
        proxy
    }

    /// Its address, with the database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Keeps the requests of all connections that there are.
    pub fn hold(&self) {
        self.held.send_replace(*self.opened.borrow());
    }

    /// Passes on what was kept, and waits until these connections have ended.
    pub async fn release(&self) {
        let held = self.held.send_replace(0);
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended >= held).await.unwrap();
    }

    /// Loses the answers to all connections that there are.
    pub fn mute(&self) {
        self.mute.send_replace(*self.opened.borrow());
    }
}

/// Passes requests and answers on until one side has ended and what the client had sent is with the server.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    number: usize,
    mut held: watch::Receiver<usize>,
    mute: watch::Receiver<usize>,
) -> std::io::Result<()> {
    let (mut requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = server.into_split();
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = requests.read(&mut bytes).await?;
            if held.wait_for(|held| number >= *held).await.is_err() || count == 0 {
                return to_server.shutdown().await;
            }
            to_server.write_all(&bytes[..count]).await?;
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = answers.read(&mut bytes).await?;
            if count == 0 || number < *mute.borrow() {
                return to_client.shutdown().await;
            }
            // A client that has gone away does not end what it has sent.
            let _ = to_client.write_all(&bytes[..count]).await;
        }
    };
    let (there, back) = tokio::join!(there, back);
    there.and(back)
}

impl PostgresPool {
    /// What `explain` says after `prepare`, on a connection as the store has them.
    pub async fn plan(&self, prepare: &str, explain: &str) -> String {
        let deadline = Instant::now() + CALL_LIMIT;
        let mut lease = self.0.acquire(deadline).await.unwrap();
        let mut plan = Vec::new();
        for sql in [prepare, explain] {
            let query = query(AssertSqlSafe(sql)).persistent(false);
            let rows = lease.rows(Access::Read, deadline, query).await.unwrap();
            plan.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        plan.join("\n")
    }
}

async fn run(server: &PgConnectOptions, sql: String) {
    let mut session = server.connect().await.unwrap();
    raw_sql(AssertSqlSafe(sql)).execute(&mut session).await.unwrap();
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, sql) = (
            self.server.clone(),
            format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
        // The runtime of the test may be at its end.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(&server, sql));
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the database {} could not be dropped", self.name);
        }
    }
}
