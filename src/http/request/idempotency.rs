//! Executes requests with the same `Idempotency-Key` once (invariant 9).
//!
//! A repetition gets the stored reply. Where the store has lost it (a node died between effect and reply), repetition
//! is safe all the same: the commands of a request have ids derived from its key. Where what a request creates is found by its
//! key ([`Repetition::Recorded`]), no reply is stored at all.
//!
//! What is kept for a caller and for an address is limited ([`Quota`](crate::stores::idempotency::Quota)): above that, a request
//! with a new key is refused before it does anything, so that nothing acknowledged is forgotten to make room.

use std::convert::Infallible;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use metrics::counter;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::digest;
use crate::http::edge::client_address::ClientAddress;
use crate::http::edge::context::{Context, visible_ascii};
use crate::http::edge::headers::{IDEMPOTENCY_KEY, REPLAYED};
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::settings::IdempotencySettings;
use crate::http::request::background::Background;
use crate::http::request::caller::{self, Caller};
use crate::http::request::front::SharedFront;
use crate::http::request::json;
use crate::http::request::keys;
use crate::http::request::policy::Repetition;
use crate::stores::StoreError;
use crate::stores::idempotency::{Attempt, BODY_LIMIT, Claim, IdempotencyStore, KeptReply};
use souk_domain::CommandId;
use souk_retry::Backoff;

/// Longest key, in visible ASCII characters.
pub const KEY_LIMIT: usize = 255;

/// Pauses before a running request is looked at again.
const POLLING: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(320));
/// The `Retry-After` above a quota is the time that replies are kept, divided by this.
const RETRIES_OVER_QUOTA: u32 = 24;
/// Renewals of a lease within its time.
const RENEWALS: u32 = 3;
/// The headers that are stored with a reply.
const STORED_HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LOCATION,
    header::CACHE_CONTROL,
    header::WWW_AUTHENTICATE,
];

/// The identity of a request, by which entities recognise repeated commands.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The id of the request's command; derived from the key where there is one.
    pub command: CommandId,
    /// The key, where there is one.
    pub key: Option<Arc<str>>,
    /// A keyed hash of the body: [`Keys::fingerprint`](keys::Keys::fingerprint).
    pub fingerprint: Arc<str>,
}

/// Set on the reply to a request that opened an account: it is kept for that owner ([`Keys::owner`](keys::Keys::owner)), though its
/// caller was nobody yet, and goes when the account is erased.
#[derive(Clone, Debug)]
pub struct KeptFor(pub String);

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self {
            command: CommandId::from_suffix(uuid::Uuid::now_v7().simple()),
            key: None,
            fingerprint: Arc::from(""),
        }))
    }
}

