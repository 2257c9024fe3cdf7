use std::path::Path;

use ractor::Actor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::certificates::{NodeTls, generate, load, load_directory};

fn identity(name: &str) -> NodeIdentity {
    NodeIdentity {
        name: name.to_owned(),
        incarnation: 1,
    }
}

fn certificates(nodes: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), nodes, jiff::Timestamp::now()).unwrap();
    folder
}

fn settings() -> TransportSettings {
    let stream = StreamLimits {
        idle: Duration::from_secs(10),
        write_stall: Duration::from_secs(5),
    };
    TransportSettings::new(Duration::from_secs(30), 64, stream, Duration::from_secs(2))
}

/// `n1`, which admits `n2`.
struct Acceptor {
    address: SocketAddr,
    incoming: mpsc::UnboundedReceiver<Secured>,
    listener: ractor::ActorRef<ListenerMessage>,
}

impl Acceptor {
    async fn start(tls: &NodeTls, settings: TransportSettings) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (sender, incoming) = mpsc::unbounded_channel();
        let admission = Admission::new(identity("n1"));
        admission.replace([identity("n2")]);
        let arguments = ListenerArguments {
            socket: Arc::new(socket),
            tls: Arc::clone(&tls.server),
            admission: Arc::new(admission),
            settings: Arc::new(settings),
            on_connection: Arc::new(move |secured| drop(sender.send(secured))),
        };
        let (listener, _) = Actor::spawn(None, Listener, arguments).await.unwrap();
        Self {
            address,
            incoming,
            listener,
        }
    }

    async fn dial_as_n2(&self, tls: &NodeTls) -> Result<Secured, DialError> {
        dial(
            &identity("n2"),
            &identity("n1"),
            self.address,
            &tls.client,
            &settings(),
        )
        .await
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.listener.kill();
    }
}

#[tokio::test]
async fn two_nodes_of_one_ca_connect() {
    let folder = certificates(&["n1", "n2"]);
    let (n1, n2) = (
        load_directory(folder.path(), "n1").unwrap(),
        load_directory(folder.path(), "n2").unwrap(),
    );
    let mut acceptor = Acceptor::start(&n1, settings()).await;
    let dialled = acceptor.dial_as_n2(&n2).await.unwrap();
    let accepted = acceptor.incoming.recv().await.unwrap();
    assert_eq!((dialled.peer.name.as_str(), dialled.incoming), ("n1", false));
    assert_eq!((accepted.peer.name.as_str(), accepted.incoming), ("n2", true));
    // Each uses the token that the other chose.
    assert_eq!(dialled.outbound_token, accepted.inbound_token);
    assert_eq!(accepted.outbound_token, dialled.inbound_token);
    assert_ne!(dialled.inbound_token, accepted.inbound_token);
    let closed = accepted.closed.clone();
    let (_reader, mut writer) = dialled.into_stream("out".to_owned()).split();
    let (mut reader, _writer) = accepted.into_stream("in".to_owned()).split();
    writer.write_all(b"hello").await.unwrap();
    writer.flush().await.unwrap();
    let mut heard = [0; 5];
    reader.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    drop((writer, _reader));
    assert_eq!(reader.read(&mut heard).await.unwrap_or(0), 0);
    assert!(closed.is_cancelled());
}

#[tokio::test]
async fn another_ca_is_refused_on_both_sides() {
    let folder = certificates(&["n1"]);
    let strangers = certificates(&["n2"]);
    let n1 = load_directory(folder.path(), "n1").unwrap();
    let stranger = load_directory(strangers.path(), "n2").unwrap();
    let mut acceptor = Acceptor::start(&n1, settings()).await;
    assert!(matches!(
        acceptor.dial_as_n2(&stranger).await,
        Err(DialError::Tls(_))
    ));
    // A stranger that trusts the cluster's CA still has no certificate of it.
    let mixed = mixed_tls(folder.path(), strangers.path());
    assert!(acceptor.dial_as_n2(&mixed).await.is_err());
    assert!(acceptor.incoming.try_recv().is_err());
}

/// Trusts the CA of the first folder and shows n2's certificate of the second.
fn mixed_tls(trusted: &Path, shown: &Path) -> NodeTls {
    load(
        &trusted.join("ca.pem"),
        &shown.join("n2.pem"),
        &shown.join("n2.key"),
    )
    .unwrap()
}

