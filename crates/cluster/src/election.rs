//! Which view a node proposes, given the current view and the nodes it believes alive: a pure function.
//!
//! Gossip detects, the store decides: a proposal counts only if it wins the compare-and-set there. The rules here keep
//! proposals sensible, not safe: a side that can't reach the majority of the view waits, so that the majority is faster.

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

/// The plan of the node `me`, which believes the nodes `live` (without itself) to be alive.
///
/// A node outside the view only ever adds itself. It replaces the whole view only when none of its members is alive, and
/// then only after the wait and if `members_active` says that their heartbeats in the store have stopped too: that is how
/// a cluster starts after all of it went down.
pub fn plan(view: &View, me: &Member, live: &[Member], members_active: bool) -> Plan {
    let live_member = |member: &Member| live.iter().find(|other| other.is(&member.identity()));
    let live_members = view
        .members
        .iter()
        .filter(|member| live_member(member).is_some())
        .count();
    if !view.contains(&me.identity()) {
        if me.state == MemberState::Leaving {
            return Plan::Nothing;
        }
        if view.members.is_empty() {
            return Plan::Propose(next(view, vec![me.clone()]));
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
        if live_members > 0 || members.is_empty() {
            members.push(me.clone());
            return Plan::Propose(next(view, members));
        }
        if members_active {
            return Plan::Nothing;
        }
        return Plan::ProposeLater(next(view, vec![me.clone()]));
    }
    let mut members: Vec<Member> = Vec::new();
    for member in &view.members {
        if member.name == me.name {
            members.push(me.clone());
        } else if let Some(live) = live_member(member) {
            members.push(Member {
                state: live.state,
                ..member.clone()
            });
        }
    }
    let removed = view.members.len() - members.len();
    for newcomer in live.iter().filter(|other| other.state == MemberState::Ready) {
        if newcomer.name != me.name && !members.iter().any(|member| member.name == newcomer.name) {
            members.push(newcomer.clone());
        }
    }
    let proposal = next(view, members);
    if proposal.members == view.members {
        return Plan::Nothing;
    }
    // This node counts itself.
    let majority = (live_members + 1) * 2 > view.members.len();
    if removed == 0 || majority {
        Plan::Propose(proposal)
    } else {
        Plan::ProposeLater(proposal)
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
        assert_eq!(
            names(&plan(&old, &a, std::slice::from_ref(&again), true)),
            ["a1", "b2"]
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
