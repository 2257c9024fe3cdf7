//! A cluster of node processes, started by `souk demo`.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Reply};
use super::command::{self, Ended};
use super::guard::Guarded;
use super::waiting::eventually;

/// Longest time for a demo to be ready, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Longest time for a restarted node to be ready.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// Longest time for a killed process to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Log text when a port is taken.
const PORT_TAKEN: &str = "Address already in use";

/// Lines of each log shown on failure.
const LINES_SHOWN: usize = 25;

/// Environment variable that keeps the folder of every cluster: configuration, stores and logs.
pub const KEEP: &str = "SOUK_TEST_KEEP";

/// Options of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of nodes.
    pub nodes: u16,
    /// Number of products.
    pub products: u64,
    /// Settings as keys of cluster.toml, for example `("limits.idle_seconds", "2")`, for every process of the cluster,
    /// including restarted nodes and the auditor.
    pub settings: Vec<(&'static str, String)>,
    /// Further environment variables of every process.
    pub environment: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            products: 200,
            settings: Vec::new(),
            environment: Vec::new(),
        }
    }
}

impl Options {
    /// Nodes that wait for a checkout as long as a busy machine needs, so that orders are answered with their outcome and
    /// not with 202.
    pub fn patient(mut self) -> Self {
        self.settings.extend([
            ("limits.checkout_wait_ms", "40000".to_owned()),
            ("limits.request_budget_ms", "50000".to_owned()),
        ]);
        self
    }

    /// The settings as the environment variables that override cluster.toml.
    fn variables(&self) -> Vec<(String, String)> {
        let setting = |(key, value): &(&str, String)| {
            (
                format!("SOUK_{}", key.replace('.', "__").to_uppercase()),
                value.clone(),
            )
        };
        let variable = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        // A slow machine that runs many tests at once is no overloaded shop; tests of overload have it.
        [("limits.overload_ms", "0".to_owned())]
            .iter()
            .chain(&self.settings)
            .map(setting)
            .chain(self.environment.iter().map(variable))
            .collect()
    }
}

/// The ready line of a demo.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub ready: bool,
    pub shop: Vec<String>,
    pub operator: Vec<String>,
    pub data: PathBuf,
    pub config: PathBuf,
    pub pids: Vec<u32>,
    pub admin: Value,
    pub shopper: Value,
    pub operator_token: String,
}

/// The parent of a node process.
enum NodeProcess {
    OfDemo(Pid),
    Own(Guarded),
    Gone,
}

/// A running cluster; stopped on drop.
pub struct Cluster {
    ready: Ready,
    variables: Vec<(String, String)>,
    /// From the start of the demo to its ready line.
    start_time: Duration,
    nodes: Mutex<Vec<NodeProcess>>,
    demo: Mutex<Guarded>,
    /// `None` if the guard removes it.
    folder: Option<TempDir>,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not get ready, with the ends of its logs.
    pub fn start(options: Options) -> Self {
        Self::start_again(&options, false)
    }

    /// Starts a cluster that lives until this process ends, which also removes its folder.
    pub fn start_for_process(options: Options) -> Self {
        Self::start_again(&options, true)
    }

