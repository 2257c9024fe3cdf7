//! Invalid input: every refusal is a problem of the right kind, and no other client is affected.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::shared::{cluster, skus, stocked};
use crate::support::client::submission;
use crate::support::waiting::{eventually, within};

const LIMIT: Duration = Duration::from_secs(60);

/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 256 * 1024;

const JSON: Option<&str> = Some("application/json");

fn nothing_leaks(text: &str) {
    let lower = text.to_lowercase();
    for word in [
        "panicked",
        "backtrace",
        "sqlite",
        "select ",
        ".rs:",
        "/root",
        "/home",
        "/tmp",
        "src/",
    ] {
        assert!(!lower.contains(word), "a refusal shows {word:?}: {text}");
    }
}

#[tokio::test]
async fn every_bad_body_is_refused_by_its_kind() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let sku = skus(&client, 1).await.remove(0);
    let huge = format!("{{\"sku\":\"{}\",\"quantity\":1}}", "x".repeat(BODY_LIMIT));
    let deep = format!("{{\"sku\":\"{sku}\",\"x\":{}", "[".repeat(50_000));
    let add = |quantity: &str| format!("{{\"sku\":\"{sku}\",\"quantity\":{quantity}}}");
    let cases: Vec<(&str, Option<&str>, String, u16, &str)> = vec![
        ("nothing", JSON, String::new(), 400, "malformed-json"),
        ("broken", JSON, "{\"sku\":".into(), 400, "malformed-json"),
        (
            "two values",
            JSON,
            format!("{} {{}}", add("1")),
            400,
            "malformed-json",
        ),
        ("deep, and nothing of it ends", JSON, deep, 400, "malformed-json"),
        (
            "deep from the start",
            JSON,
            "[".repeat(50_000),
            400,
            "malformed-json",
        ),
        (
            "the fields in their order",
            JSON,
            format!("[\"{sku}\", 1]"),
            422,
            "validation",
        ),
        (
            "a number beyond floats",
            JSON,
            add("1e999"),
            400,
            "malformed-json",
        ),
        ("a list", JSON, "[]".into(), 422, "validation"),
        ("a text", JSON, "\"x\"".into(), 422, "validation"),
        ("null", JSON, "null".into(), 422, "validation"),
        ("no fields", JSON, "{}".into(), 422, "validation"),
        (
            "an unknown field",
            JSON,
            format!("{{\"sku\":\"{sku}\",\"quantity\":1,\"price\":1}}"),
            422,
            "validation",
        ),
        (
            "a field twice",
            JSON,
            format!("{{\"sku\":\"{sku}\",\"quantity\":1,\"quantity\":2}}"),
            422,
            "validation",
        ),
        ("quantity 0", JSON, add("0"), 422, "validation"),
        ("quantity 1000", JSON, add("1000"), 422, "validation"),
        ("a negative quantity", JSON, add("-1"), 422, "validation"),
        ("a fraction", JSON, add("1.5"), 422, "validation"),
        ("a quantity as text", JSON, add("\"1\""), 422, "validation"),
        ("a quantity of true", JSON, add("true"), 422, "validation"),
        ("no quantity", JSON, add("null"), 422, "validation"),
        ("above 32 bits", JSON, add("4294967297"), 422, "validation"),
        (
            "above 64 bits",
            JSON,
            add("18446744073709551617"),
            422,
            "validation",
        ),
        (
            "least of 64 bits",
            JSON,
            add("-9223372036854775808"),
            422,
            "validation",
        ),
        (
            "a SKU as a number",
            JSON,
            "{\"sku\":7,\"quantity\":1}".into(),
            422,
            "validation",
        ),
        (
            "an unknown SKU",
            JSON,
            "{\"sku\":\"NO-SUCH\",\"quantity\":1}".into(),
            404,
            "unknown-sku",
        ),
        (
            "an empty SKU",
            JSON,
            "{\"sku\":\"\",\"quantity\":1}".into(),
            404,
            "unknown-sku",
        ),
        (
            "a SKU of SQL",
            JSON,
            "{\"sku\":\"' OR 1=1 --\",\"quantity\":1}".into(),
            404,
            "unknown-sku",
        ),
        (
            "a SKU with NUL",
            JSON,
            "{\"sku\":\"A\\u0000B\",\"quantity\":1}".into(),
            404,
            "unknown-sku",
        ),
        (
            "a long SKU",
            JSON,
            format!("{{\"sku\":\"{}\",\"quantity\":1}}", "S".repeat(10_000)),
            404,
            "unknown-sku",
        ),
        ("too large", JSON, huge, 413, "body-too-large"),
        ("no type", None, add("1"), 415, "unsupported-media-type"),
        (
            "a form",
            Some("application/x-www-form-urlencoded"),
            "sku=1&quantity=1".into(),
            415,
            "unsupported-media-type",
        ),
        (
            "another charset",
            Some("application/json; charset=latin1"),
            add("1"),
            415,
            "unsupported-media-type",
        ),
    ];
    for (what, content_type, body, status, kind) in cases {
        for node in 0..cluster.len() {
            let reply = client
                .at(cluster.shop(node))
                .send_raw("POST", "/v1/cart/items", content_type, body.clone())
                .await;
            assert_eq!(
                (reply.status, reply.problem()),
                (status, kind),
                "{what}, node {node}: {reply}"
            );
            nothing_leaks(&reply.text);
        }
    }
    let not_utf8 = client
        .send_raw("POST", "/v1/cart/items", JSON, vec![b'"', 0xff, 0xfe, b'"'])
        .await;
    assert_eq!(not_utf8.status / 100, 4, "{not_utf8}");
    not_utf8.problem();
    let cart = client.get_cart().await.expect(200);
    assert_eq!(
        cart.i64("/version"),
        0,
        "nothing of this changed the cart: {cart}"
    );
}

