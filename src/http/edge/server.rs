//! The listener: limits on connections, and a shutdown that loses no request.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::http::edge::connections::{ConnectionPermit, Connections};
use crate::http::edge::head_timeout::{HeadTimeout, Progress};
use crate::http::edge::security::Encrypted;
use crate::http::edge::settings::ServerSettings;
use crate::http::edge::slow_reader::SlowReader;
use crate::http::edge::unread;

/// Pause after the system refused a connection for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most that the system keeps of a reply beyond what is on its way to the client, in bytes. By default it takes megabytes of what
/// nobody reads, which no budget counts.
const UNSENT: u32 = 128 * 1024;
/// The smallest read buffer of hyper, in bytes; it panics below.
const LEAST_HEAD: usize = 8192;

/// Serves `router` (HTTP/1.1, keep-alive) until `shutdown`; then accepts no more connections, lets the requests in
/// flight finish within the grace period, with `Connection: close`, and returns. With `settings.tls` everything is TLS.
///
/// A restarted server shares the socket with its predecessor, so that dropping the listener alone would leave the
/// system completing connections that nobody answers. Where `for_good` is cancelled by then, the socket itself stops
/// listening: clients are refused at once and turn to another node.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    shutdown: CancellationToken,
    for_good: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(
        settings.connections.clamp(1, Semaphore::MAX_PERMITS),
    ));
    let per_address = Connections::new(settings.connections_per_address, settings.trusted_proxies.clone());
    let (grace, linger) = (settings.grace, settings.linger.min(settings.grace));
    let server = Arc::new(Server {
        builder: builder(&settings),
        settings,
        router,
        shutdown: shutdown.clone(),
    });
    let watched = GracefulShutdown::new();
    let tasks = TaskTracker::new();
    loop {
        let next = shutdown.run_until_cancelled(accept(&listener, &permits));
        let Some((stream, peer, permit)) = next.await else {
            break;
        };
        let Some(of_address) = per_address.enter(peer.ip()) else {
            // Closed at once, so that one address takes no more of the listener's memory and connections.
            continue;
        };
        let (server, watcher) = (Arc::clone(&server), watched.watcher());
        let held = (permit, Some(of_address));
        tasks.spawn(async move { server.converse(stream, peer, watcher, held).await });
    }
    // Clients consider these connections established; each gets one reply. They are few: the limits don't matter any
    // more.
    match waiting_connections(listener, &for_good) {
        Ok(waiting) => {
            for (stream, peer) in waiting {
                let (server, watcher) = (Arc::clone(&server), watched.watcher());
                tasks.spawn(async move { server.converse(stream, peer, watcher, Held::default()).await });
            }
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn Error,
                "the listener could not be closed in order"
            );
        }
    }
    tasks.close();
    // A kept connection that is used now gets `Connection: close`. Only unused ones are closed without a reply: a
    // request that crosses the end of its connection is lost, and the client can't know whether it was executed.
    if tokio::time::timeout(linger, tasks.wait()).await.is_ok() {
        return;
    }
    let left = tasks.len();
    let finished = async { tokio::join!(watched.shutdown(), tasks.wait()) };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::warn!(left, "connections were cut when the grace was over");
    }
}

/// What an open connection holds: its place among all connections, and among those of its address.
type Held = (Option<OwnedSemaphorePermit>, Option<ConnectionPermit>);

/// What all connections of a listener share.
struct Server {
    builder: http1::Builder,
    settings: ServerSettings,
    router: Router,
    /// Once cancelled, a new connection gets one reply.
    shutdown: CancellationToken,
}

impl Server {
    /// Serves one connection, from its handshake to its end.
    async fn converse(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher, _held: Held) {
        let Some(tls) = &self.settings.tls else {
            return self.answer(stream, peer, false, watcher).await;
        };
        match tls.accept(stream).await {
            Ok(stream) => self.answer(stream, peer, true, watcher).await,
            Err(error) => {
                metrics::counter!("souk_http_handshakes_failed_total").increment(1);
                tracing::debug!(error = &error as &dyn Error, "no TLS with a client");
            }
        }
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        encrypted: bool,
        watcher: Watcher,
    ) {
        let progress = Progress::default();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            progress.advance();
            let (parts, body) = request.into_parts();
            let (body, rest) = unread::track(&parts.headers, body);
            let mut request = hyper::Request::from_parts(parts, body);
            request.extensions_mut().insert(ConnectInfo(peer));
            if encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            let answer = self.router.clone().oneshot(request);
            let progress = progress.clone();
            async move {
                let mut response = answer.await.unwrap_or_else(|never| match never {});
                if !rest.discard().await || self.shutdown.is_cancelled() {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                progress.advance();
                Ok::<_, Infallible>(response)
            }
        });
        // A connection whose client reads nothing, or hardly anything, is not held for ever.
        let stream = SlowReader::new(stream, self.settings.reading);
        let stream = HeadTimeout::new(stream, self.settings.header_timeout, progress.clone());
        let stream = TokioIo::new(stream);
        if self.shutdown.is_cancelled() {
            // A watched connection would be closed before anything is read from it.
            drop(watcher);
            let mut builder = self.builder.clone();
            builder.keep_alive(false);
            ended(builder.serve_connection(stream, service).await);
        } else {
            let connection = self.builder.serve_connection(stream, service);
            ended(watcher.watch(connection).await);
        }
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
            metrics::counter!("souk_http_stalled_total").increment(1);
        }
        // The client hung up, was too slow or sent no HTTP.
        tracing::debug!(error = &error as &dyn Error, "a connection failed");
    }
}

/// The connections that the system has completed and nobody has accepted yet. With `for_good` there are no further
/// ones.
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
        // The pause before a head and the head itself; a slow head ends sooner, by `HeadTimeout`.
        .header_read_timeout(settings.keep_alive)
        .max_headers(settings.headers)
        .max_header_size(settings.head_limit)
        .max_buf_size(settings.head_limit.max(LEAST_HEAD))
        .keep_alive(true);
    builder
}

/// The next connection, once the limit allows it.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; if it were, connections would be uncounted rather than unserved.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small replies don't wait for an acknowledgement; without it they are late, not wrong.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(error = &error as &dyn Error, "no TCP_NODELAY");
                }
                if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
                    tracing::debug!(error = &error as &dyn Error, "no TCP_NOTSENT_LOWAT");
                }
                return (stream, peer, permit);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "no connection can be accepted");
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
#[path = "server_tests.rs"]
mod tests;
