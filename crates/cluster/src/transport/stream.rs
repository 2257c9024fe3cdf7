//! A stream with time limits. ractor notices neither a silent peer nor one that no longer reads, and its queue towards such
//! a peer grows without bound, so here both are errors of the stream, which end the session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::counter;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// Time limits of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Without one byte read for this long, the stream fails.
    pub idle: Duration,
    /// If a write makes no progress for this long, the stream fails.
    pub write_stall: Duration,
}

/// A connected, encrypted stream with time limits.
pub struct GuardedStream<Stream> {
    stream: Stream,
    limits: StreamLimits,
    closed: DropGuard,
    /// Under which ractor reports the session.
    pub(super) label: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl<Stream: AsyncRead + AsyncWrite + Send + 'static> GuardedStream<Stream> {
    /// Guards `stream`. `closed` is cancelled when the stream ends for any reason, and cancelling it closes the stream. The
    /// permit is returned when the stream is dropped.
    pub fn new(
        stream: Stream,
        limits: StreamLimits,
        closed: CancellationToken,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            stream,
            limits,
            closed: closed.drop_guard(),
            label: String::new(),
            permit,
        }
    }

    fn halves(self) -> (impl AsyncRead + Unpin + Send, impl AsyncWrite + Unpin + Send) {
        let (reader, writer) = tokio::io::split(self.stream);
        let closed = self.closed.disarm();
        let reader = GuardedReader {
            inner: reader,
            limit: self.limits.idle,
            last_byte: Instant::now(),
            timer: Box::pin(tokio::time::sleep(self.limits.idle)),
            closed: Closed::new(&closed),
            _permit: self.permit,
        };
        let mut writer = TimeoutWriter::new(writer);
        writer.set_timeout(Some(self.limits.write_stall));
        let writer = GuardedWriter {
            inner: Box::pin(writer),
            closed: Closed::new(&closed),
        };
        (reader, writer)
    }
}

impl<Stream: AsyncRead + AsyncWrite + Send + 'static> ClusterBidiStream for GuardedStream<Stream> {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (reader, writer) = self.halves();
        (Box::new(reader), Box::new(writer))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// The end of the stream as one half sees it: dropping one half ends the other.
struct Closed {
    token: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    _on_drop: DropGuard,
}

