//! Certificates that change, files that break, handshakes that stall.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::edge::server::serve;
use crate::http::edge::settings::ServerSettings;
use souk_cluster::certificates;

/// How soon a test that waits for the files to be looked at has them looked at.
const OFTEN: Duration = Duration::from_millis(20);
/// Longest time that a test waits for something that comes at once.
const LONG: Duration = Duration::from_secs(60);

/// A certificate of an authority of its own.
fn make(folder: &Path) {
    for name in ["ca.pem", "ca.key", "n1.pem", "n1.key"] {
        // Where there is none yet there is nothing to remove.
        let _ = std::fs::remove_file(folder.join(name));
    }
    certificates::generate(folder, &["n1"], jiff::Timestamp::now()).unwrap();
}

fn files(folder: &Path) -> CertificateFiles {
    CertificateFiles {
        certificate: folder.join("n1.pem"),
        key: folder.join("n1.key"),
    }
}

/// A client that trusts whoever signed what lies there now.
fn connector(folder: &Path) -> TlsConnector {
    let mut config = certificates::http_client(Some(&folder.join("ca.pem"))).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), HTTP_1_1.to_vec()];
    TlsConnector::from(Arc::new(config))
}

struct Server {
    address: std::net::SocketAddr,
    certificate: Arc<Certificate>,
    shutdown: CancellationToken,
}

async fn start(folder: &Path, handshakes: usize, limit: Duration) -> Server {
    let certificate = Arc::new(Certificate::load(&files(folder)).unwrap());
    let tls = ServerTls::new(Arc::clone(&certificate), handshakes, limit).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let settings = ServerSettings {
        tls: Some(tls),
        ..ServerSettings::default()
    };
    let router = crate::http::edge::conventions::wrap(
        Router::new().route("/", get(async || "fine")),
        crate::http::edge::settings::HttpSettings::default(),
    );
    tokio::spawn(serve(
        listener,
        router,
        settings,
        shutdown.clone(),
        shutdown.clone(),
    ));
    Server {
        address,
        certificate,
        shutdown,
    }
}

type Connection = tokio_rustls::client::TlsStream<TcpStream>;

impl Server {
    async fn connect(&self, connector: &TlsConnector) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        connector
            .connect(ServerName::try_from("127.0.0.1").unwrap(), stream)
            .await
    }
}

async fn ask(connection: &mut Connection) -> String {
    connection
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"fine") {
        let read = connection.read_buf(&mut reply).await.unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&reply));
    }
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn a_new_certificate_applies_to_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let server = start(folder.path(), 8, LONG).await;
    let first = connector(folder.path());
    let mut old = server.connect(&first).await.unwrap();
    assert_eq!(old.get_ref().1.alpn_protocol(), Some(HTTP_1_1));
    assert!(ask(&mut old).await.starts_with("HTTP/1.1 200"));

    make(folder.path());
    let second = connector(folder.path());
    assert!(server.connect(&second).await.is_err(), "nobody has looked yet");
    let upkeep = tokio::spawn(Arc::clone(&server.certificate).keep_up(OFTEN));
    let mut new = tokio::time::timeout(LONG, async {
        loop {
            match server.connect(&second).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(OFTEN).await,
            }
        }
    })
    .await
    .unwrap();
    assert!(ask(&mut new).await.starts_with("HTTP/1.1 200"));
    assert!(
        ask(&mut old).await.starts_with("HTTP/1.1 200"),
        "the old connection lives on"
    );
    // A client that trusts the old authority alone, and has no session to resume.
    let fresh = TlsConnector::from(Arc::new({
        let mut config = (**first.config()).clone();
        config.resumption = rustls::client::Resumption::disabled();
        config
    }));
    assert!(
        server.connect(&fresh).await.is_err(),
        "the old certificate is gone"
    );
    upkeep.abort();
    server.shutdown.cancel();
}

