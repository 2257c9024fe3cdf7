//! An account is erased: signed out everywhere, its personal data gone, its orders stripped of what identifies.

use super::Front;
use super::caller::Principal;
use super::conventions::Context;
use super::entity;
use super::problem::Problem;
use crate::domain::{CartCommand, OrderCommand, OrderId, OrderReply};

/// Orders that are stripped in one go.
const PAGE: usize = 100;

/// Erases the account. Each part may be repeated: where one fails, the caller still has the account and asks again.
///
/// # Errors
/// What stores and entities say.
pub(super) async fn erase(front: &Front, context: &Context, principal: &Principal) -> Result<(), Problem> {
    let mut before: Option<String> = None;
    loop {
        let page = front
            .orders
            .by_owner(principal.user.as_str(), before.as_deref(), PAGE)
            .await?;
        for document in &page {
            strip(front, context, &document.id).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id.clone()),
            _ => break,
        }
    }
    let empty = entity::read(context, front.settings.ask_timeout, CartCommand::Empty);
    front.regions.carts.ask(principal.cart.as_str(), empty).await?;
    // Last: until here the caller can come back and go on.
    front.accounts.erase(&principal.user).await?;
    Ok(())
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
