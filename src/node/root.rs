//! The root supervisor of a node: starts its children, restarts failed ones with back-off, and ends the node when one of
//! them keeps failing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::oneshot;

use crate::actors::handle::Start;
use souk_retry::Backoff;

/// Pauses before the restarts of a child.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// This many failures of one child within [`FAILURE_WINDOW`] end the node.
const FAILURE_LIMIT: usize = 10;
/// The period in which failures are counted.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// A child of the root.
#[derive(Clone)]
pub struct ChildSpec {
    /// Its name in the tree.
    pub name: String,
    /// The kind of actor.
    pub kind: &'static str,
    /// Starts it.
    pub start: Start,
}

impl ChildSpec {
    /// A child of this name and kind.
    pub fn new(name: impl Into<String>, kind: &'static str, start: Start) -> Self {
        let name = name.into();
        Self { name, kind, start }
    }
}

/// The status of a child, for operators.
#[derive(Clone, Debug)]
pub struct ChildStatus {
    /// Its name.
    pub name: String,
    /// The kind of actor.
    pub kind: &'static str,
    /// Whether it is running.
    pub running: bool,
    /// Number of restarts.
    pub restarts: u64,
    /// The reason of its last failure.
    pub last_error: Option<String>,
}

/// The status of all children, readable at any time.
#[derive(Clone, Default)]
pub struct SupervisionStatus(Arc<Mutex<Vec<ChildStatus>>>);

impl SupervisionStatus {
    /// The children, in the order of their start.
    pub fn read(&self) -> Vec<ChildStatus> {
        self.0.lock().map(|children| children.clone()).unwrap_or_default()
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut ChildStatus)) {
        if let Ok(mut children) = self.0.lock()
            && let Some(child) = children.get_mut(index)
        {
            change(child);
        }
    }
}

/// The message of the root supervisor: restart the child with this index.
pub struct Restart(usize);

impl ractor::Message for Restart {}

/// The root supervisor.
pub struct Root;

/// Arguments of the root supervisor.
pub struct RootArguments {
    /// The children, in the order of their start.
    pub children: Vec<ChildSpec>,
    /// Where their status is published.
    pub supervision: SupervisionStatus,
    /// Receives the reason when the node must end.
    pub gave_up: oneshot::Sender<String>,
}

/// State of the root supervisor.
pub struct RootState {
    children: Vec<ChildSpec>,
    supervision: SupervisionStatus,
    gave_up: Option<oneshot::Sender<String>>,
    running: HashMap<ActorId, usize>,
    failures: Vec<Vec<Instant>>,
}

impl Actor for Root {
    type Msg = Restart;
    type State = RootState;
    type Arguments = RootArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: RootArguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        if let Ok(mut statuses) = arguments.supervision.0.lock() {
            *statuses = arguments
                .children
                .iter()
                .map(|child| ChildStatus {
                    name: child.name.clone(),
                    kind: child.kind,
                    running: false,
                    restarts: 0,
                    last_error: None,
                })
                .collect();
        }
        let mut state = RootState {
            failures: vec![Vec::new(); arguments.children.len()],
            children: arguments.children,
            supervision: arguments.supervision,
            gave_up: Some(arguments.gave_up),
            running: HashMap::new(),
        };
        for index in 0..state.children.len() {
            state.start(&myself, index).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        Restart(index): Restart,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Err(error) = state.start(&myself, index).await {
            state.failed(&myself, index, error.to_string());
        } else {
            state.supervision.change(index, |child| child.restarts += 1);
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, reason) = match event {
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), reason.unwrap_or_else(|| "stopped".to_owned()))
            }
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), error.to_string()),
            _ => return Ok(()),
        };
        if let Some(index) = state.running.remove(&actor) {
            state.failed(&myself, index, reason);
        }
        Ok(())
    }
}

impl RootState {
    async fn start(&mut self, myself: &ActorRef<Restart>, index: usize) -> Result<(), SpawnErr> {
        let actor = (self.children[index].start)(myself.get_cell()).await?;
        self.running.insert(actor.get_id(), index);
        self.supervision.change(index, |child| child.running = true);
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<Restart>, index: usize, reason: String) {
        let name = &self.children[index].name;
        tracing::error!(
            child = name,
            reason,
            "a child of the node failed and will be restarted"
        );
        metrics::counter!("souk_child_failures_total", "child" => name.clone()).increment(1);
        self.supervision.change(index, |child| {
            child.running = false;
            child.last_error = Some(reason.clone());
        });
        let failures = &mut self.failures[index];
        failures.retain(|failure| failure.elapsed() < FAILURE_WINDOW);
        let earlier = failures.len();
        failures.push(Instant::now());
        if failures.len() >= FAILURE_LIMIT {
            let verdict = format!(
                "{name} failed {} times within {FAILURE_WINDOW:?}; the last reason: {reason}",
                failures.len()
            );
            if let Some(gave_up) = self.gave_up.take() {
                // Without a receiver the node is ending already.
                let _ = gave_up.send(verdict);
            }
            return;
        }
        let pause = RETRY.after(earlier as u32).next_pause();
        myself.send_after(pause, move || Restart(index));
    }
}
