//! A least rate at which a client reads its replies: one that reads a byte now and then would hold them in memory for as long as
//! it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a client has to keep up with.
#[derive(Clone, Copy, Debug)]
pub struct ReadingPace {
    /// How long it may read nothing.
    pub stall: Duration,
    /// The least bytes a second that it reads, beyond such a stall.
    pub bytes_per_second: u32,
}

/// A connection whose writes fail with [`io::ErrorKind::TimedOut`] once its client reads too slowly. Each byte read earns its
/// time at the least rate, and no more than a stall can be earned (a token bucket). Nothing is timed while the client has all that was written.
pub struct SlowReader<S> {
    stream: S,
    pace: ReadingPace,
    deadline: Option<Instant>,
    /// Made when a write is first waited for: most replies fit into the system's buffer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> SlowReader<S> {
    pub fn new(stream: S, pace: ReadingPace) -> Self {
        Self {
            stream,
            pace,
            deadline: None,
            timer: None,
        }
    }

    fn earned(&mut self, bytes: usize) {
        if let Some(deadline) = &mut self.deadline {
            let seconds = bytes as f64 / f64::from(self.pace.bytes_per_second);
            let latest = Instant::now() + self.pace.stall;
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(self.pace.stall);
            *deadline = (*deadline + time).min(latest);
        }
    }

    /// The time-out of a write that has to wait; wakes the task when it is reached.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let stall = self.pace.stall;
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + stall);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.poll_late(context).map(Err),
            Poll::Ready(result) => {
                self.earned(*result.as_ref().unwrap_or(&0));
                Poll::Ready(result)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SlowReader<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_flush(context) {
            self.deadline = None;
            return Poll::Ready(result);
        }
        self.poll_late(context).map(Err)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_shutdown(context) {
            return Poll::Ready(result);
        }
        self.poll_late(context).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SlowReader<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    const PACE: ReadingPace = ReadingPace {
        stall: Duration::from_secs(30),
        bytes_per_second: 100,
    };
    static REPLY: [u8; 20_000] = [0; 20_000];

    /// A client that reads so many bytes a second, until the connection ends.
    async fn read(mut client: DuplexStream, bytes: usize) {
        let mut piece = vec![0; bytes];
        while client.read_exact(&mut piece).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// How long the reply takes, and how it ends.
    async fn sent(client: impl Future<Output = ()>, server: DuplexStream) -> (Duration, io::Result<()>) {
        let began = Instant::now();
        let mut server = SlowReader::new(server, PACE);
        let send = async move {
            let result = server.write_all(&REPLY).await;
            (began.elapsed(), result)
        };
        tokio::join!(send, client).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_trickles_is_disconnected() {
        let (client, server) = duplex(64);
        let (took, result) = sent(read(client, 50), server).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // A stall of 30 s, of which a second at half the rate uses half a second.
        assert!((58..=62).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_up_reads_all() {
        let (client, server) = duplex(64);
        let (took, result) = sent(read(client, 125), server).await;
        assert!(result.is_ok(), "{result:?} after {took:?}");
        assert!(
            took > 2 * PACE.stall,
            "it has to take longer than a stall: {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_fast_earns_no_more_than_a_stall() {
        let (mut client, server) = duplex(64);
        let fast_then_nothing = async {
            client.read_exact(&mut [0; 10_000]).await.unwrap();
            sleep(10 * PACE.stall).await;
        };
        let (took, result) = sent(fast_then_nothing, server).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), PACE.stall.as_secs());
    }
}
