//! The shopping cart. It holds no prices: they come from the catalogue at checkout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::NoEvent;
use super::recent::Recent;
use super::{Aggregate, CartId, Currency, Decision, Kind, OrderId, ProductId, Sku, Timestamp};

#[cfg(test)]
mod tests;

/// Most units of one SKU in a cart.
pub const QUANTITY_LIMIT: u32 = 999;
/// Most lines in a cart.
pub const LINE_LIMIT: usize = 100;
/// How many cleared orders and merged carts are remembered, so that a repetition has no effect.
const REMEMBERED: usize = 16;

/// One line: a quantity of a SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CartLine {
    /// The SKU.
    pub sku: Sku,
    /// Its product, so that a page needs no look-up by SKU.
    pub product_id: ProductId,
    /// How many: at least 1.
    pub quantity: u32,
}

/// A checkout of a cart that is under way (invariant 15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The order that the cart is being checked out as.
    pub order: OrderId,
    /// When the cart was claimed.
    pub since: Timestamp,
}

/// Lines on their way into another cart. They stay here until the other cart has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The other cart.
    pub to: CartId,
    /// Counts the hand-overs of this cart, from 1.
    pub number: u64,
    /// The lines.
    pub lines: Vec<CartLine>,
}

/// The state of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    currency: Currency,
    lines: Vec<CartLine>,
    #[serde(default)]
    claim: Option<Claim>,
    #[serde(default)]
    hand_over: Option<HandOver>,
    /// How many times lines were handed over.
    #[serde(default)]
    handed_over: u64,
    /// Orders whose lines have been removed.
    #[serde(default)]
    cleared: Recent<OrderId, REMEMBERED>,
    /// Hand-overs of other carts that were received. Rows of the older form have the carts alone, under `merged`.
    #[serde(default)]
    received: Recent<(CartId, u64), REMEMBERED>,
}

/// Commands of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CartCommand {
    /// Reads the cart.
    Get,
    /// Adds to a line, or adds a line.
    Add {
        /// Which SKU.
        sku: Sku,
        /// Its product.
        product_id: ProductId,
        /// How many more, at least 1.
        quantity: u32,
    },
    /// Sets the quantity of a line, or adds the line; 0 removes it.
    SetQuantity {
        /// Which SKU.
        sku: Sku,
        /// Its product.
        product_id: ProductId,
        /// The new quantity.
        quantity: u32,
    },
    /// Removes a line. Removing an absent line succeeds.
    Remove {
        /// Which SKU.
        sku: Sku,
    },
    /// Removes every line.
    Empty,
    /// Names the order that the cart is being checked out as (invariant 15). Refused while another order's claim stands.
    Claim {
        /// The order.
        order: OrderId,
    },
    /// Ends the claim of an order that was not confirmed: the undo of `Claim`. Succeeds where another claim stands, or
    /// none.
    Unclaim {
        /// The order.
        order: OrderId,
    },
    /// Removes exactly the ordered quantities, once per order, and ends the order's claim. What was added since stays.
    Clear {
        /// The order.
        order: OrderId,
        /// Its lines.
        lines: Vec<(Sku, u32)>,
    },
    /// Begins to hand all lines over to another cart. A hand-over that is not finished comes first: it stays as it is.
    /// Refused while the cart is claimed.
    HandOver {
        /// The other cart.
        to: CartId,
    },
    /// Adds the lines that another cart hands over, once per hand-over. Quantities are summed and capped at
    /// [`QUANTITY_LIMIT`]; lines beyond [`LINE_LIMIT`] are left out.
    Receive {
        /// The other cart.
        from: CartId,
        /// The number of its hand-over.
        number: u64,
        /// The lines.
        lines: Vec<CartLine>,
    },
    /// Finishes a hand-over: the other cart has the lines.
    FinishHandOver {
        /// The number of the hand-over.
        number: u64,
    },
}

/// Why a cart refuses a command; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CartRefusal {
    /// The quantity would be 0 or above [`QUANTITY_LIMIT`].
    #[error("the quantity of a line must be between 1 and {QUANTITY_LIMIT}")]
    QuantityOutOfRange,
    /// The cart would have more than [`LINE_LIMIT`] lines.
    #[error("a cart has at most {LINE_LIMIT} lines")]
    TooManyLines,
    /// Another order claims the cart.
    #[error("the cart is being checked out")]
    Claimed,
}

/// Reply of a cart to a command.
pub type CartReply = Result<(), CartRefusal>;

/// What replies show of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartView {
    /// The currency of its prices.
    pub currency: Currency,
    /// Its lines, in the order in which they were added.
    pub lines: Vec<CartLine>,
    /// Its checkout that is under way.
    pub claim: Option<Claim>,
    /// Its lines that are on their way into another cart.
    pub hand_over: Option<HandOver>,
}

