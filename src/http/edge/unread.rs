//! Request bodies that a reply leaves unread.
//!
//! The next request on a connection begins behind the body of this one. Where a reply does not wait for the body (a bad token,
//! a busy node), the rest of it is read first; what is too long or too slow for that ends the connection, and the reply says
//! so. Otherwise the client would send its next request into a connection that is about to be closed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

/// Most that is read of an unread body, in bytes: as much as a body may hold by default.
const REST_LIMIT: usize = 256 * 1024;
/// Time limit for the rest of a body.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that its owner gives back when it is dropped before its end.
struct Returned {
    body: Option<Incoming>,
    unread: Option<oneshot::Sender<Incoming>>,
}

impl HttpBody for Returned {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(context);
        // The end, or a connection that is broken anyway.
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.unread = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        if let (Some(unread), Some(body)) = (self.unread.take(), self.body.take())
            && !body.is_end_stream()
        {
            // The connection is gone if nobody waits for it.
            let _ = unread.send(body);
        }
    }
}

/// The body of a request, and what its reply leaves unread.
pub fn track(headers: &HeaderMap, body: Incoming) -> (Body, Rest) {
    if body.is_end_stream() {
        return (Body::new(body), Rest(None));
    }
    let (unread, rest) = oneshot::channel();
    let is_sent = !headers.contains_key(EXPECT);
    let body = Returned {
        body: Some(body),
        unread: Some(unread),
    };
    (Body::new(body), Rest(Some((rest, is_sent))))
}

/// What a reply leaves unread of a body, and whether the client sends that unasked. `None` for a request without a body.
pub struct Rest(Option<(oneshot::Receiver<Incoming>, bool)>);

impl Rest {
    /// Reads and discards the rest of the body, once the reply is made. False where the connection can't be used any more.
    pub async fn discard(self) -> bool {
        let Some((mut rest, is_sent)) = self.0 else {
            return true;
        };
        match rest.try_recv() {
            Ok(body) if is_sent => tokio::time::timeout(REST_TIMEOUT, skip(body)).await == Ok(true),
            Ok(_) | Err(oneshot::error::TryRecvError::Empty) => false,
            Err(oneshot::error::TryRecvError::Closed) => true,
        }
    }
}

/// Whether the body ends within the limit.
async fn skip(mut body: Incoming) -> bool {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > REST_LIMIT {
            return false;
        }
    }
    true
}
