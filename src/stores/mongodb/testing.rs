//! Databases and servers for tests.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mongodb::Client;
use mongodb::options::{ClientOptions, ServerAddress};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::server_url;

/// A database on the server of `SOUK_TEST_MONGODB_URL`, which has no database in its path; dropped with this value.
pub struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// A new one; nothing where there is no server.
    pub fn create() -> Option<Self> {
        let server = server_url("MONGODB")?;
        assert!(!server.contains('?'), "SOUK_TEST_MONGODB_URL has parameters");
        Some(Self {
            server: server.trim_end_matches('/').to_owned(),
            name: format!("souk_test_{}", uuid::Uuid::new_v4().simple()),
        })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// A way to the server on which messages get lost, and the address of the database over it.
    pub async fn proxied(&self) -> (Proxy, String) {
        let options = ClientOptions::parse(&self.server).await.unwrap();
        let ServerAddress::Tcp { host, port } = &options.hosts[0] else {
            panic!("{} has no port", self.server);
        };
        let proxy = Proxy::start(host, port.unwrap_or(27_017)).await;
        let own = format!("127.0.0.1:{}", proxy.port());
        // Nothing but this address, whatever the set says that its members are.
        let url = self.url().replacen(&options.hosts[0].to_string(), &own, 1);
        (proxy, format!("{url}?directConnection=true"))
    }

    /// A client beside that of a store.
    pub async fn database(&self) -> mongodb::Database {
        let client = Client::with_uri_str(&self.server).await.unwrap();
        client.database(&self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // The runtime of the test may be at its end.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let client = Client::with_uri_str(&server).await.unwrap();
                client.database(&name).drop().await.unwrap();
            });
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the database {} could not be dropped", self.name);
        }
    }
}

/// The program that `scripts/stores` has installed.
fn program() -> Option<PathBuf> {
    let folder = std::env::var_os("SOUK_STORES_DIR").map(PathBuf::from)?;
    let folder = folder.canonicalize().ok()?;
    let program = folder.join("mongodb/venv/bin/secantusd-py");
    program.exists().then_some(program)
}

/// A server of the test's own, in a temporary folder, which writes through to disk.
pub struct OwnServer {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl OwnServer {
    /// Starts it; without the program the test says so and is skipped.
    pub async fn start() -> Option<Self> {
        if program().is_none() {
            println!("skipped: scripts/stores has installed no MongoDB in SOUK_STORES_DIR");
            return None;
        }
        // Another process may take the port in between.
        for _ in 0..10 {
            let folder = TempDir::new().unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let process = spawn(port, &folder);
            let mut server = Self {
                port,
                folder,
                process,
            };
            if server.is_listening().await {
                return Some(server);
            }
        }
        panic!("no port for the server");
    }

    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/shop", self.port)
    }

    /// Ends it by SIGKILL.
    pub async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts it anew in the same folder and on the same port.
    pub async fn restart(&mut self) {
        self.process = spawn(self.port, &self.folder);
        assert!(self.is_listening().await, "the server does not start again");
    }

    /// Whether it accepts connections before it ends.
    async fn is_listening(&mut self) -> bool {
        while self.process.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    Command::new(program().unwrap())
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--sync-on-commit", "--log-level", "WARNING", "--storage-path"])
        .arg(folder.path().join("data"))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
