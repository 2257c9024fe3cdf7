//! Claims of carts by checkouts (invariant 15): one version of a cart becomes at most one order.
//!
//! A cart is claimed for an order before the order is placed, so that a refused checkout leaves no order behind. The claim of a
//! placed order is ended by that order's worker. One whose order was never placed, because its node died in between, is ended
//! here, when somebody needs the cart.

use std::time::Duration;

use super::call::Call;
use crate::http::edge::problem::{self, Problem};
use souk_domain::cart::Claim;
use souk_domain::{CartCommand, CartId, OrderCommand};

/// How long a cart stays claimed for an order that is not placed. Longer than the request takes that places it; where that
/// takes longer still, the order is refused.
pub const UNPLACED_LIMIT: Duration = Duration::from_secs(15);
/// How often a cart is read again because it changed, or its claim was ended.
pub const ATTEMPTS: usize = 16;

/// Ends a claim that nothing needs any more; the caller then reads the cart again.
///
/// # Errors
/// 409 `checkout-in-progress` while the order is pending.
pub async fn end(call: &Call, cart: &CartId, claim: &Claim) -> Result<(), Problem> {
    let id = &claim.order;
    let in_progress = || {
        let detail = format!("order {id} of this cart is pending: wait for its outcome, or cancel it");
        Err(Problem::new(problem::CHECKOUT_IN_PROGRESS)
            .detail(detail)
            .order(id.clone()))
    };
    let order = match call.ask_order(id, OrderCommand::Get).await?.view {
        None if (call.front.clock)().since(claim.since) < UNPLACED_LIMIT => return in_progress(),
        // From here on it can't be placed, unless it was placed in this moment.
        None => call.ask_order(id, OrderCommand::Forfeit).await?.view,
        placed => placed,
    };
    let command = match order {
        Some(order) if order.progress.phase.is_undecided() => return in_progress(),
        // Its worker is about to do the same.
        Some(order) if order.progress.phase.may_be_fulfilled() => CartCommand::Clear {
            order: id.clone(),
            lines: order.placement.quantities(),
        },
        _ => CartCommand::Unclaim { order: id.clone() },
    };
    call.ask_cart(cart, command).await?;
    Ok(())
}
