//! How an entity's row comes into memory: which commands wait for it, whether this node may use it, and whether it has to
//! be fenced before anything is answered from it.

use std::sync::Arc;
use std::time::Duration;

use super::{Loading, Pipeline};
use crate::actors::entity::{Command, Record};
use crate::actors::outcome::{Failure, Outcome};
use crate::actors::persistence::{LoadFailed, Loaded};
use souk_cluster::ownership::Tenure;
use souk_domain::Aggregate;
use souk_error_chain::Chain;

/// Conflicts of one command before its caller gets [`Outcome::Busy`].
const CONFLICT_LIMIT: u8 = 8;

/// When that caller may try again.
const CONFLICT_RETRY: Duration = Duration::from_millis(100);

/// The commands that waited for a load.
pub(in crate::actors::entity) struct Queued<A: Aggregate> {
    /// They arrived before the load was sent: what it found is an answer to them.
    pub(in crate::actors::entity) before: Vec<Box<Command<A>>>,
    /// They arrived later.
    pub(in crate::actors::entity) later: Vec<Box<Command<A>>>,
}

/// Why a loaded row can't be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::actors::entity) enum LoadError {
    /// Another node owns the shard: as this node knows, or as the row says.
    #[error(
        "another node owns the entity, whose row was written under view {fence}; this node is at view {view}"
    )]
    NotOwner {
        /// The view under which the row was written.
        fence: u64,
        /// The installed view; 0 where another node owns the shard in it.
        view: u64,
    },
    /// The row does not decode.
    #[error("the row does not decode")]
    Decode(#[source] serde_json::Error),
    /// The store did not answer, or can't read the row.
    #[error("the row can't be read now")]
    Store,
}

impl<A: Aggregate> Pipeline<A> {
    /// There was no row, and nothing that would make one. Absence is not remembered, because another node can end it
    /// without notice: there is no row to fence.
    fn is_absent(&self) -> bool {
        self.loading.is_none() && self.durable_version == 0 && self.is_clean()
    }

    /// Whether the next command has to wait for a load.
    pub(in crate::actors::entity) fn must_load(&self) -> bool {
        self.loading.is_some() || self.is_absent()
    }

    /// Whether it is of no use to keep the entity in memory.
    pub(in crate::actors::entity) fn is_useless(&self) -> bool {
        self.is_absent() && self.waiters.is_empty()
    }

    /// Begins without a row and without a look, where nobody has asked for one. A write that finds one conflicts, and leads
    /// to a load.
    pub(in crate::actors::entity) fn presume_absent(&mut self, id: &str, tenure: Option<Tenure>) -> bool {
        let is_asked_for = |loading: &Loading<A>| loading.asked.is_some() || !loading.queued.is_empty();
        let is_asked_for = self.loading.as_ref().is_some_and(is_asked_for);
        let Some(tenure) = tenure.filter(|_| !is_asked_for) else {
            return false;
        };
        self.loading = None;
        self.begin(Record::initial(id), 0, 0, tenure);
        self.fenced = true;
        self.presumed = true;
        true
    }

    /// Begins with this record, which has this version and fence in the store.
    fn begin(&mut self, record: Record<A>, version: u64, fence: u64, tenure: Tenure) {
        self.since = tenure.since;
        self.fence = fence.max(tenure.since);
        self.tentative = Some(Arc::new(record));
        self.durable_version = version;
        self.tentative_version = version;
        self.same_since = version;
    }

    /// Queues a command until the row is loaded. True where the caller has to request the load.
    pub(in crate::actors::entity) fn queue_for_load(&mut self, command: Box<Command<A>>) -> bool {
        if let Some(Loading { queued, asked }) = &mut self.loading {
            queued.push(command);
            let is_first = asked.is_none();
            asked.get_or_insert(queued.len());
            return is_first;
        }
        self.reload_with(command);
        true
    }

    /// Loads the row again, for the command that found memory stale.
    pub(in crate::actors::entity) fn reload_with(&mut self, command: Box<Command<A>>) {
        self.start_loading(vec![command], true);
    }

    pub(super) fn start_loading(&mut self, queued: Vec<Box<Command<A>>>, asked: bool) {
        self.durable = None;
        self.tentative = None;
        self.fenced = false;
        self.events.clear();
        self.loading = Some(Loading {
            asked: asked.then_some(queued.len()),
            queued,
        });
    }

    /// Takes the loaded row and returns the commands that waited for it. Where it can't be used, they are answered with
    /// the reason.
    pub(in crate::actors::entity) fn install(
        &mut self,
        id: &str,
        loaded: Loaded,
        tenure: Option<Tenure>,
    ) -> Result<Queued<A>, LoadError> {
        let Some(Loading { queued, asked }) = self.loading.take() else {
            return Ok(Queued {
                before: Vec::new(),
                later: Vec::new(),
            });
        };
        if let Err(error) = self.take(id, loaded, tenure) {
            self.last_error = Some(Chain(&error).to_string().into());
            for command in queued {
                command.reply_to.send(match error {
                    LoadError::NotOwner { .. } => Outcome::NotOwner(None),
                    LoadError::Decode(_) | LoadError::Store => Outcome::Failed(Failure::Store),
                });
            }
            // The next command asks for the next load.
            self.start_loading(Vec::new(), false);
            return Err(error);
        }
        self.settle_waiters();
        let mut before = queued;
        let later = before.split_off(asked.unwrap_or(0).min(before.len()));
        let (before, given_up): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|command| command.conflicts <= CONFLICT_LIMIT);
        for command in given_up {
            command.reply_to.send(Outcome::busy(CONFLICT_RETRY));
        }
        Ok(Queued { before, later })
    }

    /// The loaded row becomes the state. It has to be fenced where it was written before this node owned the shard, since
    /// a former owner may still write it, and where an earlier write may still land.
    fn take(&mut self, id: &str, loaded: Loaded, tenure: Option<Tenure>) -> Result<(), LoadError> {
        let row = loaded.row.map_err(|LoadFailed| LoadError::Store)?;
        let fence = row.as_ref().map_or(0, |document| document.fence);
        let tenure = tenure
            .filter(|tenure| fence <= tenure.view)
            .ok_or(LoadError::NotOwner {
                fence,
                view: tenure.map_or(0, |tenure| tenure.view),
            })?;
        self.presumed = false;
        let (record, version) = match &row {
            Some(document) => (
                Record::decode(document).map_err(LoadError::Decode)?,
                document.version,
            ),
            None => (Record::initial(id), 0),
        };
        self.begin(record, version, fence, tenure);
        // Without a row there is none that another node could write over.
        self.fenced = row.is_none() || (fence >= tenure.since && !loaded.is_unsettled);
        Ok(())
    }
}