#[tokio::test]
async fn a_bad_order_is_refused_with_its_field() {
    let client = cluster().client(1).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 1).await.expect(200);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/payment/gateway", json!("paypal"), "payment.gateway"),
        ("/payment/token", json!(""), "payment.token"),
        ("/payment/token", json!("two words"), "payment.token"),
        ("/payment/token", json!("t".repeat(256)), "payment.token"),
        ("/payment/token", json!(7), "payment.token"),
        ("/payment", json!("tok_ok"), "payment"),
        ("/email", json!("nobody"), "email"),
        ("/email", json!("a@b\r\nBcc: c@d.example"), "email"),
        ("/email", Value::Null, "email"),
        ("/shipping_option", json!(""), "shipping_option"),
        ("/address/country", json!("Germany"), "address.country"),
        ("/address/postcode", json!("1".repeat(500)), "address.postcode"),
        ("/address/name", json!("Ada\u{0}"), "address.name"),
    ];
    for (number, (pointer, value, blamed)) in cases.into_iter().enumerate() {
        let mut body = submission("tok_ok");
        *body
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")) = value.clone();
        let refused = client
            .place(&format!("bad-{number}"), &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [blamed], "{pointer} = {value}: {refused}");
        nothing_leaks(&refused.text);
    }
    let mut total = submission("tok_ok");
    for (number, wrong) in [
        json!(12.5),
        json!({"amount": 12.5, "currency": "USD"}),
        json!({"amount": 1, "currency": "XYZ1"}),
        json!({"amount": 1}),
    ]
    .into_iter()
    .enumerate()
    {
        total["expected_total"] = wrong.clone();
        let refused = client
            .place(&format!("bad-total-{number}"), &total)
            .await
            .expect_problem(422, "validation");
        assert!(
            refused.blamed()[0].starts_with("expected_total"),
            "{wrong}: {refused}"
        );
    }
    assert!(
        client.get("/v1/orders").await.expect(200).items().is_empty(),
        "none became an order"
    );
}

