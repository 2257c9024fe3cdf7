//! A region of test entities over a store with faults, for the tests of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ractor::ActorRef;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::entity::{Command, EntityMessage};
use super::in_memory::{self, HERE};
use super::outcome::{Answer, Ask, AskError, Outcome, Permit, ReplyTo};
use super::region::{AnyRegion, Region, RegionLimits};
use crate::stores::documents::DocumentStore;
use crate::stores::documents::faulty::FaultyDocuments;
use souk_cluster::ownership::{Routing, fixtures};
use souk_cluster::placement::shard_of;
use souk_domain::event::NoEvent;
use souk_domain::{Aggregate, CommandId, Decision, Kind, Timestamp};

/// Far longer than anything takes, since the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A number, which settles when it is not open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counter {
    value: u64,
    open: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CounterCommand {
    Read,
    Add(u64),
    Open,
    Close,
    Panic,
}

impl Aggregate for Counter {
    const KIND: Kind = Kind("counter");
    const REMEMBERED_COMMANDS: usize = 4;

    type Command = CounterCommand;
    type Reply = u64;
    type View = u64;
    type Event = NoEvent;

    fn initial(_id: &str) -> Self {
        Self {
            value: 0,
            open: false,
        }
    }

    fn decide(&self, command: &CounterCommand, _at: Timestamp) -> Decision<Self> {
        let (value, open) = match command {
            CounterCommand::Read => return Decision::keep(self.value),
            CounterCommand::Add(number) => (self.value + number, self.open),
            CounterCommand::Open => (self.value, true),
            CounterCommand::Close => (self.value, false),
            CounterCommand::Panic => panic!("as the test wants"),
        };
        Decision::change(value, Self { value, open })
    }

    fn view(&self) -> u64 {
        self.value
    }

    fn settled(&self) -> bool {
        !self.open
    }
}

/// An ask without an id.
pub fn ask(command: CounterCommand) -> Ask<Counter> {
    Ask::new(command, Instant::now() + LIMIT, Arc::from("test"))
}

/// An ask with an id of its own.
pub fn identified(command: CounterCommand) -> Ask<Counter> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    ask(command).with_id(CommandId::parse(&id).unwrap())
}

/// One node with one kind of entity.
pub struct Engine {
    pub store: Arc<FaultyDocuments>,
    pub routing: Arc<Routing>,
    pub region: Region<Counter>,
}

impl Engine {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With limits that differ from the generous ones of [`in_memory`].
    pub async fn with(change: impl FnOnce(&mut RegionLimits)) -> Self {
        let mut limits = in_memory::LIMITS;
        change(&mut limits);
        let store = FaultyDocuments::new("carts").await;
        let routing = fixtures::alone(HERE, 1);
        let region = in_memory::region(Arc::clone(&store) as Arc<dyn DocumentStore>, &routing, limits).await;
        Self {
            store,
            routing,
            region,
        }
    }

    /// Another node over the same store, which takes itself for the only member of view `view`.
    pub async fn rival(&self, name: &str, view: u64) -> Self {
        let store = Arc::clone(&self.store);
        let routing = fixtures::alone(name, view);
        let documents = Arc::clone(&store) as Arc<dyn DocumentStore>;
        let region = in_memory::region(documents, &routing, in_memory::LIMITS).await;
        Self {
            store,
            routing,
            region,
        }
    }

    pub async fn ask(&self, id: &str, ask: Ask<Counter>) -> Result<Answer<Counter>, AskError> {
        self.region.ask(id, ask).await
    }

    /// Adds, and returns the value with its version.
    pub async fn add(&self, id: &str, number: u64) -> Result<(u64, u64), AskError> {
        let answer = self.ask(id, identified(CounterCommand::Add(number))).await?;
        Ok((answer.reply, answer.version))
    }

    /// Reads, and returns the value with its version.
    pub async fn read(&self, id: &str) -> Result<(u64, u64), AskError> {
        let answer = self.ask(id, ask(CounterCommand::Read)).await?;
        Ok((answer.reply, answer.version))
    }

    /// Sends a command once, and returns where its outcome arrives.
    pub fn send(&self, id: &str, ask: Ask<Counter>) -> oneshot::Receiver<Outcome<Counter>> {
        let (command, outcome) = self.command(ask);
        self.region.dispatch(shard_of(id), id, command);
        outcome
    }

    /// A command with its reply.
    pub fn command(&self, ask: Ask<Counter>) -> (Box<Command<Counter>>, oneshot::Receiver<Outcome<Counter>>) {
        let permit = Permit::admit(&self.region.context().in_flight, ask.origin, usize::MAX).unwrap();
        let (reply_to, outcome) = ReplyTo::here();
        let command = Command {
            ask,
            reply_to,
            permit,
            conflicts: 0,
        };
        (Box::new(command), outcome)
    }

    /// The address of a live entity.
    pub fn actor(&self, id: &str) -> Option<ActorRef<EntityMessage<Counter>>> {
        Some(self.region.context().directory.get(id)?.actor.clone())
    }

    /// Returns once the entity has processed what it was sent before.
    pub async fn flushed(&self, id: &str) {
        self.region.describe(id).await.unwrap();
    }

    /// Hands the shard of this entity over.
    pub async fn hand_over(&self, id: &str) {
        self.region.hand_over(vec![shard_of(id)]).await;
    }

    /// The version in the store.
    pub async fn stored(&self, id: &str) -> u64 {
        self.store.version(id).await.unwrap()
    }
}

/// Identifiers of one shard.
pub fn neighbours(count: usize) -> Vec<String> {
    let shard = shard_of("n0");
    (0..)
        .map(|number| format!("n{number}"))
        .filter(|id| shard_of(id) == shard)
        .take(count)
        .collect()
}
