//! Ownership of shards as this node knows it: the installed view, when each shard may be served, and how long this node
//! may answer from memory (invariant 13).

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::lease::{Lease, Moment};
use crate::placement::{self, SHARDS};
use crate::view::View;

/// Who owns a shard, as seen from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This node, and it may serve.
    Local,
    /// This node, but the lease of the previous owner has not expired: it may still answer from memory.
    AcquiringLease,
    /// Another node.
    Remote(Arc<str>),
    /// No node.
    Nobody,
}

/// This node's ownership of a shard. Rows carry the number of the view under which they were last written, so that the store
/// tells a former owner's writes from those of the present one (fencing token).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The number of the view with which this node acquired the shard.
    pub since: u64,
    /// The number of the installed view. A row that was written under a later one has another owner.
    pub view: u64,
}

/// An installed view and what follows from it.
#[derive(Clone, Debug)]
pub struct Table {
    /// The view.
    pub view: View,
    /// Each shard, by its number.
    shards: Vec<Shard>,
}

/// A shard under the installed view.
#[derive(Clone, Debug)]
struct Shard {
    /// The name of its owner.
    owner: Option<Arc<str>>,
    /// When the owner may serve it, by this node's clock.
    serve_from: Instant,
    /// The owner in the previous view, if known.
    previous: Option<Arc<str>>,
    /// From when the previous owner could serve it. If it was still waiting when it lost the shard, its release says nothing
    /// about the owner before it, which may answer from memory until then.
    previous_serve_from: Instant,
    /// The number of the view with which this node acquired it, where it owns it.
    acquired: u64,
}

/// The routing table of a node. Each view replaces all of it.
#[derive(Debug)]
pub struct Routing {
    me: Arc<str>,
    table: ArcSwap<Table>,
    lease: Lease,
    changed: watch::Sender<u64>,
    outdated: Notify,
}

impl Routing {
    /// The routing of the node `me` before its first view.
    pub fn new(me: &str) -> Arc<Self> {
        let now = Instant::now();
        let unowned = Shard {
            owner: None,
            serve_from: now,
            previous: None,
            previous_serve_from: now,
            acquired: 0,
        };
        Arc::new(Self {
            me: Arc::from(me),
            table: ArcSwap::from_pointee(Table {
                view: View::default(),
                shards: vec![unowned; SHARDS.into()],
            }),
            lease: Lease::default(),
            changed: watch::Sender::new(0),
            outdated: Notify::new(),
        })
    }

    /// This node's name.
    pub fn me(&self) -> &Arc<str> {
        &self.me
    }

    /// The installed view.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The owner of `shard`.
    pub fn owner(&self, shard: u16) -> Owner {
        let shard = &self.table.load().shards[usize::from(shard)];
        match &shard.owner {
            Some(name) if *name != self.me => Owner::Remote(Arc::clone(name)),
            Some(_) if shard.serve_from <= Instant::now() => Owner::Local,
            Some(_) => Owner::AcquiringLease,
            None => Owner::Nobody,
        }
    }

    fn owns(&self, shard: &Shard) -> bool {
        shard.owner.as_ref() == Some(&self.me)
    }

    /// The shards that this node owns, whether it may serve them yet or not.
    pub fn owned(&self) -> Vec<u16> {
        let table = self.table.load();
        (0..SHARDS)
            .filter(|shard| self.owns(&table.shards[usize::from(*shard)]))
            .collect()
    }

    /// The shards that this node owns and may serve.
    pub fn served(&self) -> Vec<u16> {
        (0..SHARDS)
            .filter(|shard| self.owner(*shard) == Owner::Local)
            .collect()
    }

    /// Notifies of each change of the table.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// When the owner of `shard` may serve it, as far as this node knows.
    pub fn serve_from(&self, shard: u16) -> Instant {
        self.table.load().shards[usize::from(shard)].serve_from
    }

    /// Whether the lease that this node renewed last is still valid.
    pub fn holds_lease(&self) -> bool {
        self.lease.holds(Moment::now())
    }

    /// Whether this node may answer from memory for an entity of this shard that it loaded when it owned the shard `since`
    /// that view: it holds the lease, and has owned the shard without a break. The memory of a former owner may be
    /// outdated, even when the node owns the shard again.
    pub fn may_answer_from_memory(&self, shard: u16, since: u64) -> bool {
        self.holds_lease()
            && self.owner(shard) == Owner::Local
            && self.tenure(shard).is_some_and(|tenure| tenure.since == since)
    }

    /// This node's ownership of a shard; `None` where it does not own it.
    pub fn tenure(&self, shard: u16) -> Option<Tenure> {
        let table = self.table.load();
        let shard = &table.shards[usize::from(shard)];
        self.owns(shard).then(|| Tenure {
            since: shard.acquired,
            view: table.view.number,
        })
    }

