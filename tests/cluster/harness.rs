//! Clusters of real processes: started, hurt, looked into and ended.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

#[cfg(feature = "full")]
use crate::stores::Servers;

/// Longest wait for a start, an end or a join, on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what gives no sign by itself.
pub const LOOK: Duration = Duration::from_millis(20);
/// Longest time for one request: a reply that comes later counts as silence.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Scenarios run one after another.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Without their adapters there are none.
#[cfg(not(feature = "full"))]
pub enum Servers {}

#[cfg(not(feature = "full"))]
impl Servers {
    fn chosen() -> Option<Self> {
        let variable = std::env::var_os("SOUK_TEST_STORES");
        assert!(variable.is_none(), "SOUK_TEST_STORES needs the feature full");
        None
    }

    async fn settings(&self) -> Vec<(&'static str, String)> {
        match *self {}
    }
}

/// The program under test.
pub fn souk() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    // A few carts take all of the load here: how often a guest may call is another test.
    command.env("SOUK_GATEWAY__REQUESTS_PER_MINUTE", "0");
    command
}

/// A node, as its process and its addresses.
pub struct Node {
    pub name: String,
    pub shop: String,
    pub operator: String,
    pid: Pid,
    /// Where this harness started it; otherwise it is a child of the demo.
    process: Option<Child>,
}

/// A cluster; what it consists of is killed when it is dropped.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub config: PathBuf,
    pub client: reqwest::Client,
    token: String,
    demo: Option<Child>,
    /// The store process of a cluster that was put together by hand.
    store: Option<Child>,
    folder: TempDir,
    /// What stands in front of `souk node`, to run it elsewhere; by node.
    wrappers: Vec<Vec<String>>,
    _machine: MutexGuard<'static, ()>,
}

/// A node of a cluster that is put together by hand.
pub struct HandMade {
    /// Where clients and operators reach it.
    pub client_address: String,
    /// Where other nodes reach it.
    pub peer_address: String,
    /// What stands in front of `souk node`.
    pub wrapper: Vec<String>,
}

/// The key of clusters that are put together by hand: base64 of 32 bytes.
const KEY: &str = "c291ay1leGFtcGxlLWtleS1tYWtlLXlvdXItb3duLTE=";

/// A client that finds no proxy and gives up on silence.
pub fn client() -> reqwest::Client {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(SILENCE)
        .build()
        .unwrap()
}

impl Cluster {
    /// Starts a demo of so many nodes, on servers where the environment says so, and waits until it is ready.
    pub async fn demo(nodes: usize, products: u64) -> Self {
        Self::demo_on(Servers::chosen(), nodes, products).await
    }