#[tokio::test]
async fn bad_tokens_paths_and_headers_are_refused() {
    let cluster = cluster();
    let client = cluster.client(2);
    let guest = client.guest().await;
    let good = guest.cart_token().unwrap_or_default();
    let mut forged = good.to_owned();
    let last = forged.pop().unwrap_or_default();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    for token in [
        forged.as_str(),
        "",
        "x",
        &"A".repeat(43),
        &"t".repeat(4_000),
        "../../etc/passwd",
    ] {
        for path in ["/v1/cart", "/v1/orders", "/v1/orders/ord_1"] {
            client
                .with_cart(Some(token))
                .get(path)
                .await
                .expect_problem(401, "bad-cart-token");
        }
    }
    for path in ["/v1/cart", "/v1/orders"] {
        let nobody = client.get(path).await.expect_problem(401, "unauthorised");
        assert!(nobody.header("www-authenticate").is_some(), "{nobody}");
        for bearer in [
            "Bearer x",
            "Bearer",
            "Basic eDp5",
            &format!("Bearer {}", cluster.token()),
        ] {
            guest
                .send("GET", path, None, &[("authorization", bearer)])
                .await
                .expect_problem(401, "bad-token");
        }
    }
    for path in [
        "/v1/orders/ord_nothing",
        "/v1/orders/x",
        "/v1/orders/%00",
        "/v2/cart",
        "//",
        "/v1/admin/orders",
        "/../etc/passwd",
    ] {
        let refused = guest.get(path).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (404, "not-found"),
            "{path}: {refused}"
        );
        nothing_leaks(&refused.text);
    }
    let long = format!("/v1/products?q={}", "x".repeat(9_000));
    client.get(&long).await.expect_problem(414, "uri-too-long");
    let value = format!("/v1/products?brand={}", "x".repeat(2_000));
    client.get(&value).await.expect_problem(422, "validation");
    let headers: Vec<(String, String)> = (0..50)
        .map(|number| (format!("x-junk-{number}"), "junk".to_owned()))
        .collect();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    guest.send("GET", "/v1/cart", None, &headers).await.expect(200);
    guest
        .send(
            "GET",
            "/v1/cart",
            None,
            &[
                ("if-none-match", "rubbish"),
                ("traceparent", "rubbish"),
                ("accept", "text/css"),
            ],
        )
        .await
        .expect(200);
}

/// Sends bytes and returns all that is received until the node closes.
async fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    within(
        &format!("the end of a garbage connection to {address}"),
        LIMIT,
        async {
            let mut stream = TcpStream::connect(address)
                .await
                .unwrap_or_else(|error| panic!("{address}: {error}"));
            // The other side may close before it has read everything.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        },
    )
    .await
}

/// A refusal does not wait for the body. The connection is either good for the next request, or the reply says that it is not.
#[tokio::test]
async fn a_reply_before_the_body_leaves_no_broken_connection() {
    const BODY: &str = "{\"sku\":\"X-1\",\"quantity\":1}";
    let base = cluster().shop(0);
    let address = base.trim_start_matches("http://");
    let head = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    for round in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(head("/v1/cart/items", BODY.len()).as_bytes())
            .await
            .unwrap();
        // Whether the server meets the head alone does not matter to what is right.
        tokio::time::sleep(Duration::from_millis(round)).await;
        let mut all = BODY.to_owned();
        all.push_str(&format!(
            "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        ));
        stream.write_all(all.as_bytes()).await.unwrap();
        let mut replies = String::new();
        within("both replies", LIMIT, stream.read_to_string(&mut replies))
            .await
            .unwrap();
        let says_so = replies
            .to_lowercase()
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .contains("connection: close");
        assert!(replies.starts_with("HTTP/1.1 401"), "{replies}");
        assert!(
            says_so || replies.contains("HTTP/1.1 200"),
            "round {round}: {replies}"
        );
    }
    // A body that never comes, and one that is too long to be skipped.
    for length in [100, 50_000_000] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(head("/v1/cart/items", length).as_bytes())
            .await
            .unwrap();
        let mut reply = String::new();
        within("a reply without a body", LIMIT, stream.read_to_string(&mut reply))
            .await
            .unwrap();
        assert!(reply.starts_with("HTTP/1.1 401"), "{reply}");
        assert!(
            reply.to_lowercase().contains("\r\nconnection: close\r\n"),
            "{reply}"
        );
    }
}

