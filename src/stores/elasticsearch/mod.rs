//! Elasticsearch as the technology of the catalogue: calls to one address, and the errors as [`StoreError`].
//!
//! **Reads by id** (`_mget`) are realtime: they see every acknowledged write, whatever the search index has taken in. Only
//! `Server::search` lags, by a refresh.
//!
//! **Writes** are bulks, with an outcome for each item, and are sent once. Each item is one that may be repeated: it writes the same
//! again, or says which version of its document it is for and conflicts otherwise.
//!
//! There is no client library: the calls are few, and Souk has an HTTP client (decision 19).

mod address;
mod bulk;
mod failure;
mod index;
#[cfg(test)]
mod outage_tests;
mod read;
#[cfg(test)]
pub(in crate::stores) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod throughput_tests;

use std::error::Error;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use souk_cluster::certificates;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

pub(super) use self::bulk::{Operation, Outcome, outcome_of_all};
pub(super) use self::index::Index;
pub(super) use self::read::{Found, Hit, Hits};

use self::address::Address;
use self::failure::{Effect, Failure, failed, unanswered};
use super::StoreError;

/// Calls in flight, each on a connection of its own; others wait.
const CONNECTIONS: usize = 16;
/// Longest wait of a call for its turn, before anything is sent.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a call, from its turn on.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The same of a call that changes an index, which waits for the cluster.
const INDEX_LIMIT: Duration = Duration::from_secs(60);
/// Time limit on the server, within that of the call, so that most calls end in an answer.
const SERVER_LIMIT: &str = "4s";
/// A connection that was idle for this long is closed: before a proxy in between does so.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// Most bytes of an answer.
const ANSWER_LIMIT: usize = 128 * 1024 * 1024;
/// The first version of the server with all that is used here.
const LEAST_VERSION: u32 = 8;

/// A server, or the address of a cluster of them, as one of the stores sees it.
pub(super) struct Server {
    http: Client,
    base: Url,
    prefix: String,
    permits: Semaphore,
    store: &'static str,
}

/// What is sent.
enum Body {
    Nothing,
    Json(serde_json::Value),
    /// Lines of JSON.
    Lines(String),
}

struct Answer {
    status: StatusCode,
    bytes: Vec<u8>,
}

impl Server {
    /// Connects to the server of a URL, and makes the indexes, or brings them to this version, where they are not. Any number of nodes
    /// may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server does not answer, [`StoreError::Refused`] for a URL that can't be used, and for a
    /// server that does not fit or refuses us.
    pub(super) async fn open(store: &'static str, url: &str, indexes: &[&Index]) -> Result<Self, StoreError> {
        let address = Address::parse(url).map_err(|error| refused(store, error))?;
        let server = Self {
            http: client(&address).map_err(|error| StoreError::Refused { store, cause: error })?,
            base: address.base,
            prefix: address.prefix,
            permits: Semaphore::new(CONNECTIONS),
            store,
        };
        server.check_version().await?;
        for index in indexes {
            server.prepare(index).await?;
        }
        Ok(server)
    }

    async fn check_version(&self) -> Result<(), StoreError> {
        #[derive(serde::Deserialize)]
        struct Greeting {
            version: Version,
        }
        #[derive(serde::Deserialize)]
        struct Version {
            number: String,
            /// OpenSearch names itself.
            distribution: Option<String>,
        }
        let answer = self.call(Effect::Read, Method::GET, "", Body::Nothing).await?;
        let Version { number, distribution } = self
            .decode::<Greeting>(&self.checked(Effect::Read, answer)?)?
            .version;
        let major = number.split('.').next().and_then(|major| major.parse().ok());
        if distribution.is_none() && major.is_some_and(|major: u32| major >= LEAST_VERSION) {
            return Ok(());
        }
        let name = distribution.as_deref().unwrap_or("Elasticsearch");
        Err(self.refused(format!(
            "it is {name} {number}, and not Elasticsearch {LEAST_VERSION} or later"
        )))
    }