    /// Says that the installed view seems to be outdated: membership should look now, and not at the next interval.
    pub fn suspect(&self) {
        self.outdated.notify_one();
    }

    /// Waits until somebody suspects that the installed view is outdated.
    pub async fn suspected(&self) {
        self.outdated.notified().await;
    }

    /// Renews the lease: a look that began at `looked_at` found the installed view in the store.
    pub fn renew_lease(&self, looked_at: Moment, length: Duration) {
        self.lease.renew(looked_at, length);
    }

    /// Ends the lease until the next [`Routing::renew_lease`].
    pub fn drop_lease(&self) {
        self.lease.end();
    }

    /// Installs a view that has been in the store since `read_at` at the latest (when it had been read, not when reading
    /// began). Shards that this node takes over are served only after `lease`: until then the previous owner may answer
    /// from memory in good faith.
    ///
    /// Returns the shards that this node has lost.
    pub fn install(&self, view: View, read_at: Instant, lease: Duration) -> Vec<u16> {
        let before = self.table.load_full();
        let in_sequence = view.number == before.view.number + 1;
        let first_ever = view.number <= 1;
        let mut shards = before.shards.clone();
        let mut lost = Vec::new();
        for (number, shard) in (0..SHARDS).zip(&mut shards) {
            let was_mine = self.owns(shard);
            let owner = placement::owner(&view, number).map(|member| Arc::from(member.name.as_str()));
            let former = std::mem::replace(&mut shard.owner, owner);
            let is_mine = self.owns(shard);
            // Out of sequence, another node may have owned the shard in a view that this node never saw.
            if was_mine && !(is_mine && in_sequence) {
                lost.push(number);
            }
            if is_mine && !(was_mine && in_sequence) {
                shard.acquired = view.number;
            }
            shard.previous_serve_from = shard.serve_from;
            let has_stayed = in_sequence && former == shard.owner;
            if !has_stayed && !first_ever {
                // For a shard that this node gave away nobody but the new owner answers.
                let given_away = was_mine && !is_mine;
                shard.serve_from = if given_away { read_at } else { read_at + lease };
            }
            shard.previous = former.filter(|_| in_sequence);
        }
        let number = view.number;
        self.table.store(Arc::new(Table { view, shards }));
        self.changed.send_replace(number);
        lost
    }

    /// The node `from` has released the shards that it lost with view `number`: their new owner need not wait.
    pub fn released(&self, from: &str, number: u64) {
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            if table.view.number == number {
                let now = Instant::now();
                let released = |shard: &&mut Shard| shard.previous.as_deref() == Some(from);
                for shard in table.shards.iter_mut().filter(released) {
                    shard.serve_from = shard.serve_from.min(now.max(shard.previous_serve_from));
                }
            }
            table
        });
        self.changed.send_modify(|_| {});
    }

    /// Ends the lease and the ownership of all shards: this node is no longer a member. Returns the shards that it owned.
    pub fn step_down(&self) -> Vec<u16> {
        let lost = self.owned();
        self.drop_lease();
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.view.number = 0;
            table.view.members.retain(|member| *member.name != *self.me);
            for shard in &mut table.shards {
                shard.owner.take_if(|owner| *owner == self.me);
                shard.previous = None;
            }
            table
        });
        self.changed.send_modify(|_| {});
        lost
    }
}

