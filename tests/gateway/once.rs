//! What nginx forwards, and how often: in front of fake nodes that close connections when the test says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::nginx::{Nginx, is_there};
use crate::support::client::Client;

/// The heads of all requests that arrived, by request id.
type Arrived = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// Requests to this path: the first node that sees a request id closes the connection.
const HANGS_UP_ONCE: &str = "/v1/once";
/// Requests to this path: every node closes the connection.
const HANGS_UP: &str = "/v1/always";

async fn node(arrived: Arrived) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&arrived)));
        }
    });
    address
}

/// Answers requests one after another until it has to close the connection.
async fn answer(mut stream: TcpStream, arrived: Arrived) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let times = {
            let mut arrived = arrived.lock().unwrap();
            let heads = arrived
                .entry(header(&head, "x-request-id").unwrap_or_default())
                .or_default();
            heads.push(head.clone());
            heads.len()
        };
        if head.contains(HANGS_UP) || (head.contains(HANGS_UP_ONCE) && times == 1) {
            return;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            .await
            .unwrap();
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    head.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
}

#[tokio::test]
async fn reads_are_retried_and_sent_writes_are_not() {
    if !is_there("reads_are_retried_and_sent_writes_are_not") {
        return;
    }
    let arrived = Arrived::default();
    let nodes = [
        node(Arc::clone(&arrived)).await,
        node(Arc::clone(&arrived)).await,
        node(Arc::clone(&arrived)).await,
    ];
    let nginx = Nginx::before([&nodes[0], &nodes[1], &nodes[2]]).await;
    let client = Client::new(&nginx.base);
    let times = |id: &str| arrived.lock().unwrap().get(id).map_or(0, Vec::len);

    // Connections that are kept, so that some of the writes below go into one of those.
    for _ in 0..6 {
        client.get("/v1/fine").await.expect(200);
    }
    for (method, again) in [
        ("GET", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        let id = format!("once-{method}").to_lowercase();
        let body = serde_json::json!({"quantity": 1});
        let reply = client
            .send(
                method,
                HANGS_UP_ONCE,
                (method != "GET").then_some(&body),
                &[("x-request-id", &id)],
            )
            .await;
        assert_eq!(reply.status, if again { 200 } else { 502 }, "{method}: {reply}");
        assert_eq!(times(&id), if again { 2 } else { 1 }, "{method}");
    }
    for number in 0..12 {
        let id = format!("always-{number}");
        let body = serde_json::json!({"number": number});
        client
            .send("POST", HANGS_UP, Some(&body), &[("x-request-id", &id)])
            .await
            .expect(502);
        assert!(times(&id) <= 1, "POST {number} arrived {} times", times(&id));
    }
}

#[tokio::test]
async fn a_client_cannot_forge_its_address() {
    if !is_there("a_client_cannot_forge_its_address") {
        return;
    }
    let arrived = Arrived::default();
    let node = node(Arc::clone(&arrived)).await;
    let nginx = Nginx::before([&node, &node, &node]).await;
    let client = Client::new(&nginx.base);
    let claims = [
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-request-id", "r-1"),
    ];
    client.send("GET", "/v1/fine", None, &claims).await.expect(200);
    client
        .send("GET", "/v1/fine", None, &claims[..2])
        .await
        .expect(200);
    let arrived = arrived.lock().unwrap();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    for (id, heads) in arrived.iter() {
        assert!(id == "r-1" || id.len() == 32, "each has an id: {id:?}");
        assert_eq!(header(&heads[0], "x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(header(&heads[0], "forwarded"), None);
        assert!(!heads[0].contains("6.6.6.6"), "{}", heads[0]);
    }
}