impl Closed {
    fn new(token: &CancellationToken) -> Self {
        Self {
            token: token.clone(),
            cancelled: Box::pin(token.clone().cancelled_owned()),
            _on_drop: token.clone().drop_guard(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.cancelled.as_mut().poll(context).map(|()| closed_error())
    }
}

fn closed_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the link was closed")
}

fn timed_out(what: &'static str) -> io::Error {
    counter!("souk_link_timeouts_total", "what" => what).increment(1);
    io::Error::new(io::ErrorKind::TimedOut, what)
}

struct GuardedReader<Inner> {
    inner: Inner,
    limit: Duration,
    last_byte: Instant,
    /// Set once for a whole limit and moved on only when it fires: a reset at every read would cost more than the read.
    timer: Pin<Box<Sleep>>,
    closed: Closed,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<Inner: AsyncRead + Unpin> AsyncRead for GuardedReader<Inner> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closed.token.is_cancelled() {
            return Poll::Ready(Err(closed_error()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    this.last_byte = Instant::now();
                } else if buffer.remaining() > 0 {
                    // The peer has closed. Cancelled here, because ractor reports the end later.
                    this.closed.token.cancel();
                }
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => {
                this.closed.token.cancel();
                return Poll::Ready(Err(error));
            }
            Poll::Pending => {}
        }
        if let Poll::Ready(error) = this.closed.poll(context) {
            return Poll::Ready(Err(error));
        }
        while this.timer.as_mut().poll(context).is_ready() {
            let deadline = this.last_byte + this.limit;
            if deadline <= Instant::now() {
                this.closed.token.cancel();
                return Poll::Ready(Err(timed_out("idle read")));
            }
            this.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

struct GuardedWriter<Inner> {
    inner: Pin<Box<TimeoutWriter<Inner>>>,
    closed: Closed,
}

impl<Inner: AsyncWrite> GuardedWriter<Inner> {
    fn guard<T>(
        &mut self,
        context: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut TimeoutWriter<Inner>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.closed.token.is_cancelled() {
            return Poll::Ready(Err(closed_error()));
        }
        let Poll::Ready(result) = operation(self.inner.as_mut(), context) else {
            return self.closed.poll(context).map(Err);
        };
        Poll::Ready(result.map_err(|error| {
            self.closed.token.cancel();
            match error.kind() {
                io::ErrorKind::TimedOut => timed_out("stalled write"),
                _ => error,
            }
        }))
    }
}

impl<Inner: AsyncWrite> AsyncWrite for GuardedWriter<Inner> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut()
            .guard(context, |inner, context| inner.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .guard(context, |inner, context| inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .guard(context, |inner, context| inner.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    const SHORT: Duration = Duration::from_millis(80);
    const LONG: Duration = Duration::from_secs(60);

    fn limits(idle: Duration, write_stall: Duration) -> StreamLimits {
        StreamLimits { idle, write_stall }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_ends_the_stream() {
        let (near, _far) = tokio::io::duplex(64);
        let closed = CancellationToken::new();
        let (mut reader, _writer) =
            GuardedStream::new(near, limits(SHORT, LONG), closed.clone(), None).halves();
        let begun = Instant::now();
        let error = reader.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SHORT);
        assert!(closed.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_in_time_is_not_silent() {
        let (near, mut far) = tokio::io::duplex(64);
        let closed = CancellationToken::new();
        let idle = SHORT * 5;
        let (mut reader, _writer) =
            GuardedStream::new(near, limits(idle, LONG), closed.clone(), None).halves();
        let speaker = tokio::spawn(async move {
            let mut pace = tokio::time::interval(SHORT);
            for byte in 0..10u8 {
                pace.tick().await;
                far.write_u8(byte).await.unwrap();
            }
            far
        });
        // Ten bytes take longer than the limit, but no pause does.
        for byte in 0..10u8 {
            assert_eq!(reader.read_u8().await.unwrap(), byte);
        }
        let _far = speaker.await.unwrap();
        assert!(!closed.is_cancelled());
        assert_eq!(
            reader.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_stream() {
        let (near, _far) = tokio::io::duplex(64);
        let closed = CancellationToken::new();
        let (_reader, mut writer) =
            GuardedStream::new(near, limits(LONG, SHORT), closed.clone(), None).halves();
        let error = writer.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(closed.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_stalled() {
        let (near, mut far) = tokio::io::duplex(16);
        let stall = SHORT * 5;
        let (_reader, mut writer) =
            GuardedStream::new(near, limits(LONG, stall), CancellationToken::new(), None).halves();
        let slow = tokio::spawn(async move {
            let mut pace = tokio::time::interval(SHORT);
            let mut piece = [0; 16];
            for _ in 0..10 {
                pace.tick().await;
                far.read_exact(&mut piece).await.unwrap();
            }
            far
        });
        writer.write_all(&[0; 160]).await.unwrap();
        let _far = slow.await.unwrap();
    }

    #[tokio::test]
    async fn closing_ends_both_halves_and_returns_the_permit() {
        let (near, mut far) = tokio::io::duplex(64);
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let closed = CancellationToken::new();
        let stream = GuardedStream::new(near, limits(LONG, LONG), closed.clone(), Some(permit));
        let (mut reader, mut writer) = Box::new(stream).split();
        closed.cancel();
        assert_eq!(
            reader.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
        assert_eq!(
            writer.write_all(b"x").await.unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
        assert_eq!(permits.available_permits(), 0);
        drop((reader, writer));
        assert_eq!(permits.available_permits(), 1);
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn every_kind_of_end_is_signalled() {
        let (near, far) = tokio::io::duplex(64);
        let closed = CancellationToken::new();
        let (mut reader, _writer) =
            GuardedStream::new(near, limits(LONG, LONG), closed.clone(), None).halves();
        drop(far);
        assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 0);
        closed.cancelled().await;

        let (near, _far) = tokio::io::duplex(64);
        let closed = CancellationToken::new();
        let (reader, writer) = GuardedStream::new(near, limits(LONG, LONG), closed.clone(), None).halves();
        drop(writer);
        closed.cancelled().await;
        drop(reader);

        // Also for a stream that was never split.
        let (near, _far) = tokio::io::duplex(64);
        let closed = CancellationToken::new();
        drop(GuardedStream::new(near, limits(LONG, LONG), closed.clone(), None));
        closed.cancelled().await;
    }
}