    /// Retries with other ports if a port was taken between choosing and binding it.
    fn start_again(options: &Options, for_process: bool) -> Self {
        Self::start_in(options, temporary_folder(), for_process)
            .or_else(|failure| {
                if !failure.contains(PORT_TAKEN) {
                    return Err(failure);
                }
                eprintln!("a port was taken meanwhile; once more");
                Self::start_in(options, temporary_folder(), for_process)
            })
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn start_in(options: &Options, folder: TempDir, for_process: bool) -> Result<Self, String> {
        raise_file_limit();
        let variables = options.variables();
        let data = folder.path().join("data");
        let (nodes, products) = (options.nodes.to_string(), options.products.to_string());
        let arguments = [
            "demo",
            "--port",
            "0",
            "--nodes",
            &nodes,
            "--products",
            &products,
            "--data",
            command::text(&data),
        ];
        let log = File::create(folder.path().join("demo.log")).expect("a log can be made");
        let removed = (for_process && std::env::var_os(KEEP).is_none()).then(|| folder.path());
        let started = Instant::now();
        let demo = Guarded::start(&command::souk(&arguments, &variables), log, removed);
        let line = demo.line(START_LIMIT).map_err(|error| {
            format!(
                "the demo is not ready ({error}) after {:?}\n{}",
                started.elapsed(),
                logs(folder.path(), |_| true)
            )
        })?;
        let start_time = started.elapsed();
        let ready: Ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the ready line can't be read ({error}): {line}"));
        let of_demo = |pid: &u32| {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
            NodeProcess::OfDemo(pid.unwrap_or_else(|| panic!("the ready line has a bad pid: {line}")))
        };
        Ok(Self {
            nodes: Mutex::new(ready.pids.iter().map(of_demo).collect()),
            ready,
            variables,
            start_time,
            demo: Mutex::new(demo),
            folder: if for_process {
                let _ = folder.keep();
                None
            } else {
                Some(folder)
            },
        })
    }

    /// The demo's ready line.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// From the start of the demo to its ready line.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// The number of nodes at the start.
    pub fn len(&self) -> usize {
        self.ready.shop.len()
    }

    /// The shop address of a node, counted from 0.
    pub fn shop(&self, node: usize) -> &str {
        &self.ready.shop[node]
    }

    /// The operator address of a node, counted from 0.
    pub fn operator(&self, node: usize) -> &str {
        &self.ready.operator[node]
    }

    /// The operator token.
    pub fn token(&self) -> &str {
        &self.ready.operator_token
    }

    /// The path of cluster.toml.
    pub fn config(&self) -> &Path {
        &self.ready.config
    }

    /// The folder of stores, certificates and logs.
    pub fn data(&self) -> &Path {
        &self.ready.data
    }

    /// The name of a node, counted from 0.
    pub fn name(&self, node: usize) -> String {
        format!("n{}", node + 1)
    }

    /// The process ids of the nodes; `None` for one that has ended.
    pub fn pids(&self) -> Vec<Option<u32>> {
        self.nodes()
            .iter()
            .map(|node| match node {
                NodeProcess::OfDemo(pid) => Some(pid.as_raw_nonzero().get().unsigned_abs()),
                NodeProcess::Own(guarded) => Some(guarded.pid()),
                NodeProcess::Gone => None,
            })
            .collect()
    }

    /// The process id of the demo.
    pub fn demo_pid(&self) -> u32 {
        self.demo().pid()
    }

    /// The environment of every process of this cluster.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// A client of a node, counted from 0, without a cart.
    pub fn client(&self, node: usize) -> Client {
        Client::new(self.shop(node))
    }

    /// Runs a command of the binary with this cluster's configuration.
    pub async fn souk(&self, arguments: &[&str]) -> Ended {
        let config = ["--config", command::text(&self.ready.config)];
        command::run(&[arguments, &config].concat(), &self.variables).await
    }

    /// Runs `souk audit`.
    ///
    /// # Panics
    /// With each violation.
    pub async fn audit(&self) {
        let ended = self.souk(&["audit", "--json"]).await;
        assert!(
            matches!(ended.code, Some(0 | 1)) && !ended.stdout.is_empty(),
            "the audit did not come to a result: {ended:?}"
        );
        let report = ended.json();
        let violations = report["violations"]
            .as_array()
            .unwrap_or_else(|| panic!("the audit's report has no violations: {report}"));
        assert!(
            violations.is_empty() && ended.code == Some(0),
            "the audit found {} violations (exit code {:?}):\n{}",
            violations.len(),
            ended.code,
            violations
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }

    /// The reply of the first operator interface that answers at `path`, for example `/v1/nodes`.
    ///
    /// # Panics
    /// If no node answers.
    pub async fn inspect(&self, path: &str) -> Value {
        let mut last = None;
        for node in 0..self.len() {
            match self.inspect_at(node, path).await {
                Ok(reply) if reply.status == 200 => return reply.body,
                other => {
                    last = Some(other.map_or_else(|error| format!("{error:?}"), |reply| reply.to_string()))
                }
            }
        }
        panic!("no node shows {path}: {}", last.unwrap_or_default())
    }

    /// Resident megabytes of the first node.
    pub async fn resident(&self) -> f64 {
        let nodes = self.inspect("/v1/nodes").await;
        nodes["items"][0]["rss_bytes"].as_f64().expect("bytes") / 1e6
    }

    /// The reply of one node's operator interface.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn inspect_at(&self, node: usize, path: &str) -> Result<Reply, reqwest::Error> {
        let bearer = format!("Bearer {}", self.token());
        Client::new(self.operator(node))
            .try_send("GET", path, None, &[("authorization", &bearer)])
            .await
    }

    /// Sends a signal to a node, for example `Signal::STOP`. For [`Signal::KILL`] use [`Cluster::kill_node`].
    pub fn signal(&self, node: usize, signal: Signal) {
        match &self.nodes()[node] {
            NodeProcess::OfDemo(pid) => {
                kill_process(*pid, signal)
                    .unwrap_or_else(|error| panic!("node {} gets no signal: {error}", self.name(node)));
            }
            NodeProcess::Own(guarded) => guarded.signal(signal),
            NodeProcess::Gone => panic!("node {} is gone already", self.name(node)),
        }
    }

    /// Kills a node (SIGKILL) and waits for the end of its process.
    pub async fn kill_node(&self, node: usize) {
        self.end_node(node, Signal::KILL).await;
    }

    /// Drains a node (SIGTERM) and waits for the end of its process.
    pub async fn drain_node(&self, node: usize) {
        self.end_node(node, Signal::TERM).await;
    }

    async fn end_node(&self, node: usize, signal: Signal) {
        let process = std::mem::replace(&mut self.nodes()[node], NodeProcess::Gone);
        match process {
            NodeProcess::OfDemo(pid) => {
                kill_process(pid, signal)
                    .unwrap_or_else(|error| panic!("node {} gets no signal: {error}", self.name(node)));
                let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
                let limit = if signal == Signal::KILL {
                    GONE_LIMIT
                } else {
                    READY_LIMIT
                };
                eventually("the demo has seen its node end", limit, async || {
                    if folder.exists() {
                        Err("it still runs")
                    } else {
                        Ok(())
                    }
                })
                .await;
            }
            NodeProcess::Own(mut guarded) => {
                guarded.signal(signal);
                // Waiting blocks; the test's other tasks go on.
                tokio::task::spawn_blocking(move || guarded.stop())
                    .await
                    .expect("a node can be waited for");
            }
            NodeProcess::Gone => panic!("node {} is gone already", self.name(node)),
        }
    }

    /// Restarts a node without waiting until it is ready; see [`Cluster::ready_again`].
    pub fn start_node(&self, node: usize) {
        let name = self.name(node);
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.ready.data.join("logs").join(format!("{name}.log")))
            .expect("a node's log can be written");
        let arguments = [
            "node",
            "--config",
            command::text(&self.ready.config),
            "--name",
            &name,
        ];
        let mut nodes = self.nodes();
        assert!(matches!(nodes[node], NodeProcess::Gone), "node {name} still runs");
        nodes[node] = NodeProcess::Own(Guarded::start(
            &command::souk(&arguments, &self.variables),
            log,
            None,
        ));
    }

