//! Spans that a collector receives: requests, and their commands on other nodes, as parts of the callers' traces.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::cluster::{Cluster, Options};
use crate::support::waiting::eventually;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
/// Enough carts that both nodes own some.
const CARTS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that accepts everything: its address, and the messages received.
fn collector() -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let messages = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&messages);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let length = head
                .lines()
                .find_map(|line| {
                    let line = line.to_ascii_lowercase();
                    line.strip_prefix("content-length: ")?.parse().ok()
                })
                .unwrap_or(0);
            let mut body = vec![0; length];
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            if stream.read_exact(&mut body).is_ok() && stream.get_mut().write_all(answer).is_ok() {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
            }
        }
    });
    (address, messages)
}

fn holds(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_trace_goes_through_all_nodes_that_work_on_it() {
    let (address, messages) = collector();
    let cluster = Cluster::start(Options {
        nodes: 2,
        products: 10,
        settings: vec![("log.otlp", address), ("log.otlp_one_in", "0".to_owned())],
        ..Options::default()
    });
    let traceparent = format!("00-{TRACE:032x}-00f067aa0ba902b7-01");
    let headers = [("traceparent", traceparent.as_str())];
    for _ in 0..CARTS {
        let guest = cluster.client(0).guest().await;
        let body = json!({"sku": "NO-SUCH-SKU", "quantity": 1});
        guest
            .send("POST", "/v1/cart/items", Some(&body), &headers)
            .await
            .expect(404);
        let cart = guest.send("GET", "/v1/cart", None, &headers).await.expect(200);
        assert_eq!(cart.header("traceparent"), None);
    }
    let trace = TRACE.to_be_bytes();
    eventually("both nodes have told of the trace", PATIENCE, async || {
        let messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |node: &[u8], span: &[u8]| {
            messages
                .iter()
                .any(|message| holds(message, &trace) && holds(message, node) && holds(message, span))
        };
        if told(b"n1", b"/v1/cart/items") && told(b"n2", b"command") {
            Ok(())
        } else {
            Err(format!("{} messages so far", messages.len()))
        }
    })
    .await;
    let messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
    // The carts were made outside of the trace, and are nobody's.
    assert!(messages.iter().all(|message| !holds(message, b"/v1/carts")));
}
