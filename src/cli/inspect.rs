//! `souk inspect`: replies of the operator's interface, as a table or as JSON.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

use super::{Failure, Outcome, output, table};
use crate::config::{Config, Secret};
use crate::operator::peers::http_client;

/// The default address of the operator's interface: the first node of the example configuration.
const DEFAULT_OPERATOR: &str = "http://127.0.0.1:9080";

/// Longest time for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Longest time for a whole reply.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// Arguments of `souk inspect`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Write the reply as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// A node's operator address; default: from --config, else http://127.0.0.1:9080.
    #[arg(long, global = true, value_name = "URL", env = "SOUK_OPERATOR")]
    operator: Option<String>,
    /// The operator token; default: from --config.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "SOUK_OPERATOR_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// The configuration with addresses and token: the first node that answers is used.
    #[arg(long, global = true, value_name = "FILE", env = "SOUK_CONFIG")]
    config: Option<PathBuf>,
    /// The authority of the operators' certificates (PEM); default: from --config.
    #[arg(long, global = true, value_name = "FILE", env = "SOUK_AUTHORITY")]
    authority: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The nodes of the cluster.
    Nodes,
    /// The owner of each shard.
    Shards,
    /// The kinds of actors, with metrics.
    Actors,
    /// One entity, wherever it lives.
    Actor {
        /// Its kind: cart, order, sku.
        kind: String,
        /// Its identifier.
        id: String,
    },
    /// The supervision tree, with restarts.
    Supervision,
    /// Events that wait for delivery.
    Outbox,
    /// Events that could not be delivered, with reasons.
    DeadLetters,
    /// The checkouts and their steps.
    Sagas {
        /// Only checkouts in this state.
        #[arg(long)]
        state: Option<String>,
    },
    /// The stores, with reachability and metrics.
    Stores,
    /// The effective configuration, without its secrets.
    Config,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    // With all options given the configuration is not needed, and an invalid one does no harm.
    let unverified = |operator: &str| operator.starts_with("https:") && arguments.authority.is_none();
    let needed = arguments.token.is_none() || arguments.operator.as_deref().is_none_or(unverified);
    let config = arguments
        .config
        .as_deref()
        .filter(|_| needed)
        .map(Config::load)
        .transpose()?;
    let operators = operators(arguments.operator.as_deref(), config.as_ref())?;
    let authority = if operators.iter().any(|url| url.scheme() == "https") {
        let authority = arguments
            .authority
            .or_else(|| config.as_ref().map(Config::operator_authority));
        Some(authority.ok_or_else(|| {
            Failure::Usage(
                "the authority of an https address is not known: give --authority or --config".into(),
            )
        })?)
    } else {
        None
    };
    let token = arguments
        .token
        .map(Secret::new)
        .or_else(|| config.map(|config| config.operator.token))
        .ok_or_else(|| {
            Failure::Usage("no operator token: give --token, --config or SOUK_OPERATOR_TOKEN".into())
        })?;
    let client = client(authority.as_deref())?;
    let reply = ask_any(&client, &operators, &arguments.what, &token).await?;
    if arguments.json {
        output::json(&reply)?;
    } else {
        output::line(&table::render(&reply))?;
        if reply.get("next_cursor").is_some_and(Value::is_string) {
            eprintln!("there are more; use --json for the cursor");
        }
    }
    Ok(Outcome::Done)
}

fn client(authority: Option<&Path>) -> Result<Client, Failure> {
    http_client(authority, CONNECT_LIMIT, REPLY_LIMIT)
        .map_err(|error| Failure::failed("the HTTP client does not start", error))
}

/// The base URLs to try, in order.
fn operators(given: Option<&str>, config: Option<&Config>) -> Result<Vec<Url>, Failure> {
    if let (None, Some(config)) = (given, config) {
        let scheme = if config.tls.operator.is_some() {
            "https"
        } else {
            "http"
        };
        return config
            .nodes
            .iter()
            .map(|node| base(&format!("{scheme}://{}", dialled(node.operator))))
            .collect();
    }
    Ok(vec![base(given.unwrap_or(DEFAULT_OPERATOR))?])
}

fn base(text: &str) -> Result<Url, Failure> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Failure::Usage(format!(
            "{text:?} is not an operator address; write it as {DEFAULT_OPERATOR}"
        ))),
    }
}

/// The address to dial: that of this machine for a node that listens on every interface.
fn dialled(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
}

/// The URL of a request, below a node's operator address.
fn address(base: &Url, what: &What) -> Result<Url, Failure> {
    let segments: Vec<&str> = match what {
        What::Nodes => vec!["nodes"],
        What::Shards => vec!["shards"],
        What::Actors => vec!["actors"],
        What::Actor { kind, id } => vec!["actors", kind, id],
        What::Supervision => vec!["supervision"],
        What::Outbox => vec!["outbox"],
        What::DeadLetters => vec!["dead-letters"],
        What::Sagas { .. } => vec!["sagas"],
        What::Stores => vec!["stores"],
        What::Config => vec!["config"],
    };
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Failure::Usage(format!("{base} is not an operator address")))?
        .pop_if_empty()
        .push("v1")
        .extend(segments);
    if let What::Sagas { state: Some(state) } = what {
        url.query_pairs_mut().append_pair("state", state);
    }
    Ok(url)
}

