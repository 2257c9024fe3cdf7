//! One charge of the sandbox's ledger and its transitions. Pure.

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::gateways::payment::{Authorisation, ChargeState, GatewayError};
use souk_domain::{Money, OrderId, Timestamp};

/// Failures of `tok_flaky` per key before it succeeds.
const FLAKY_FAILURES: u32 = 2;

/// Most refunds of one charge: they are all in its row.
const REFUND_LIMIT: usize = 256;

/// Page where a shopper confirms a payment; the reference is appended.
const ACTION_ADDRESS: &str = "https://sandbox.souk.example/actions/";

/// Characters of the key's hash in a reference: 128 bits.
const REFERENCE_DIGITS: usize = 32;

/// How references begin: one store may hold payments and charges.
const REFERENCE_PREFIX: &str = "sbx_";

/// The provider's reference of the charge under `key`, and the id of its row.
pub fn reference(key: &str) -> String {
    format!(
        "{REFERENCE_PREFIX}{:.REFERENCE_DIGITS$}",
        digest::of_parts(&[key.as_bytes()])
    )
}

/// Whether this is the id of a charge.
pub fn is_reference(id: &str) -> bool {
    id.starts_with(REFERENCE_PREFIX)
}

/// What a request does to a charge, and its reply.
pub(super) enum Verdict<T> {
    /// No change.
    Keep(Result<T, GatewayError>),
    /// The new charge. The reply is given once it is written.
    Change(Charge, Result<T, GatewayError>),
}

impl<T> Verdict<T> {
    fn refuse(code: &str) -> Self {
        Self::Keep(Err(refused(code)))
    }
}

fn refused(code: &str) -> GatewayError {
    GatewayError::Refused {
        code: code.to_owned(),
    }
}

fn declined(code: &str) -> Standing {
    Standing::Declined {
        code: code.to_owned(),
    }
}

/// The state of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No authorisation was decided yet.
    Undecided {
        /// Failed authorisations.
        failures: u32,
    },
    /// The money is held.
    Authorised,
    /// The shopper has to confirm the payment.
    RequiresAction,
    /// Refused.
    Declined {
        /// Why.
        code: String,
    },
    /// The money is taken.
    Captured {
        /// How much.
        amount: Money,
    },
    /// Nothing is held, nor can be any more.
    Voided,
}

/// A charge as stored in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    key: String,
    /// Its state.
    pub standing: Standing,
    /// The first authorisation request.
    request: Option<Request>,
    refunds: Vec<Refund>,
    /// When it was last changed.
    pub(super) changed_at: Timestamp,
}

/// An authorisation as stored in the ledger, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    order: OrderId,
    amount: Money,
    /// Distinguishes authorisations under the same key.
    fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refund {
    key: String,
    amount: Money,
}

impl From<&Authorisation> for Request {
    fn from(request: &Authorisation) -> Self {
        Self {
            order: request.order.clone(),
            amount: request.amount,
            fingerprint: digest::of_parts(&[
                request.token.as_bytes(),
                request.order.as_str().as_bytes(),
                request.amount.currency.as_str().as_bytes(),
                &request.amount.amount.to_be_bytes(),
            ]),
        }
    }
}

impl Charge {
    /// The order that it is for; `None` where no authorisation was requested.
    pub fn order(&self) -> Option<&OrderId> {
        self.request.as_ref().map(|request| &request.order)
    }

    /// The refunds.
    pub fn refunds(&self) -> impl Iterator<Item = Money> {
        self.refunds.iter().map(|refund| refund.amount)
    }

