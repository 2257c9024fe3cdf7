//! The reply to a placed order, by its state.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;

use super::body::OrderBody;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::json;
use souk_domain::{FailureReason, OrderId, OrderStatus, OrderView, Sku};

/// The reply for `order` at `version`.
///
/// # Errors
/// The reason why the order failed, as a problem; its `Location` is the order's.
pub fn respond(order: &OrderView, version: u64) -> Result<Response, Problem> {
    let location = location(&order.id);
    let status = match order.status {
        OrderStatus::Confirmed | OrderStatus::Completed => StatusCode::CREATED,
        OrderStatus::Pending => StatusCode::ACCEPTED,
        OrderStatus::Cancelled => return Err(Problem::new(problem::ORDER_CANCELLED).location(location)),
        OrderStatus::Failed => return Err(failure(order.abandoned.as_ref()).location(location)),
    };
    let mut response = json::versioned(status, version, &OrderBody::new(order, version))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn failure(reason: Option<&FailureReason>) -> Problem {
    match reason {
        Some(FailureReason::OutOfStock { skus }) => {
            let error = |(sku, available): &(Sku, u32)| {
                FieldError::new(sku.to_string(), format!("only {available} available"))
            };
            Problem::new(problem::OUT_OF_STOCK).errors(skus.iter().map(error).collect())
        }
        Some(FailureReason::PaymentDeclined { code }) => {
            Problem::new(problem::PAYMENT_DECLINED).detail(format!("the provider declined it: {code}"))
        }
        Some(FailureReason::PaymentTimedOut) => Problem::new(problem::PAYMENT_DECLINED)
            .detail("the payment provider timed out; nothing was charged"),
        Some(FailureReason::DeadlinePassed) => Problem::new(problem::CHECKOUT_EXPIRED),
        Some(FailureReason::Internal) | None => Problem::new(problem::CHECKOUT_FAILED)
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
    use axum::response::IntoResponse;

    use super::*;
    use crate::http::test_support::{order, sku};

    fn outcome(
        status: OrderStatus,
        reason: Option<FailureReason>,
    ) -> (u16, Option<&'static str>, HeaderValue) {
        let order = OrderView {
            status,
            abandoned: reason,
            ..order()
        };
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
        for (status, reason, code, name) in [
            (OrderStatus::Confirmed, None, 201, None),
            (OrderStatus::Completed, None, 201, None),
            (OrderStatus::Pending, None, 202, None),
            (OrderStatus::Pending, Some(declined.clone()), 202, None),
            (OrderStatus::Failed, Some(declined), 402, Some("payment-declined")),
            (
                OrderStatus::Failed,
                Some(FailureReason::PaymentTimedOut),
                402,
                Some("payment-declined"),
            ),
            (OrderStatus::Failed, Some(short), 409, Some("out-of-stock")),
            (
                OrderStatus::Failed,
                Some(FailureReason::DeadlinePassed),
                409,
                Some("checkout-expired"),
            ),
            (
                OrderStatus::Failed,
                Some(FailureReason::Internal),
                503,
                Some("checkout-failed"),
            ),
            (OrderStatus::Cancelled, None, 409, Some("order-cancelled")),
        ] {
            let location = HeaderValue::try_from(format!("/v1/orders/{}", order().id)).unwrap();
            assert_eq!(outcome(status, reason), (code, name, location), "{status:?}");
        }
    }

    #[test]
    fn what_fell_short_is_named_by_sku() {
        let reason = FailureReason::OutOfStock {
            skus: vec![(sku("A-1"), 1), (sku("B-2"), 0)],
        };
        let problem = failure(Some(&reason));
        let fields: Vec<_> = problem
            .field_errors()
            .iter()
            .map(|error| error.field.as_ref())
            .collect();
        assert_eq!(fields, ["A-1", "B-2"]);
    }
}
