//! An account is erased: signed out everywhere, its personal data gone, its orders stripped of what identifies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::background::Background;
use crate::http::request::caller::Principal;
use crate::http::request::entity;
use crate::http::request::front::{Front, SharedFront};
use souk_domain::{CartCommand, OrderCommand, OrderId, OrderReply, UserId};

/// Orders that are stripped in one go.
const PAGE: usize = 100;
/// How much longer than the news of an ended session takes to reach every node an order of that session may take to be
/// placed.
const PLACING: Duration = Duration::from_secs(1);
/// How often late orders are looked for; the pause before is doubled each time. Together longer than a payment may take.
const LOOKS: u32 = 5;

/// Erases the account. Each part may be repeated: where one fails, the caller still has the account and asks again.
///
/// # Errors
/// What stores and entities say.
pub async fn erase(
    front: SharedFront,
    context: Context,
    principal: Arc<Principal>,
    background: Background,
) -> Result<(), Problem> {
    strip_all(&front, &context, &principal.user).await?;
    let empty = entity::read(&context, front.settings.ask_timeout, CartCommand::Empty);
    front.regions.carts.ask(principal.cart.as_str(), empty).await?;
    // Last: until here the caller can come back and go on.
    front.accounts.erase(&principal.user).await?;
    let user = principal.user.clone();
    background.spawn(async move { strip_late(&front, &context, &user).await });
    Ok(())
}

/// Strips what another device ordered meanwhile: its access token was good until its node heard that the session is over.
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
            // A checkout that is under way ends by itself.
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
    // A row's key is the identifier of its order.
    if let Ok(id) = OrderId::parse(id) {
        let ask = entity::read(context, front.settings.ask_timeout, OrderCommand::Erase);
        if let OrderReply::Refused(refusal) = front.regions.orders.ask(id.as_str(), ask).await?.reply {
            // Its checkout is under way: the account stays until it has ended.
            return Err(refusal.into());
        }
    }
    Ok(())
}