    /// The charge under an unused key.
    pub(super) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            standing: Standing::Undecided { failures: 0 },
            request: None,
            refunds: Vec::new(),
            changed_at: Timestamp::default(),
        }
    }

    pub(super) fn reference(&self) -> String {
        reference(&self.key)
    }

    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.standing, Standing::Undecided { .. })
    }

    fn at(&self, standing: Standing) -> Self {
        Self {
            standing,
            ..self.clone()
        }
    }

    pub(super) fn authorise(&self, authorisation: &Authorisation) -> Verdict<ChargeState> {
        if authorisation.amount.amount <= 0 {
            return Verdict::refuse("invalid_amount");
        }
        let request = Request::from(authorisation);
        if self.request.as_ref().is_some_and(|first| *first != request) {
            return Verdict::refuse("idempotency_key_reused");
        }
        let Standing::Undecided { failures } = self.standing else {
            return Verdict::Keep(self.authorised());
        };
        let mut next = self.at(match authorisation.token.as_str() {
            "tok_flaky" if failures < FLAKY_FAILURES => Standing::Undecided {
                failures: failures + 1,
            },
            "tok_ok" | "tok_slow" | "tok_reply_lost" | "tok_flaky" => Standing::Authorised,
            "tok_requires_action" => Standing::RequiresAction,
            "tok_declined" => declined("card_declined"),
            _ => declined("invalid_token"),
        });
        next.request = Some(request);
        let answer = if authorisation.token == "tok_reply_lost" {
            Err(GatewayError::OutcomeUnknown(
                "the sandbox charged and its answer was lost".into(),
            ))
        } else {
            next.authorised()
        };
        Verdict::Change(next, answer)
    }

    /// The reply to an authorisation.
    fn authorised(&self) -> Result<ChargeState, GatewayError> {
        match &self.standing {
            Standing::Undecided { .. } => Err(GatewayError::Unavailable(
                "the sandbox failed, as its token asks for".into(),
            )),
            // As before the capture.
            Standing::Captured { .. } => Ok(self.at(Standing::Authorised).state()),
            Standing::Authorised | Standing::RequiresAction | Standing::Declined { .. } => Ok(self.state()),
            Standing::Voided => Err(refused("voided")),
        }
    }

    /// The reply to a query.
    pub(super) fn state(&self) -> ChargeState {
        let reference = self.reference();
        match &self.standing {
            Standing::Undecided { .. } => ChargeState::Unknown,
            Standing::Authorised => ChargeState::Authorised { reference },
            Standing::RequiresAction => ChargeState::RequiresAction {
                url: format!("{ACTION_ADDRESS}{reference}"),
                reference,
            },
            Standing::Declined { code } => ChargeState::Declined { code: code.clone() },
            Standing::Captured { amount } if self.refunded() == amount.amount => {
                ChargeState::Refunded { reference }
            }
            Standing::Captured { .. } => ChargeState::Captured { reference },
            Standing::Voided => ChargeState::Voided,
        }
    }

    /// Refunded minor units. No overflow: `refund` allows no more than was captured.
    fn refunded(&self) -> i64 {
        self.refunds.iter().map(|refund| refund.amount.amount).sum()
    }

    pub(super) fn capture(&self, amount: Money) -> Verdict<()> {
        if amount.amount <= 0 {
            return Verdict::refuse("invalid_amount");
        }
        match &self.standing {
            Standing::Captured { amount: taken } if *taken == amount => Verdict::Keep(Ok(())),
            Standing::Captured { .. } => Verdict::refuse("already_captured"),
            Standing::Authorised => match &self.request {
                Some(request) if request.amount.currency != amount.currency => {
                    Verdict::refuse("currency_mismatch")
                }
                Some(request) if amount.amount <= request.amount.amount => {
                    Verdict::Change(self.at(Standing::Captured { amount }), Ok(()))
                }
                _ => Verdict::refuse("amount_too_large"),
            },
            Standing::Voided => Verdict::refuse("voided"),
            Standing::Undecided { .. } | Standing::RequiresAction | Standing::Declined { .. } => {
                Verdict::refuse("not_authorised")
            }
        }
    }

    pub(super) fn void(&self) -> Verdict<()> {
        match &self.standing {
            Standing::Undecided { .. } | Standing::Authorised | Standing::RequiresAction => {
                Verdict::Change(self.at(Standing::Voided), Ok(()))
            }
            Standing::Declined { .. } | Standing::Voided => Verdict::Keep(Ok(())),
            Standing::Captured { .. } => Verdict::refuse("already_captured"),
        }
    }

    pub(super) fn refund(&self, key: &str, amount: Money) -> Verdict<()> {
        if amount.amount <= 0 {
            return Verdict::refuse("invalid_amount");
        }
        let Standing::Captured { amount: taken } = &self.standing else {
            return Verdict::refuse("not_captured");
        };
        if let Some(earlier) = self.refunds.iter().find(|refund| refund.key == key) {
            return if earlier.amount == amount {
                Verdict::Keep(Ok(()))
            } else {
                Verdict::refuse("idempotency_key_reused")
            };
        }
        if amount.currency != taken.currency {
            return Verdict::refuse("currency_mismatch");
        }
        if amount.amount > taken.amount - self.refunded() {
            return Verdict::refuse("refund_exceeds_capture");
        }
        if self.refunds.len() >= REFUND_LIMIT {
            return Verdict::refuse("too_many_refunds");
        }
        let mut next = self.clone();
        next.refunds.push(Refund {
            key: key.to_owned(),
            amount,
        });
        Verdict::Change(next, Ok(()))
    }

    pub(super) fn settle_action(&self, confirmed: bool) -> Verdict<ChargeState> {
        if self.standing != Standing::RequiresAction {
            return Verdict::Keep(Ok(self.state()));
        }
        let next = self.at(if confirmed {
            Standing::Authorised
        } else {
            declined("action_refused")
        });
        let state = next.state();
        Verdict::Change(next, Ok(state))
    }
}
