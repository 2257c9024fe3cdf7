//! A route: its handler with its policy and its documentation, and the checks that a request passes before the handler.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::bodies;
use super::caller::Caller;
use super::front::SharedFront;
use super::idempotency;
use super::policy::{self, Policy, Repetition};
use crate::http::edge::admission::{self, Admission, Urgency};

/// A method of a path as clients know it: what its handler documents, who may call it, what an idempotency key means.
pub struct Endpoint {
    /// The method; GET answers HEAD as well.
    pub method: Method,
    /// The path, its variable parts in braces.
    pub path: String,
    /// Who may call it.
    pub policy: Policy,
    /// What an idempotency key means.
    pub repetition: Repetition,
    /// The annotation of the handler: parameters, body and replies.
    pub operation: Operation,
    /// The schemas that it refers to.
    pub schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Endpoint {
    /// The endpoint of the one handler that `document` describes.
    ///
    /// # Panics
    /// If the document describes no handler, or its handler has a method that the shop does not use: a defect of an annotation,
    /// which every test of the routes meets.
    pub fn new(document: OpenApi, policy: Policy) -> Self {
        let (path, item) = document.paths.paths.into_iter().next().expect("a handler");
        let operations = [
            (Method::GET, item.get),
            (Method::POST, item.post),
            (Method::PUT, item.put),
            (Method::PATCH, item.patch),
            (Method::DELETE, item.delete),
        ];
        let mut operations = operations.into_iter();
        let (method, operation) = operations
            .find_map(|(method, operation)| Some((method, operation?)))
            .expect("a known method");
        Self {
            method,
            path,
            policy,
            repetition: Repetition::Plain,
            operation,
            schemas: document.components.unwrap_or_default().schemas,
        }
    }
}

/// One route.
pub struct Route {
    /// What clients know of it.
    pub endpoint: Endpoint,
    handler: MethodRouter<SharedFront>,
}

impl Route {
    /// A route for which an idempotency key has no meaning.
    pub fn new<H: Handler<T, SharedFront>, T: 'static>(endpoint: Endpoint, handler: H) -> Self {
        let filter = MethodFilter::try_from(endpoint.method.clone()).expect("a method that the router knows");
        Self {
            endpoint,
            handler: on(filter, handler),
        }
    }

    /// With a key, the call has an effect once.
    pub fn honours_keys(mut self) -> Self {
        self.endpoint.repetition = Repetition::Honoured;
        self
    }

    /// Without a key, the call is refused; its handler finds by the key what it created before.
    pub fn records_key(mut self) -> Self {
        self.endpoint.repetition = Repetition::Recorded;
        self
    }

    /// The handler behind its checks.
    pub fn guarded(self, front: &SharedFront, admission: &Arc<Admission>) -> MethodRouter<SharedFront> {
        let gate = Gate {
            front: front.clone(),
            admission: Arc::clone(admission),
            policy: self.endpoint.policy,
            repetition: self.endpoint.repetition,
        };
        let gate = middleware::from_fn_with_state(Arc::new(gate), pass);
        self.handler.route_layer(gate)
    }
}

/// What the checks of one route work with.
struct Gate {
    front: SharedFront,
    admission: Arc<Admission>,
    policy: Policy,
    repetition: Repetition,
}

impl Gate {
    fn urgency(&self, request: &Request) -> Urgency {
        if self.repetition == Repetition::Recorded {
            Urgency::Order
        } else if request.method().is_safe() {
            Urgency::Read
        } else if request.extensions().get::<Caller>().is_none() {
            Urgency::Stranger
        } else {
            Urgency::Shopper
        }
    }
}

/// Authentication, authorisation, rate limits, the body, admission, idempotency, in this order. One middleware for all of them:
/// a layer for each costs more than the check.
async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (front, admission) = (&gate.front, &gate.admission);
    let mut response = policy::enforce(gate.policy, front, request, |request| async {
        match bodies::receive(request, &front.settings, &front.bodies).await {
            Ok(request) => {
                let work = |request| idempotency::once(gate.repetition, front, request, next);
                admission::admit(admission, gate.urgency(&request), request, work).await
            }
            Err(problem) => problem.into_response(),
        }
    })
    .await;
    admission.announce_drain(response.headers_mut());
    response
}
