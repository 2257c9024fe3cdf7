//! What a node knows of ownership at this moment: the installed view, since when it may serve each shard, and until
//! when it may answer from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::placement::{self, SHARDS};
use crate::view::View;

/// Who owns a shard, as seen from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This node, and it may serve.
    Here,
    /// This node, but the one before may still answer from memory: not yet.
    HereSoon,
    /// Another node.
    There(Arc<str>),
    /// Nobody.
    Nobody,
}

/// One installed view with what follows from it.
#[derive(Debug)]
pub struct Table {
    /// The view.
    pub view: View,
    /// The name of the owner of each shard.
    owners: Vec<Option<Arc<str>>>,
    /// Since when the owner of each shard may serve it, by this node's clock.
    serve_from: Vec<Instant>,
    /// The same of the owner before. One that still waited when it lost the shard has nothing to let go of, but the owner
    /// before it may answer from memory until then.
    served_before_from: Vec<Instant>,
    /// Who had each shard in the view before, where that is known.
    previous: Vec<Option<Arc<str>>>,
}

/// The routing table of a node, replaced whole at each view.
#[derive(Debug)]
pub struct Routing {
    me: Arc<str>,
    table: ArcSwap<Table>,
    started: Instant,
    /// Milliseconds since `started` until which the view is verified.
    verified_until: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Routing {
    /// The routing of the node `me` before its first view.
    pub fn new(me: &str) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            me: Arc::from(me),
            table: ArcSwap::from_pointee(Table {
                view: View::default(),
                owners: vec![None; usize::from(SHARDS)],
                serve_from: vec![now; usize::from(SHARDS)],
                served_before_from: vec![now; usize::from(SHARDS)],
                previous: vec![None; usize::from(SHARDS)],
            }),
            started: now,
            verified_until: AtomicU64::new(0),
            changed: watch::Sender::new(0),
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

    /// Who owns `shard`.
    pub fn owner(&self, shard: u16) -> Owner {
        let table = self.table.load();
        match &table.owners[usize::from(shard)] {
            Some(name) if *name == self.me => {
                if table.serve_from[usize::from(shard)] <= Instant::now() {
                    Owner::Here
                } else {
                    Owner::HereSoon
                }
            }
            Some(name) => Owner::There(Arc::clone(name)),
            None => Owner::Nobody,
        }
    }

    /// The shards that this node owns, whether it may serve them yet or not.
    pub fn owned(&self) -> Vec<u16> {
        let table = self.table.load();
        (0..SHARDS)
            .filter(|shard| table.owners[usize::from(*shard)].as_ref() == Some(&self.me))
            .collect()
    }

    /// The shards that this node owns and may serve.
    pub fn served(&self) -> Vec<u16> {
        (0..SHARDS)
            .filter(|shard| self.owner(*shard) == Owner::Here)
            .collect()
    }

    /// Fires at each change of the table.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether this node may answer from memory now.
    pub fn is_verified(&self) -> bool {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        elapsed < self.verified_until.load(Ordering::Acquire)
    }

    /// Whether an entity of this shard may be answered for from memory: the view is verified, and in it the shard is this
    /// node's. Where it was, and is not any more, its memory may be behind from now on.
    pub fn may_answer_from_memory(&self, shard: u16) -> bool {
        self.is_verified() && self.owner(shard) == Owner::Here
    }

    /// The store was looked at successfully at `looked`, and the installed view still stands there.
    pub fn verify(&self, looked: Instant, lasts: Duration) {
        let until = looked.saturating_duration_since(self.started) + lasts;
        self.verified_until.fetch_max(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            Ordering::AcqRel,
        );
    }

    /// Nothing may be answered from memory any more until the next [`Routing::verify`].
    pub fn unverify(&self) {
        self.verified_until.store(0, Ordering::Release);
    }

    /// Installs a view that stands in the store since `stands` at the latest (the moment when it had been read, not the one
    /// when reading began). Shards that this node takes over are served only after `lasts`: until then the owner before may
    /// answer from memory in good faith.
    ///
    /// Returns the shards that this node owned before and does not now.
    pub fn install(&self, view: View, stands: Instant, lasts: Duration) -> Vec<u16> {
        let before = self.table.load_full();
        let in_sequence = view.number == before.view.number + 1;
        let first_ever = view.number <= 1;
        let mut next = Table {
            owners: (0..SHARDS)
                .map(|shard| placement::owner(&view, shard).map(|member| Arc::from(member.name.as_str())))
                .collect(),
            serve_from: before.serve_from.clone(),
            served_before_from: before.serve_from.clone(),
            previous: vec![None; usize::from(SHARDS)],
            view,
        };
        let mut lost = Vec::new();
        for shard in 0..SHARDS {
            let at = usize::from(shard);
            let was_mine = before.owners[at].as_ref() == Some(&self.me);
            let is_mine = next.owners[at].as_ref() == Some(&self.me);
            if in_sequence {
                next.previous[at].clone_from(&before.owners[at]);
            }
            // Out of sequence, another node may have had the shard in a view that this one never saw.
            if was_mine && !(is_mine && in_sequence) {
                lost.push(shard);
            }
            let has_stayed = in_sequence && before.owners[at] == next.owners[at];
            if !has_stayed && !first_ever {
                // What this node gave away nobody else answers for but the new owner.
                let given_away = was_mine && !is_mine;
                next.serve_from[at] = if given_away { stands } else { stands + lasts };
            }
        }
        let number = next.view.number;
        self.table.store(Arc::new(next));
        self.changed.send_replace(number);
        lost
    }

    /// The node `from` has let go of what it lost with view `number`: it need not be waited for.
    pub fn released(&self, from: &str, number: u64) {
        self.table.rcu(|table| {
            let mut serve_from = table.serve_from.clone();
            if table.view.number == number {
                let now = Instant::now();
                for (at, since) in serve_from.iter_mut().enumerate() {
                    if table.previous[at].as_deref() == Some(from) {
                        *since = (*since).min(now.max(table.served_before_from[at]));
                    }
                }
            }
            Table {
                view: table.view.clone(),
                owners: table.owners.clone(),
                serve_from,
                served_before_from: table.served_before_from.clone(),
                previous: table.previous.clone(),
            }
        });
        self.changed.send_modify(|_| {});
    }

    /// This node is no member (any more): it owns nothing. Returns the shards that it owned.
    pub fn step_down(&self) -> Vec<u16> {
        let lost = self.owned();
        self.unverify();
        self.table.rcu(|table| {
            let mut owners = table.owners.clone();
            for owner in &mut owners {
                if owner.as_ref() == Some(&self.me) {
                    *owner = None;
                }
            }
            Table {
                view: View {
                    number: 0,
                    members: table
                        .view
                        .members
                        .iter()
                        .filter(|member| *member.name != *self.me)
                        .cloned()
                        .collect(),
                },
                owners,
                serve_from: table.serve_from.clone(),
                served_before_from: table.served_before_from.clone(),
                previous: vec![None; usize::from(SHARDS)],
            }
        });
        self.changed.send_modify(|_| {});
        lost
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

    const LASTS: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_view_is_served_at_once_and_what_is_taken_over_only_after_the_wait() {
        let routing = Routing::new("a");
        assert!(routing.install(view(1, &["a"]), Instant::now(), LASTS).is_empty());
        assert_eq!(routing.served().len(), usize::from(SHARDS));

        let lost = routing.install(view(2, &["a", "b"]), Instant::now(), LASTS);
        assert!(!lost.is_empty() && lost.len() < usize::from(SHARDS));
        assert_eq!(routing.served().len() + lost.len(), usize::from(SHARDS));

        // b dies: what was its own comes back, but not yet.
        assert!(routing.install(view(3, &["a"]), Instant::now(), LASTS).is_empty());
        assert_eq!(routing.owner(lost[0]), Owner::HereSoon);
        assert_eq!(routing.served().len() + lost.len(), usize::from(SHARDS));
        routing.released("b", 3);
        assert_eq!(routing.served().len(), usize::from(SHARDS));
    }

    #[test]
    fn a_release_by_who_still_waited_does_not_shorten_the_time_of_the_owner_before() {
        // As c sees it: a is removed, b takes over some of its shards and has to wait; then b goes as well, at once.
        let routing = Routing::new("c");
        routing.install(view(1, &["a", "b", "c"]), Instant::now(), LASTS);
        let owned_by = |name: &str| -> Vec<u16> {
            let owner = Owner::There(Arc::from(name));
            (0..SHARDS)
                .filter(|shard| routing.owner(*shard) == owner)
                .collect()
        };
        let (of_a, of_b) = (owned_by("a"), owned_by("b"));
        routing.install(view(2, &["b", "c"]), Instant::now(), LASTS);
        let waited_for: Vec<u16> = owned_by("b")
            .into_iter()
            .filter(|shard| of_a.contains(shard))
            .collect();
        assert!(!waited_for.is_empty());
        routing.install(view(3, &["c"]), Instant::now(), LASTS);
        routing.released("b", 3);
        for shard in waited_for {
            assert_eq!(routing.owner(shard), Owner::HereSoon, "{shard}");
        }
        for shard in of_b {
            assert_eq!(routing.owner(shard), Owner::Here, "{shard}");
        }
    }

    #[test]
    fn a_release_of_another_view_or_node_shortens_nothing() {
        let routing = Routing::new("a");
        routing.install(view(1, &["a", "b", "c"]), Instant::now(), LASTS);
        let before = routing.served().len();
        routing.install(view(2, &["a", "c"]), Instant::now(), LASTS);
        routing.released("b", 1);
        routing.released("c", 2);
        assert_eq!(routing.served().len(), before);
    }

    #[test]
    fn a_view_out_of_sequence_gives_up_everything_that_was_in_memory() {
        let routing = Routing::new("a");
        routing.install(view(1, &["a"]), Instant::now(), LASTS);
        let lost = routing.install(view(3, &["a"]), Instant::now(), LASTS);
        assert_eq!(lost.len(), usize::from(SHARDS));
        assert!(routing.served().is_empty());
    }

    #[test]
    fn memory_answers_for_own_shards_of_a_verified_view_only() {
        let routing = Routing::new("a");
        routing.install(view(1, &["a"]), Instant::now(), LASTS);
        assert!(!routing.may_answer_from_memory(0));
        routing.verify(Instant::now(), LASTS);
        assert!((0..SHARDS).all(|shard| routing.may_answer_from_memory(shard)));
        let lost = routing.install(view(2, &["a", "b"]), Instant::now(), LASTS);
        routing.verify(Instant::now(), LASTS);
        for shard in 0..SHARDS {
            assert_eq!(
                routing.may_answer_from_memory(shard),
                !lost.contains(&shard),
                "{shard}"
            );
        }
    }

    #[test]
    fn verification_ends_by_itself_and_stepping_down_ends_it_at_once() {
        let routing = Routing::new("a");
        assert!(!routing.is_verified());
        routing.verify(Instant::now(), LASTS);
        assert!(routing.is_verified());
        routing.install(view(1, &["a"]), Instant::now(), LASTS);
        assert_eq!(routing.step_down().len(), usize::from(SHARDS));
        assert!(!routing.is_verified());
        assert_eq!(routing.owner(0), Owner::Nobody);
    }
}