    /// The name of the store.
    pub(super) fn store(&self) -> &'static str {
        self.store
    }

    /// Under which an index is called: an alias of the index of its current generation.
    fn alias(&self, index: &Index) -> String {
        format!("{}-{}", self.prefix, index.name)
    }

    /// Makes what was written before visible to searches.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(super) async fn refresh(&self, index: &Index) -> Result<(), StoreError> {
        #[derive(serde::Deserialize)]
        struct Refreshed {
            #[serde(rename = "_shards")]
            copies: Copies,
        }
        #[derive(serde::Deserialize)]
        struct Copies {
            failed: u32,
        }
        let path = format!("{}/_refresh", self.alias(index));
        let answer = self
            .call(Effect::Read, Method::POST, &path, Body::Nothing)
            .await?;
        let refreshed: Refreshed = self.decode(&self.checked(Effect::Read, answer)?)?;
        // A search may go to that copy.
        match refreshed.copies.failed {
            0 => Ok(()),
            failed => Err(self.unavailable(format!("{failed} copies of {} were not refreshed", index.name))),
        }
    }

    /// Sends a request, with the time limit of most.
    async fn call(
        &self,
        effect: Effect,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Answer, StoreError> {
        self.call_within(CALL_LIMIT, effect, method, path, body).await
    }

    async fn call_within(
        &self,
        limit: Duration,
        effect: Effect,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Answer, StoreError> {
        let Ok(Ok(_permit)) = timeout(ACQUIRE_LIMIT, self.permits.acquire()).await else {
            return Err(self.unavailable("all connections are in use"));
        };
        let deadline = Instant::now() + limit;
        let request = self.request(method, path, body)?;
        // The connection may be one from before a restart of the server. A read is sent once more, over another.
        let again = request.try_clone().filter(|_| effect == Effect::Read);
        let answer = match (timeout_at(deadline, self.send(request)).await, again) {
            (Ok(Err(Unsent::Broken(_))), Some(again)) => timeout_at(deadline, self.send(again)).await,
            (answer, _) => answer,
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Unsent::Certainly(error))) => Err(self.unavailable(error)),
            Ok(Err(Unsent::Broken(error))) => Err(unanswered(self.store, effect, error)),
            Ok(Err(Unsent::TooLarge)) => Err(self.refused("the answer is too large")),
            Err(elapsed) => Err(unanswered(self.store, effect, elapsed)),
        }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<RequestBuilder, StoreError> {
        let url = self.base.join(path).map_err(|error| self.refused(error))?;
        let request = self.http.request(method, url);
        Ok(match body {
            Body::Nothing => request,
            Body::Json(value) => request.json(&value),
            Body::Lines(lines) => request.header(CONTENT_TYPE, "application/x-ndjson").body(lines),
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Unsent> {
        let mut response = request.send().await.map_err(Unsent::of)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Unsent::of)? {
            if bytes.len() + chunk.len() > ANSWER_LIMIT {
                return Err(Unsent::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer { status, bytes })
    }

    /// The bytes of an answer that is no error.
    fn checked(&self, effect: Effect, answer: Answer) -> Result<Vec<u8>, StoreError> {
        if answer.status.is_success() {
            return Ok(answer.bytes);
        }
        let failure = serde_json::from_slice::<Failure>(&answer.bytes).ok();
        Err(failed(
            self.store,
            effect,
            answer.status,
            failure.map(|failure| failure.error),
        ))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(bytes).map_err(|error| self.corrupt(format!("an answer: {error}")))
    }

    /// [`StoreError::Unavailable`]
    pub(super) fn unavailable(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Unavailable {
            store: self.store,
            cause: cause.into(),
        }
    }

    /// [`StoreError::Refused`]
    pub(super) fn refused(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        refused(self.store, cause)
    }

    /// [`StoreError::Corrupt`]
    pub(super) fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            store: self.store,
            what: what.into(),
        }
    }
}

/// Why there is no answer.
enum Unsent {
    /// No connection was opened.
    Certainly(reqwest::Error),
    /// The connection broke: the request may have arrived.
    Broken(reqwest::Error),
    /// There is more of it than anybody asked for.
    TooLarge,
}

impl Unsent {
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() {
            Self::Certainly(error)
        } else {
            Self::Broken(error)
        }
    }
}

fn refused(store: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Refused {
        store,
        cause: cause.into(),
    }
}

fn client(address: &Address) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let mut headers = HeaderMap::new();
    if let Some((name, password)) = &address.user {
        use base64::Engine as _;
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        let mut header = HeaderValue::try_from(format!("Basic {credentials}"))?;
        header.set_sensitive(true);
        headers.insert(AUTHORIZATION, header);
    }
    let client = Client::builder()
        .default_headers(headers)
        .use_preconfigured_tls(tls(address)?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_LIMIT)
        .pool_max_idle_per_host(CONNECTIONS)
        .pool_idle_timeout(IDLE_LIMIT);
    Ok(client.build()?)
}

/// Trusts the authorities of the URL; the system's where it names none.
fn tls(address: &Address) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    if address.authorities.is_some() || address.base.scheme() == "http" {
        return Ok(certificates::http_client(address.authorities.as_deref())?);
    }
    let mut trusted = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    trusted.add_parsable_certificates(found.certs);
    if trusted.is_empty() {
        let failure = found.errors.into_iter().next();
        return Err(failure.map_or_else(|| "the system has no certificate authorities".into(), Into::into));
    }
    Ok(ClientConfig::builder_with_provider(certificates::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth())
}
