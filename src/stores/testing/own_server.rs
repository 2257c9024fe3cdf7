//! A server of a test's own.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The command of a server that listens on this port of loopback and keeps its data in this folder.
pub(crate) type Program = fn(u16, &Path) -> Command;

/// A server of the test's own, in a temporary folder, which writes through to disk.
pub(crate) struct OwnServer {
    program: Program,
    port: u16,
    folder: TempDir,
    process: Child,
}

impl OwnServer {
    /// Starts it; where the program is not installed the test says so and is skipped.
    pub(crate) async fn start(program: Program) -> Option<Self> {
        // Another process may take the port in between.
        for _ in 0..10 {
            let folder = TempDir::new().unwrap();
            let port = free_port();
            let process = match spawn(program, port, &folder) {
                Ok(process) => process,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    println!("skipped: the server is not installed: {error}");
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            let mut server = Self {
                program,
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

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it by SIGKILL, with the processes that it started.
    pub(crate) async fn kill(&mut self) {
        kill_group(&self.process);
        self.process.wait().await.unwrap();
        // Others of its group may take longer to go, and hold its port and files until then.
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it anew in the same folder and on the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.program, self.port, &self.folder).unwrap();
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

impl Drop for OwnServer {
    fn drop(&mut self) {
        kill_group(&self.process);
    }
}

/// Kills a process that was not waited for, and those of its group.
fn kill_group(process: &Child) {
    let id = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(group) = id {
        // It may be gone already.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(program: Program, port: u16, folder: &TempDir) -> io::Result<Child> {
    program(port, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}