/// Pseudo-random bytes, the same in every run.
fn rubbish(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

#[tokio::test]
async fn garbage_on_the_shops_port_is_refused() {
    let cluster = cluster();
    let address = cluster.shop(0).trim_start_matches("http://");
    let many_headers: String = (0..5_000).map(|number| format!("h{number}: x\r\n")).collect();
    for (what, bytes) in [
        ("rubbish", rubbish(1, 4_096)),
        ("half a line", b"GET /v1/ca".to_vec()),
        ("no HTTP", b"HELO shop\r\n\r\n".to_vec()),
        (
            "many headers",
            format!("GET / HTTP/1.1\r\nhost: x\r\n{many_headers}\r\n").into_bytes(),
        ),
        (
            "a header without end",
            [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; 2_000_000]].concat(),
        ),
        (
            "two lengths",
            b"POST /v1/carts HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"
                .to_vec(),
        ),
        (
            "a negative length",
            b"POST /v1/carts HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_vec(),
        ),
        (
            "a TLS hello",
            vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        ),
    ] {
        let answer = exchange(address, &bytes).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{what} is refused or closed, not answered with: {text}"
        );
        nothing_leaks(&text);
    }
    eventually("the node is ready", LIMIT, async || {
        let reply = cluster.client(0).get("/readyz").await;
        if reply.status == 200 { Ok(()) } else { Err(reply) }
    })
    .await;
}

#[tokio::test]
async fn garbage_between_the_nodes_changes_nothing() {
    let cluster = cluster();
    let text = std::fs::read_to_string(cluster.config()).expect("the configuration can be read");
    let config: toml::Value = toml::from_str(&text).expect("the configuration is TOML");
    let nodes = config["nodes"].as_array().expect("nodes");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a UDP socket");
    for (number, node) in (1_u64..).zip(nodes) {
        let (link, gossip) = (
            node["cluster"].as_str().unwrap_or_default(),
            node["gossip"].as_str().unwrap_or_default(),
        );
        for (what, bytes) in [
            ("rubbish", rubbish(number, 100_000)),
            ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
            ("nothing", Vec::new()),
        ] {
            let answer = exchange(link, &bytes).await;
            assert!(
                answer.len() < 256,
                "{what} is answered with {} bytes",
                answer.len()
            );
            nothing_leaks(&String::from_utf8_lossy(&answer));
        }
        for length in [0, 1, 16, 64, 1_200, 60_000] {
            socket
                .send_to(&rubbish(number + length as u64, length), gossip)
                .await
                .expect("a datagram leaves");
        }
    }
    for node in 0..cluster.len() {
        let client = cluster.client(node).guest().await;
        eventually(&format!("node {node} is ok"), LIMIT, async || {
            let reply = client.get("/readyz").await;
            if reply.status == 200 && reply.body["status"] == "ok" {
                Ok(())
            } else {
                Err(reply)
            }
        })
        .await;
        let bought = stocked(&client, 20, 500).await;
        client.add(&bought.sku, 1).await.expect(200);
        client
            .place_order("after-the-garbage", "tok_ok")
            .await
            .expect(201);
        eventually("all nodes are there", LIMIT, async || {
            match cluster.inspect_at(node, "/v1/nodes").await {
                Ok(members) if members.status == 200 && members.items().len() == 3 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    let errors = cluster.errors_logged();
    assert!(
        errors.is_empty(),
        "bad input is no error of the shop's:\n{}",
        errors.join("\n")
    );
}
