//! The protocol of the store process: frames behind a length of four bytes, each a value in the one wire format.

use std::io;
use std::pin::pin;

use futures::{SinkExt, Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use souk_wire::DECODE_LIMIT;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::error::{Error, ErrorKind};
use crate::limits::WRITE_BYTES;
use crate::statement::{Rows, Transaction};

/// The version; client and server must have the same.
pub(crate) const VERSION: u32 = 3;

/// The outcome of a request.
pub(crate) type Outcome = Result<Vec<Rows>, Error>;

/// A request of a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Repeated in the response.
    pub id: u64,
    pub command: Command,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// The first request of a connection: a server that is about to exit does not answer it.
    Hello { version: u32, directory: String },
    /// Make sure that this database exists.
    Open(String),
    /// Commit this.
    Transact(Transaction),
    /// Hold the writers of these databases between two commits.
    Pause(Vec<String>),
    /// End the pause of this connection; refused where the writers have gone on by themselves.
    Resume,
}

/// The response of the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Response {
    /// That of the request.
    pub id: u64,
    pub outcome: Result<Vec<Rows>, ErrorMessage>,
}

/// An [`Error`] whose causes have become text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorMessage {
    kind: ErrorKind,
    text: String,
}

impl From<Error> for ErrorMessage {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind,
            text: error.to_string(),
        }
    }
}

impl From<ErrorMessage> for Error {
    fn from(message: ErrorMessage) -> Self {
        Self::new(message.kind, message.text)
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(DECODE_LIMIT)
        .new_codec()
}

/// The body of a frame.
pub(crate) fn encode(message: &impl Serialize) -> Result<Bytes, Error> {
    souk_wire::encode(message)
        .map(Bytes::from)
        .map_err(Error::refused)
}

/// The messages that arrive.
pub(crate) fn messages<T: DeserializeOwned>(incoming: impl AsyncRead) -> impl Stream<Item = io::Result<T>> {
    FramedRead::new(incoming, codec()).map(|frame| souk_wire::decode(&frame?).map_err(io::Error::other))
}

/// Writes the frames of `queue`, all that wait at once, until every sender is dropped.
pub(crate) async fn write_frames(
    outgoing: impl AsyncWrite,
    mut queue: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let mut outgoing = FramedWrite::new(outgoing, codec());
    outgoing.set_backpressure_boundary(WRITE_BYTES);
    let mut outgoing = pin!(outgoing);
    while let Some(first) = queue.recv().await {
        // Behind the tasks that are ready now, which may have frames as well: one system call writes them all.
        yield_now().await;
        outgoing.feed(first).await?;
        while let Ok(next) = queue.try_recv() {
            outgoing.feed(next).await?;
        }
        SinkExt::<Bytes>::flush(&mut outgoing).await?;
    }
    Ok(())
}
