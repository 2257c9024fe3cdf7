//! Limits the bytes of replies that are in memory because their clients have not read them yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use metrics::counter;

use crate::http::edge::client_address::ClientAddress;
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::shares::{Share, Shares};

/// Smaller replies are not counted, in bytes: the system's buffer of a connection takes them.
const COUNTED_FROM: u64 = 16 * 1024;
/// What a reply that is made piece by piece counts as, in bytes: a piece on its way, and the next one in the making.
const STREAMED: usize = 1024 * 1024;

/// Gives the reply to a request of this `method` its share of `replies`, which it holds until its last byte is sent. Where nothing
/// is left, a read is refused as busy. The reply to a change is sent, since the change has happened; such replies are small.
pub fn hold(
    replies: &Shares,
    method: &Method,
    client: Option<ClientAddress>,
    response: Response,
) -> Response {
    let Some(bytes) = counted_bytes(&response) else {
        return response;
    };
    match replies.take(client, bytes) {
        Some(share) => response.map(|body| {
            Body::new(Held {
                body,
                share: Arc::new(share),
            })
        }),
        None if method.is_safe() => {
            counter!("souk_http_replies_refused_total").increment(1);
            Problem::busy(problem::RETRY_AFTER).into_response()
        }
        None => response,
    }
}

/// The bytes that a reply counts as; `None` for what is small, or in memory anyway (pictures, pages).
fn counted_bytes(response: &Response) -> Option<usize> {
    let Some(bytes) = response.body().size_hint().exact() else {
        return Some(STREAMED);
    };
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes().ends_with(b"json"));
    (is_json && bytes >= COUNTED_FROM).then(|| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// A body whose share is held by each of its frames: the connection keeps them when the body has ended.
struct Held {
    body: Body,
    share: Arc<Share>,
}

/// A frame's data.
struct Piece {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map_ok(|frame| {
            frame.map_data(|bytes| {
                Bytes::from_owner(Piece {
                    bytes,
                    _share: Arc::clone(&self.share),
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use http_body_util::BodyExt;

    use super::*;

    fn reply(bytes: usize) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], vec![b' '; bytes]).into_response()
    }

    #[tokio::test]
    async fn a_reply_holds_its_share_until_its_last_byte_is_sent() {
        let (replies, large) = (Shares::new(1 << 20), 1 << 16);
        let mut first = hold(&replies, &Method::GET, None, reply(large));
        let unsent = first.body_mut().frame().await.unwrap().unwrap();
        drop(first);
        let second = hold(&replies, &Method::GET, None, reply(large));
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        let change = hold(&replies, &Method::POST, None, reply(large));
        assert_eq!(change.status(), StatusCode::OK, "a change has happened");
        let small = hold(&replies, &Method::GET, None, reply(1_000));
        assert_eq!(small.status(), StatusCode::OK);
        drop(unsent);
        let third = hold(&replies, &Method::GET, None, reply(large));
        assert_eq!(third.status(), StatusCode::OK);
        assert_eq!(third.into_body().collect().await.unwrap().to_bytes().len(), large);
    }

    #[tokio::test]
    async fn a_streamed_reply_counts_as_a_few_pieces() {
        let replies = Shares::new(16 * STREAMED);
        let streamed = || Body::new(Body::from("x").map_frame(|frame| frame)).into_response();
        let first = hold(&replies, &Method::GET, None, streamed());
        assert_eq!(first.status(), StatusCode::OK);
        let second = hold(&replies, &Method::GET, None, streamed());
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
