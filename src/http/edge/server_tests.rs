//! Connections that wait, stall, come in crowds, and outlive their listener.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::http::edge::client_address::TrustedProxies;
use crate::http::edge::slow_reader::ReadingPace;

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, settings: ServerSettings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(
        listener,
        router,
        settings,
        shutdown.clone(),
        shutdown.clone(),
    ));
    Server {
        address,
        shutdown,
        task,
    }
}

async fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn shutdown_waits_for_requests_in_flight() {
    let (entered, mut started) = mpsc::channel(1);
    let (finish, finished) = oneshot::channel::<()>();
    let finished = Arc::new(tokio::sync::Mutex::new(Some(finished)));
    let router = Router::new().route(
        "/",
        get(move || async move {
            entered.send(()).await.unwrap();
            finished.lock().await.take().unwrap().await.unwrap();
            "late"
        }),
    );
    let server = start(router, ServerSettings::default()).await;
    let stream = send(server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    started.recv().await.unwrap();
    server.shutdown.cancel();
    // The listener is gone when a new connection is refused.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    finish.send(()).unwrap();
    let reply = read_all(stream).await;
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with("late"),
        "{reply}"
    );
    assert!(reply.to_lowercase().contains("connection: close"), "{reply}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_gets_a_reply_during_shutdown() {
    let router = Router::new().route("/", get(async || "here"));
    let settings = ServerSettings {
        grace: LONG,
        linger: LONG,
        ..ServerSettings::default()
    };
    let server = start(router, settings).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = send(server.address, request).await;
    read_reply(&mut stream, b"here").await;
    server.shutdown.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    let reply = read_all(stream).await;
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with("here"),
        "{reply}"
    );
    assert!(reply.to_lowercase().contains("connection: close"), "{reply}");
    tokio::time::timeout(LONG, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_closed_server_refuses_clients_of_a_shared_socket() {
    for for_good in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let held = listener.try_clone().unwrap();
        let (shutdown, ended) = (CancellationToken::new(), CancellationToken::new());
        shutdown.cancel();
        if for_good {
            ended.cancel();
        }
        // Established before the server accepts it, so it gets a reply although the server is shutting down.
        let early = send(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let router = Router::new().route("/", get(async || "fine"));
        serve(
            TcpListener::from_std(listener).unwrap(),
            router,
            ServerSettings::default(),
            shutdown,
            ended,
        )
        .await;
        assert!(read_all(early).await.ends_with("fine"));
        assert_eq!(TcpStream::connect(address).await.is_err(), for_good);
        drop(held);
    }
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_cut_off() {
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(30),
        ..ServerSettings::default()
    };
    let server = start(Router::new(), settings).await;
    let stream = send(server.address, "GET / HTTP/1.1\r\nHost:").await;
    assert_eq!(read_all(stream).await, "");
    server.shutdown.cancel();
    server.task.await.unwrap();
}

/// Reads up to the end of a reply whose body is known.
async fn read_reply(stream: &mut TcpStream, body: &[u8]) {
    let mut reply = Vec::new();
    while !reply.ends_with(body) {
        assert!(stream.read_buf(&mut reply).await.unwrap() > 0, "it was closed");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_head() {
    let header_timeout = Duration::from_millis(200);
    let settings = ServerSettings {
        header_timeout,
        keep_alive: LONG,
        ..ServerSettings::default()
    };
    let server = start(Router::new().route("/", get(async || "fine")), settings).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = send(server.address, request).await;
    read_reply(&mut stream, b"fine").await;
    let mut byte = [0];
    let closed = tokio::time::timeout(3 * header_timeout, stream.peek(&mut byte)).await;
    assert!(closed.is_err(), "{closed:?}");
    stream.write_all(request.as_bytes()).await.unwrap();
    read_reply(&mut stream, b"fine").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let settings = ServerSettings {
        keep_alive: Duration::from_millis(500),
        ..ServerSettings::default()
    };
    let server = start(Router::new().route("/", get(async || "fine")), settings).await;
    let stream = send(server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = tokio::time::timeout(LONG, read_all(stream)).await;
    assert!(reply.expect("it is closed").ends_with("fine"));
}

#[tokio::test]
async fn a_client_that_never_reads_its_reply_is_cut_off() {
    let settings = ServerSettings {
        connections: 1,
        reading: ReadingPace {
            stall: Duration::from_millis(200),
            bytes_per_second: 1024,
        },
        ..ServerSettings::default()
    };
    // More than what the system keeps of it on its way.
    let router = Router::new()
        .route("/", get(async || vec![b'x'; 64 * 1024 * 1024]))
        .route("/small", get(async || "fine"));
    let server = start(router, settings).await;
    let deaf = send(server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let next = send(
        server.address,
        "GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    let reply = tokio::time::timeout(Duration::from_secs(10), read_all(next)).await;
    assert!(reply.expect("its place is free again").ends_with("fine"));
    drop(deaf);
}

#[tokio::test]
async fn a_head_above_the_limits_is_refused() {
    let settings = ServerSettings {
        headers: 4,
        ..ServerSettings::default()
    };
    let head_limit = settings.head_limit;
    let server = start(Router::new(), settings).await;
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5));
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(head_limit));
    for request in [many, long] {
        let reply = read_all(send(server.address, &request).await).await;
        assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
    }
}

#[tokio::test]
async fn a_connection_above_the_cap_waits() {
    let settings = ServerSettings {
        connections: 1,
        ..ServerSettings::default()
    };
    let server = start(Router::new().route("/", get(async || "fine")), settings).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n";
    let mut first = send(server.address, &format!("{request}\r\n")).await;
    let mut buffer = [0; 12];
    first.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 200");

    let second = send(server.address, &format!("{request}Connection: close\r\n\r\n")).await;
    let mut second = tokio::spawn(read_all(second));
    // Not before the first goes: its reply was there long before this time is over.
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut second)
            .await
            .is_err()
    );
    drop(first);
    assert!(second.await.unwrap().ends_with("fine"));
}

/// Opens connections from an address of this machine, each with half a head.
async fn half_heads(from: &str, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = connect_from(from, to).await;
        // One that is closed already takes nothing.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost:").await;
        held.push(stream);
    }
    held
}

async fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[tokio::test]
async fn incomplete_requests_block_nobody() {
    raise_file_limit();
    let settings = ServerSettings {
        connections: 200,
        connections_per_address: 100,
        header_timeout: LONG,
        trusted_proxies: TrustedProxies::new(&[]),
        ..ServerSettings::default()
    };
    let server = start(Router::new().route("/", get(async || "fine")), settings).await;
    let held = half_heads("127.0.0.1", server.address, 1_000).await;
    let mut other = connect_from("127.0.0.2", server.address).await;
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let reply = tokio::time::timeout(LONG, read_all(other)).await;
    assert!(reply.expect("another address is served").ends_with("fine"));
    // What is above the cap was closed: as many are open as may be.
    let mut open = 0;
    for stream in &held {
        let mut byte = [0];
        match tokio::time::timeout(Duration::from_millis(1), stream.peek(&mut byte)).await {
            Err(_) => open += 1,
            Ok(Ok(0) | Err(_)) => {}
            Ok(Ok(_)) => panic!("half a head was answered"),
        }
    }
    assert_eq!(open, 100);
    // Who goes makes room.
    drop(held);
    let once_more = async {
        loop {
            let mut stream = connect_from("127.0.0.1", server.address).await;
            let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let mut reply = String::new();
            if stream.write_all(request.as_bytes()).await.is_ok()
                && stream.read_to_string(&mut reply).await.is_ok()
                && reply.ends_with("fine")
            {
                break;
            }
        }
    };
    tokio::time::timeout(LONG, once_more).await.unwrap();
}

#[tokio::test]
async fn a_trusted_proxy_brings_as_many_as_come() {
    let settings = ServerSettings {
        connections_per_address: 1,
        trusted_proxies: TrustedProxies::new(&["127.0.0.3".parse().unwrap()]),
        ..ServerSettings::default()
    };
    let server = start(Router::new().route("/", get(async || "fine")), settings).await;
    let _held = half_heads("127.0.0.3", server.address, 5).await;
    let mut stream = connect_from("127.0.0.3", server.address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(read_all(stream).await.ends_with("fine"));
}
