//! The kinds of problems: a closed list.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

use super::TYPE_BASE;

/// A kind of problem: the last part of its `type`, its title and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    name: &'static str,
    title: &'static str,
    status: StatusCode,
}

macro_rules! kinds {
    ($($(#[$documentation:meta])* $constant:ident = $status:ident, $name:literal, $title:literal;)*) => {
        $($(#[$documentation])*
        pub const $constant: Kind = Kind { name: $name, title: $title, status: StatusCode::$status };)*

        /// All of them, for the published description of the interface.
        pub const ALL: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    /// Something about the request that has no kind of its own.
    BAD_REQUEST = BAD_REQUEST, "bad-request", "The request is malformed";
    /// The body is no JSON.
    MALFORMED_JSON = BAD_REQUEST, "malformed-json", "The body is not valid JSON";
    /// The cursor was not made by this shop, or for another list.
    BAD_CURSOR = BAD_REQUEST, "bad-cursor", "The cursor does not belong to this list";
    /// The idempotency key is too long or has characters other than visible ASCII.
    BAD_IDEMPOTENCY_KEY = BAD_REQUEST, "bad-idempotency-key", "The idempotency key is not valid";
    /// The call needs an idempotency key.
    IDEMPOTENCY_KEY_REQUIRED = BAD_REQUEST, "idempotency-key-required", "An idempotency key is required";
    /// No credentials were sent.
    UNAUTHORISED = UNAUTHORIZED, "unauthorised", "Authentication is required";
    /// The access token is invalid.
    BAD_TOKEN = UNAUTHORIZED, "bad-token", "The access token is not valid";
    /// No account has this address and password.
    BAD_CREDENTIALS = UNAUTHORIZED, "bad-credentials", "The e-mail address or the password is wrong";
    /// The refresh token is invalid, expired or used.
    BAD_REFRESH_TOKEN = UNAUTHORIZED, "bad-refresh-token", "The refresh token is not valid";
    /// The cart token is invalid.
    BAD_CART_TOKEN = UNAUTHORIZED, "bad-cart-token", "The cart token is not valid";
    /// The payment was declined.
    PAYMENT_DECLINED = PAYMENT_REQUIRED, "payment-declined", "The payment was declined";
    /// The caller is known, and may not do that.
    FORBIDDEN = FORBIDDEN, "forbidden", "The account may not do that";
    /// The password has to be confirmed in this session.
    STEP_UP_REQUIRED = FORBIDDEN, "step-up-required", "The password has to be confirmed first";
    /// There is no such thing, or not for this caller.
    NOT_FOUND = NOT_FOUND, "not-found", "Not found";
    /// No product has this SKU.
    UNKNOWN_SKU = NOT_FOUND, "unknown-sku", "There is no such SKU";
    /// The path exists, the method does not.
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    /// The client was too slow to send its request.
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "The request took too long to arrive";
    /// Another account has the e-mail address.
    EMAIL_TAKEN = CONFLICT, "email-taken", "An account with this e-mail address exists already";
    /// The stock does not allow that.
    STOCK_CONFLICT = CONFLICT, "stock-conflict", "The stock does not allow that";
    /// A request with the same idempotency key is in progress.
    REQUEST_IN_PROGRESS = CONFLICT, "request-in-progress", "The same request is still in progress";
    /// Another order of the cart is pending; `order_id` names it.
    CHECKOUT_IN_PROGRESS = CONFLICT, "checkout-in-progress", "The cart is being checked out";
    /// The stock is smaller than the order.
    OUT_OF_STOCK = CONFLICT, "out-of-stock", "Out of stock";
    /// The total is not what the client expected.
    PRICE_CHANGED = CONFLICT, "price-changed", "The price has changed";
    /// The checkout was not finished in time.
    CHECKOUT_EXPIRED = CONFLICT, "checkout-expired", "The checkout was not finished in time";
    /// The order was cancelled.
    ORDER_CANCELLED = CONFLICT, "order-cancelled", "The order was cancelled";
    /// The order is shipped, cancelled or failed.
    TOO_LATE = CONFLICT, "too-late", "The order can't be cancelled any more";
    /// The order does not allow that in its present state.
    ORDER_STATE = CONFLICT, "order-state", "The state of the order does not allow that";
    /// The resource stands at another version.
    VERSION_CONFLICT = PRECONDITION_FAILED, "version-conflict", "The resource has changed";
    /// The body is above the limit.
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// The path and query are above the limit.
    URI_TOO_LONG = URI_TOO_LONG, "uri-too-long", "The URL is too long";
    /// The body is no JSON by its content type.
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The content type is not supported";
    /// Fields or parameters are invalid; `errors` names them.
    VALIDATION = UNPROCESSABLE_ENTITY, "validation", "The request is not valid";
    /// An empty cart can't be checked out.
    EMPTY_CART = UNPROCESSABLE_ENTITY, "empty-cart", "The cart is empty";
    /// The idempotency key was used for another body.
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY, "idempotency-key-reused",
        "The idempotency key was used for another request";
    /// Too many of something in too short a time.
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    /// A defect of the service.
    INTERNAL = INTERNAL_SERVER_ERROR, "internal", "Something went wrong";
    /// Overload, or no node owns the entity at the moment.
    BUSY = SERVICE_UNAVAILABLE, "busy", "The service is busy";
    /// The checkout failed for a reason within the service.
    CHECKOUT_FAILED = SERVICE_UNAVAILABLE, "checkout-failed", "The checkout could not be carried out";
    /// A store is unavailable.
    UNAVAILABLE = SERVICE_UNAVAILABLE, "unavailable", "Service unavailable";
}

impl Kind {
    /// The last part of the problem's `type`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The problem's `type`.
    pub fn uri(&self) -> String {
        format!("{TYPE_BASE}{}", self.name)
    }

    /// What it means, for people.
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The kind for what the framework answered by itself.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => METHOD_NOT_ALLOWED,
            StatusCode::REQUEST_TIMEOUT => REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE => BODY_TOO_LARGE,
            StatusCode::URI_TOO_LONG => URI_TOO_LONG,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY => VALIDATION,
            StatusCode::SERVICE_UNAVAILABLE => BUSY,
            other if other.is_server_error() => INTERNAL,
            _ => BAD_REQUEST,
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let mut names: Vec<_> = ALL.iter().map(Kind::name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