#[test]
fn broken_files_keep_the_old_certificate() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let certificate = Certificate::load(&files(folder.path())).unwrap();
    let shown = || certificate.current.load().key.cert[0].clone();
    let old = shown();
    assert!(matches!(certificate.look(), Look::Same));

    let good = std::fs::read(folder.path().join("n1.pem")).unwrap();
    let other = tempfile::tempdir().unwrap();
    make(other.path());
    let foreign = std::fs::read(other.path().join("n1.pem")).unwrap();
    for broken in [&b"no certificate"[..], b"", &foreign] {
        std::fs::write(folder.path().join("n1.pem"), broken).unwrap();
        assert!(
            matches!(certificate.look(), Look::Broken(_)),
            "{}",
            String::from_utf8_lossy(broken)
        );
        assert!(matches!(certificate.look(), Look::Same));
        assert_eq!(shown(), old);
    }
    std::fs::remove_file(folder.path().join("n1.pem")).unwrap();
    assert!(matches!(
        certificate.look(),
        Look::Broken(CertificateError::File { .. })
    ));
    assert!(matches!(certificate.look(), Look::Same));
    assert_eq!(shown(), old);

    std::fs::write(folder.path().join("n1.pem"), good).unwrap();
    assert!(matches!(certificate.look(), Look::Replaced));
    // The other half of the other pair makes that pair whole.
    std::fs::write(folder.path().join("n1.pem"), &foreign).unwrap();
    assert!(matches!(certificate.look(), Look::Broken(_)));
    std::fs::copy(other.path().join("n1.key"), folder.path().join("n1.key")).unwrap();
    assert!(matches!(certificate.look(), Look::Replaced));
    assert_ne!(shown(), old);
}

#[test]
fn mismatched_files_prevent_the_start() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(one.path());
    make(other.path());
    let mixed = CertificateFiles {
        key: files(other.path()).key,
        ..files(one.path())
    };
    assert!(matches!(Certificate::load(&mixed), Err(CertificateError::Tls(_))));
}

#[tokio::test]
async fn silent_clients_are_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    // The handshake of the one who does talk must end within it too.
    let limit = Duration::from_secs(3);
    let server = start(folder.path(), 1, limit).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut connection = server.connect(&connector(folder.path())).await.unwrap();
    ask(&mut connection).await;
    for mut stream in silent.into_iter().chain([half]) {
        let mut rest = Vec::new();
        tokio::time::timeout(LONG, stream.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
        assert!(rest.is_empty());
    }
    server.shutdown.cancel();
}

#[tokio::test]
async fn no_more_handshakes_are_under_way_than_may_be() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let certificate = Arc::new(Certificate::load(&files(folder.path())).unwrap());
    let tls = ServerTls::new(certificate, 1, LONG).unwrap();
    let place = tls.handshakes.clone().acquire_owned().await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let (client, server) = tokio::io::duplex(16 * 1024);
    let counted = Arc::clone(&done);
    let accepting = tokio::spawn(async move {
        let accepted = tls.accept(server).await;
        counted.fetch_add(1, Ordering::SeqCst);
        accepted.map(drop)
    });
    let connector = connector(folder.path());
    // Open until both sides are done: the server still writes when the client is.
    let connecting = tokio::spawn(async move {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        connector.connect(name, client).await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(done.load(Ordering::SeqCst), 0, "it waits for the place");
    drop(place);
    accepting.await.unwrap().unwrap();
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn replies_over_tls_ask_for_tls_from_now_on() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let server = start(folder.path(), 8, LONG).await;
    let mut connection = server.connect(&connector(folder.path())).await.unwrap();
    let reply = ask(&mut connection).await;
    assert!(reply.contains("strict-transport-security: max-age="), "{reply}");
    // Who speaks plain HTTP there is not answered, and not in clear.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // The system may tell of the rest that was not read.
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&rest));
    server.shutdown.cancel();
}

#[tokio::test]
async fn a_handshake_during_shutdown_gets_one_reply() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let server = start(folder.path(), 8, LONG).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    // Accepted before the end: a connection made after it has been answered.
    let mut other = server.connect(&connector(folder.path())).await.unwrap();
    ask(&mut other).await;
    server.shutdown.cancel();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut late = connector(folder.path()).connect(name, stream).await.unwrap();
    let reply = ask(&mut late).await.to_lowercase();
    assert!(reply.contains("connection: close"), "{reply}");
}
