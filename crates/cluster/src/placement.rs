//! Which node owns which shard: rendezvous hashing (Thaler and Ravishankar, "A name-based mapping scheme for
//! rendezvous", 1996) over the ready members with the role `entities`. The same function everywhere; no coordinator.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::view::{Member, MemberState, Role, View};

/// Shards of each kind of entity; fixed for a cluster's life, because stored rows carry their shard.
pub const SHARDS: u16 = 256;

/// The shard of an entity.
pub fn shard_of(id: &str) -> u16 {
    // The remainder fits: SHARDS is a u16.
    u16::try_from(xxh3_64(id.as_bytes()) % u64::from(SHARDS)).unwrap_or(0)
}

/// The member that owns `shard` in `view`; `None` where nobody can.
pub fn owner(view: &View, shard: u16) -> Option<&Member> {
    view.members
        .iter()
        .filter(|member| member.state == MemberState::Ready && member.roles.contains(&Role::Entities))
        .max_by_key(|member| {
            (
                xxh3_64_with_seed(
                    member.name.as_bytes(),
                    u64::from(shard).wrapping_mul(0x9E37_79B9_7F4A_7C15),
                ),
                member.name.as_str(),
            )
        })
}
