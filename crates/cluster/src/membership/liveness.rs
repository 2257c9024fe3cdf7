//! Which other nodes this node believes alive, and between which nodes links are missing.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::election::Links;
use crate::gossip::NodeReport;
use crate::view::{Member, NodeIdentity, View};

/// What gossip says of a new member may be older than its membership for this long: a member that gossip has never reported
/// is believed alive, and reports of a missing link do not count.
const GOSSIP_GRACE: Duration = Duration::from_secs(3);

/// What gossip, the links and the views say about other nodes.
#[derive(Default)]
pub(super) struct Liveness {
    /// The other live nodes according to gossip.
    reports: Vec<NodeReport>,
    /// Since when a node has been a member, where this node saw it join.
    joined: HashMap<NodeIdentity, Instant>,
    /// Members that gossip has never reported.
    unreported: HashSet<NodeIdentity>,
    /// Nodes whose address refuses connections.
    refused: HashSet<NodeIdentity>,
    /// Nodes to which a link is wanted and missing, and since when.
    unlinked: HashMap<NodeIdentity, Instant>,
}

impl Liveness {
    /// The nodes that are alive according to gossip, without this one.
    pub(super) fn in_gossip(&self) -> Vec<Member> {
        self.reports.iter().map(|report| report.member.clone()).collect()
    }

    fn reports(&self, identity: &NodeIdentity) -> bool {
        self.reports.iter().any(|report| report.member.is(identity))
    }

