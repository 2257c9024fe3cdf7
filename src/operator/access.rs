//! Authentication of operators, and the audit log of their actions.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Shared, console};
use crate::digest;
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};

/// Hexadecimal digits of a token's hash in the audit log: enough to distinguish tokens, no help in guessing one.
const FINGERPRINT_DIGITS: usize = 12;

/// Middleware: requires the operator token.
pub(super) async fn require(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let refusal = match bearer(request.headers()) {
        Some(token) if state.token.matches(token) => return next.run(request).await,
        Some(_) => {
            tracing::warn!("a request with a wrong operator token was refused");
            problem::BAD_TOKEN
        }
        None => problem::UNAUTHORISED,
    };
    if request.uri().path() == "/" && console::is_wanted(request.headers()) {
        // A browser has no token before it has the page that asks for one; the page itself contains no data.
        return console::ask_for_token();
    }
    Problem::new(refusal).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Writes an action to the audit log (tracing target `souk::audit`): actor, action, subject and request. There is one
/// operator token, so its fingerprint is all that identifies the actor.
pub(super) fn log(state: &Shared, context: &Context, action: &'static str, subject: &str) {
    let digest = digest::of_parts(&[state.token.expose().as_bytes()]);
    tracing::info!(
        target: "souk::audit",
        who = &digest[..FINGERPRINT_DIGITS.min(digest.len())],
        node = state.me.name,
        request_id = &*context.request_id,
        subject,
        action,
        "an operator acted"
    );
}