    /// Restarts a node and waits until it is ready.
    pub async fn restart_node(&self, node: usize) {
        self.start_node(node);
        self.ready_again(node).await;
    }

    /// Waits until a node is ready.
    pub async fn ready_again(&self, node: usize) {
        let client = self.client(node);
        let what = format!("node {} is ready", self.name(node));
        eventually(&what, READY_LIMIT, async || {
            match client.try_send("GET", "/readyz", None, &[]).await {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => Err(reply.to_string()),
                Err(error) => Err(format!("{error:?}")),
            }
        })
        .await;
    }

    /// The last matching lines of every log, under the log's name.
    pub fn logs(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.ready
            .data
            .parent()
            .map(|folder| logs(folder, wanted))
            .unwrap_or_default()
    }

    /// All lines with an error or panic in the nodes' logs.
    pub fn errors_logged(&self) -> Vec<String> {
        log_files(&self.ready.data)
            .iter()
            .flat_map(|file| {
                let name = file
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let text = fs::read_to_string(file).unwrap_or_default();
                text.lines()
                    .filter(|line| is_error(line))
                    .map(|line| format!("{name}: {line}"))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Stops the demo as Ctrl-C or SIGTERM do, and returns its exit code. Restarted nodes are stopped too.
    pub fn stop(&self) -> Option<i32> {
        for node in self.nodes().iter_mut() {
            if let NodeProcess::Own(guarded) = node {
                guarded.ask_to_end();
            }
        }
        let code = self.demo().stop().and_then(|status| status.code());
        for node in self.nodes().iter_mut() {
            *node = NodeProcess::Gone;
        }
        code
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<NodeProcess>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn demo(&self) -> MutexGuard<'_, Guarded> {
        self.demo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            eprintln!("{}", self.logs(is_notable));
        }
        if std::env::var_os(KEEP).is_some()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

fn temporary_folder() -> TempDir {
    // Not below the build directory: a path of a Unix socket has few characters.
    tempfile::Builder::new()
        .prefix("souk-test-")
        .tempdir()
        .expect("a temporary folder can be made")
}

fn log_files(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(data.join("logs"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

fn logs(folder: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let mut files = log_files(&folder.join("data"));
    files.insert(0, folder.join("demo.log"));
    let mut shown = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| wanted(line)).collect();
        shown.push_str(&format!("--- {}\n", file.display()));
        for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    shown
}

/// Whether a log line reports an error.
pub fn is_error(line: &str) -> bool {
    line.contains(" ERROR ") || line.contains("panicked at") || line.contains("stack backtrace")
}

/// Whether a log line helps to understand a failure.
pub fn is_notable(line: &str) -> bool {
    is_error(line) || line.contains(" WARN ")
}

/// Raises the limit of open files: tests open thousands of connections.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where that is refused, tests of many connections tell so themselves.
    let _ = setrlimit(Resource::Nofile, raised);
}
