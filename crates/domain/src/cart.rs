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
/// How many orders and merged carts are remembered, so that a repetition has no effect.
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

/// The state of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    currency: Currency,
    lines: Vec<CartLine>,
    /// Orders whose lines have been removed.
    #[serde(default)]
    cleared: Recent<OrderId, REMEMBERED>,
    /// Carts that have been merged in.
    #[serde(default)]
    merged: Recent<CartId, REMEMBERED>,
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
    /// Removes exactly the ordered quantities, once per order. What was added since the order stays.
    Clear {
        /// The order.
        order: OrderId,
        /// Its lines.
        lines: Vec<(Sku, u32)>,
    },
    /// Adds the lines of another cart, once per cart. Quantities are summed and capped at [`QUANTITY_LIMIT`]; lines
    /// beyond [`LINE_LIMIT`] are left out.
    Merge {
        /// The other cart.
        from: CartId,
        /// Its lines.
        lines: Vec<CartLine>,
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

    fn clear(&mut self, order: &OrderId, ordered: &[(Sku, u32)]) {
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

    fn merge(&mut self, from: &CartId, lines: &[CartLine]) {
        if self.merged.contains(from) {
            return;
        }
        self.merged.remember(from);
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
    fn apply(&mut self, command: &CartCommand) -> CartReply {
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
            CartCommand::Clear { order, lines } => self.clear(order, lines),
            CartCommand::Merge { from, lines } => self.merge(from, lines),
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
            cleared: Recent::default(),
            merged: Recent::default(),
        }
    }

    fn decide(&self, command: &Self::Command, _at: Timestamp) -> Decision<Self> {
        if matches!(command, CartCommand::Get) {
            return Decision::keep(Ok(()));
        }
        let mut next = self.clone();
        match next.apply(command) {
            Ok(()) if next == *self => Decision::keep(Ok(())),
            Ok(()) => Decision::change(Ok(()), next),
            Err(refusal) => Decision::keep(Err(refusal)),
        }
    }

    fn view(&self) -> Self::View {
        CartView {
            currency: self.currency,
            lines: self.lines.clone(),
        }
    }
}
