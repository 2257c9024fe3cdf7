//! A collector on the loopback receives what the shop's routes do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::http::edge::conventions::wrap;
use crate::http::edge::settings::HttpSettings;
use crate::traces::captured::follow;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Longest time for the last message to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that answers with `status`: its address, and the head and body of each message.
fn collector(status: u16) -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap() == 0 {
                    break;
                }
            }
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    hexadecimal
        .as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

fn holds(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

/// What the collector is sent when these requests, each with a `traceparent` or without, are answered. Of strangers' requests
/// none is recorded unless `one_in` says so.
async fn sent(one_in: u32, requests: &[Option<&str>]) -> Vec<(String, Vec<u8>)> {
    let (address, messages) = collector(200);
    let traces = Traces::start(&address, one_in, "n7").unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    let guard = follow(subscriber);
    let remote = async || match current() {
        Some(context) => {
            drop(continued(context, "cart", "r-1"));
            "recorded"
        }
        None => "not recorded",
    };
    let router = Router::new().route("/things/{id}", get(remote));
    let router = wrap(router, HttpSettings::default());
    for traceparent in requests {
        let mut request = Request::get("/things/secret?q=searched");
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", *traceparent);
        }
        let reply = router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(reply.status(), 200);
        assert!(
            reply.headers().get("traceparent").is_none(),
            "replies are not altered"
        );
    }
    drop(guard);
    tokio::task::spawn_blocking(move || {
        drop(traces);
        messages.try_iter().collect()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_callers_trace_goes_on_where_the_caller_records_it() {
    let recorded = format!("00-{TRACE}-{PARENT}-01");
    let messages = sent(0, &[Some(&recorded)]).await;
    assert_eq!(messages.len(), 1);
    let (head, body) = &messages[0];
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    assert!(
        head.to_ascii_lowercase()
            .contains("content-type: application/x-protobuf"),
        "{head}"
    );
    for part in [
        &bytes_of(TRACE)[..],
        &bytes_of(PARENT),
        b"request",
        b"/things/{id}",
        b"command",
        b"cart",
        b"souk",
        b"n7",
    ] {
        assert!(holds(body, part), "{part:?}");
    }
    assert!(!holds(body, b"secret") && !holds(body, b"searched"));
}

#[tokio::test]
async fn what_nobody_records_is_not_sent() {
    let not_recorded = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(sent(1, &[Some(&not_recorded)]).await, []);
    assert_eq!(sent(0, &[None, Some("garbage")]).await, []);
    let messages = sent(1, &[None]).await;
    assert_eq!(messages.len(), 1);
    assert!(holds(&messages[0].1, b"request"));
}

#[tokio::test]
async fn a_collector_that_refuses_or_is_away_costs_spans_only() {
    let (address, messages) = collector(400);
    let carrier = CollectorClient::new().unwrap();
    let (refused, absent) = tokio::task::spawn_blocking(move || {
        let request = |address: &str| Request::post(address).body(Bytes::from_static(b"x")).unwrap();
        let refused = carrier.send(request(&address)).unwrap().status().as_u16();
        (refused, carrier.send(request("http://127.0.0.1:1")).is_err())
    })
    .await
    .unwrap();
    assert_eq!((refused, absent), (400, true));
    assert_eq!(messages.recv_timeout(PATIENCE).unwrap().1, b"x");
}
