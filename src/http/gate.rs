//! What every request passes on its way to a handler, in this order: a place among those that are worked on, who calls and
//! whether they may, how often they do, and whether the call was made before.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::admission::Admission;
use super::policy::Policy;
use super::routes::Repetition;
use super::{SharedFront, admission, idempotency, policy};

/// The gate of one route.
pub(super) struct Gate {
    pub(super) front: SharedFront,
    pub(super) admission: Arc<Admission>,
    pub(super) policy: Policy,
    pub(super) repetition: Repetition,
}

/// Middleware. One for all of it: a layer of its own for each question costs more than the question.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    admission::admit(&gate.admission, request, |request| {
        policy::enforce(gate.policy, &gate.front, request, |request| {
            idempotency::once(gate.repetition, &gate.front, request, next)
        })
    })
    .await
}
