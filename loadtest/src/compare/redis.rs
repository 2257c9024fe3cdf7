//! A plain Redis that does the least a checkout of three lines needs: one Lua script, and every write on disk before its
//! reply (`appendfsync always`).

use std::process::Stdio;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{PIECES, SKUS, draw_skus};
use crate::failure::Failure;

/// The server's program.
const PROGRAM: &str = "redis-server";
/// Connections, each with one script under way.
pub const CLIENTS: usize = 16;
/// Longest time until it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time for one script.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// As PostgreSQL's transaction: three guarded decrements of stock, an order, three lines.
const CHECKOUT: &str = "
    for i = 1, 3 do
        if tonumber(redis.call('GET', KEYS[i])) < 1 then return 0 end
    end
    for i = 1, 3 do redis.call('DECR', KEYS[i]) end
    local id = redis.call('INCR', 'orders')
    redis.call('HSET', 'order:' .. id, 'buyer', ARGV[1], 'body', ARGV[2])
    for i = 1, 3 do redis.call('RPUSH', 'lines:' .. id, KEYS[i], 1) end
    return id";

/// A running server in a temporary folder, reached through a socket there; it is killed when this is dropped.
pub struct Redis {
    connections: Vec<MultiplexedConnection>,
    script: String,
    body: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

fn failed(error: redis::RedisError) -> Failure {
    Failure::failed("Redis", error)
}

impl Redis {
    /// Starts one; `None` where its program is not installed.
    ///
    /// # Errors
    /// [`Failure`] where it is, and it does not start.
    pub async fn start() -> Result<Option<Self>, Failure> {
        let folder =
            tempfile::tempdir().map_err(|error| Failure::failed("no temporary folder can be made", error))?;
        let socket = folder.path().join("redis.sock");
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--unixsocket",
            ])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::failed("Redis can't be started", error)),
        };
        until_ready(&mut process).await?;
        let client = redis::Client::open(format!("redis+unix://{}", socket.display())).map_err(failed)?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REPLY_LIMIT));
        let mut connections = Vec::new();
        for _ in 0..CLIENTS {
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            connections.push(connection.map_err(failed)?);
        }
        for sku in 1..=SKUS {
            let set = redis::cmd("SET")
                .arg(key(sku))
                .arg(PIECES)
                .exec_async(&mut connections[0])
                .await;
            set.map_err(failed)?;
        }
        let load = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(CHECKOUT)
            .query_async(&mut connections[0])
            .await;
        Ok(Some(Self {
            connections,
            script: load.map_err(failed)?,
            body: "x".repeat(500),
            _process: process,
            _folder: folder,
        }))
    }

    /// Scripts a second over `length`.
    ///
    /// # Errors
    /// [`Failure`] where one fails.
    pub async fn rate(&self, length: Duration) -> Result<f64, Failure> {
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for mut connection in self.connections.clone() {
            let (script, body) = (self.script.clone(), self.body.clone());
            clients.spawn(async move {
                let mut done = 0_u64;
                while began.elapsed() < length {
                    let mut checkout = redis::cmd("EVALSHA");
                    checkout.arg(&script).arg(3);
                    for sku in draw_skus() {
                        checkout.arg(key(sku));
                    }
                    let order: i64 = checkout
                        .arg("somebody")
                        .arg(&body)
                        .query_async(&mut connection)
                        .await?;
                    done += u64::from(order > 0);
                }
                Ok(done)
            });
        }
        let mut done = 0;
        for counted in clients.join_all().await {
            done += counted.map_err(failed)?;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }
}

fn key(sku: u32) -> String {
    format!("stock:{sku}")
}

/// Reads the server's output until it says that it is ready, and leaves the rest to a task that ends with the server.
async fn until_ready(process: &mut Child) -> Result<(), Failure> {
    let not_ready = || Failure::Plain("Redis does not become ready".into());
    let mut lines = BufReader::new(process.stdout.take().ok_or_else(not_ready)?).lines();
    let ready = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("Ready to accept connections") || line.contains("ready to accept connections") {
                return true;
            }
        }
        false
    };
    if !timeout(START_LIMIT, ready).await.unwrap_or(false) {
        return Err(not_ready());
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(())
}