/// Routings for tests.
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::Routing;
    use crate::lease::Moment;
    use crate::view::View;
    use crate::view::fixtures::member;

    /// The routing of a node that is the only member of a view, and holds the lease for a day.
    pub fn alone(name: &str, view: u64) -> Arc<Routing> {
        let routing = Routing::new(name);
        install(&routing, view);
        routing.renew_lease(Moment::now(), Duration::from_secs(24 * 3600));
        routing
    }

    /// Installs a view with this node as its only member.
    pub fn install(routing: &Routing, number: u64) {
        let members = vec![member(routing.me(), 1)];
        routing.install(View { number, members }, Instant::now(), Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixtures::member;

    fn view(number: u64, names: &[&str]) -> View {
        View {
            number,
            members: names.iter().map(|name| member(name, 1)).collect(),
        }
    }

    const LEASE: Duration = Duration::from_secs(60);

    #[test]
    fn shards_taken_over_are_served_after_the_lease() {
        let routing = Routing::new("a");
        assert!(routing.install(view(1, &["a"]), Instant::now(), LEASE).is_empty());
        assert_eq!(routing.served().len(), usize::from(SHARDS));

        let lost = routing.install(view(2, &["a", "b"]), Instant::now(), LEASE);
        assert!(!lost.is_empty() && lost.len() < usize::from(SHARDS));
        assert_eq!(routing.served().len() + lost.len(), usize::from(SHARDS));

        // b dies: this node owns its shards again, but may not serve them yet.
        assert!(routing.install(view(3, &["a"]), Instant::now(), LEASE).is_empty());
        assert_eq!(routing.owner(lost[0]), Owner::AcquiringLease);
        assert_eq!(routing.served().len() + lost.len(), usize::from(SHARDS));
        routing.released("b", 3);
        assert_eq!(routing.served().len(), usize::from(SHARDS));
    }

    #[test]
    fn a_waiting_owner_cannot_release_for_its_predecessor() {
        // As seen from c: a is removed, b takes over some of its shards and has to wait, and then b is removed as well.
        let routing = Routing::new("c");
        routing.install(view(1, &["a", "b", "c"]), Instant::now(), LEASE);
        let owned_by = |name: &str| -> Vec<u16> {
            let owner = Owner::Remote(Arc::from(name));
            (0..SHARDS)
                .filter(|shard| routing.owner(*shard) == owner)
                .collect()
        };
        let (of_a, of_b) = (owned_by("a"), owned_by("b"));
        routing.install(view(2, &["b", "c"]), Instant::now(), LEASE);
        let waited_for: Vec<u16> = owned_by("b")
            .into_iter()
            .filter(|shard| of_a.contains(shard))
            .collect();
        assert!(!waited_for.is_empty());
        routing.install(view(3, &["c"]), Instant::now(), LEASE);
        routing.released("b", 3);
        for shard in waited_for {
            assert_eq!(routing.owner(shard), Owner::AcquiringLease, "{shard}");
        }
        for shard in of_b {
            assert_eq!(routing.owner(shard), Owner::Local, "{shard}");
        }
    }

    #[test]
    fn only_the_previous_owner_can_release() {
        let routing = Routing::new("a");
        routing.install(view(1, &["a", "b", "c"]), Instant::now(), LEASE);
        let before = routing.served().len();
        routing.install(view(2, &["a", "c"]), Instant::now(), LEASE);
        routing.released("b", 1);
        routing.released("c", 2);
        assert_eq!(routing.served().len(), before);
    }

    #[test]
    fn a_view_out_of_sequence_loses_all_shards() {
        let routing = Routing::new("a");
        routing.install(view(1, &["a"]), Instant::now(), LEASE);
        let lost = routing.install(view(3, &["a"]), Instant::now(), LEASE);
        assert_eq!(lost.len(), usize::from(SHARDS));
        assert!(routing.served().is_empty());
    }

    #[test]
    fn memory_answers_for_own_shards_under_a_lease() {
        let routing = Routing::new("a");
        routing.install(view(1, &["a"]), Instant::now(), LEASE);
        assert!(!routing.may_answer_from_memory(0, 1));
        routing.renew_lease(Moment::now(), LEASE);
        assert!((0..SHARDS).all(|shard| routing.may_answer_from_memory(shard, 1)));
        let lost = routing.install(view(2, &["a", "b"]), Instant::now(), LEASE);
        routing.renew_lease(Moment::now(), LEASE);
        for shard in 0..SHARDS {
            assert_eq!(
                routing.may_answer_from_memory(shard, 1),
                !lost.contains(&shard),
                "{shard}"
            );
        }
    }

    #[test]
    fn a_tenure_begins_with_the_view_that_gave_the_shard() {
        let routing = Routing::new("a");
        assert_eq!(routing.tenure(0), None);
        routing.install(view(1, &["a"]), Instant::now(), LEASE);
        let lost = routing.install(view(2, &["a", "b"]), Instant::now(), LEASE);
        let kept = (0..SHARDS).find(|shard| !lost.contains(shard)).unwrap();
        assert_eq!(routing.tenure(lost[0]), None);
        routing.install(view(3, &["a"]), Instant::now(), Duration::ZERO);
        routing.renew_lease(Moment::now(), LEASE);
        for (shard, since) in [(kept, 1), (lost[0], 3)] {
            assert_eq!(routing.tenure(shard), Some(Tenure { since, view: 3 }));
            // What was loaded in the first tenure is good only where it goes on.
            assert_eq!(routing.may_answer_from_memory(shard, 1), since == 1);
        }
        // Another node may have owned it in the view that was missed, or while this node was outside.
        routing.install(view(5, &["a"]), Instant::now(), LEASE);
        assert_eq!(routing.tenure(kept), Some(Tenure { since: 5, view: 5 }));
        routing.step_down();
        assert_eq!(routing.tenure(kept), None);
        routing.install(view(6, &["a"]), Instant::now(), LEASE);
        assert_eq!(routing.tenure(kept), Some(Tenure { since: 6, view: 6 }));
    }

    #[test]
    fn stepping_down_ends_the_lease() {
        let routing = Routing::new("a");
        assert!(!routing.holds_lease());
        routing.renew_lease(Moment::now(), LEASE);
        assert!(routing.holds_lease());
        routing.install(view(1, &["a"]), Instant::now(), LEASE);
        assert_eq!(routing.step_down().len(), usize::from(SHARDS));
        assert!(!routing.holds_lease());
        assert_eq!(routing.owner(0), Owner::Nobody);
    }
}
