//! Heartbeats of nodes as seen in the coordination store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::view::{NodeIdentity, View};

/// Between two heartbeats of a node.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// A node without a heartbeat for this long is considered dead.
pub const WINDOW: Duration = Duration::from_millis(2_500);

/// The latest counter of each node and when it last changed, by this node's clock.
#[derive(Default)]
pub(super) struct Heartbeats {
    seen: HashMap<NodeIdentity, (u64, Instant)>,
    read_at: Option<Instant>,
}

impl Heartbeats {
    /// Notes the heartbeats that were read at `now`.
    pub(super) fn update(&mut self, heartbeats: Vec<(String, u64, u64)>, now: Instant) {
        self.read_at = Some(now);
        for (name, incarnation, count) in heartbeats {
            let identity = NodeIdentity { name, incarnation };
            let entry = self.seen.entry(identity).or_insert((count, now));
            if entry.0 != count {
                *entry = (count, now);
            }
        }
    }

    /// Whether a member of `view` had a heartbeat within the window. A member that was not observed for that long yet
    /// counts as active, and so do all members if the heartbeats could not be read lately.
    pub(super) fn any_recent(&self, view: &View, now: Instant) -> bool {
        if self.read_at.is_none_or(|read_at| now >= read_at + WINDOW) {
            return true;
        }
        view.members.iter().any(|member| {
            self.seen
                .get(&member.identity())
                .is_some_and(|(_, changed_at)| now < *changed_at + WINDOW)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixtures::member;

    #[test]
    fn a_member_is_active_until_its_counter_stops() {
        let view = View {
            number: 1,
            members: vec![member("a", 1)],
        };
        let start = Instant::now();
        let beat = |count| vec![("a".to_owned(), 1, count)];
        let mut heartbeats = Heartbeats::default();
        assert!(heartbeats.any_recent(&view, start), "never read");
        heartbeats.update(Vec::new(), start);
        assert!(!heartbeats.any_recent(&view, start), "no heartbeat");
        heartbeats.update(beat(7), start);
        assert!(heartbeats.any_recent(&view, start));
        let later = start + WINDOW;
        assert!(heartbeats.any_recent(&view, later), "read too long ago");
        heartbeats.update(beat(7), later);
        assert!(!heartbeats.any_recent(&view, later), "the counter has stopped");
        heartbeats.update(beat(8), later);
        assert!(heartbeats.any_recent(&view, later));
    }
}
