//! Which other nodes this node believes alive.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::view::{Member, NodeIdentity, View};

/// A node that a view removed is not added again by others for this long: gossip reports a dead node for longer at some
/// nodes than at others, and those would bring it back each time. A node that is alive joins by itself.
const READMISSION_DELAY: Duration = Duration::from_secs(10);

/// A member that gossip has never reported is believed alive for this long: it may have joined through another node, and
/// its gossip has not arrived yet.
const GOSSIP_GRACE: Duration = Duration::from_secs(3);

/// What gossip, the links and the views say about other nodes.
#[derive(Default)]
pub(super) struct Liveness {
    /// Alive according to gossip.
    gossip: Vec<Member>,
    /// Members that gossip has never reported, and when they became members.
    unreported: HashMap<NodeIdentity, Instant>,
    /// Nodes whose address refuses connections.
    refused: HashSet<NodeIdentity>,
    /// Nodes that a view removed, and when.
    removed: HashMap<NodeIdentity, Instant>,
}

impl Liveness {
    /// The nodes that are alive according to gossip, without this one.
    pub(super) fn in_gossip(&self) -> &[Member] {
        &self.gossip
    }

    fn reports(&self, identity: &NodeIdentity) -> bool {
        self.gossip.iter().any(|member| member.is(identity))
    }

    /// Gossip reports these nodes.
    pub(super) fn gossip(&mut self, alive: Vec<Member>) {
        for member in &alive {
            self.unreported.remove(&member.identity());
        }
        self.gossip = alive;
        let gossip = &self.gossip;
        self.refused
            .retain(|identity| gossip.iter().any(|member| member.is(identity)));
    }

    /// The address of `peer` refuses connections. False if the node is not known anyway. One that is no member of `view`
    /// any more still counts, because gossip goes on reporting it for a while.
    pub(super) fn refused(&mut self, peer: NodeIdentity, view: &View) -> bool {
        let is_known = view.contains(&peer) || self.reports(&peer);
        if is_known {
            self.refused.insert(peer);
        }
        is_known
    }

    /// There is a link to `peer`.
    pub(super) fn connected(&mut self, peer: &NodeIdentity) {
        self.refused.remove(peer);
    }

    /// The view `next` follows the view `before`, as seen from the node `me`.
    pub(super) fn view_changed(&mut self, me: &str, before: &View, next: &View, now: Instant) {
        for member in &next.members {
            let identity = member.identity();
            if member.name != me && !self.reports(&identity) && !before.contains(&identity) {
                self.unreported.insert(identity, now);
            }
        }
        self.unreported.retain(|identity, _| next.contains(identity));
        for member in before
            .members
            .iter()
            .filter(|member| !next.contains(&member.identity()))
        {
            self.removed.insert(member.identity(), now);
        }
        self.removed
            .retain(|identity, since| !next.contains(identity) && now < *since + READMISSION_DELAY);
    }

    /// The nodes that count as alive: those that gossip reports and those members of `view` whose gossip has not had the
    /// time to arrive, without those that refuse connections or were removed lately. A node that is no member itself
    /// passes no view: it relies on gossip alone.
    pub(super) fn alive(&self, view: Option<&View>, now: Instant) -> Vec<Member> {
        let mut alive = self.gossip.clone();
        for member in view.iter().flat_map(|view| &view.members) {
            let since = self.unreported.get(&member.identity());
            let is_new = since.is_some_and(|since| now < *since + GOSSIP_GRACE);
            if is_new && !alive.iter().any(|other| other.name == member.name) {
                alive.push(member.clone());
            }
        }
        alive.retain(|member| {
            let identity = member.identity();
            let removed = self.removed.get(&identity);
            !self.refused.contains(&identity) && removed.is_none_or(|since| now >= *since + READMISSION_DELAY)
        });
        alive
    }

    /// The nodes to which links are wanted: members and live nodes, each as gossip describes it if it does.
    pub(super) fn peers(&self, me: &str, view: &View) -> Vec<Member> {
        let unreported = view
            .members
            .iter()
            .filter(|member| !self.gossip.iter().any(|other| other.name == member.name));
        unreported
            .chain(&self.gossip)
            .filter(|member| member.name != me)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixtures::member;

    fn view(number: u64, members: &[Member]) -> View {
        View {
            number,
            members: members.to_vec(),
        }
    }

    #[test]
    fn a_new_member_is_alive_until_its_grace_ends() {
        let now = Instant::now();
        let (a, b) = (member("a", 1), member("b", 1));
        let both = view(2, &[a.clone(), b.clone()]);
        let mut liveness = Liveness::default();
        liveness.view_changed("a", &view(1, &[a]), &both, now);
        assert_eq!(liveness.alive(Some(&both), now), std::slice::from_ref(&b));
        assert!(liveness.alive(None, now).is_empty(), "outside the view");
        assert!(liveness.alive(Some(&both), now + GOSSIP_GRACE).is_empty());
        // Once reported, gossip alone decides.
        liveness.gossip(vec![b.clone()]);
        assert_eq!(liveness.alive(Some(&both), now + GOSSIP_GRACE), [b]);
        liveness.gossip(Vec::new());
        assert!(liveness.alive(Some(&both), now).is_empty());
    }

    #[test]
    fn a_removed_node_is_not_added_again_at_once() {
        let now = Instant::now();
        let (a, b) = (member("a", 1), member("b", 1));
        let mut liveness = Liveness::default();
        liveness.gossip(vec![b.clone()]);
        let (both, alone) = (view(2, &[a.clone(), b.clone()]), view(3, &[a]));
        liveness.view_changed("a", &both, &alone, now);
        assert!(liveness.alive(Some(&alone), now).is_empty());
        assert_eq!(
            liveness.alive(Some(&alone), now + READMISSION_DELAY),
            std::slice::from_ref(&b)
        );
        // It joined by itself.
        liveness.view_changed("a", &alone, &both, now);
        assert_eq!(liveness.alive(Some(&both), now), [b]);
    }

    #[test]
    fn a_refused_connection_outweighs_gossip() {
        let now = Instant::now();
        let b = member("b", 1);
        let mut liveness = Liveness::default();
        assert!(!liveness.refused(b.identity(), &View::default()), "unknown");
        liveness.gossip(vec![b.clone()]);
        assert!(liveness.refused(b.identity(), &View::default()));
        assert!(liveness.alive(None, now).is_empty());
        liveness.connected(&b.identity());
        assert_eq!(liveness.alive(None, now), std::slice::from_ref(&b));
        // What gossip no longer reports is forgotten.
        assert!(liveness.refused(b.identity(), &View::default()));
        liveness.gossip(Vec::new());
        liveness.gossip(vec![b.clone()]);
        assert_eq!(liveness.alive(None, now), [b]);
    }

    #[test]
    fn links_are_wanted_to_members_and_live_nodes() {
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 1));
        let restarted = member("b", 2);
        let mut liveness = Liveness::default();
        liveness.gossip(vec![restarted.clone()]);
        let peers = liveness.peers("a", &view(1, &[a, b, c.clone()]));
        assert_eq!(peers, [c, restarted]);
    }
}
