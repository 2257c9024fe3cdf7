//! Processes that are measured over HTTP, and a client that costs little beside them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A number from the environment, or `otherwise`.
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value at `part` (0 to 1) of sorted values.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// A process that is ended with this value.
pub struct Process(Child);

impl Process {
    /// Starts `command` and waits for the first line of its output.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        (Self(child), line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// The statistics of a process, as the kernel counts them.
pub mod cost {
    use std::path::Path;
    use std::time::Duration;

    /// Clock ticks a second in `/proc/PID/stat`: a constant of Linux's interface to programs.
    const TICKS: u64 = 100;

    /// The processes of a demo over `data`: its nodes and the process that keeps their stores.
    pub fn processes(nodes: &[u32], data: &Path) -> Vec<u32> {
        let data = data.canonicalize().expect("the demo's folder");
        let is_store = |pid: &u32| {
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = command.split('\0');
            words.nth(1) == Some("store") && words.any(|word| Path::new(word).starts_with(&data))
        };
        let running = std::fs::read_dir("/proc").expect("a Linux kernel");
        let running = running.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        nodes.iter().copied().chain(running.filter(is_store)).collect()
    }

    /// The processor time that they have used.
    pub fn processor_time(pids: &[u32]) -> Duration {
        let ticks = |pid: &u32| -> u64 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
            let behind_name = stat.rsplit(')').next().expect("a name in parentheses");
            // The fields utime and stime are the 14th and 15th; this text begins with the 3rd.
            let fields = behind_name.split_whitespace().skip(11).take(2);
            fields.map(|field| field.parse::<u64>().expect("a number")).sum()
        };
        Duration::from_millis(pids.iter().map(ticks).sum::<u64>() * 1000 / TICKS)
    }
}

/// A running demo.
pub struct Demo {
    _process: Process,
    /// The shop of each node.
    pub shops: Vec<SocketAddr>,
    /// The nodes and the process of their stores.
    pub processes: Vec<u32>,
    ready: Value,
}

impl Demo {
    /// Starts `nodes` nodes over the folder `data`.
    pub fn start(nodes: usize, data: &Path) -> Self {
        Self::start_with(Path::new(env!("CARGO_BIN_EXE_souk")), nodes, data)
    }

    /// The same with another binary.
    pub fn start_with(binary: &Path, nodes: usize, data: &Path) -> Self {
        let mut command = Command::new(binary);
        // What it can do is measured, at whatever latency.
        command.env("SOUK_LIMITS__OVERLOAD_MS", "0");
        command
            .args(["demo", "--port", "0", "--nodes", &nodes.to_string(), "--data"])
            .arg(data);
        let (process, line) = Process::start(&mut command);
        let ready: Value = serde_json::from_str(&line).expect("the ready line");
        let list = |name: &str| ready[name].as_array().expect("a list").iter();
        let address = |url: &Value| {
            url.as_str()
                .and_then(|url| url.strip_prefix("http://"))
                .and_then(|url| url.parse().ok())
                .expect("an address")
        };
        let pids: Vec<u32> = list("pids")
            .map(|pid| {
                pid.as_u64()
                    .and_then(|pid| pid.try_into().ok())
                    .expect("a process id")
            })
            .collect();
        Self {
            shops: list("shop").map(address).collect(),
            processes: cost::processes(&pids, data),
            _process: process,
            ready,
        }
    }

    /// The first SKU of each of the first `count` products (at most 100).
    pub async fn skus(&self, count: usize) -> Vec<String> {
        let mut client = Client::connect(self.shops[0]).await;
        let page = client
            .call("GET", &format!("/v1/products?limit={count}"), "", None)
            .await;
        let items = page["items"].as_array().expect("items");
        items
            .iter()
            .map(|product| product["skus"][0]["sku"].as_str().expect("a SKU").to_owned())
            .collect()
    }

    /// Receives more of each SKU than any run sells.
    pub async fn stock(&self, skus: &[String]) {
        let mut client = Client::connect(self.shops[0]).await;
        let login = client
            .call("POST", "/v1/auth/login", "", Some(&self.ready["admin"]))
            .await;
        let token = login["access_token"].as_str().expect("a token");
        let bearer = format!("Authorization: Bearer {token}\r\n");
        for sku in skus {
            let path = format!("/v1/admin/inventory/{sku}/receipts");
            let receipt = json!({"quantity": 1_000_000, "reference": format!("bench-{sku}")});
            client.call("POST", &path, &bearer, Some(&receipt)).await;
        }
    }
}

/// One kept-alive connection with one request under way.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request as it is and reads the reply: its status and its body.
    pub async fn exchange(&mut self, request: &[u8]) -> (u16, &[u8]) {
        self.stream.write_all(request).await.expect("a connection");
        self.buffer.clear();
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            self.read().await;
        };
        let head = std::str::from_utf8(&self.buffer[..end])
            .expect("ASCII")
            .to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length = length.split("\r\n").next().expect("a line");
        let length: usize = length.parse().expect("a number");
        let status = head[9..12].parse().expect("a status");
        while self.buffer.len() < end + 4 + length {
            self.read().await;
        }
        (status, &self.buffer[end + 4..end + 4 + length])
    }

    async fn read(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.expect("a reply");
        assert!(read > 0, "the connection was closed within a reply");
    }

    /// Sends a request that must succeed; `headers` are whole lines. The reply's body.
    pub async fn call(&mut self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Value {
        let request = request(method, path, headers, body);
        let (status, body) = self.exchange(&request).await;
        assert!(
            status < 300,
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(body)
        );
        serde_json::from_slice(body).expect("JSON")
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &str, body: Option<&Value>) -> Vec<u8> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\n{kind}{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
