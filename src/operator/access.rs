//! Who may come in, and the log of what they change.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Shared, console};
use crate::digest;
use crate::http::conventions::Context;
use crate::http::problem::{self, Problem};

/// Hexadecimal digits that name a token in the audit log: enough to tell tokens apart, no help in guessing one.
const FINGERPRINT_DIGITS: usize = 12;

/// Middleware: lets through who shows the operator token.
pub(super) async fn require(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let refusal = match bearer(request.headers()) {
        Some(token) if state.token.matches(token) => return next.run(request).await,
        Some(_) => {
            tracing::warn!("a wrong operator token was shown");
            problem::BAD_TOKEN
        }
        None => problem::UNAUTHORISED,
    };
    if request.uri().path() == "/" && console::is_wanted(request.headers()) {
        // A browser can't show a token before it has the page that asks for one; the page itself holds nothing.
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

/// Writes a mutation to the audit log (tracing target `souk::audit`): who, what, to what, and under which request.
/// There is one operator token, so that the fingerprint of it is all that is known of who.
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
