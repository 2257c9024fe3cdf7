//! Servers that speak TLS are reached by the authority of their URL alone.

use super::StoreError;

/// Opens a server by its URL, by the URL without the authority (the parameter of this name), and by a name of this machine that is
/// not in the server's certificate. Skipped where the server of the tests has no TLS.
async fn assert_verified<T>(url: &str, parameter: &str, open: impl AsyncFn(&str) -> Result<T, StoreError>) {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let parameters: Vec<_> = parameters.split('&').collect();
    let authority = format!("{parameter}=");
    if !parameters.iter().any(|one| one.starts_with(&authority)) {
        println!("skipped: the server has no TLS");
        return;
    }
    if let Err(error) = open(url).await {
        panic!("{}", souk_error_chain::Chain(&error));
    }
    let others: Vec<_> = parameters
        .into_iter()
        .filter(|one| !one.starts_with(&authority))
        .collect();
    let unknown = format!("{server}?{}", others.join("&"));
    let elsewhere = url.replacen("127.0.0.1", "localhost", 1);
    let attempts = futures::join!(open(&unknown), open(&elsewhere));
    for (what, opened) in [("an unknown authority", attempts.0), ("another name", attempts.1)] {
        let Err(error) = opened else {
            panic!("{what} is accepted");
        };
        let error = souk_error_chain::Chain(&error).to_string();
        println!("{what}: {error}");
        assert!(error.contains("certificate"), "{what}: {error}");
    }
}

#[cfg(feature = "elasticsearch")]
#[tokio::test]
async fn elasticsearch_is_verified() {
    let Some(indexes) = super::elasticsearch::testing::TestIndexes::create() else {
        return;
    };
    let open = super::products::elasticsearch::ElasticProducts::open;
    assert_verified(&indexes.url(), "ca", open).await;
}

#[cfg(feature = "mongodb")]
#[tokio::test]
async fn mongodb_is_verified() {
    let Some(database) = super::mongodb::testing::TestDatabase::create() else {
        return;
    };
    let open = async |url: &str| super::documents::mongodb::MongoDocuments::open(url, "carts").await;
    assert_verified(&database.url(), "tlsCAFile", open).await;
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn mysql_is_verified() {
    let Some(database) = super::mysql::testing::TestDatabase::create().await else {
        return;
    };
    let open = async |url: &str| super::mysql::MysqlPool::open("payments", url, &[]).await;
    assert_verified(database.url(), "ssl-ca", open).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_is_verified() {
    let Some(database) = super::postgres::testing::TestDatabase::create().await else {
        return;
    };
    let open = async |url: &str| super::postgres::PostgresPool::open("orders", url, &[]).await;
    assert_verified(database.url(), "sslrootcert", open).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_is_verified() {
    let Some(url) = super::testing::server_url("REDIS") else {
        return;
    };
    assert_verified(&url, "ca", super::redis::Server::open).await;
}
