//! Which view a node proposes, given the current view and the nodes it believes alive: a pure function.
//!
//! Gossip detects, the store decides: a proposal counts only if it wins the compare-and-set there. The rules here keep
//! proposals sensible, not safe: a side that can't reach the majority of the view waits, so that the majority is faster.

use std::collections::{BTreeMap, BTreeSet};

use crate::view::{Member, MemberState, View};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The view is as it should be.
    Nothing,
    /// Propose this view now.
    Propose(View),
    /// Propose this view only after the minority's wait: this side is too small to remove the missing members at once.
    ProposeLater(View),
}

/// What is known of the links between live nodes, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Pairs of nodes that have had no link for too long, as one of them says.
    pub broken: Vec<(String, String)>,
    /// Members of the view between which and this node there is no link yet.
    pub missing: Vec<String>,
}

/// The plan of the node `me`, which believes the nodes `live` (without itself) to be alive.
///
/// A node outside the view only ever adds itself, and only once it has a link to every live member: a member that another
/// can't reach would make its entities unavailable there. It replaces the whole view only when none of its members is
/// alive, and then only after the wait and if `members_active` says that their heartbeats in the store have stopped too:
/// that is how a cluster starts after all of it went down.
pub fn plan(view: &View, me: &Member, live: &[Member], links: &Links, members_active: bool) -> Plan {
    if view.contains(&me.identity()) {
        plan_of_member(view, me, live, links)
    } else {
        plan_of_outsider(view, me, live, links, members_active)
    }
}

fn plan_of_outsider(view: &View, me: &Member, live: &[Member], links: &Links, members_active: bool) -> Plan {
    let is_superseded = view
        .member(&me.name)
        .is_some_and(|member| member.incarnation > me.incarnation);
    if me.state == MemberState::Leaving || is_superseded || !links.missing.is_empty() {
        return Plan::Nothing;
    }
    // A member is dead if a later incarnation of the same node is alive.
    let superseded = |member: &Member| {
        live.iter()
            .any(|other| other.name == member.name && other.incarnation > member.incarnation)
    };
    let mut members: Vec<Member> = view
        .members
        .iter()
        .filter(|member| member.name != me.name && !superseded(member))
        .cloned()
        .collect();
    let hears_a_member = live.iter().any(|other| view.contains(&other.identity()));
    if hears_a_member || members.is_empty() {
        members.push(me.clone());
        return Plan::Propose(next(view, members));
    }
    if members_active {
        return Plan::Nothing;
    }
    Plan::ProposeLater(next(view, vec![me.clone()]))
}

fn plan_of_member(view: &View, me: &Member, live: &[Member], links: &Links) -> Plan {
    let names = live.iter().chain([me]).map(|member| member.name.as_str());
    let mut cut_off = cut_off(names.collect(), &links.broken);
    if cut_off.contains(me.name.as_str()) {
        // It is for the others to remove this node.
        cut_off.clear();
    }
    let mut members: Vec<Member> = Vec::new();
    for member in &view.members {
        if member.name == me.name {
            members.push(me.clone());
        } else if let Some(live) = live.iter().find(|other| other.is(&member.identity()))
            && !cut_off.contains(member.name.as_str())
        {
            members.push(Member {
                state: live.state,
                ..member.clone()
            });
        }
    }
    let proposal = next(view, members);
    if proposal.members == view.members {
        return Plan::Nothing;
    }
    // All that stay are alive, or this node itself.
    if proposal.members.len() * 2 > view.members.len() {
        Plan::Propose(proposal)
    } else {
        Plan::ProposeLater(proposal)
    }
}

