//! A client for the loops that measure: one kept connection with one request under way, cheap beside what it measures.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;

/// Longest time for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for a complete reply. A node answers every request within `limits.total_seconds` (60 s).
const REPLY_LIMIT: Duration = Duration::from_secs(70);

/// An address of plain HTTP: host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
}

impl Endpoint {
    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{url:?} {why}; expected a URL such as http://127.0.0.1:8080");
        if url.starts_with("https://") {
            return Err(wrong("uses TLS, which is not measured here"));
        }
        let authority = url
            .strip_prefix("http://")
            .ok_or_else(|| wrong("does not begin with http://"))?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self {
                authority: authority.to_owned(),
            }),
            _ => Err(wrong("does not name a host and a port alone")),
        }
    }
}

/// A complete reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// How long it says to wait before the next try.
    pub retry_after: Option<Duration>,
    /// The body as it came.
    pub body: Bytes,
}

impl Reply {
    /// Where this is the documented answer to more load than there is capacity for: when to try again.
    pub fn refusal(&self) -> Option<Duration> {
        self.retry_after.filter(|_| matches!(self.status, 429 | 503))
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The status and the beginning of the body, for messages.
    pub fn shown(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let beginning: String = body.chars().take(300).collect();
        format!("{} {beginning}", self.status)
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("no connection to {0}")]
    Connect(Endpoint, #[source] std::io::Error),
    /// No connection in time.
    #[error("no connection to {0} within {limit} s", limit = CONNECT_LIMIT.as_secs())]
    ConnectTimeout(Endpoint),
    /// The connection broke, or its peer does not speak HTTP.
    #[error("the connection to {0} broke")]
    Broken(Endpoint, #[source] hyper::Error),
    /// No complete reply in time.
    #[error("no reply from {0} within {limit} s", limit = REPLY_LIMIT.as_secs())]
    ReplyTimeout(Endpoint),
    /// A path or header with characters that HTTP does not allow.
    #[error("the request can't be made")]
    Request(#[from] hyper::http::Error),
}

/// What is sent: everything but the connection.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Call {
    /// A request without a body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a body of JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string().into())
    }

    /// Adds a body that is JSON already.
    #[must_use]
    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    fn request(self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(HOST, endpoint.authority());
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(self.body))?)
    }
}

/// A connection to one node, made when it is first needed and again after it broke.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client without a connection.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            connection: None,
        }
    }

    /// Sends a request and reads its reply to the end.
    ///
    /// # Errors
    /// [`ClientError`] where there is no complete reply; its status is not judged here.
    pub async fn send(&mut self, call: Call) -> Result<Reply, ClientError> {
        let request = call.request(&self.endpoint)?;
        // Taken out, so that a connection that broke, or was given up within a reply, is not used again.
        let mut connection = self.connected().await?;
        let exchange = async {
            let response = connection.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok((head, body.collect().await?.to_bytes()))
        };
        let (head, body) = timeout(REPLY_LIMIT, exchange)
            .await
            .map_err(|_| ClientError::ReplyTimeout(self.endpoint.clone()))?
            .map_err(|error| ClientError::Broken(self.endpoint.clone(), error))?;
        self.connection = Some(connection);
        Ok(Reply {
            status: head.status.as_u16(),
            retry_after: retry_after(&head.headers),
            body,
        })
    }

    /// Sends a request that must succeed; its body.
    ///
    /// # Errors
    /// [`Failure`] where there is no reply, or one without success.
    pub async fn fetch(&mut self, call: Call) -> Result<Value, Failure> {
        let what = format!("{} {}{}", call.method, self.endpoint, call.path);
        let reply = self
            .send(call)
            .await
            .map_err(|error| Failure::failed(what.clone(), error))?;
        if (200..300).contains(&reply.status) {
            Ok(reply.json())
        } else {
            Err(Failure::Plain(format!("{what}: {}", reply.shown())))
        }
    }

    /// The connection, or a new one where it is closed.
    async fn connected(&mut self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(self.endpoint.authority()))
            .await
            .map_err(|_| ClientError::ConnectTimeout(self.endpoint.clone()))?
            .map_err(|error| ClientError::Connect(self.endpoint.clone(), error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| ClientError::Connect(self.endpoint.clone(), error))?;
        let (connection, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Broken(self.endpoint.clone(), error))?;
        // It ends with the connection, and the sender reports why.
        tokio::spawn(driver);
        Ok(connection)
    }
}

/// How long a reply with these headers says to wait before the next try.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_plain_http() {
        let parse = |url: &str| url.parse::<Endpoint>();
        assert_eq!(
            parse("http://127.0.0.1:8080").unwrap().authority(),
            "127.0.0.1:8080"
        );
        assert_eq!(parse("http://node:1/").unwrap().to_string(), "http://node:1");
        for wrong in [
            "",
            "node:1",
            "https://node:1",
            "http://node",
            "http://:1",
            "http://node:1/shop",
            "http://node:x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("https://node:1").unwrap_err().contains("TLS"));
    }

    #[test]
    fn only_a_refusal_with_retry_after_is_one() {
        let refusal = |status, value: Option<&'static str>| {
            let value = value.map(|value| (RETRY_AFTER, HeaderValue::from_static(value)));
            let reply = Reply {
                status,
                retry_after: retry_after(&value.into_iter().collect()),
                body: Bytes::new(),
            };
            reply.refusal()
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(
            (refusal(503, Some("1")), refusal(429, Some("1"))),
            (second, second)
        );
        for (status, value) in [(503, None), (503, Some("soon")), (500, Some("1"))] {
            assert_eq!(refusal(status, value), None, "{status} {value:?}");
        }
    }
}