/// Asks the nodes one after the other until one replies. The error is that of the last.
async fn ask_any(client: &Client, operators: &[Url], what: &What, token: &Secret) -> Result<Value, Failure> {
    let mut unreachable = None;
    for base in operators {
        let url = address(base, what)?;
        match client.get(url).bearer_auth(token.expose()).send().await {
            Ok(reply) => return read(base, reply).await,
            Err(error) => {
                unreachable = Some(Failure::failed(
                    format!("no reply from the operator's interface at {base}"),
                    error,
                ))
            }
        }
    }
    Err(unreachable.unwrap_or_else(|| Failure::Usage("the configuration has no nodes".into())))
}

async fn read(base: &Url, reply: reqwest::Response) -> Result<Value, Failure> {
    let status = reply.status();
    let body = reply
        .text()
        .await
        .map_err(|error| Failure::failed(format!("the reply of {base} was truncated"), error))?;
    let value = serde_json::from_str::<Value>(&body);
    if status.is_success() {
        return value.map_err(|error| Failure::failed(format!("the reply of {base} is not JSON"), error));
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(Failure::Usage(format!("{base} refused this operator token")));
    }
    Err(Failure::plain(refusal(base, status, value.ok().as_ref())))
}

/// A problem document (RFC 9457) in one line.
fn refusal(base: &Url, status: StatusCode, problem: Option<&Value>) -> String {
    let text = |key| {
        problem
            .and_then(|problem| problem.get(key))
            .and_then(Value::as_str)
    };
    let said = match (text("title"), text("detail")) {
        (Some(title), Some(detail)) => format!(": {title}: {detail}"),
        (Some(one), None) | (None, Some(one)) => format!(": {one}"),
        (None, None) => String::new(),
    };
    format!("{base} replied {status}{said}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn path(what: &What) -> String {
        address(&base("http://host:1/behind/").unwrap(), what)
            .unwrap()
            .to_string()
    }

    #[test]
    fn every_request_has_its_url() {
        assert_eq!(path(&What::DeadLetters), "http://host:1/behind/v1/dead-letters");
        let state = Some("stuck & lost".into());
        assert_eq!(
            path(&What::Sagas { state }),
            "http://host:1/behind/v1/sagas?state=stuck+%26+lost"
        );
        let (kind, id) = ("cart".into(), "crt_1/../../x?y".into());
        assert_eq!(
            path(&What::Actor { kind, id }),
            "http://host:1/behind/v1/actors/cart/crt_1%2F..%2F..%2Fx%3Fy"
        );
    }

    #[test]
    fn the_option_precedes_the_configuration() {
        let config = Config::load(std::path::Path::new("cluster.toml")).unwrap();
        let shown = |urls: Vec<Url>| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown(operators(Some("http://a:1"), Some(&config)).unwrap()),
            ["http://a:1/"]
        );
        assert_eq!(
            shown(operators(None, Some(&config)).unwrap()),
            [
                "http://127.0.0.1:9080/",
                "http://127.0.0.1:9081/",
                "http://127.0.0.1:9082/"
            ]
        );
        assert_eq!(shown(operators(None, None).unwrap()), ["http://127.0.0.1:9080/"]);
        for wrong in ["localhost:9080", "ftp://host", "unix:/run/souk"] {
            assert!(
                matches!(operators(Some(wrong), None), Err(Failure::Usage(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_wildcard_is_dialled_on_loopback() {
        assert_eq!(
            dialled("0.0.0.0:9080".parse().unwrap()).to_string(),
            "127.0.0.1:9080"
        );
        assert_eq!(
            dialled("10.0.0.1:9080".parse().unwrap()).to_string(),
            "10.0.0.1:9080"
        );
    }

    async fn operator() -> Url {
        let router = Router::new()
            .route(
                "/v1/nodes",
                get(async |headers: HeaderMap| {
                    if headers
                        .get("authorization")
                        .is_some_and(|value| value == "Bearer right")
                    {
                        Ok(Json(json!({"items": [{"name": "n1"}]})))
                    } else {
                        Err(StatusCode::UNAUTHORIZED)
                    }
                }),
            )
            .route(
                "/v1/stores",
                get(async || {
                    let problem =
                        json!({"title": "Unavailable", "detail": "the orders store is unavailable"});
                    (StatusCode::SERVICE_UNAVAILABLE, Json(problem))
                }),
            )
            .route("/v1/config", get(async || "no JSON"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = base(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn closed() -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        base(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn the_first_reply_is_used() {
        let operators = [closed().await, operator().await];
        let token = Secret::new("right");
        let reply = ask_any(&client(None).unwrap(), &operators, &What::Nodes, &token)
            .await
            .unwrap();
        assert_eq!(reply, json!({"items": [{"name": "n1"}]}));
    }

    #[tokio::test]
    async fn failures_are_explained() {
        let operators = [operator().await];
        let client = client(None).unwrap();
        let ask = async |what, token| {
            ask_any(&client, &operators, what, &Secret::new(token))
                .await
                .unwrap_err()
        };
        assert!(matches!(ask(&What::Nodes, "wrong").await, Failure::Usage(text) if text.contains("refused")));
        let unavailable = ask(&What::Stores, "right").await.to_string();
        assert!(
            unavailable.ends_with("503 Service Unavailable: Unavailable: the orders store is unavailable"),
            "{unavailable}"
        );
        assert!(
            ask(&What::Config, "right")
                .await
                .to_string()
                .ends_with("is not JSON")
        );
        assert!(
            ask(&What::Shards, "right")
                .await
                .to_string()
                .ends_with("404 Not Found")
        );
        let nobody = [closed().await];
        let error = ask_any(&client, &nobody, &What::Nodes, &Secret::new("right"))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no reply from the operator's interface at http://127.0.0.1:")
        );
        assert_eq!(error.code(), 1);
    }
}
