//! Claims of carts by checkouts (invariant 15): one version of a cart becomes at most one order.
//!
//! A cart is claimed for an order before the order is placed, so that a refused checkout leaves no order behind. The claim of a
//! placed order is ended by that order's worker. One whose order was never placed, because its node died in between, is ended
//! here, when somebody needs the cart.

use std::time::Duration;

use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::entity;
use crate::http::request::front::Front;
use souk_domain::cart::Claim;
use souk_domain::{CartCommand, CartId, Order, OrderCommand, OrderId};

/// How long a cart stays claimed for an order that is not placed. Longer than the request takes that places it; where that
/// takes longer still, the order is refused.
pub const UNPLACED_LIMIT: Duration = Duration::from_secs(15);
/// How often a cart is read again because it changed, or its claim was ended.
pub const ATTEMPTS: usize = 16;

/// Ends a claim that nothing needs any more; the caller then reads the cart again.
///
/// # Errors
/// 409 `checkout-in-progress` while the order is pending.
pub async fn end(front: &Front, context: &Context, cart: &CartId, claim: &Claim) -> Result<(), Problem> {
    let in_progress = || Err(in_progress(&claim.order));
    let ask = async |command| {
        let ask = entity::read::<Order>(context, front.settings.ask_timeout, command);
        Ok::<_, Problem>(front.regions.orders.ask(claim.order.as_str(), ask).await?.view)
    };
    let order = match ask(OrderCommand::Get).await? {
        None if (front.clock)().since(claim.since) < UNPLACED_LIMIT => return in_progress(),
        // From here on it can't be placed, unless it was placed in this moment.
        None => ask(OrderCommand::Forfeit).await?,
        placed => placed,
    };
    let order_id = claim.order.clone();
    let command = match order {
        Some(order) if order.progress.phase.is_undecided() => return in_progress(),
        // Its worker is about to do the same.
        Some(order) if order.progress.phase.may_be_fulfilled() => CartCommand::Clear {
            order: order_id,
            lines: order.placement.quantities(),
        },
        _ => CartCommand::Unclaim { order: order_id },
    };
    let ask = entity::read(context, front.settings.ask_timeout, command);
    front.regions.carts.ask(cart.as_str(), ask).await?;
    Ok(())
}

fn in_progress(order: &OrderId) -> Problem {
    Problem::new(problem::CHECKOUT_IN_PROGRESS)
        .detail(format!(
            "order {order} of this cart is pending: wait for its outcome, or cancel it"
        ))
        .order(order.clone())
}

/// After [`ATTEMPTS`]: others change the cart all the time.
pub fn contended() -> Problem {
    Problem::busy(problem::RETRY_AFTER)
}
