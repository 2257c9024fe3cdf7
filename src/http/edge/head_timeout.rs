//! A time limit for the head of a request, from its first byte to its last.
//!
//! hyper has one limit for the pause between two requests and for the head of the next one together. They want different
//! limits: a client that takes its time to send a head shall soon be disconnected, while a kept-alive connection should
//! outlive the time for which clients and proxies keep it in their pools. A request that is sent into a connection just
//! as the server closes it is lost, and its client can't know whether it was executed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Where a connection stands: odd while a request is answered, even while the next one is awaited. The reading side and
/// the service of a connection share it; both run in the connection's task.
#[derive(Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// A head is complete, or its reply is made.
    pub fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn position(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection whose reads fail with [`io::ErrorKind::TimedOut`] once a head takes too long. The first head is timed from
/// the start of the connection.
pub struct HeadTimeout<S> {
    stream: S,
    limit: Duration,
    progress: Progress,
    position: u64,
    deadline: Option<Instant>,
    /// Made when the rest of a head is first waited for: most heads arrive in one piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadTimeout<S> {
    pub fn new(stream: S, limit: Duration, progress: Progress) -> Self {
        Self {
            stream,
            limit,
            position: progress.position(),
            progress,
            deadline: Some(Instant::now() + limit),
            timer: None,
        }
    }

    /// Whether the head that is being received is late; wakes the task when it will be.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimeout<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let position = this.progress.position();
        if this.position != position {
            this.position = position;
            this.deadline = None;
        }
        let filled = buffer.filled().len();
        if Pin::new(&mut this.stream)
            .poll_read(context, buffer)?
            .is_pending()
        {
            ready!(this.poll_late(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let awaits_head = position.is_multiple_of(2);
        if awaits_head && this.deadline.is_none() && buffer.filled().len() > filled {
            this.deadline = Some(Instant::now() + this.limit);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{advance, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const ALMOST: Duration = Duration::from_secs(6);

    fn connection() -> (DuplexStream, HeadTimeout<DuplexStream>, Progress) {
        let (client, server) = duplex(64);
        let progress = Progress::default();
        (
            client,
            HeadTimeout::new(server, LIMIT, progress.clone()),
            progress,
        )
    }

    /// The client sends a byte, and the server reads it.
    async fn pass_byte(client: &mut DuplexStream, server: &mut HeadTimeout<DuplexStream>) -> io::Result<u8> {
        client.write_all(b"x").await?;
        server.read_u8().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_late() {
        let (mut client, mut server, progress) = connection();
        for request in ["the first", "a later one"] {
            let began = Instant::now();
            pass_byte(&mut client, &mut server).await.unwrap();
            advance(ALMOST).await;
            pass_byte(&mut client, &mut server).await.unwrap();
            let late = server.read_u8().await.unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut, "{request}");
            assert_eq!(began.elapsed(), LIMIT, "{request}");
            progress.advance();
            progress.advance();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_body_nor_a_pause_is_a_head() {
        let (mut client, mut server, progress) = connection();
        pass_byte(&mut client, &mut server).await.unwrap();
        progress.advance();
        for _ in 0..3 {
            advance(ALMOST).await;
            pass_byte(&mut client, &mut server).await.unwrap();
        }
        progress.advance();
        let silence = timeout(3 * LIMIT, server.read_u8()).await;
        assert!(silence.is_err(), "an idle connection was closed: {silence:?}");
        pass_byte(&mut client, &mut server).await.unwrap();
    }
}
