//! Client of other nodes' operator interfaces, with the same token: all nodes are asked at once, within a short time.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::future::join_all;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Shared;
use crate::http::edge::context::Context;
use crate::http::edge::headers::REQUEST_ID;
use crate::http::edge::problem::Problem;
use crate::http::request::json;
use souk_cluster::certificates::{self, CertificateError};
use souk_cluster::membership::{MembershipDescription, MembershipMessage};
use souk_cluster::ownership::{Owner, Routing};
use souk_cluster::placement::shard_of;
use souk_cluster::view::Member;

/// The header of a request between nodes; `1`: the reply is about the asked node alone.
pub const LOCAL: &str = "x-souk-local";
/// Longest time for a connection to another node.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Longest time for another node's whole reply.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Longest time for this node's own membership actor to answer: it may be reading a store.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(1);

/// The nodes that a reply is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All nodes.
    Cluster,
    /// The asked one.
    Node,
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let local = parts.headers.get(LOCAL).is_some_and(|value| value == "1");
        Ok(if local { Self::Node } else { Self::Cluster })
    }
}

/// Why there is no reply of another node.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It could not be reached, or did not reply in time.
    #[error("the node can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It replied with an error.
    #[error("the node replied {0}")]
    Refused(StatusCode),
    /// Its reply can't be decoded.
    #[error("the node's reply can't be decoded")]
    Unreadable(#[source] reqwest::Error),
}

/// Why a client of operators' interfaces does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Whom to trust can't be told: the file of `tls.authority`, or `ca.pem` of `cluster.certificates` in its place.
    #[error("the authority of the operators' certificates can't be read; name its PEM file as tls.authority")]
    Authority(#[from] CertificateError),
    /// The system gives it no resources.
    #[error("the HTTP client does not start")]
    Http(#[from] reqwest::Error),
}

/// A client of operators' interfaces. It follows no redirects and uses no proxy: the token is for the cluster alone.
#[derive(Clone, Debug)]
pub struct OperatorClient {
    http: reqwest::Client,
    scheme: &'static str,
}

impl OperatorClient {
    /// For nodes whose certificates the authorities of this file have signed; without one, it speaks plain HTTP. A
    /// connection gets `connect` at most, an answer `answer` as a whole.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(authority: Option<&Path>, connect: Duration, answer: Duration) -> Result<Self, ClientError> {
        Ok(Self {
            http: http_client(authority, connect, answer)?,
            scheme: if authority.is_some() { "https" } else { "http" },
        })
    }

    /// For other nodes, as nodes ask each other.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn between_nodes(authority: Option<&Path>) -> Result<Self, ClientError> {
        Self::new(authority, CONNECT_LIMIT, ANSWER_LIMIT)
    }

    /// A request to the interface at `address`; `path` is encoded already.
    pub fn request(&self, method: Method, address: SocketAddr, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}://{address}{path}", self.scheme))
    }
}

/// An HTTP client that trusts the authorities of this file, and speaks plain HTTP alone without one.
///
/// # Errors
/// [`ClientError`].
pub fn http_client(
    authority: Option<&Path>,
    connect: Duration,
    answer: Duration,
) -> Result<reqwest::Client, ClientError> {
    Ok(reqwest::Client::builder()
        .use_preconfigured_tls(certificates::http_client(authority)?)
        .connect_timeout(connect)
        .timeout(answer)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?)
}

/// What the membership of this node says of itself; `None` where it does not answer in time.
pub(super) async fn membership(state: &Shared) -> Option<MembershipDescription> {
    let (sender, receiver) = ractor::concurrency::oneshot();
    if !state.membership.cast(MembershipMessage::Describe(sender.into())) {
        return None;
    }
    tokio::time::timeout(DESCRIBE_LIMIT, receiver).await.ok()?.ok()
}

/// The other nodes: those of the view and those that are heard of, by name.
pub(super) async fn others(state: &Shared) -> Vec<Member> {
    let mut members = state.routing.table().view.members.clone();
    if let Some(description) = membership(state).await {
        for heard in description.alive {
            if !members.iter().any(|member| member.name == heard.name) {
                members.push(heard);
            }
        }
    }
    members.retain(|member| member.name != state.me.name);
    members.sort_by(|one, other| one.name.cmp(&other.name));
    members
}

/// Asks every other node for its own part of an answer.
pub(super) async fn ask_all<T: DeserializeOwned>(
    state: &Shared,
    context: &Context,
    path: &str,
) -> Vec<(Member, Result<T, PeerError>)> {
    let questions = others(state).await.into_iter().map(|member| async move {
        let answer = ask(state, context, &member, Method::GET, path).await;
        (member, answer)
    });
    join_all(questions).await
}

/// Asks one other node for its own part of an answer. `path` is encoded already.
pub(super) async fn ask<T: DeserializeOwned>(
    state: &Shared,
    context: &Context,
    member: &Member,
    method: Method,
    path: &str,
) -> Result<T, PeerError> {
    let reply = state
        .client
        .request(method, member.operator_address, path)
        .bearer_auth(state.token.expose())
        .header(LOCAL, "1")
        .header(REQUEST_ID, &*context.request_id)
        .send()
        .await
        .map_err(PeerError::Unreachable)?;
    if !reply.status().is_success() {
        return Err(PeerError::Refused(reply.status()));
    }
    reply.json().await.map_err(PeerError::Unreadable)
}

/// The node that owns a shard, or will in a moment.
pub(super) fn owner(routing: &Routing, shard: u16) -> Option<String> {
    match routing.owner(shard) {
        Owner::Local | Owner::AcquiringLease => Some(routing.me().to_string()),
        Owner::Remote(name) => Some(name.to_string()),
        Owner::Nobody => None,
    }
}

/// The reply of the node that owns the entity `id`, where the whole cluster is asked and that is another node. `None` where
/// this node must reply: also when the owner does not answer, since the store has the entity too.
///
/// # Errors
/// `unknown` where the owner knows no such entity.
pub(super) async fn ask_owner(
    state: &Shared,
    context: &Context,
    scope: Scope,
    id: &str,
    path: &str,
    unknown: &(dyn Fn() -> Problem + Sync),
) -> Result<Option<Response>, Problem> {
    let Owner::Remote(owner) = state.routing.owner(shard_of(id)) else {
        return Ok(None);
    };
    let table = state.routing.table();
    let Some(member) = table.view.member(&owner).filter(|_| scope == Scope::Cluster) else {
        return Ok(None);
    };
    match ask::<Value>(state, context, member, Method::GET, path).await {
        Ok(answer) => json::reply(StatusCode::OK, &answer).map(Some),
        Err(PeerError::Refused(StatusCode::NOT_FOUND)) => Err(unknown()),
        Err(error) => {
            tracing::warn!(
                node = &*owner,
                error = &error as &dyn std::error::Error,
                "the owner of an entity does not answer; the entity is shown from the store"
            );
            Ok(None)
        }
    }
}
