//! What a stranger does to a shop: requests whose bodies never come, and replies that nobody reads.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::client::Client;

/// The password of [`account`].
const PASSWORD: &str = "Quartz-Otter-Unread-Lantern";

/// Sends the head of a login and the first bytes of its body, of which it announces so many.
pub async fn half_sent(client: &Client, announced: usize) -> TcpStream {
    let mut stream = TcpStream::connect(host(client)).await.expect("a connection");
    let head = format!(
        "POST /v1/auth/login HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {announced}\r\n\r\n{{\"email\":",
        host(client),
        client.address().expect("an address"),
    );
    stream.write_all(head.as_bytes()).await.expect("a head is sent");
    stream
}

/// Sends a GET of an account, and reads nothing of its reply. As little as possible of it is on its way.
pub async fn unread(client: &Client, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let address = host(client).parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("a connection");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        host(client),
        client.address().expect("an address"),
        client.access_token().expect("an account"),
    );
    stream.write_all(head.as_bytes()).await.expect("a head is sent");
    stream
}

fn host(client: &Client) -> &str {
    client.base().trim_start_matches("http://")
}

/// An account that has confirmed its password, and whose cart has so many lines.
pub async fn account(client: &Client, email: &str, lines: usize) -> Client {
    let body = json!({"email": email, "password": PASSWORD, "name": "Unread Example"});
    let opened = client.post("/v1/auth/register", &body).await.expect(201);
    let client = client.with_token(Some(opened.str("/access_token")));
    fill(&client, lines).await;
    let step_up = json!({"password": PASSWORD});
    client.post("/v1/auth/step-up", &step_up).await.expect(200);
    client
}

/// Puts so many SKUs into the client's cart.
pub async fn fill(client: &Client, lines: usize) {
    let page = client.get("/v1/products?limit=100").await.expect(200);
    let skus = page
        .items()
        .iter()
        .flat_map(|product| product["skus"].as_array().into_iter().flatten());
    let on_sale = skus.filter(|sku| sku["available"].as_u64().is_some_and(|available| available > 1));
    let mut filled = 0;
    for sku in on_sale.take(lines) {
        client
            .add(sku["sku"].as_str().expect("a SKU"), 1)
            .await
            .expect(200);
        filled += 1;
    }
    assert_eq!(filled, lines, "the catalogue is large enough");
}

/// Places orders that are declined and cost nothing.
pub async fn order_in_vain(client: &Client, orders: usize) {
    for number in 0..orders {
        client
            .place_order(&format!("in-vain-{number}"), "tok_declined")
            .await
            .expect_problem(402, "payment-declined");
    }
}
