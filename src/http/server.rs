//! The listener: connections within their limits, and an end that loses no request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::settings::ServerSettings;

/// Pause after the system refused a connection for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// hyper's least read buffer, in bytes; it panics below.
const LEAST_HEAD: usize = 8192;

/// Serves `router` (HTTP/1.1, kept alive) until `shutdown`; then accepts no more, lets the requests in flight finish
/// within the grace, with `Connection: close`, and returns.
///
/// Whoever restarts a server keeps a handle of its socket, so that dropping the listener alone would leave the system
/// completing connections that nobody answers. Where `for_good` is cancelled by then, the socket itself stops listening:
/// clients are refused at once, and turn to another node.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    shutdown: CancellationToken,
    for_good: CancellationToken,
) {
    let builder = builder(&settings);
    let places = Arc::new(Semaphore::new(
        settings.connections.clamp(1, Semaphore::MAX_PERMITS),
    ));
    let connections = GracefulShutdown::new();
    let service = |peer: SocketAddr| {
        let router = router.clone();
        service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.clone().oneshot(request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        })
    };
    loop {
        let next = shutdown.run_until_cancelled(accept(&listener, &places));
        let Some((stream, peer, permit)) = next.await else {
            break;
        };
        let connection = connections.watch(builder.serve_connection(TokioIo::new(stream), service(peer)));
        tokio::spawn(async move {
            ended(connection.await);
            drop(permit);
        });
    }
    // They stand already as far as their clients know, and get one answer each. A watched connection would be closed
    // before anything was read of it. They are few: the cap does not matter any more.
    let last = TaskTracker::new();
    match waiting_connections(listener, &for_good) {
        Ok(waiting) => {
            let mut builder = builder;
            builder.keep_alive(false);
            for (stream, peer) in waiting {
                let connection = builder.serve_connection(TokioIo::new(stream), service(peer));
                last.spawn(async move { ended(connection.await) });
            }
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the listener could not be closed in order"
        ),
    }
    last.close();
    let left = connections.count() + last.len();
    let finished = async { tokio::join!(connections.shutdown(), last.wait()) };
    if tokio::time::timeout(settings.grace, finished).await.is_err() {
        tracing::warn!(left, "connections were cut when the grace was over");
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        // A client that hung up, was too slow or sent no HTTP; its own affair.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

/// The connections that the system has completed and nobody has accepted yet. With `for_good` there are none after them.
fn waiting_connections(
    listener: TcpListener,
    for_good: &CancellationToken,
) -> io::Result<Vec<(TcpStream, SocketAddr)>> {
    let listener = listener.into_std()?;
    let mut waiting = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                waiting.push((TcpStream::from_std(stream)?, peer));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if for_good.is_cancelled() {
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both)?;
    }
    Ok(waiting)
}

fn builder(settings: &ServerSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(settings.headers)
        .max_header_size(settings.head_limit)
        .max_buf_size(settings.head_limit.max(LEAST_HEAD))
        .keep_alive(true);
    builder
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore; were it closed, connections would go uncounted rather than unserved.
    let permit = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small replies shall not wait for an acknowledgement; without it they are late, not wrong.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
                }
                return (stream, peer, permit);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no connection can be accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the connection failed rather than the listener.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::JoinHandle;

    use super::*;

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
    async fn a_request_in_flight_is_answered_when_the_listener_shuts_down() {
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
    async fn a_socket_that_others_hold_refuses_clients_once_its_server_has_ended_for_good() {
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
            // It stands before the server looks, and is answered even though the server is told to end.
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

    #[tokio::test]
    async fn a_head_above_the_limits_is_refused() {
        let settings = ServerSettings {
            headers: 4,
            ..ServerSettings::default()
        };
        let server = start(Router::new(), settings).await;
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5));
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(settings.head_limit));
        for request in [many, long] {
            let reply = read_all(send(server.address, &request).await).await;
            assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
        }
    }

    #[tokio::test]
    async fn a_connection_above_the_cap_is_served_when_another_goes() {
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
}
