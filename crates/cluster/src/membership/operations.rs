//! Operations of the coordination store. They run beside the membership actor, which never waits for one: a slow write
//! must not keep it from verifying the view, nor a slow read from noticing what gossip and the links say.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorRef;

use super::MembershipMessage;
use crate::lease::Moment;
use crate::view::{NodeIdentity, View};
use crate::views::{Views, ViewsError};

/// Longest time for an operation: more than any adapter allows itself.
const LIMIT: Duration = Duration::from_secs(15);

/// How an operation ended.
pub enum Ended {
    /// A look at the view.
    Look(Result<Look, ViewsError>),
    /// A proposal of this view.
    Proposal(View, Result<bool, ViewsError>),
    /// A heartbeat was sent.
    Beat(Result<(), ViewsError>),
    /// Heartbeats were read, as (name, incarnation, counter).
    Beats(Result<Vec<(String, u64, u64)>, ViewsError>),
}

/// A look at the view.
pub struct Look {
    /// The view; the empty one before the first.
    pub(super) view: View,
    /// When the look began.
    pub(super) began: Moment,
    /// When the view had been read.
    pub(super) ended: Instant,
}

/// Starts operations, of each kind one at a time.
pub(super) struct Operations {
    views: Arc<dyn Views>,
    membership: ActorRef<MembershipMessage>,
    looking: bool,
    /// Whether another look was asked for during the present one, which may have read too early.
    look_again: bool,
    proposing: bool,
    beating: bool,
}

impl Operations {
    pub(super) fn new(views: Arc<dyn Views>, membership: ActorRef<MembershipMessage>) -> Self {
        Self {
            views,
            membership,
            looking: false,
            look_again: false,
            proposing: false,
            beating: false,
        }
    }

    /// Looks at the view, once more if it is being looked at.
    pub(super) fn look(&mut self) {
        if mem::replace(&mut self.looking, true) {
            self.look_again = true;
            return;
        }
        let views = Arc::clone(&self.views);
        let look = async move {
            let began = Moment::now();
            let view = views.current().await?.unwrap_or_default();
            let ended = Instant::now();
            Ok(Look { view, began, ended })
        };
        self.start(look, Ended::Look);
    }

    /// Proposes a view, unless a proposal is under way: when that ends, the view is looked at and planned anew.
    pub(super) fn propose(&mut self, view: View) {
        if mem::replace(&mut self.proposing, true) {
            return;
        }
        let (views, proposed) = (Arc::clone(&self.views), view.clone());
        self.start(async move { views.propose(&proposed).await }, move |result| {
            Ended::Proposal(view, result)
        });
    }

    /// Sends a heartbeat, unless the last one is still under way.
    pub(super) fn beat(&mut self, me: NodeIdentity) {
        if mem::replace(&mut self.beating, true) {
            return;
        }
        let views = Arc::clone(&self.views);
        let beat = async move { views.beat(&me.name, me.incarnation).await };
        self.start(beat, Ended::Beat);
    }

    /// Reads the heartbeats, unless they are being read.
    pub(super) fn beats(&mut self) {
        if mem::replace(&mut self.beating, true) {
            return;
        }
        let views = Arc::clone(&self.views);
        self.start(async move { views.beats().await }, Ended::Beats);
    }

    /// Notes that an operation has ended, and starts the look that was put off for it.
    pub(super) fn ended(&mut self, ended: &Ended) {
        match ended {
            Ended::Look(_) => {
                self.looking = false;
                if mem::take(&mut self.look_again) {
                    self.look();
                }
            }
            Ended::Proposal(..) => self.proposing = false,
            Ended::Beat(_) | Ended::Beats(_) => self.beating = false,
        }
    }

    /// Runs an operation within the limit. A panic is an error like others.
    fn start<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, ViewsError>> + Send + 'static,
        ended: impl FnOnce(Result<T, ViewsError>) -> Ended + Send + 'static,
    ) {
        let membership = self.membership.clone();
        tokio::spawn(async move {
            let result = match tokio::spawn(tokio::time::timeout(LIMIT, operation)).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(format!("no answer within {LIMIT:?}").into()),
                Err(panicked) => Err(panicked.into()),
            };
            // The actor may have stopped.
            let _ = membership.cast(MembershipMessage::Ended(ended(result)));
        });
    }
}
