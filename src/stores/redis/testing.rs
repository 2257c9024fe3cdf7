//! A real server for the tests of the adapters.

use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::Server;
use crate::stores::testing::server_url;

/// Runs a test on the server that `SOUK_TEST_REDIS_URL` names, under a prefix of its own, and removes what it left there. Without a
/// server the test is skipped.
pub(crate) async fn on_server<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let Some(url) = server_url("REDIS") else { return };
    let separator = if url.contains('?') { '&' } else { '?' };
    let prefix = format!("souk-test-{}:", uuid::Uuid::new_v4());
    let server = Server::open(&format!("{url}{separator}prefix={prefix}"))
        .await
        .unwrap();
    let outcome = AssertUnwindSafe(test(server.clone())).catch_unwind().await;
    remove_all(&server, &prefix).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn remove_all(server: &Server, prefix: &str) {
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}*"))
            .arg("COUNT")
            .arg(1_000);
        let (next, keys): (u64, Vec<Vec<u8>>) = server.read(&scan).await.unwrap();
        if !keys.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(keys);
            let () = server.write(&unlink).await.unwrap();
        }
        if next == 0 {
            return;
        }
        cursor = next;
    }
}

/// A server of the test's own, in a temporary folder, which writes through to disk.
pub(crate) struct OwnServer {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl OwnServer {
    /// Starts it; without the program the test says so and is skipped.
    pub(crate) async fn start() -> Option<Self> {
        // Another process may take the port in between.
        for _ in 0..10 {
            let folder = TempDir::new().unwrap();
            let port = free_port();
            let process = match spawn(port, &folder) {
                Ok(process) => process,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    println!("skipped: redis-server is not installed");
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            let mut server = Self {
                port,
                folder,
                process,
            };
            if server.is_listening().await {
                return Some(server);
            }
        }
        panic!("no port for redis-server");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it by SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts it anew in the same folder and on the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.port, &self.folder).unwrap();
        assert!(self.is_listening().await, "redis-server does not start again");
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

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &TempDir) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}
