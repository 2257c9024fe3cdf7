//! What a node proposes when it compares the view with what it hears: a pure function.
//!
//! Gossip detects, the store decides: a proposal counts only if it wins the compare-and-set there. The rules here keep
//! proposals sensible, not safe: a side that can't see the majority of the view waits, so that the majority is faster.

use super::view::{Member, MemberState, View};

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The view is as it should be.
    Nothing,
    /// Propose this.
    Propose(View),
    /// Members are missing that this side is too small to remove at once: propose this only after the minority's wait.
    ProposeLater(View),
}

/// Plans for the node `me`, which hears `live` (itself left out) and is `within` the view or not.
///
/// A node outside the view only ever adds itself. It replaces the whole view where it hears none of its members, and
/// then only later and if `members_stir` says that they do not show themselves in the store either: that is how a
/// cluster starts after all of it went down.
pub fn plan(view: &View, me: &Member, live: &[Member], members_stir: bool) -> Plan {
    let within = view.contains(&me.name, me.incarnation);
    let hears = |member: &Member| {
        live.iter()
            .find(|other| other.name == member.name && other.incarnation == member.incarnation)
    };
    let heard = view
        .members
        .iter()
        .filter(|member| hears(member).is_some())
        .count();
    if !within {
        if me.state == MemberState::Leaving {
            return Plan::Nothing;
        }
        if view.members.is_empty() {
            return Plan::Propose(next(view, vec![me.clone()]));
        }
        // A member whose name is heard under a later incarnation is dead: its successor says so.
        let superseded = |member: &Member| {
            live.iter()
                .any(|other| other.name == member.name && other.incarnation > member.incarnation)
        };
        let others: Vec<Member> = view
            .members
            .iter()
            .filter(|member| member.name != me.name && !superseded(member))
            .cloned()
            .collect();
        if heard > 0 || others.is_empty() {
            return Plan::Propose(next(view, with(others, me.clone())));
        }
        if members_stir {
            return Plan::Nothing;
        }
        return Plan::ProposeLater(next(view, vec![me.clone()]));
    }
    let mut members: Vec<Member> = Vec::new();
    for member in &view.members {
        if member.name == me.name {
            members.push(me.clone());
        } else if let Some(now) = hears(member) {
            members.push(Member {
                state: now.state,
                ..member.clone()
            });
        }
    }
    let removed = view.members.len() - members.len();
    for newcomer in live.iter().filter(|other| other.state == MemberState::Ready) {
        if !members.iter().any(|member| member.name == newcomer.name) && newcomer.name != me.name {
            members.push(newcomer.clone());
        }
    }
    let proposal = next(view, members);
    if proposal.members == view.members {
        return Plan::Nothing;
    }
    // This node itself is heard by itself.
    let majority = (heard + 1) * 2 > view.members.len();
    if removed == 0 || majority {
        Plan::Propose(proposal)
    } else {
        Plan::ProposeLater(proposal)
    }
}

/// The view without the node `name`, which has handed everything over.
pub fn without(view: &View, name: &str) -> View {
    next(
        view,
        view.members
            .iter()
            .filter(|member| member.name != name)
            .cloned()
            .collect(),
    )
}

fn with(mut members: Vec<Member>, newcomer: Member) -> Vec<Member> {
    members.push(newcomer);
    members
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
    fn the_first_node_founds_the_cluster_and_others_add_themselves() {
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
    fn the_majority_removes_the_dead_at_once_and_the_minority_waits() {
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
    fn a_restarted_node_replaces_its_former_self() {
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
    fn an_outsider_who_hears_nobody_takes_over_only_when_the_members_do_not_stir() {
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 7));
        let old = view(9, &[a, b]);
        assert_eq!(plan(&old, &c, &[], true), Plan::Nothing);
        let takeover = plan(&old, &c, &[], false);
        assert_eq!(names(&takeover), ["c7"]);
        assert!(matches!(takeover, Plan::ProposeLater(_)));
    }

    #[test]
    fn a_lone_node_that_starts_again_need_not_wait_for_itself() {
        let old = view(9, &[member("a", 1)]);
        assert!(matches!(
            plan(&old, &member("a", 2), &[], false),
            Plan::Propose(_)
        ));
    }

    #[test]
    fn a_leaving_node_marks_itself_and_does_not_come_back() {
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
