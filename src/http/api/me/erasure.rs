//! Erasure of an account: its sessions end, its personal data is deleted, its orders are anonymised.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::background::Background;
use crate::http::request::caller::Principal;
use crate::http::request::entity;
use crate::http::request::front::{Front, SharedFront};
use souk_domain::{CartCommand, OrderCommand, OrderId, OrderReply, UserId};

/// Orders anonymised per page.
const PAGE: usize = 100;
/// How long placing an order of an ended session may take, beyond the time until every node knows that the session has
/// ended.
const PLACING: Duration = Duration::from_secs(1);
/// How often late orders are looked for; the pause is doubled each time. Together longer than a payment may take.
const LOOKS: u32 = 5;

/// Erases the account. Each step is repeatable: where one fails, the caller still has the account and tries again.
///
/// # Errors
/// Errors of stores and entities.
pub async fn erase(
    front: SharedFront,
    context: Context,
    principal: Arc<Principal>,
    background: Background,
) -> Result<(), Problem> {
    strip_all(&front, &context, &principal.user).await?;
    let empty = entity::read(&context, front.settings.ask_timeout, CartCommand::Empty);
    front.regions.carts.ask(principal.cart.as_str(), empty).await?;
    // Last: until here the caller can try again.
    front.accounts.erase(&principal.user).await?;
    let user = principal.user.clone();
    background.spawn(async move { strip_late(&front, &context, &user).await });
    Ok(())
}

/// Anonymises orders placed meanwhile by another device: its access token was valid until its node knew that the
/// session has ended.
async fn strip_late(front: &Front, context: &Context, user: &UserId) {
    let mut pause = front.accounts.revocations.interval() + PLACING;
    for look in 1..=LOOKS {
        tokio::time::sleep(pause).await;
        pause *= 2;
        let context = Context {
            deadline: Instant::now() + front.settings.request_timeout,
            ..context.clone()
        };
        match strip_all(front, &context, user).await {
            Ok(()) => return,
            Err(problem) if look == LOOKS => tracing::error!(
                problem = problem.kind().name(),
                %user,
                "an order of an account that is gone still holds what identifies"
            ),
            // A checkout in progress ends by itself.
            Err(_) => {}
        }
    }
}

async fn strip_all(front: &Front, context: &Context, user: &UserId) -> Result<(), Problem> {
    let mut before: Option<String> = None;
    loop {
        let page = front
            .orders
            .by_owner(user.as_str(), before.as_deref(), PAGE)
            .await?;
        for document in &page {
            strip(front, context, &document.id).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

async fn strip(front: &Front, context: &Context, id: &str) -> Result<(), Problem> {
    // The key of a row is the identifier of its order.
    if let Ok(id) = OrderId::parse(id) {
        let ask = entity::read(context, front.settings.ask_timeout, OrderCommand::Erase);
        if let OrderReply::Refused(refusal) = front.regions.orders.ask(id.as_str(), ask).await?.reply {
            // Its checkout is in progress: the account stays until it has ended.
            return Err(refusal.into());
        }
    }
    Ok(())
}
