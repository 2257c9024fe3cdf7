//! The domain: entities, commands and decisions. Pure: no I/O, no clock, no randomness; time and identifiers are
//! arguments.
//!
//! `ARCHITECTURE.md` lists the numbered invariants.

pub mod account;
pub mod address;
pub mod aggregate;
pub mod cart;
pub mod catalogue;
pub mod checkout;
pub mod country;
pub mod email;
pub mod event;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod identifiers;
pub mod money;
pub mod order;
pub mod payment;
pub mod phone;
mod postcode;
pub mod preferences;
pub mod purchase;
pub mod quote;
pub mod recent;
pub mod stock;
pub mod text;
pub mod time;

pub use account::{Account, EmailKey, Role};
pub use address::{Address, FieldError};
pub use aggregate::{Aggregate, Change, Decision, Kind};
pub use cart::{Cart, CartCommand, CartLine, CartRefusal, CartReply, CartView};
pub use email::EmailAddress;
pub use event::{EncodedEvent, Event, EventId, NewEvent, NoEvent};
pub use identifiers::{AddressId, CartId, CommandId, OrderId, PaymentId, ProductId, SessionId, Sku, UserId};
pub use money::{Currency, Money};
pub use order::{
    FailureReason, FulfilmentStatus, Order, OrderCommand, OrderEvent, OrderLine, OrderRefusal, OrderReply,
    OrderStatus, PaymentStatus, Phase, PlacedOrder, Placement, Progress, TimelineEntry,
};
pub use payment::{Payment, PaymentChange, PaymentInstruction, PaymentRefusal, PaymentState, Refund};
pub use preferences::Preferences;
pub use purchase::{Purchase, PurchasedItem};
pub use stock::{Reservation, Stock, StockCommand, StockEvent, StockLevel, StockRefusal, StockReply};
pub use time::Timestamp;
