//! Which node owns which shard: rendezvous hashing (Thaler and Ravishankar, "A name-based mapping scheme for
//! rendezvous", 1996) over the ready members with the role `entities`. Every node computes the same function, so there is
//! no coordinator.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::view::{Member, MemberState, Role, View};

/// Shards of each kind of entity; fixed for a cluster's life, because stored rows carry their shard.
pub const SHARDS: u16 = 256;

/// The shard of an entity.
pub fn shard_of(id: &str) -> u16 {
    // The remainder fits: SHARDS is a u16.
    u16::try_from(xxh3_64(id.as_bytes()) % u64::from(SHARDS)).unwrap_or(0)
}

/// The member that owns `shard` in `view`; `None` where no ready member owns shards.
pub fn owner(view: &View, shard: u16) -> Option<&Member> {
    // Spreads consecutive shards over the seeds (the golden ratio as a 64-bit fraction).
    let seed = u64::from(shard).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    view.members
        .iter()
        .filter(|member| member.state == MemberState::Ready && member.roles.contains(&Role::Entities))
        .max_by_key(|member| {
            let weight = xxh3_64_with_seed(member.name.as_bytes(), seed);
            (weight, member.name.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixtures::member;

    fn owners(names: &[&str]) -> Vec<String> {
        let view = View {
            number: 1,
            members: names.iter().map(|name| member(name, 1)).collect(),
        };
        (0..SHARDS)
            .map(|shard| owner(&view, shard).unwrap().name.clone())
            .collect()
    }

    #[test]
    fn a_node_that_joins_moves_only_its_own_share() {
        let (two, three) = (owners(&["a", "b"]), owners(&["a", "b", "c"]));
        let moved = two.iter().zip(&three).filter(|(before, after)| before != after);
        let to_c = three.iter().filter(|owner| *owner == "c").count();
        assert_eq!(moved.count(), to_c);
        // About a third; far from it would be a broken hash.
        assert!((50..120).contains(&to_c), "{to_c}");
    }

    #[test]
    fn only_ready_members_with_entities_own_shards() {
        let mut view = View {
            number: 1,
            members: vec![member("a", 1), member("b", 1)],
        };
        view.members[0].state = MemberState::Leaving;
        assert!((0..SHARDS).all(|shard| owner(&view, shard).unwrap().name == "b"));
        view.members[1].roles = vec![Role::Front];
        assert_eq!(owner(&view, 0), None);
    }
}
