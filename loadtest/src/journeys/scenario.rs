//! The scenarios and journeys by name.

use strum::{Display, EnumIter, EnumString, IntoStaticStr, VariantNames};

/// A scenario: which journeys, of which SKUs, and how the load grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, EnumIter, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Scenario {
    /// All journeys, under a constant number of shoppers.
    Steady,
    /// Everybody wants one SKU, of which there are few.
    FlashSale,
    /// More and more shoppers, a peak, and fewer again.
    BlackFriday,
    /// SKUs by Zipf's law: few are bought often.
    Zipf,
    /// Carts and checkouts beside merchants who work on the stock.
    Marketplace,
}

impl Scenario {
    /// The name, as on the command line and in the file of weights.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a shopper (or a merchant) does from beginning to end.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Display,
    EnumIter,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Journey {
    /// Categories, a page of products, one product.
    Browse,
    /// A word of a title, the page behind it, one product.
    Search,
    /// Fills a guest's cart, and leaves.
    FillCart,
    /// Finds a cart that was left as it was, and buys it.
    ComeBack,
    /// Fills a guest's cart, and orders.
    GuestCheckout,
    /// Orders as an account, and finds the order in the history.
    AccountCheckout,
    /// Looks at orders and purchases.
    OrderHistory,
    /// Orders with a token that is declined.
    DeclinedPayment,
    /// Orders, and cancels.
    CancelOrder,
    /// Orders a piece of the SKU that everybody wants.
    BuyTheOne,
    /// Receives a delivery.
    ReceiveStock,
    /// Counts the stock.
    AdjustStock,
    /// Looks at the stock and the ledger of several SKUs.
    StockDashboard,
}

impl Journey {
    /// Whether only a merchant can make it.
    pub fn is_merchants(self) -> bool {
        matches!(
            self,
            Self::ReceiveStock | Self::AdjustStock | Self::StockDashboard
        )
    }
}
