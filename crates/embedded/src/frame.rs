//! What crosses the socket: a length of four bytes, big-endian, and a value in the one wire format.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, ErrorKind};
use crate::statement::{Rows, Transaction};
use souk_wire::{DECODE_LIMIT, WireError};

/// Both sides must speak the same.
pub(crate) const PROTOCOL: u32 = 1;

/// From a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The reply carries it.
    pub id: u64,
    pub ask: Ask,
}

/// What a client may ask.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The first request of a connection: a server that is about to leave does not answer it.
    Hello { protocol: u32, directory: String },
    /// Make sure that this database exists.
    Open(String),
    /// Commit this.
    Transact(Transaction),
}

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Response {
    /// As in the request.
    pub id: u64,
    pub answer: Result<Vec<Rows>, WireFailure>,
}

/// A [`Error`] whose causes have become text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireFailure {
    kind: ErrorKind,
    text: String,
}

impl From<Error> for WireFailure {
    fn from(failure: Error) -> Self {
        Self {
            kind: failure.kind,
            text: failure.to_string(),
        }
    }
}

impl From<WireFailure> for Error {
    fn from(failure: WireFailure) -> Self {
        Self::new(failure.kind, failure.text)
    }
}

/// Encodes a value as a whole frame.
pub(crate) fn frame<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    let body = souk_wire::encode(value)?;
    // encode refuses what is larger than DECODE_LIMIT, so that the length fits.
    let length = u32::try_from(body.len()).map_err(|_| WireError::TooLarge(body.len()))?;
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads the body of the next frame; `None` where the other side has closed between two frames.
pub(crate) async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > DECODE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            WireError::TooLarge(length),
        ));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(Some(body))
}

/// Decodes what [`read_frame`] read.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    souk_wire::decode(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