#[tokio::test]
async fn without_a_certificate_no_node_connects() {
    let folder = certificates(&["n1"]);
    let n1 = load_directory(folder.path(), "n1").unwrap();
    let mut acceptor = Acceptor::start(&n1, settings()).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.path().join("ca.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut anonymous = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    anonymous.alpn_protocols.clone_from(&n1.client.alpn_protocols);
    let tls = NodeTls {
        server: Arc::clone(&n1.server),
        client: Arc::new(anonymous),
    };
    // In TLS 1.3 the client is done before the server has looked at its certificate; the alert comes with the first read.
    assert!(matches!(
        acceptor.dial_as_n2(&tls).await,
        Err(DialError::Handshake(HandshakeError::Stream(_)))
    ));
    assert!(acceptor.incoming.try_recv().is_err());
}

#[tokio::test]
async fn a_node_cannot_pose_as_another() {
    let folder = certificates(&["n1", "n2", "n3"]);
    let n1 = load_directory(folder.path(), "n1").unwrap();
    let n3 = load_directory(folder.path(), "n3").unwrap();
    let mut acceptor = Acceptor::start(&n1, settings()).await;
    // n3 claims to be n2.
    assert!(acceptor.dial_as_n2(&n3).await.is_err());
    assert!(acceptor.incoming.try_recv().is_err());
    // n1 listens where n3 was expected.
    let own = NodeIdentity {
        name: "n4".to_owned(),
        incarnation: 1,
    };
    let mistaken = dial(&own, &identity("n3"), acceptor.address, &n3.client, &settings()).await;
    assert!(matches!(mistaken, Err(DialError::Tls(_))));
}

#[tokio::test]
async fn unwanted_and_restarted_nodes_are_refused() {
    let folder = certificates(&["n1", "n2", "n3"]);
    let n1 = load_directory(folder.path(), "n1").unwrap();
    let n2 = load_directory(folder.path(), "n2").unwrap();
    let n3 = load_directory(folder.path(), "n3").unwrap();
    let acceptor = Acceptor::start(&n1, settings()).await;
    let unwanted = dial(
        &identity("n3"),
        &identity("n1"),
        acceptor.address,
        &n3.client,
        &settings(),
    )
    .await;
    assert!(matches!(unwanted, Err(DialError::Refused(Refusal::NotWanted))));
    let older = NodeIdentity {
        name: "n1".to_owned(),
        incarnation: 0,
    };
    let stale = dial(&identity("n2"), &older, acceptor.address, &n2.client, &settings()).await;
    assert!(matches!(stale, Err(DialError::Refused(Refusal::OtherNode))));
}

#[tokio::test]
async fn garbage_and_silence_do_not_block_others() {
    let folder = certificates(&["n1", "n2"]);
    let n1 = load_directory(folder.path(), "n1").unwrap();
    let n2 = load_directory(folder.path(), "n2").unwrap();
    let short = TransportSettings {
        // The valid handshake must end within it too.
        handshake_limit: Duration::from_secs(3),
        ..settings()
    };
    let mut acceptor = Acceptor::start(&n1, short).await;
    let mut silent = TcpStream::connect(acceptor.address).await.unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: souk\r\n\r\n"[..],
        &[0; 4096],
        &[0x16, 0x03, 0x01, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(acceptor.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // An alert at most, then the end.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 64, "{answer:?}");
    }
    assert!(acceptor.dial_as_n2(&n2).await.is_ok());
    assert!(acceptor.incoming.recv().await.is_some());
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn too_many_handshakes_or_sessions_are_refused() {
    let folder = certificates(&["n1", "n2"]);
    let n1 = load_directory(folder.path(), "n1").unwrap();
    let n2 = load_directory(folder.path(), "n2").unwrap();
    let narrow = TransportSettings {
        concurrent_handshakes: 1,
        sessions: 1,
        ..settings()
    };
    let mut acceptor = Acceptor::start(&n1, narrow).await;
    let first = acceptor.dial_as_n2(&n2).await.unwrap();
    let accepted = acceptor.incoming.recv().await.unwrap();
    assert!(matches!(
        acceptor.dial_as_n2(&n2).await,
        Err(DialError::Refused(Refusal::Full))
    ));
    drop((first, accepted));
    // The permit is returned with the session. The refused handshake may still hold the permit for handshakes.
    while acceptor.dial_as_n2(&n2).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(acceptor.incoming.recv().await.is_some());

    // A silent connection holds the only permit for handshakes, so the next is closed unread.
    let _holder = TcpStream::connect(acceptor.address).await.unwrap();
    let mut next = TcpStream::connect(acceptor.address).await.unwrap();
    assert_eq!(next.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_refused_connection_is_recognised() {
    let folder = certificates(&["n1", "n2"]);
    let n2 = load_directory(folder.path(), "n2").unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let error = dial(&identity("n2"), &identity("n1"), address, &n2.client, &settings())
        .await
        .unwrap_err();
    assert!(error.is_connection_refused(), "{error}");
    assert!(!DialError::Refused(Refusal::NotWanted).is_connection_refused());
}