    /// Gossip reports these nodes.
    pub(super) fn gossip(&mut self, reports: Vec<NodeReport>) {
        for report in &reports {
            self.unreported.remove(&report.member.identity());
        }
        self.reports = reports;
        let reports = &self.reports;
        self.refused
            .retain(|identity| reports.iter().any(|report| report.member.is(identity)));
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

    /// Notes to which peers of the node `me` there is a link.
    pub(super) fn links(
        &mut self,
        me: &str,
        view: &View,
        is_linked: impl Fn(&NodeIdentity) -> bool,
        now: Instant,
    ) {
        let peers = self.peers(me, view);
        let (linked, unlinked): (HashSet<_>, HashSet<_>) =
            peers.iter().map(Member::identity).partition(is_linked);
        self.refused.retain(|peer| !linked.contains(peer));
        self.unlinked.retain(|peer, _| unlinked.contains(peer));
        for peer in unlinked {
            self.unlinked.entry(peer).or_insert(now);
        }
    }

    /// The names of the live nodes to which there has been no link for `limit`, sorted.
    pub(super) fn unreachable(&self, limit: Duration, now: Instant) -> Vec<String> {
        let mut names: Vec<String> = self
            .unlinked
            .iter()
            .filter(|(peer, since)| now >= **since + limit && self.reports(peer))
            .map(|(peer, _)| peer.name.clone())
            .collect();
        names.sort();
        names
    }

    /// The links that are missing, as this node `me` sees it, which can't reach the nodes `unreachable`, and as the others
    /// report.
    pub(super) fn missing_links(&self, me: &str, unreachable: &[String], view: &View, now: Instant) -> Links {
        let is_settled = |name: &str| {
            let joined = view
                .member(name)
                .and_then(|member| self.joined.get(&member.identity()));
            joined.is_none_or(|since| now >= *since + GOSSIP_GRACE)
        };
        let own = unreachable.iter().map(|name| (me, name.as_str()));
        let reported = self.reports.iter().flat_map(|report| {
            let names = report.unreachable.iter();
            names.map(|name| (report.member.name.as_str(), name.as_str()))
        });
        let broken = own
            .chain(reported)
            .filter(|(one, other)| is_settled(one) && is_settled(other))
            .map(|(one, other)| (one.to_owned(), other.to_owned()))
            .collect();
        let lacks_link = |report: &&NodeReport| {
            let identity = report.member.identity();
            view.contains(&identity)
                && (self.unlinked.contains_key(&identity) || report.unreachable.iter().any(|name| name == me))
        };
        let missing = self.reports.iter().filter(lacks_link);
        Links {
            broken,
            missing: missing.map(|report| report.member.name.clone()).collect(),
        }
    }

    /// The view `next` follows the view `before`, as seen from the node `me`.
    pub(super) fn view_changed(&mut self, me: &str, before: &View, next: &View, now: Instant) {
        for member in &next.members {
            let identity = member.identity();
            if before.contains(&identity) {
                continue;
            }
            self.joined.insert(identity.clone(), now);
            if member.name != me && !self.reports(&identity) {
                self.unreported.insert(identity);
            }
        }
        self.joined.retain(|identity, _| next.contains(identity));
        self.unreported.retain(|identity| next.contains(identity));
    }

    /// The nodes that count as alive: those that gossip reports and those members of `view` whose gossip has not had the
    /// time to arrive, without those that refuse connections. A node that is no member itself passes no view: it relies on
    /// gossip alone.
    pub(super) fn alive(&self, view: Option<&View>, now: Instant) -> Vec<Member> {
        let mut alive = self.in_gossip();
        for member in view.iter().flat_map(|view| &view.members) {
            let identity = member.identity();
            let joined = self.joined.get(&identity);
            let is_new = joined.is_some_and(|since| now < *since + GOSSIP_GRACE);
            if is_new
                && self.unreported.contains(&identity)
                && !alive.iter().any(|other| other.name == member.name)
            {
                alive.push(member.clone());
            }
        }
        alive.retain(|member| !self.refused.contains(&member.identity()));
        alive
    }

    /// The nodes to which links are wanted: members and live nodes, each as gossip describes it if it does.
    pub(super) fn peers(&self, me: &str, view: &View) -> Vec<Member> {
        let live = self.reports.iter().map(|report| &report.member);
        let unreported = view
            .members
            .iter()
            .filter(|member| !live.clone().any(|other| other.name == member.name));
        unreported
            .chain(live.clone())
            .filter(|member| member.name != me)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixtures::{member, report};

    /// How long a link may be missing.
    const LIMIT: Duration = Duration::from_secs(5);

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
        liveness.gossip(vec![report(&b)]);
        assert_eq!(liveness.alive(Some(&both), now + GOSSIP_GRACE), [b]);
        liveness.gossip(Vec::new());
        assert!(liveness.alive(Some(&both), now).is_empty());
    }

    #[test]
    fn a_refused_connection_outweighs_gossip() {
        let now = Instant::now();
        let b = member("b", 1);
        let mut liveness = Liveness::default();
        assert!(!liveness.refused(b.identity(), &View::default()), "unknown");
        liveness.gossip(vec![report(&b)]);
        assert!(liveness.refused(b.identity(), &View::default()));
        assert!(liveness.alive(None, now).is_empty());
        liveness.links("a", &View::default(), |_| false, now);
        assert!(liveness.alive(None, now).is_empty());
        liveness.links("a", &View::default(), |_| true, now);
        assert_eq!(liveness.alive(None, now), std::slice::from_ref(&b));
        // What gossip no longer reports is forgotten.
        assert!(liveness.refused(b.identity(), &View::default()));
        liveness.gossip(Vec::new());
        liveness.gossip(vec![report(&b)]);
        assert_eq!(liveness.alive(None, now), [b]);
    }

    #[test]
    fn links_are_wanted_to_members_and_live_nodes() {
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 1));
        let restarted = member("b", 2);
        let mut liveness = Liveness::default();
        liveness.gossip(vec![report(&restarted)]);
        let peers = liveness.peers("a", &view(1, &[a, b, c.clone()]));
        assert_eq!(peers, [c, restarted]);
    }

    #[test]
    fn a_live_node_without_a_link_becomes_unreachable() {
        let start = Instant::now();
        let (b, c) = (member("b", 1), member("c", 1));
        let both = view(3, &[b.clone(), c.clone()]);
        let mut liveness = Liveness::default();
        // c is dead according to gossip, so its link is irrelevant.
        liveness.gossip(vec![report(&b)]);
        let down = |_: &NodeIdentity| false;
        liveness.links("a", &both, down, start);
        assert_eq!(liveness.missing_links("a", &[], &both, start).missing, ["b"]);
        assert!(liveness.unreachable(LIMIT, start).is_empty());
        liveness.links("a", &both, down, start + LIMIT);
        assert_eq!(liveness.unreachable(LIMIT, start + LIMIT), ["b"]);
        // Any link in between starts the time anew.
        liveness.links("a", &both, |_| true, start + LIMIT);
        liveness.links("a", &both, down, start + LIMIT);
        assert!(liveness.unreachable(LIMIT, start + LIMIT).is_empty());
    }

    #[test]
    fn reports_older_than_a_membership_do_not_count() {
        let now = Instant::now();
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 1));
        let two = view(3, &[a.clone(), b.clone()]);
        let three = view(4, &[a.clone(), b, c.clone()]);
        let mut liveness = Liveness::default();
        let of_a = NodeReport {
            unreachable: vec!["c".to_owned()],
            ..report(&a)
        };
        liveness.gossip(vec![of_a, report(&c)]);
        liveness.view_changed("b", &two, &three, now);
        assert!(liveness.missing_links("b", &[], &three, now).broken.is_empty());
        let later = liveness.missing_links("b", &[], &three, now + GOSSIP_GRACE);
        assert_eq!(later.broken, [("a".to_owned(), "c".to_owned())]);
        // c itself does not join while a says that it can't reach it.
        assert_eq!(liveness.missing_links("c", &[], &two, now).missing, ["a"]);
    }
}