impl Cart {
    /// Sets the line of `sku` to `quantity`. An existing line keeps its place.
    fn put(&mut self, sku: &Sku, product_id: &ProductId, quantity: u32) -> CartReply {
        if !(1..=QUANTITY_LIMIT).contains(&quantity) {
            return Err(CartRefusal::QuantityOutOfRange);
        }
        let line = CartLine {
            sku: sku.clone(),
            product_id: product_id.clone(),
            quantity,
        };
        let full = self.lines.len() >= LINE_LIMIT;
        match self.lines.iter_mut().find(|line| &line.sku == sku) {
            Some(present) => *present = line,
            None if full => return Err(CartRefusal::TooManyLines),
            None => self.lines.push(line),
        }
        Ok(())
    }

    fn quantity_of(&self, sku: &Sku) -> u32 {
        self.lines
            .iter()
            .find(|line| &line.sku == sku)
            .map_or(0, |line| line.quantity)
    }

    fn claim(&mut self, order: &OrderId, at: Timestamp) -> CartReply {
        match &self.claim {
            Some(claim) if claim.order == *order => {}
            Some(_) => return Err(CartRefusal::Claimed),
            // A late claim of an order that left the cart long ago.
            None if self.cleared.contains(order) => {}
            None => {
                self.claim = Some(Claim {
                    order: order.clone(),
                    since: at,
                });
            }
        }
        Ok(())
    }

    fn unclaim(&mut self, order: &OrderId) {
        self.claim.take_if(|claim| claim.order == *order);
    }

    fn clear(&mut self, order: &OrderId, ordered: &[(Sku, u32)]) {
        self.unclaim(order);
        if self.cleared.contains(order) {
            return;
        }
        // Remembered even if nothing matches: a repetition would otherwise remove what was added meanwhile.
        self.cleared.remember(order);
        for (sku, quantity) in ordered {
            for line in self.lines.iter_mut().filter(|line| &line.sku == sku) {
                line.quantity = line.quantity.saturating_sub(*quantity);
            }
        }
        self.lines.retain(|line| line.quantity > 0);
    }

    fn hand_over(&mut self, to: &CartId) -> CartReply {
        if self.hand_over.is_some() || self.lines.is_empty() {
            return Ok(());
        }
        if self.claim.is_some() {
            return Err(CartRefusal::Claimed);
        }
        self.handed_over += 1;
        self.hand_over = Some(HandOver {
            to: to.clone(),
            number: self.handed_over,
            lines: std::mem::take(&mut self.lines),
        });
        Ok(())
    }

    fn receive(&mut self, from: &CartId, number: u64, lines: &[CartLine]) {
        let received = (from.clone(), number);
        if self.received.contains(&received) {
            return;
        }
        self.received.remember(&received);
        for line in lines {
            let sum = self
                .quantity_of(&line.sku)
                .saturating_add(line.quantity)
                .min(QUANTITY_LIMIT);
            // Refuses only an empty line and one beyond LINE_LIMIT, which are left out.
            let _ = self.put(&line.sku, &line.product_id, sum);
        }
    }

    /// Applies `command` to this state.
    fn apply(&mut self, command: &CartCommand, at: Timestamp) -> CartReply {
        match command {
            CartCommand::Get => {}
            CartCommand::Add {
                sku,
                product_id,
                quantity,
            } => {
                if *quantity == 0 {
                    return Err(CartRefusal::QuantityOutOfRange);
                }
                let sum = self.quantity_of(sku).saturating_add(*quantity);
                self.put(sku, product_id, sum)?;
            }
            CartCommand::SetQuantity { sku, quantity: 0, .. } | CartCommand::Remove { sku } => {
                self.lines.retain(|line| &line.sku != sku);
            }
            CartCommand::SetQuantity {
                sku,
                product_id,
                quantity,
            } => self.put(sku, product_id, *quantity)?,
            CartCommand::Empty => self.lines.clear(),
            CartCommand::Claim { order } => self.claim(order, at)?,
            CartCommand::Unclaim { order } => self.unclaim(order),
            CartCommand::Clear { order, lines } => self.clear(order, lines),
            CartCommand::HandOver { to } => self.hand_over(to)?,
            CartCommand::Receive { from, number, lines } => self.receive(from, *number, lines),
            CartCommand::FinishHandOver { number } => {
                self.hand_over.take_if(|hand_over| hand_over.number == *number);
            }
        }
        Ok(())
    }
}

impl Aggregate for Cart {
    const KIND: Kind = Kind("cart");
    const REMEMBERED_COMMANDS: usize = 16;

    type Command = CartCommand;
    type Reply = CartReply;
    type View = CartView;
    type Event = NoEvent;

    fn initial(_id: &str) -> Self {
        Self {
            currency: Currency::USD,
            lines: Vec::new(),
            claim: None,
            hand_over: None,
            handed_over: 0,
            cleared: Recent::default(),
            received: Recent::default(),
        }
    }

    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self> {
        if matches!(command, CartCommand::Get) {
            return Decision::keep(Ok(()));
        }
        let mut next = self.clone();
        match next.apply(command, at) {
            Ok(()) if next == *self => Decision::keep(Ok(())),
            Ok(()) => Decision::change(Ok(()), next),
            Err(refusal) => Decision::keep(Err(refusal)),
        }
    }

    fn view(&self) -> Self::View {
        CartView {
            currency: self.currency,
            lines: self.lines.clone(),
            claim: self.claim.clone(),
            hand_over: self.hand_over.clone(),
        }
    }
}
