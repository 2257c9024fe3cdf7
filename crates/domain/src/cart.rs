//! The cart: what a shopper means to buy. Prices are not its business; they come from the catalogue at checkout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recent::Recent;
use super::{Aggregate, CartId, Currency, Decision, Kind, OrderId, ProductId, Sku, Timestamp};

#[cfg(test)]
mod tests;

/// Most pieces of one SKU in a cart.
pub const QUANTITY_LIMIT: u32 = 999;
/// Most lines in a cart.
pub const LINE_LIMIT: usize = 100;
/// How many orders and merged carts are remembered, so that the same one counts once.
const REMEMBERED: usize = 16;

/// One line: so many of a SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CartLine {
    /// What is counted.
    pub sku: Sku,
    /// The product it belongs to, so that a page can be shown without a look-up by SKU.
    pub product_id: ProductId,
    /// How many: at least 1.
    pub quantity: u32,
}

/// The state of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    currency: Currency,
    lines: Vec<CartLine>,
    /// Orders whose lines have been taken out.
    #[serde(default)]
    cleared: Recent<OrderId, REMEMBERED>,
    /// Carts whose lines have joined.
    #[serde(default)]
    merged: Recent<CartId, REMEMBERED>,
}

/// What can be asked of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CartCommand {
    /// Nothing but the view.
    Get,
    /// Adds to what is there.
    Add {
        /// Which SKU.
        sku: Sku,
        /// Its product.
        product_id: ProductId,
        /// How many more, at least 1.
        quantity: u32,
    },
    /// Sets how many; 0 removes the line, and a line that is not there is put in.
    SetQuantity {
        /// Which SKU.
        sku: Sku,
        /// Its product.
        product_id: ProductId,
        /// How many from now on.
        quantity: u32,
    },
    /// Removes a line; one that is not there is no matter.
    Remove {
        /// Which SKU.
        sku: Sku,
    },
    /// Removes every line.
    Empty,
    /// Takes exactly the ordered quantities out, once an order: what was added since the order stays.
    Clear {
        /// The order.
        order: OrderId,
        /// What it ordered.
        lines: Vec<(Sku, u32)>,
    },
    /// Lets the lines of another cart join, once a cart. Quantities are summed and capped at [`QUANTITY_LIMIT`];
    /// lines beyond [`LINE_LIMIT`] stay out.
    Merge {
        /// The cart they come from.
        from: CartId,
        /// Its lines.
        lines: Vec<CartLine>,
    },
}

/// Why a cart refuses a command; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CartRefusal {
    /// The line would hold none, or more than [`QUANTITY_LIMIT`].
    #[error("the quantity of a line lies between 1 and {QUANTITY_LIMIT}")]
    QuantityOutOfRange,
    /// The cart would hold more than [`LINE_LIMIT`] lines.
    #[error("a cart has at most {LINE_LIMIT} lines")]
    TooManyLines,
}

/// A cart's verdict on a command.
pub type CartReply = Result<(), CartRefusal>;

/// What callers see of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartView {
    /// The currency it will be paid in.
    pub currency: Currency,
    /// Its lines, in the order in which they were put in.
    pub lines: Vec<CartLine>,
}

impl Cart {
    /// Sets the line of `sku` to `quantity` of at least 1. The line keeps its place.
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
        // Remembered even where nothing matches: otherwise a repetition would take what was put in meanwhile.
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
            // Refused are only an empty line, which adds nothing, and one beyond LINE_LIMIT, which stays out.
            let _ = self.put(&line.sku, &line.product_id, sum);
        }
    }

    /// Carries `command` out on this state.
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
