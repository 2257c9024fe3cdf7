//! The root supervisor of a node: starts its children, restarts failed ones with back-off, and ends the node when one of
//! them keeps failing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::oneshot;

use souk_retry::Backoff;

/// The pause before the first restart of a child.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// This many failures of one child within [`FAILURE_WINDOW`] end the node.
const FAILURE_LIMIT: usize = 10;
/// The period in which failures are counted.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// Starts a child, linked to its supervisor.
pub type Start = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

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

/// Messages of the root supervisor.
pub enum RootMessage {
    /// Restart the child with this index.
    Restart(usize),
}

impl ractor::Message for RootMessage {}

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
    type Msg = RootMessage;
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
        RootMessage::Restart(index): RootMessage,
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
    async fn start(&mut self, myself: &ActorRef<RootMessage>, index: usize) -> Result<(), SpawnErr> {
        let Some(child) = self.children.get(index) else {
            return Ok(());
        };
        let actor = (child.start)(myself.get_cell()).await?;
        self.running.insert(actor.get_id(), index);
        self.supervision.change(index, |child| child.running = true);
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<RootMessage>, index: usize, reason: String) {
        let name = self.children.get(index).map_or("", |child| child.name.as_str());
        tracing::error!(
            child = name,
            reason,
            "a child of the node failed and will be restarted"
        );
        metrics::counter!("souk_child_failures_total", "child" => name.to_owned()).increment(1);
        self.supervision.change(index, |child| {
            child.running = false;
            child.last_error = Some(reason.clone());
        });
        let Some(failures) = self.failures.get_mut(index) else {
            return;
        };
        failures.retain(|failure| failure.elapsed() < FAILURE_WINDOW);
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
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let pause = failures
            .iter()
            .map(|_| backoff.next_pause())
            .last()
            .unwrap_or(FIRST_PAUSE);
        myself.send_after(pause, move || RootMessage::Restart(index));
    }
}
