//! Stores for the tests of other modules.

#[cfg(any(
    feature = "elasticsearch",
    feature = "mongodb",
    feature = "mssql",
    feature = "redis"
))]
pub(crate) mod own_server;
#[cfg(any(
    feature = "elasticsearch",
    feature = "mongodb",
    feature = "mysql",
    feature = "postgres"
))]
pub(crate) mod proxy;
#[cfg(any(
    feature = "elasticsearch",
    feature = "mongodb",
    feature = "mysql",
    feature = "postgres"
))]
pub(super) mod turns;

use std::sync::Arc;

use tempfile::TempDir;

use super::Stores;
use super::open::open_embedded;
use super::sql::SqlDatabase;
use super::sqlite::{Database, in_process_writer};
use crate::config::KEY_BYTES;
use crate::sealing::{Key, Keyring};
use souk_embedded::Statement;

/// Embedded stores in a folder, which is removed when the second value is dropped.
pub(crate) async fn embedded_stores() -> (Stores, TempDir) {
    let directory = TempDir::new().unwrap();
    let writer = in_process_writer(directory.path()).unwrap();
    let key = Key::new("k1", &[1; KEY_BYTES]).unwrap();
    let keyring = Arc::new(Keyring::new(key, Vec::new()));
    let stores = open_embedded(&writer, directory.path(), &keyring).await.unwrap();
    (stores, directory)
}

/// An embedded database in a folder of its own.
pub(crate) async fn open_database(name: &'static str) -> (Database, TempDir) {
    let folder = TempDir::new().unwrap();
    let writer = in_process_writer(folder.path()).unwrap();
    let database = Database::open(&writer, folder.path(), name).await.unwrap();
    (database, folder)
}

/// Asserts that none of the statements reads a whole table.
pub(crate) async fn assert_indexed(name: &'static str, statements: &[&'static str]) {
    let (database, _folder) = open_database(name).await;
    for sql in statements {
        let explain = Statement::new(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = format!("{:?}", database.read(explain).await.unwrap());
        // `SCAN table`, and not `SCAN table USING INDEX` or the scan of a JSON array.
        let scans_table = |step: &str| step.split('"').next().is_some_and(|name| !name.contains(' '));
        assert!(!plan.split("SCAN ").skip(1).any(scans_table), "{sql}: {plan}");
    }
}

/// How a store gets rid of what has expired and is found by its key alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// A sweep removes it, and counts it.
    BySweep,
    /// It vanishes by itself some time later. No caller of a sweep needs it to be counted.
    #[allow(dead_code, reason = "only the adapters of features use it")]
    ByItself,
}

/// Texts that a store must neither interpret nor change.
pub(crate) const AWKWARD_TEXTS: [&str; 9] = [
    "",
    "Zoë's “café”",
    "\u{1f6d2}\u{10ffff}",
    "a\0b\0",
    "'; DROP TABLE sessions; --",
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "'..redis.call('FLUSHALL')..'",
    "%s%00\\u0000\\",
    "{\"$ne\": null}",
];

/// Longest wait for what a server has to do.
#[cfg(any(
    feature = "elasticsearch",
    feature = "mongodb",
    feature = "mssql",
    feature = "mysql",
    feature = "postgres",
    feature = "redis"
))]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Repeats `attempt` until it succeeds.
#[cfg(any(
    feature = "elasticsearch",
    feature = "mongodb",
    feature = "mssql",
    feature = "mysql",
    feature = "postgres",
    feature = "redis"
))]
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(done) = attempt().await {
            return done;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} does not happen");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Removes the database of a test at its end, when its runtime may be gone.
#[cfg(any(
    feature = "elasticsearch",
    feature = "mongodb",
    feature = "mysql",
    feature = "postgres"
))]
pub(crate) fn remove_database(name: &str, removal: impl Future<Output = ()> + Send + 'static) {
    let removed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(removal);
    });
    if removed.join().is_err() && !std::thread::panicking() {
        panic!("the database {name} could not be dropped");
    }
}

/// The server for the tests of an adapter, from `SOUK_TEST_<NAME>_URL`. Without one the test says so and passes, unless
/// [`is_required`].
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn server_url(name: &str) -> Option<String> {
    let variable = format!("SOUK_TEST_{name}_URL");
    let url = std::env::var(&variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(!is_required(name), "{variable} is not set");
        println!("skipped: {variable} is not set");
    }
    // For those of the drivers that take it from the process, as `souk` does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    url
}

/// The URL of what a server keeps by this name: a database, or whatever is a path there.
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn url_of(server: &str, name: &str) -> String {
    let (server, parameters) = server.split_at(server.find('?').unwrap_or(server.len()));
    let authority = server.find("://").map_or(0, |scheme| scheme + 3);
    let end = server[authority..]
        .find('/')
        .map_or(server.len(), |path| authority + path);
    format!("{}/{name}{parameters}", &server[..end])
}

/// The URL with one more parameter.
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn with_parameter(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

/// Whether a proxy can read what goes to this server; where it can't the test says so.
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn is_plain(url: &str) -> bool {
    let has_tls = url.contains("https") || url.contains("ssl");
    if has_tls {
        println!("skipped: what TLS protects can't be told apart on the way");
    }
    !has_tls
}

/// The URL for another user.
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn as_user(url: &str, name: &str, password: &str) -> String {
    let mut url = reqwest::Url::parse(url).unwrap();
    url.set_username(name).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

/// The URL of the same server by another way: a port of loopback.
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn at_port(url: &str, port: u16) -> String {
    let mut url = reqwest::Url::parse(url).unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(port)).unwrap();
    url.into()
}

/// Whether `SOUK_TEST_REQUIRE_SERVERS`, a list of names in lower case with spaces between, has this one.
#[allow(dead_code, reason = "only the adapters of features use it")]
pub(crate) fn is_required(name: &str) -> bool {
    let required = std::env::var("SOUK_TEST_REQUIRE_SERVERS").unwrap_or_default();
    required
        .split_whitespace()
        .any(|required| required.eq_ignore_ascii_case(name))
}
