//! Requests to entities: with the request's id, its deadline, and the client's conditions.

use std::time::{Duration, Instant};

use crate::actors::region::Ask;
use souk_domain::Aggregate;

use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::etag::IfMatch;
use crate::http::request::idempotency::Identity;

/// A read of an entity, or a command that is harmless to repeat.
pub fn read<A: Aggregate>(context: &Context, within: Duration, command: A::Command) -> Ask<A> {
    let deadline = context.deadline.min(Instant::now() + within);
    Ask::new(command, deadline, context.request_id.clone())
}

/// A change of an entity under the identity of the request, so that a repetition changes nothing (invariant 9).
pub fn change<A: Aggregate>(
    context: &Context,
    within: Duration,
    identity: &Identity,
    command: A::Command,
) -> Ask<A> {
    let mut ask = read(context, within, command);
    ask.command_id = Some(identity.command.clone());
    ask
}

/// The version that a change requires, from the client's `If-Match`. Where that names several, `current` reads the
/// current one.
///
/// # Errors
/// 412 where no tag of the client can match.
pub async fn expected_version(
    condition: &IfMatch,
    current: impl AsyncFnOnce() -> Result<u64, Problem>,
) -> Result<Option<u64>, Problem> {
    match condition {
        IfMatch::Any => Ok(None),
        IfMatch::OneOf(versions) => match versions.as_slice() {
            [version] => Ok(Some(*version)),
            several => {
                let current = current().await?;
                several
                    .contains(&current)
                    .then_some(Some(current))
                    .ok_or_else(|| Problem::version_conflict(current))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::edge::problem;

    #[tokio::test]
    async fn the_condition_becomes_one_version() {
        let unread = async || -> Result<u64, Problem> { panic!("read without need") };
        assert_eq!(expected_version(&IfMatch::Any, unread).await.unwrap(), None);
        assert_eq!(
            expected_version(&IfMatch::OneOf(vec![3]), unread).await.unwrap(),
            Some(3)
        );
        let several = IfMatch::OneOf(vec![3, 5]);
        assert_eq!(expected_version(&several, async || Ok(5)).await.unwrap(), Some(5));
        for condition in [several, IfMatch::OneOf(vec![])] {
            let refused = expected_version(&condition, async || Ok(4)).await.unwrap_err();
            assert_eq!(refused.kind(), problem::VERSION_CONFLICT);
        }
    }
}
