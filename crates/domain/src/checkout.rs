//! The steps of a checkout by name, and the records of them that an order keeps.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A step of a checkout or of its compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reserves every SKU of the order.
    Reserve,
    /// Authorises the payment.
    Authorise,
    /// Confirms the order: the point of no return.
    Confirm,
    /// Turns reserved stock into sold stock.
    Take,
    /// Captures the payment.
    Capture,
    /// Removes the ordered quantities from the cart.
    Clear,
    /// Records that the checkout is finished.
    Finish,
    /// Releases the reservations.
    Release,
    /// Voids the payment and prevents a later authorisation.
    Void,
    /// Ends the order's claim of its cart.
    Unclaim,
    /// Records that a failed order has returned everything.
    EndFailed,
    /// Returns what a confirmed order has taken or reserved.
    ReturnStock,
    /// Voids or refunds the payment of a confirmed order.
    Refund,
    /// Records that a cancelled order has returned everything.
    EndCancelled,
}

impl Step {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Authorise => "authorise",
            Self::Confirm => "confirm",
            Self::Take => "take",
            Self::Capture => "capture",
            Self::Clear => "clear",
            Self::Finish => "finish",
            Self::Release => "release",
            Self::Void => "void",
            Self::Unclaim => "unclaim",
            Self::EndFailed => "end_failed",
            Self::ReturnStock => "return_stock",
            Self::Refund => "refund",
            Self::EndCancelled => "end_cancelled",
        }
    }
}

/// How a worker performed one step, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    pub step: Step,
    /// The number of attempts.
    pub attempts: u32,
    /// When the first attempt started.
    pub started_at: Timestamp,
    /// When it succeeded.
    pub finished_at: Timestamp,
}
