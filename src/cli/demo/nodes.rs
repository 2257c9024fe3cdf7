//! The processes of a demo.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::select_all;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::home::Home;
use crate::cli::Failure;
use crate::cli::process::{DEMO_CHILD, Termination};
use crate::config::{Config, Node};
use crate::operator::peers::{ClientError, OperatorClient};

/// Time before a node is killed, in addition to its time for draining.
const DRAIN_MARGIN: Duration = Duration::from_secs(3);

/// Time for the store process to finish the commit in flight.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// Interval at which a node that the demo did not start is asked whether it still runs.
const GONE_INTERVAL: Duration = Duration::from_millis(100);

/// Longest time for one reply of such a node.
const GONE_REPLY_LIMIT: Duration = Duration::from_secs(1);

/// A node that ended.
pub(super) struct Exit {
    pub(super) name: String,
    pub(super) status: ExitStatus,
}

struct NodeProcess {
    name: String,
    pid: u32,
    /// `None` once it has ended.
    child: Option<Child>,
}

/// The nodes that this demo started.
pub(super) struct NodeProcesses(Vec<NodeProcess>);

impl NodeProcesses {
    /// Starts all nodes. Must run on the main thread: children are bound to the thread that started them.
    pub(super) fn start(config: &Config, home: &Home) -> Result<Self, Failure> {
        let binary = own_binary()?;
        let mut processes = Vec::with_capacity(config.nodes.len());
        for Node { name, .. } in &config.nodes {
            let mut command = command(&binary, home, name)?;
            command
                .arg("node")
                .arg("--config")
                .arg(home.config_file())
                .arg("--name")
                .arg(name)
                .env(DEMO_CHILD, std::process::id().to_string());
            let child = command
                .spawn()
                .map_err(|error| Failure::failed(format!("node {name} can't be started"), error))?;
            processes.push(NodeProcess {
                name: name.clone(),
                // A child that nobody has waited for has its id.
                pid: child.id().unwrap_or_default(),
                child: Some(child),
            });
        }
        Ok(Self(processes))
    }

    /// The process ids, in the order of the configuration.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.0.iter().map(|node| node.pid).collect()
    }

    /// Waits for the next node to end; forever if none is left. Cancel safe.
    pub(super) async fn next_exit(&mut self) -> Exit {
        let waits: Vec<_> = self
            .0
            .iter_mut()
            .enumerate()
            .filter_map(|(index, node)| {
                let child = node.child.as_mut()?;
                Some(Box::pin(async move { (index, child.wait().await) }))
            })
            .collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        let ((index, status), _, _) = select_all(waits).await;
        let node = &mut self.0[index];
        node.child = None;
        Exit {
            name: node.name.clone(),
            // A child that can't be waited for has ended as well.
            status: status.unwrap_or_default(),
        }
    }

    /// Drains every node and waits for it; kills the remaining ones after the time for draining, or at a second signal. Nodes
    /// that were restarted by hand are drained too.
    pub(super) async fn stop(&mut self, config: &Config, termination: &mut Termination) {
        let returned: Vec<&Node> = config
            .nodes
            .iter()
            .zip(&self.0)
            .filter_map(|(node, process)| process.child.is_none().then_some(node))
            .collect();
        let limit = config.limits.drain_seconds.duration() + DRAIN_MARGIN;
        for node in &self.0 {
            if let Some(child) = &node.child {
                // A stopped node (SIGSTOP) drains once it is resumed.
                send(child, Signal::TERM);
                send(child, Signal::CONT);
            }
        }
        let gone = async {
            tokio::join!(
                async {
                    for node in &mut self.0 {
                        if let Some(child) = &mut node.child {
                            // Nothing to do about a child that can't be waited for.
                            let _ = child.wait().await;
                        }
                    }
                },
                futures::future::join_all(returned.iter().map(|node| drain_remotely(config, node))),
            )
        };
        tokio::select! {
            _ = gone => {}
            () = sleep(limit) => eprintln!("not every node has drained within {} s", limit.as_secs()),
            () = termination.requested() => eprintln!("not waiting any longer"),
        }
        for node in &mut self.0 {
            if let Some(child) = &mut node.child {
                // Kills and waits; an error means that it has ended already.
                let _ = child.kill().await;
            }
        }
        for node in returned {
            let Ok(client) = client(config) else {
                continue;
            };
            if answers(&client, node).await {
                eprintln!("node {} was not started by this demo and still runs", node.name);
            }
        }
    }
}

/// Drains a node of this cluster that was started by hand, and waits until it has ended.
async fn drain_remotely(config: &Config, node: &Node) {
    let Ok(client) = client(config) else {
        return;
    };
    if !answers(&client, node).await {
        return;
    }
    let path = format!("/v1/nodes/{}/drain", node.name);
    let asked = client
        .request(Method::POST, node.operator, &path)
        .bearer_auth(config.operator.token.expose())
        .send()
        .await;
    if asked.is_ok_and(|reply| reply.status().is_success()) {
        while answers(&client, node).await {
            sleep(GONE_INTERVAL).await;
        }
    }
}

async fn answers(client: &OperatorClient, node: &Node) -> bool {
    let asked = client.request(Method::GET, node.operator, "/livez");
    asked.send().await.is_ok()
}

fn client(config: &Config) -> Result<OperatorClient, ClientError> {
    let authority = config.operator_tls_authority();
    OperatorClient::new(authority.as_deref(), GONE_REPLY_LIMIT, GONE_REPLY_LIMIT)
}

/// The process that writes the embedded stores.
pub(super) struct StoreProcess(Child);

impl StoreProcess {
    /// Starts it before the nodes, so that these need not agree on who does.
    pub(super) fn start(config: &Config, home: &Home) -> Result<Self, Failure> {
        command(&own_binary()?, home, "store")?
            .arg("store")
            .arg("--data")
            .arg(&config.cluster.data)
            .spawn()
            .map(Self)
            .map_err(|error| Failure::failed("the store process can't be started", error))
    }

    /// Lets it finish the commit in flight.
    pub(super) async fn stop(&mut self) {
        send(&self.0, Signal::TERM);
        send(&self.0, Signal::CONT);
        if timeout(STORE_LIMIT, self.0.wait()).await.is_err() {
            // Kills and waits; acknowledged writes are on disk.
            let _ = self.0.kill().await;
        }
    }
}

fn own_binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::failed("the path of this program can't be found", error))
}

/// A command of this binary that logs to a separate file.
fn command(binary: &PathBuf, home: &Home, name: &str) -> Result<Command, Failure> {
    let log = |error| Failure::failed(format!("the log of {name} can't be written"), error);
    let file = home.log_file(name).map_err(log)?;
    let mut command = std::process::Command::new(binary);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(file.try_clone().map_err(log)?))
        .stderr(Stdio::from(file))
        // A separate process group: Ctrl-C reaches the demo alone, which stops the others in order.
        .process_group(0);
    let mut command = Command::from(command);
    // No process is left when the demo itself fails.
    command.kill_on_drop(true);
    Ok(command)
}

/// Signals a child that has not been waited for: its process id is still its own.
fn send(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // The only possible error is that it has ended.
        let _ = kill_process(pid, signal);
    }
}
