//! One node's interface over embedded stores, and a neighbour that says what a test wants it to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use dashmap::DashMap;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::member;
use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::persistence::Persistence;
use crate::actors::region::{Ask, Region};
use crate::config::Secret;
use crate::http::api::health::HealthReport;
use crate::http::edge::admission::Admission;
use crate::http::edge::headers::REQUEST_ID;
use crate::http::edge::overload::Overload;
use crate::http::edge::settings::HttpSettings;
use crate::operator::peers::LOCAL;
use crate::operator::{OperatorState, SupervisionTree, peers, router};
use crate::sagas::checkout::Trace;
use crate::stores::Stores;
use crate::stores::testing::embedded_stores;
use souk_cluster::lease::Moment;
use souk_cluster::ownership::Routing;
use souk_cluster::placement::shard_of;
use souk_cluster::view::View;
use souk_domain::Aggregate;
use souk_domain::fixtures::at;

/// The name that [`Regions::over`] gives its node.
pub(super) const HERE: &str = "here";
pub(super) const TOKEN: &str = "an operator's token";
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);
/// Longest time for a neighbour's answer, on a machine that has other things to do.
const ANSWERED: Duration = Duration::from_secs(60);

pub(super) struct Node {
    pub(super) router: Router,
    pub(super) regions: Regions,
    pub(super) stores: Stores,
    pub(super) routing: Arc<Routing>,
    pub(super) traces: Arc<DashMap<String, Trace>>,
    pub(super) drains: Arc<AtomicUsize>,
    pub(super) recorder: PrometheusRecorder,
    _directory: TempDir,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn items(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["items"].as_array().expect("items").clone()
    }

    /// The name of the problem.
    pub(super) fn problem(&self) -> String {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{}",
            self.text
        );
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        kind.rsplit('/').next().unwrap().to_owned()
    }
}

fn persistence<A: Aggregate>(region: &Region<A>) -> Persistence {
    region.context().entity.persistence.clone()
}

impl Node {
    pub(super) async fn new() -> Self {
        let (stores, directory) = embedded_stores().await;
        let regions = Regions::over(
            Arc::clone(&stores.carts),
            Arc::clone(&stores.orders),
            Arc::clone(&stores.inventory),
        )
        .await;
        let (carts, orders, skus) = (
            persistence(&regions.carts),
            persistence(&regions.orders),
            persistence(&regions.skus),
        );
        let routing = Arc::clone(&regions.orders.context().entity.routing);
        let (traces, drains): (Arc<DashMap<_, _>>, Arc<AtomicUsize>) = Default::default();
        let recorder = PrometheusBuilder::new().build_recorder();
        let counted = Arc::clone(&drains);
        let state = OperatorState {
            me: member(HERE),
            started_at: at(0),
            clock: Arc::new(|| at(100)),
            token: Secret::new(TOKEN),
            config: json!({ "operator": { "token": "[redacted]" } }),
            regions: regions.clone(),
            routing: Arc::clone(&routing),
            persistence: vec![carts, orders, skus],
            stores: stores.clone(),
            traces: Arc::clone(&traces),
            membership: Handle::default(),
            supervision: Arc::new(|| SupervisionTree {
                children: vec![SupervisionTree {
                    restarts: 2,
                    ..SupervisionTree::running("orders", "region")
                }],
                ..SupervisionTree::running(HERE, "node")
            }),
            health: Arc::new(|| HealthReport::of(BTreeMap::new())),
            admission: Arc::new(Admission::new(8, Overload::never())),
            metrics: recorder.handle(),
            drain: Arc::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
            client: peers::OperatorClient::new(None, ANSWERED, ANSWERED).unwrap(),
            settings: HttpSettings {
                request_timeout: LONG,
                ..HttpSettings::default()
            },
        };
        Self {
            router: router(state),
            regions,
            stores,
            routing,
            traces,
            drains,
            recorder,
            _directory: directory,
        }
    }

    /// Lets a node of this name join that answers at `address`.
    pub(super) fn join(&self, name: &str, address: SocketAddr) {
        let mut newcomer = member(name);
        newcomer.operator_address = address;
        let mut members = vec![member(HERE), newcomer];
        members.sort_by(|one, other| one.name.cmp(&other.name));
        self.routing
            .install(View { number: 2, members }, Instant::now(), Duration::ZERO);
        self.routing.renew_lease(Moment::now(), LONG);
    }

    /// An identifier, made by `name` of a number, that belongs to this node or to another.
    pub(super) fn id(&self, here: bool, name: impl Fn(usize) -> String) -> String {
        let here_owns = |id: &String| self.routing.owned().contains(&shard_of(id));
        (1..).map(name).find(|id| here_owns(id) == here).unwrap()
    }

    pub(super) async fn ask<A: Aggregate>(&self, region: &Region<A>, id: &str, command: A::Command) {
        let ask = Ask::new(command, Instant::now() + LONG, Arc::from("test"));
        region.ask(id, ask).await.unwrap();
    }

    pub(super) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[("authorization", &bearer())]).await
    }

    pub(super) async fn get_local(&self, path: &str) -> Reply {
        self.send("GET", path, &[("authorization", &bearer()), (LOCAL, "1")])
            .await
    }

    pub(super) async fn post(&self, path: &str) -> Reply {
        self.send(
            "POST",
            path,
            &[("authorization", &bearer()), ("x-request-id", "r-7")],
        )
        .await
    }
}

pub(super) fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

/// Where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A neighbour that gives these answers by method and path, to who shows the token and asks for it alone.
pub(super) async fn neighbour(answers: &[(&'static str, StatusCode, Value)]) -> SocketAddr {
    let answers = Arc::new(answers.to_vec());
    let answer = move |request: Request| {
        let answers = Arc::clone(&answers);
        async move { told(&request, &answers) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

fn told(request: &Request, answers: &[(&'static str, StatusCode, Value)]) -> Response {
    let headers = request.headers();
    let is_asked_rightly = headers
        .get("authorization")
        .is_some_and(|value| *value == *bearer())
        && headers.get(LOCAL).is_some_and(|value| value == "1")
        && headers.contains_key(REQUEST_ID);
    let question = format!("{} {}", request.method(), request.uri());
    match answers.iter().find(|(known, ..)| *known == question) {
        _ if !is_asked_rightly => StatusCode::IM_A_TEAPOT.into_response(),
        Some((_, status, answer)) => (*status, Json(answer.clone())).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// All kinds, as they are listed.
pub(super) fn kinds() -> Vec<&'static str> {
    vec!["cart", "order", "sku"]
}
