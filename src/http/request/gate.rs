//! What every request passes on its way to a handler, in this order: a place among those that are worked on, who calls and
//! whether they may, how often they do, and whether the call was made before.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::edge::admission;
use crate::http::edge::admission::Admission;
use crate::http::request::front::SharedFront;
use crate::http::request::policy::{Policy, Repetition};
use crate::http::request::{idempotency, policy};

/// The gate of one route.
pub(crate) struct Gate {
    pub(crate) front: SharedFront,
    pub(crate) admission: Arc<Admission>,
    pub(crate) policy: Policy,
    pub(crate) repetition: Repetition,
}

/// Middleware. One for all of it: a layer of its own for each question costs more than the question.
pub(crate) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    admission::admit(&gate.admission, request, |request| {
        policy::enforce(gate.policy, &gate.front, request, |request| {
            idempotency::once(gate.repetition, &gate.front, request, next)
        })
    })
    .await
}