/// The nodes to remove so that there are links between all others: one after another whichever lacks the most links, and of
/// several the one whose name sorts last. Every node that knows the same comes to the same result.
fn cut_off<'a>(among: BTreeSet<&'a str>, broken: &'a [(String, String)]) -> BTreeSet<&'a str> {
    let mut broken: BTreeSet<(&str, &str)> = broken
        .iter()
        .map(|(one, other)| (one.min(other).as_str(), one.max(other).as_str()))
        .filter(|(one, other)| among.contains(one) && among.contains(other))
        .collect();
    let mut cut_off = BTreeSet::new();
    loop {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (one, other) in &broken {
            *counts.entry(one).or_default() += 1;
            *counts.entry(other).or_default() += 1;
        }
        let Some((worst, _)) = counts.into_iter().max_by_key(|(name, count)| (*count, *name)) else {
            return cut_off;
        };
        broken.retain(|(one, other)| *one != worst && *other != worst);
        cut_off.insert(worst);
    }
}

/// The view without the node `name`, which has handed everything over.
pub fn without(view: &View, name: &str) -> View {
    let members = view.members.iter().filter(|member| member.name != name);
    next(view, members.cloned().collect())
}

fn next(view: &View, mut members: Vec<Member>) -> View {
    members.sort_by(|one, other| one.name.cmp(&other.name));
    View {
        number: view.number + 1,
        members,
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

    fn names(plan: &Plan) -> Vec<String> {
        match plan {
            Plan::Propose(view) | Plan::ProposeLater(view) => view
                .members
                .iter()
                .map(|member| format!("{}{}", member.name, member.incarnation))
                .collect(),
            Plan::Nothing => Vec::new(),
        }
    }

    /// As [`super::plan`], where all links are up.
    fn plan(view: &View, me: &Member, live: &[Member], members_active: bool) -> Plan {
        super::plan(view, me, live, &Links::default(), members_active)
    }

    fn broken(pairs: &[(&str, &str)]) -> Links {
        Links {
            broken: pairs
                .iter()
                .map(|(one, other)| ((*one).to_owned(), (*other).to_owned()))
                .collect(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn the_first_node_founds_and_others_join() {
        let (a, b) = (member("a", 1), member("b", 1));
        assert_eq!(names(&plan(&View::default(), &a, &[], false)), ["a1"]);
        assert_eq!(
            names(&plan(
                &view(1, std::slice::from_ref(&a)),
                &b,
                std::slice::from_ref(&a),
                true
            )),
            ["a1", "b1"]
        );
    }

    #[test]
    fn the_minority_waits_to_remove_members() {
        let all = [member("a", 1), member("b", 1), member("c", 1)];
        let three = view(5, &all);
        let majority = plan(&three, &all[0], &all[1..2], false);
        assert_eq!(names(&majority), ["a1", "b1"]);
        assert!(matches!(majority, Plan::Propose(_)));
        let minority = plan(&three, &all[2], &[], false);
        assert_eq!(names(&minority), ["c1"]);
        assert!(matches!(minority, Plan::ProposeLater(_)));
    }

    #[test]
    fn a_restarted_node_replaces_itself() {
        let (a, b) = (member("a", 1), member("b", 1));
        let again = member("b", 2);
        let old = view(3, &[a.clone(), b]);
        assert_eq!(
            names(&plan(&old, &again, std::slice::from_ref(&a), true)),
            ["a1", "b2"]
        );
        // Until it does, the others remove its former incarnation.
        assert_eq!(names(&plan(&old, &a, std::slice::from_ref(&again), true)), ["a1"]);
    }

    #[test]
    fn members_leave_it_to_a_node_to_join() {
        let (a, b) = (member("a", 1), member("b", 1));
        let alone = view(1, std::slice::from_ref(&a));
        assert_eq!(plan(&alone, &a, &[b], false), Plan::Nothing);
    }

    #[test]
    fn an_older_process_does_not_replace_a_newer_one() {
        let (a, b) = (member("a", 1), member("b", 2));
        let both = view(4, &[a.clone(), b]);
        assert_eq!(plan(&both, &member("b", 1), &[a], true), Plan::Nothing);
    }

    #[test]
    fn a_node_joins_once_it_has_all_links() {
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 1));
        let two = view(3, &[a.clone(), b.clone()]);
        let mut links = Links {
            missing: vec!["b".to_owned()],
            ..Links::default()
        };
        let live = [a, b];
        assert_eq!(super::plan(&two, &c, &live, &links, true), Plan::Nothing);
        links.missing.clear();
        let joined = super::plan(&two, &c, &live, &links, true);
        assert_eq!(names(&joined), ["a1", "b1", "c1"]);
    }

    #[test]
    fn of_two_nodes_without_a_link_one_is_removed() {
        let all = [member("a", 1), member("b", 1), member("c", 1)];
        let three = view(5, &all);
        // a and c can't reach each other: whoever says so, and at every node that may decide, c goes.
        for pair in [("a", "c"), ("c", "a")] {
            let links = broken(&[pair]);
            let of_a = super::plan(&three, &all[0], &all[1..], &links, true);
            let of_b = super::plan(&three, &all[1], &[all[0].clone(), all[2].clone()], &links, true);
            assert_eq!(names(&of_a), ["a1", "b1"]);
            assert_eq!(of_a, of_b);
            assert!(matches!(of_a, Plan::Propose(_)));
            let of_c = super::plan(&three, &all[2], &all[..2], &links, true);
            assert_eq!(of_c, Plan::Nothing, "not its own business");
        }
        // Links of nodes that are no members, or dead, do not matter.
        for pair in [("a", "d"), ("a", "a9")] {
            assert_eq!(
                super::plan(&three, &all[0], &all[1..], &broken(&[pair]), true),
                Plan::Nothing
            );
        }
    }

    #[test]
    fn a_node_that_nobody_reaches_is_the_one_removed() {
        let all = [member("a", 1), member("b", 1), member("c", 1)];
        let three = view(5, &all);
        let links = broken(&[("a", "b"), ("a", "c"), ("b", "a")]);
        let plan = super::plan(&three, &all[2], &all[..2], &links, true);
        assert_eq!(names(&plan), ["b1", "c1"]);
        assert!(matches!(plan, Plan::Propose(_)));
    }

    #[test]
    fn of_two_nodes_the_last_is_removed_after_the_wait() {
        let both = [member("a", 1), member("b", 1)];
        let view = view(5, &both);
        let links = broken(&[("a", "b")]);
        let plan = super::plan(&view, &both[0], &both[1..], &links, true);
        assert_eq!(names(&plan), ["a1"]);
        assert!(matches!(plan, Plan::ProposeLater(_)));
        assert_eq!(
            super::plan(&view, &both[1], &both[..1], &links, true),
            Plan::Nothing
        );
    }

    #[test]
    fn an_outsider_takes_over_from_dead_members_only() {
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 7));
        let old = view(9, &[a, b]);
        assert_eq!(plan(&old, &c, &[], true), Plan::Nothing);
        let takeover = plan(&old, &c, &[], false);
        assert_eq!(names(&takeover), ["c7"]);
        assert!(matches!(takeover, Plan::ProposeLater(_)));
    }

    #[test]
    fn a_lone_node_restarts_without_a_wait() {
        let old = view(9, &[member("a", 1)]);
        assert!(matches!(
            plan(&old, &member("a", 2), &[], false),
            Plan::Propose(_)
        ));
    }

    #[test]
    fn a_leaving_node_marks_itself_and_stays_out() {
        let (a, b) = (member("a", 1), member("b", 1));
        let leaving = Member {
            state: MemberState::Leaving,
            ..a.clone()
        };
        let both = view(2, &[a, b.clone()]);
        let Plan::Propose(next) = plan(&both, &leaving, std::slice::from_ref(&b), true) else {
            panic!("it proposes at once");
        };
        assert_eq!(
            next.member("a").map(|member| member.state),
            Some(MemberState::Leaving)
        );
        assert_eq!(
            plan(&view(4, std::slice::from_ref(&b)), &leaving, &[b], true),
            Plan::Nothing
        );
        assert_eq!(without(&next, "a").members.len(), 1);
    }
}
