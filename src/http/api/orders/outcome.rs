//! The reply to a placed order, by its state.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::body::OrderBody;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::json;
use souk_domain::{FailureReason, OrderId, OrderStatus, Phase, PlacedOrder, Sku};

/// The reply for `order` at `version`: that of a confirmed order shows it as it was when confirmed, so that a repeated request gets
/// the first reply again whatever came after. What was erased is gone from it too.
///
/// # Errors
/// The reason why the order failed, as a problem; its `Location` is the order's.
pub fn respond(order: &PlacedOrder, version: u64) -> Result<Response, Problem> {
    let location = location(&order.placement.id);
    let status = match &order.progress.phase {
        Phase::Failed { reason } => return Err(failure(reason).location(location)),
        Phase::Cancelled { payment: None } => {
            return Err(Problem::new(problem::ORDER_CANCELLED).location(location));
        }
        phase if phase.status() == OrderStatus::Pending => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    let (order, version) = as_confirmed(order, version);
    let reply = json::versioned(status, version, &OrderBody::new(&order, version))?;
    Ok(([(header::LOCATION, location)], reply).into_response())
}

/// An order with its version when it was confirmed; as it is where it was not.
fn as_confirmed(order: &PlacedOrder, version: u64) -> (Cow<'_, PlacedOrder>, u64) {
    match order.progress.when_confirmed() {
        Some((progress, changes)) if progress != order.progress => {
            let placement = order.placement.clone();
            // A node that took the order over meanwhile may have written versions without a change: these are not counted.
            let version = u64::try_from(changes).unwrap_or(version);
            (Cow::Owned(PlacedOrder { placement, progress }), version)
        }
        _ => (Cow::Borrowed(order), version),
    }
}

fn failure(reason: &FailureReason) -> Problem {
    match reason {
        FailureReason::OutOfStock { skus } => {
            let error = |(sku, available): &(Sku, u32)| {
                let message = match available {
                    0 => "none available".to_owned(),
                    available => format!("only {available} available"),
                };
                FieldError::new(sku.to_string(), message)
            };
            Problem::new(problem::OUT_OF_STOCK).errors(skus.iter().map(error).collect())
        }
        FailureReason::PaymentDeclined { code } => {
            Problem::new(problem::PAYMENT_DECLINED).detail(format!("the provider declined it: {code}"))
        }
        FailureReason::PaymentTimedOut => Problem::new(problem::PAYMENT_DECLINED)
            .detail("the payment provider timed out; nothing was charged"),
        FailureReason::DeadlinePassed => Problem::new(problem::CHECKOUT_EXPIRED),
        FailureReason::Internal => Problem::new(problem::CHECKOUT_FAILED)
            .retry_after(problem::RETRY_AFTER)
            .detail("nothing was charged; try again under a new idempotency key"),
    }
}

fn location(id: &OrderId) -> HeaderValue {
    // An identifier has only characters that are valid in a header.
    HeaderValue::try_from(format!("/v1/orders/{id}")).unwrap_or(HeaderValue::from_static("/v1/orders"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_support::{NOW, order, placed, sku};
    use souk_domain::{Aggregate, OrderCommand, PaymentId};

    fn outcome(phase: Phase) -> (u16, Option<&'static str>, HeaderValue) {
        let mut order = order();
        order.progress.phase = phase;
        let result = respond(&order, 2);
        let name = result.as_ref().err().map(|problem| problem.kind().name());
        let response = result.unwrap_or_else(IntoResponse::into_response);
        (
            response.status().as_u16(),
            name,
            response.headers()[header::LOCATION].clone(),
        )
    }

    #[test]
    fn each_end_of_a_checkout_has_its_own_reply() {
        let declined = FailureReason::PaymentDeclined {
            code: "no_funds".to_owned(),
        };
        let short = FailureReason::OutOfStock {
            skus: vec![(sku("A-1"), 1)],
        };
        let payment = PaymentId::from_suffix("1");
        let failed = |reason| Phase::Failed { reason };
        let confirmed = Phase::Confirmed {
            payment: payment.clone(),
        };
        let failing = Phase::Failing {
            reason: declined.clone(),
        };
        for (phase, code, name) in [
            (confirmed, 201, None),
            (
                Phase::Completed {
                    payment: payment.clone(),
                },
                201,
                None,
            ),
            (
                Phase::Cancelled {
                    payment: Some(payment),
                },
                201,
                None,
            ),
            (Phase::Confirming, 202, None),
            (failing, 202, None),
            (failed(declined), 402, Some("payment-declined")),
            (
                failed(FailureReason::PaymentTimedOut),
                402,
                Some("payment-declined"),
            ),
            (failed(short), 409, Some("out-of-stock")),
            (
                failed(FailureReason::DeadlinePassed),
                409,
                Some("checkout-expired"),
            ),
            (failed(FailureReason::Internal), 503, Some("checkout-failed")),
            (Phase::Cancelled { payment: None }, 409, Some("order-cancelled")),
        ] {
            let location = HeaderValue::try_from(format!("/v1/orders/{}", order().placement.id)).unwrap();
            assert_eq!(outcome(phase.clone()), (code, name, location), "{phase:?}");
        }
    }

    #[tokio::test]
    async fn a_repeated_request_gets_the_first_reply_whatever_came_after() {
        let reply = async |order: &PlacedOrder, version| {
            let response = respond(order, version).unwrap();
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            (head.status, head.headers[header::ETAG].clone(), body)
        };
        let mut state = placed("ord_1", "crt_1");
        let mut run = |command| {
            let decision = state.decide(&command, NOW);
            state = decision.change.unwrap().state;
            state.view().unwrap()
        };
        let confirmed = run(OrderCommand::Confirm {
            payment: PaymentId::from_suffix("1"),
        });
        let first = reply(&confirmed, 2).await;
        assert_eq!(first.2["payment_status"], "authorised");
        let later = [
            OrderCommand::Finish {
                captured: true,
                steps: Vec::new(),
            },
            OrderCommand::Cancel {
                reason: "too late".to_owned(),
            },
            OrderCommand::EndCancelled {
                refunded: true,
                steps: Vec::new(),
            },
        ];
        for (version, command) in (3..).zip(later) {
            assert_eq!(reply(&run(command), version).await, first, "version {version}");
        }
        let erased = reply(&run(OrderCommand::Erase), 6).await;
        assert_eq!((erased.0, &erased.2["version"]), (first.0, &first.2["version"]));
        assert_ne!(erased.2["address"], first.2["address"]);
    }

    #[test]
    fn what_fell_short_is_named_by_sku() {
        let reason = FailureReason::OutOfStock {
            skus: vec![(sku("A-1"), 1), (sku("B-2"), 0)],
        };
        let problem = failure(&reason);
        let errors = problem.field_errors().iter();
        let told: Vec<_> = errors
            .map(|error| (error.field.as_ref(), error.message.as_ref()))
            .collect();
        assert_eq!(told, [("A-1", "only 1 available"), ("B-2", "none available")]);
    }
}
