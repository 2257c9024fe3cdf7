//! Indexes and servers for tests.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use souk_cluster::certificates;
use tokio::process::Command;

use super::address::Address;
use crate::stores::products::elasticsearch::ElasticProducts;
use crate::stores::testing::own_server::OwnServer;
use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::{at_port, is_plain, is_required, remove_database, server_url, url_of};

/// Indexes with a prefix of their own on the server of `SOUK_TEST_ELASTICSEARCH_URL`; removed with this value.
pub(in crate::stores) struct TestIndexes {
    server: String,
    prefix: String,
    http: Http,
}

/// A client of the server beside the store's.
#[derive(Clone)]
struct Http {
    client: reqwest::Client,
    /// With user and password.
    server: String,
}

impl TestIndexes {
    /// New ones, none of which is there yet; nothing where there is no server.
    pub(in crate::stores) fn create() -> Option<Self> {
        let server = server_url("ELASTICSEARCH")?;
        Some(Self {
            http: Http::of(&server),
            server,
            prefix: format!("souk-test-{}", uuid::Uuid::new_v4().simple()),
        })
    }

    /// Their address.
    pub(in crate::stores) fn url(&self) -> String {
        url_of(&self.server, &self.prefix)
    }

    /// What their names begin with.
    pub(in crate::stores) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A way to the server on which messages get lost by what is in them, and the address of the indexes over it; nothing with TLS.
    pub(in crate::stores) async fn proxied(&self) -> Option<(Proxy, String)> {
        if !is_plain(&self.server) {
            return None;
        }
        let url = reqwest::Url::parse(&self.server).unwrap();
        let proxy = Proxy::start(url.host_str().unwrap(), url.port().unwrap_or(9_200)).await;
        let url = at_port(&self.url(), proxy.port());
        Some((proxy, url))
    }

    /// Products in them.
    pub(in crate::stores) async fn products(&self) -> ElasticProducts {
        ElasticProducts::open(&self.url()).await.unwrap()
    }

    /// Asks the server something else than a store would; `path` follows the prefix.
    pub(in crate::stores) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: serde_json::Value,
    ) -> serde_json::Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, path, "application/json", body).await
    }

    /// The same with lines of JSON.
    pub(in crate::stores) async fn ask_lines(&self, path: &str, lines: String) -> serde_json::Value {
        self.send(reqwest::Method::POST, path, "application/x-ndjson", lines)
            .await
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> serde_json::Value {
        let url = format!("{}/{}-{path}", self.http.server, self.prefix);
        let mut request = self.http.client.request(method, url);
        if !body.is_empty() {
            request = request
                .header(reqwest::header::CONTENT_TYPE, content_type)
                .body(body);
        }
        let answer = request.send().await.unwrap();
        answer.json().await.unwrap()
    }
}

impl Http {
    /// For the server of a URL.
    fn of(url: &str) -> Self {
        let address = Address::parse(url).unwrap();
        let tls = certificates::http_client(address.authorities.as_deref()).unwrap();
        let client = reqwest::Client::builder().no_proxy().use_preconfigured_tls(tls);
        let server = url.split('?').next().unwrap_or(url).trim_end_matches('/');
        let server = server.replacen("elasticsearch+", "", 1);
        Self {
            client: client.build().unwrap(),
            server: server.replacen("elasticsearch", "http", 1),
        }
    }
}

impl Drop for TestIndexes {
    fn drop(&mut self) {
        let http = self.http.clone();
        let prefix = self.prefix.clone();
        let removal = async move {
            // By name: a server may refuse patterns.
            for index in ["products", "skus", "badges", "catalogue"] {
                let url = format!("{}/{prefix}-{index}-1?ignore_unavailable=true", http.server);
                let answer = http.client.delete(url).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
            }
        };
        remove_database(&self.prefix, removal);
    }
}

/// What `scripts/stores` has installed in `SOUK_STORES_DIR`.
fn distribution() -> Option<PathBuf> {
    let folder = std::env::var_os("SOUK_STORES_DIR")?;
    let folder = Path::new(&folder).join("elasticsearch/distribution");
    folder.canonicalize().ok()
}

/// A server of the test's own, by the distribution that `scripts/stores` has installed; nothing without one.
pub(in crate::stores) async fn own_server() -> Option<OwnServer> {
    if distribution().is_none() {
        assert!(
            !is_required("ELASTICSEARCH"),
            "SOUK_STORES_DIR has no Elasticsearch"
        );
        println!("skipped: Elasticsearch is not installed in SOUK_STORES_DIR");
        return None;
    }
    OwnServer::start(|port, folder| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/elasticsearch/server");
        let mut server = Command::new(script);
        server
            .arg(distribution().unwrap_or_default())
            .arg(folder)
            .arg(port.to_string())
            .current_dir(folder)
            .stderr(Stdio::null());
        server
    })
    .await
}

/// Its address.
pub(in crate::stores) fn url(server: &OwnServer) -> String {
    format!("elasticsearch://127.0.0.1:{}/shop", server.port())
}