/// Executes a request once per key, where the route honours keys and the request has one.
pub(crate) async fn once(
    repetition: Repetition,
    front: &SharedFront,
    request: Request,
    next: Next,
) -> Response {
    if repetition == Repetition::Plain {
        return next.run(request).await;
    }
    match key(request.headers()) {
        Ok(Some(key)) => under_key(repetition, front.clone(), key, request, next)
            .await
            .unwrap_or_else(Problem::into_response),
        Ok(None) if repetition == Repetition::Recorded => {
            Problem::new(problem::IDEMPOTENCY_KEY_REQUIRED).into_response()
        }
        Ok(None) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let read = |value| visible_ascii(value, KEY_LIMIT).map(Arc::from);
    caller::single(headers, IDEMPOTENCY_KEY, problem::BAD_IDEMPOTENCY_KEY, read).map_err(|problem| {
        problem.detail(format!(
            "one key of 1 to {KEY_LIMIT} visible ASCII characters is accepted"
        ))
    })
}

async fn under_key(
    repetition: Repetition,
    front: SharedFront,
    key: Arc<str>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().cloned();
    let body = json::read(body, &front).await?;
    let fingerprint = front.keys.fingerprint(&body);
    let scope = scope(caller.as_ref(), &parts, &key);
    parts.extensions.insert(Identity {
        command: keys::command_id(&scope, &fingerprint),
        key: Some(key),
        fingerprint: Arc::from(fingerprint.as_str()),
    });

    let background = Background::of(&front, &parts.extensions);
    if repetition == Repetition::Recorded {
        let handler = next.run(Request::from_parts(parts, Body::from(body)));
        return background.finish(handler.map(Ok)).await;
    }
    let client = front.rate_limits.client(&parts.extensions, &parts.headers);
    let keyed = KeyedRequest {
        store: Arc::clone(&front.idempotency),
        clock: Arc::clone(&front.clock),
        settings: front.settings.idempotency,
        scope,
        fingerprint,
        owner: caller.map(|caller| front.keys.owner(caller.buyer())),
        network: client.map(|client| front.keys.network(client.counted())),
        holder: uuid::Uuid::now_v7().simple().to_string(),
        request_id: parts
            .extensions
            .get::<Context>()
            .map_or_else(|| Arc::from(""), |context| context.request_id.clone()),
    };
    let handler = next.run(Request::from_parts(parts, Body::from(body)));
    // Runs to its end without the client: a claim must not stay without a reply.
    background.finish(keyed.run(handler)).await
}

/// The scope of a key. Without a caller it includes the client's address, so that a stranger who guesses a weak key
/// gets nobody else's reply (and cart token).
fn scope(caller: Option<&Caller>, parts: &Parts, key: &str) -> String {
    let (kind, who) = match (caller, ClientAddress::of(&parts.extensions)) {
        (Some(caller), _) => ("caller", caller.buyer().to_owned()),
        (None, Some(ClientAddress(address))) => ("address", address.to_string()),
        (None, None) => ("unknown", String::new()),
    };
    digest::of_parts(&[
        kind.as_bytes(),
        who.as_bytes(),
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        key.as_bytes(),
    ])
}

/// One request under a key.
struct KeyedRequest {
    store: Arc<dyn IdempotencyStore>,
    clock: Clock,
    settings: IdempotencySettings,
    scope: String,
    fingerprint: String,
    /// Who the reply is kept for, and where the request came from, where that is known.
    owner: Option<String>,
    network: Option<String>,
    /// Identifies this attempt.
    holder: String,
    request_id: Arc<str>,
}

impl KeyedRequest {
    /// Executes the request, or returns the stored reply.
    async fn run(self, work: impl Future<Output = Response>) -> Result<Response, Problem> {
        if let Some(reply) = self.claim().await? {
            return replay(reply);
        }
        let work = AssertUnwindSafe(work).catch_unwind();
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.renew() => match never {},
        };
        match done {
            Ok(response) => self.keep(problem::finish(response, &self.request_id)).await,
            Err(panic) => {
                self.release().await;
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Claims the key, or returns the stored reply. Waits while another attempt runs.
    async fn claim(&self) -> Result<Option<KeptReply>, Problem> {
        let give_up = Instant::now() + self.settings.wait;
        let mut polling = POLLING;
        loop {
            match self.try_claim().await? {
                Claim::Ours => return Ok(None),
                Claim::Answered(reply) => return Ok(Some(reply)),
                Claim::OtherBody => return Err(Problem::new(problem::IDEMPOTENCY_KEY_REUSED)),
                Claim::OverQuota => {
                    counter!("souk_rate_limited_total", "by" => "kept_replies").increment(1);
                    return Err(Problem::new(problem::TOO_MANY_REQUESTS)
                        .detail("too many replies are kept for requests with an Idempotency-Key")
                        .retry_after(self.settings.keep / RETRIES_OVER_QUOTA));
                }
                Claim::Running => {
                    let pause = polling.next_pause();
                    if Instant::now() + pause > give_up {
                        return Err(
                            Problem::new(problem::REQUEST_IN_PROGRESS).retry_after(problem::RETRY_AFTER)
                        );
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Renews the lease while the work runs. So the lease may be short: where the node of the first attempt died, a
    /// repetition waits no longer than that.
    async fn renew(&self) -> Infallible {
        loop {
            tokio::time::sleep(self.settings.lease / RENEWALS).await;
            // If another attempt took over meanwhile (this node was suspended), both send the same commands, and the
            // other's reply is stored.
            if let Err(error) = self.try_claim().await {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the lease of an idempotency key could not be renewed"
                );
            }
        }
    }

    async fn try_claim(&self) -> Result<Claim, StoreError> {
        self.store
            .claim(
                &Attempt {
                    key: &self.scope,
                    fingerprint: &self.fingerprint,
                    holder: &self.holder,
                    owner: self.owner.as_deref(),
                    network: self.network.as_deref(),
                    quota: self.settings.quota,
                },
                (self.clock)(),
                self.settings.lease,
                self.settings.keep,
            )
            .await
    }

    /// Stores a final reply before it is sent; releases the key where the request may be retried.
    async fn keep(&self, response: Response) -> Result<Response, Problem> {
        if response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS {
            self.release().await;
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let owner = parts
            .extensions
            .get::<KeptFor>()
            .map(|KeptFor(owner)| owner.as_str());
        let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
            self.release().await;
            return Err(Problem::new(problem::INTERNAL));
        };
        let reply = KeptReply {
            status: parts.status.as_u16(),
            headers: STORED_HEADERS
                .iter()
                .filter_map(|name| {
                    let value = parts.headers.get(name)?.to_str().ok()?;
                    Some((name.to_string(), value.to_owned()))
                })
                .collect(),
            body: body.to_vec(),
        };
        let kept = self.store.answer(&self.scope, &self.holder, owner, &reply).await;
        if let Err(error) = kept {
            // The work is done, and entities remember its commands: a repetition has the same result.
            tracing::warn!(error = &error as &dyn Error, "a reply could not be kept");
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    async fn release(&self) {
        if let Err(error) = self.store.release(&self.scope, &self.holder).await {
            // The lease expires by itself.
            tracing::warn!(
                error = &error as &dyn Error,
                "an idempotency key could not be given back"
            );
        }
    }
}

fn replay(reply: KeptReply) -> Result<Response, Problem> {
    // It was a valid status when it was stored.
    let status = StatusCode::from_u16(reply.status).map_err(|_| Problem::new(problem::INTERNAL))?;
    let mut response = (status, reply.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