    /// Starts a demo that keeps its stores there; embedded where that is `None`.
    pub async fn demo_on(servers: Option<Servers>, nodes: usize, products: u64) -> Self {
        let machine = MACHINE.lock().await;
        let start = || Self::start_demo(servers.as_ref(), nodes, products);
        let (demo, line, folder) = match start().await {
            // Somebody took a port between its choice and its use: once more, with others.
            Err(failure) if failure.contains("Address already in use") => start().await,
            started => started,
        }
        .unwrap_or_else(|failure| panic!("{failure}"));
        let ready: Value = serde_json::from_str(&line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let nodes = (0..nodes)
            .map(|index| Node {
                name: format!("n{}", index + 1),
                shop: text(&ready["shop"][index]),
                operator: text(&ready["operator"][index]),
                pid: pid(ready["pids"][index].as_u64().unwrap()),
                process: None,
            })
            .collect::<Vec<_>>();
        Self {
            wrappers: vec![Vec::new(); nodes.len()],
            nodes,
            config: PathBuf::from(text(&ready["config"])),
            client: client(),
            token: text(&ready["operator_token"]),
            demo: Some(demo),
            store: None,
            folder,
            _machine: machine,
        }
    }

    /// The process, its ready line, and its folder; or why there is none.
    async fn start_demo(
        servers: Option<&Servers>,
        nodes: usize,
        products: u64,
    ) -> Result<(Child, String, TempDir), String> {
        let folder = tempfile::tempdir().unwrap();
        let errors = std::fs::File::create(folder.path().join("demo.log")).unwrap();
        let mut demo = souk();
        demo.args(["demo", "--port", "0"])
            .args(["--nodes", &nodes.to_string(), "--products", &products.to_string()])
            .arg("--data")
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(errors);
        if let Some(servers) = servers {
            demo.arg("--stores")
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.full.toml"));
            for (key, value) in servers.settings().await {
                demo.env(format!("SOUK_{}", key.replace('.', "__").to_uppercase()), value);
            }
        }
        let mut demo = demo.spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        match timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(line))) => Ok((demo, line, folder)),
            other => {
                let log = std::fs::read_to_string(folder.path().join("demo.log")).unwrap_or_default();
                Err(format!("the demo did not become ready: {other:?}\n{log}"))
            }
        }
    }

    /// The names of files of embedded stores, of a demo.
    #[cfg(feature = "full")]
    pub fn embedded_files(&self) -> Vec<String> {
        let stores = self.config.parent().unwrap().join("stores");
        std::fs::read_dir(stores)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name == "store.lock" || name.contains(".db"))
            .collect()
    }

    pub fn shops(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.shop.clone()).collect()
    }

    /// Starts a cluster whose nodes run where they are told to, and waits until it is ready.
    pub async fn by_hand(places: Vec<HandMade>, products: u64) -> Self {
        let machine = MACHINE.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let (stores, certificates, config) =
            (data.join("stores"), data.join("certs"), data.join("cluster.toml"));
        for made in [&stores, &data.join("logs")] {
            std::fs::create_dir_all(made).unwrap();
        }
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut text = format!(
            "[cluster]\nname = \"by-hand\"\nkey = \"{KEY}\"\ncertificates = {certificates:?}\ndata = {stores:?}\none_machine = true\n\n\
             [operator]\ntoken = \"{token}\"\n"
        );
        let mut nodes = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let (client, peer) = (&place.client_address, &place.peer_address);
            let name = format!("n{}", index + 1);
            text.push_str(&format!(
                "\n[[nodes]]\nname = \"{name}\"\nshop = \"{client}:8080\"\noperator = \"{client}:9080\"\n\
                 cluster = \"{peer}:7080\"\ngossip = \"{peer}:7180\"\n"
            ));
            nodes.push(Node {
                name,
                shop: format!("http://{client}:8080"),
                operator: format!("http://{client}:9080"),
                pid: rustix::process::getpid(),
                process: None,
            });
        }
        std::fs::write(&config, text).unwrap();
        let store = souk().arg("store").arg("--data").arg(&stores).spawn().unwrap();
        for arguments in [
            vec![
                "certs".into(),
                "--out".into(),
                certificates.into_os_string(),
                "--config".into(),
            ],
            vec![
                "seed".into(),
                "--products".into(),
                products.to_string().into(),
                "--config".into(),
            ],
        ] {
            let output = souk().args(arguments).arg(&config).output().await.unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let mut cluster = Self {
            wrappers: places.into_iter().map(|place| place.wrapper).collect(),
            nodes,
            config,
            client: client(),
            token,
            demo: None,
            store: Some(store),
            folder,
            _machine: machine,
        };
        for index in 0..cluster.nodes.len() {
            cluster.launch(index, &[]);
        }
        for index in 0..cluster.nodes.len() {
            cluster.ready(index).await;
        }
        cluster
    }

    fn log(&self, index: usize) -> PathBuf {
        self.folder
            .path()
            .join(format!("data/logs/{}.log", self.nodes[index].name))
    }

    pub fn signal(&self, index: usize, signal: Signal) {
        kill_process(self.nodes[index].pid, signal).unwrap();
    }

    /// Kills a node and gives the moment.
    pub fn kill(&self, index: usize) -> Instant {
        self.signal(index, Signal::KILL);
        Instant::now()
    }

    /// Waits until a node's process is gone.
    pub async fn gone(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let waited = timeout(PATIENCE, async {
            match &mut node.process {
                Some(process) => drop(process.wait().await.unwrap()),
                // The demo waits for its children at once.
                None => {
                    while test_kill_process(node.pid).is_ok() {
                        sleep(LOOK).await;
                    }
                }
            }
        });
        assert!(waited.await.is_ok(), "{} does not end", node.name);
    }

    /// Waits until a node that this harness started ends by itself, and tells how it did.
    pub async fn exit(&mut self, index: usize) -> std::process::ExitStatus {
        let process = self.nodes[index].process.as_mut().expect("started here");
        process.wait().await.unwrap()
    }

    /// Starts a node that is gone, with these variables, and does not wait for it.
    pub fn launch(&mut self, index: usize, variables: &[(&str, &str)]) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(index))
            .unwrap();
        let mut command = match self.wrappers[index].split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command
                    .args(arguments)
                    .arg(env!("CARGO_BIN_EXE_souk"))
                    .stdin(Stdio::null())
                    .kill_on_drop(true);
                command
            }
            None => souk(),
        };
        let process = command
            .args(["node", "--name", &self.nodes[index].name, "--config"])
            .arg(&self.config)
            .envs(variables.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[index].pid = pid(u64::from(process.id().unwrap()));
        self.nodes[index].process = Some(process);
    }

    /// Waits until a node says that it is ready.
    pub async fn ready(&self, index: usize) {
        self.until_told(index, "that it is ready", |status, _| status == 200)
            .await;
    }

    /// Waits until `/readyz` of a node says `what`.
    pub async fn until_told(&self, index: usize, what: &str, is_it: impl Fn(u16, &Value) -> bool) {
        let waited = timeout(PATIENCE, async {
            while self
                .readiness(index)
                .await
                .is_none_or(|(status, body)| !is_it(status, &body))
            {
                sleep(LOOK).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{} does not say {what}: {:?}\n{}",
            self.nodes[index].name,
            self.readiness(index).await,
            self.log_tail(index)
        );
    }

    /// What `/readyz` of a node says; `None` without an answer.
    pub async fn readiness(&self, index: usize) -> Option<(u16, Value)> {
        let reply = self
            .client
            .get(format!("{}/readyz", self.nodes[index].shop))
            .timeout(Duration::from_secs(2))
            .send()
            .await
            .ok()?;
        Some((reply.status().as_u16(), reply.json().await.ok()?))
    }

    /// What `/readyz` of a node says, once it answers.
    pub async fn readiness_told(&self, index: usize) -> (u16, Value) {
        let told = timeout(PATIENCE, async {
            loop {
                if let Some(told) = self.readiness(index).await {
                    return told;
                }
                sleep(LOOK).await;
            }
        });
        told.await
            .unwrap_or_else(|_| panic!("{} does not answer", self.nodes[index].name))
    }

    /// [`Cluster::launch`] and [`Cluster::ready`].
    pub async fn start(&mut self, index: usize, variables: &[(&str, &str)]) {
        self.launch(index, variables);
        self.ready(index).await;
    }

    /// Asks the operator's interface of a node.
    pub async fn operator(&self, index: usize, path: &str) -> Value {
        let url = format!("{}{path}", self.nodes[index].operator);
        let reply = self
            .client
            .get(url)
            .bearer_auth(&self.token)
            .send()
            .await
            .unwrap();
        let status = reply.status();
        let text = reply.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The names of the owners of the shards of carts, as the node `index` sees them.
    pub async fn owners(&self, index: usize) -> Vec<String> {
        let shards = self.operator(index, "/v1/shards").await;
        let mut owners: Vec<(u64, String)> = shards["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|shard| shard["kind"] == "cart")
            .map(|shard| {
                let owner = shard["owner"].as_str().unwrap_or_default().to_owned();
                (shard["shard"].as_u64().unwrap(), owner)
            })
            .collect();
        owners.sort();
        owners.into_iter().map(|(_, owner)| owner).collect()
    }

    /// Waits until no checkout is under way, as the node `index` sees it.
    pub async fn checkouts_have_ended(&self, index: usize) {
        let mut left = Value::Null;
        let waited = timeout(PATIENCE, async {
            loop {
                left = self.operator(index, "/v1/sagas?state=running&limit=100").await["items"].take();
                if left.as_array().unwrap().is_empty() {
                    return;
                }
                sleep(LOOK * 5).await;
            }
        });
        let ended = waited.await.is_ok();
        assert!(ended, "checkouts that do not end: {left:#}");
    }

    /// The auditor finds every invariant kept.
    pub async fn audit(&self) {
        let output = souk()
            .args(["audit", "--json", "--config"])
            .arg(&self.config)
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "the audit: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The end of a node's log.
    pub fn log_tail(&self, index: usize) -> String {
        let text = std::fs::read_to_string(self.log(index)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Ends the cluster in order: what drains badly fails the scenario that started it.
    pub async fn end(mut self) {
        for node in &self.nodes {
            if node.process.is_some() && test_kill_process(node.pid).is_ok() {
                kill_process(node.pid, Signal::TERM).unwrap();
            }
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].process.is_some() {
                self.gone(index).await;
            }
        }
        if let Some(mut demo) = self.demo.take() {
            let id = pid(u64::from(demo.id().unwrap()));
            kill_process(id, Signal::TERM).unwrap();
            let status = timeout(PATIENCE, demo.wait()).await.unwrap().unwrap();
            assert!(status.success(), "the demo ended with {status}");
        }
        if let Some(mut store) = self.store.take() {
            kill_process(pid(u64::from(store.id().unwrap())), Signal::TERM).unwrap();
            timeout(PATIENCE, store.wait()).await.unwrap().unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For whoever looks at the failure.
            for index in 0..self.nodes.len() {
                eprintln!("--- {}:\n{}", self.nodes[index].name, self.log_tail(index));
            }
        }
    }
}

fn pid(id: u64) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Prints the distribution of durations and gives the 99th percentile.
pub fn distribution(what: &str, durations: &mut [Duration]) -> Duration {
    assert!(!durations.is_empty(), "{what}: nothing was measured");
    durations.sort();
    let at = |percent: usize| durations[(durations.len() * percent).div_ceil(100).max(1) - 1];
    println!(
        "{what}: {} samples, p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        durations.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    at(99)
}
