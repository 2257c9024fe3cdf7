//! Attacks on the wire: headers, paths, sizes, cursors, slow clients. Bodies are in [`bodies`](crate::bodies).

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::orders;
use crate::shared::{
    BODY_SECONDS, HEAD_SECONDS, Person, add_address, address, cluster, login, stocked, stranger,
};
use crate::support::full;
use crate::support::waiting::{eventually, within};

/// Longest time for a reply, whatever was sent.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Checks that a refusal shows nothing internal.
#[track_caller]
pub fn nothing_leaks(text: &str) {
    for word in [
        "panicked", "sqlite", "SELECT ", ".rs:", "/root", "/home", "/tmp", "src/", "stack",
    ] {
        assert!(!text.contains(word), "a refusal shows {word:?}: {text}");
    }
}

fn host(node: usize) -> &'static str {
    cluster().shop(node).trim_start_matches("http://")
}

/// Sends bytes to a node and returns all that is received until it closes.
async fn exchange(node: usize, bytes: &[u8]) -> String {
    within("the answer to odd bytes", LIMIT, async {
        let mut stream = TcpStream::connect(host(node)).await.expect("the node listens");
        // It may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}

/// The status of the first reply in the bytes.
fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// A request with this target and these header lines, and `Connection: close`.
async fn asked(node: usize, method: &str, target: &str, lines: &[u8]) -> String {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n").into_bytes();
    bytes.extend_from_slice(lines);
    bytes.extend_from_slice(b"\r\n");
    exchange(node, &bytes).await
}

#[tokio::test]
async fn no_header_breaks_out_of_its_line() {
    let person = Person::register(0).await;
    let bearer = format!(
        "authorization: Bearer {}\r\n",
        person.client.access_token().expect("a token")
    );
    for (what, line, statuses) in [
        (
            "a bare carriage return",
            &b"x-request-id: a\rset-cookie: evil=1\r\n"[..],
            &[400][..],
        ),
        ("NUL", b"x-request-id: a\0b\r\n", &[400]),
        (
            "a folded line",
            b"idempotency-key: a\r\n set-cookie: evil=1\r\n",
            &[400],
        ),
        ("a space before the colon", b"x-request-id : evil\r\n", &[400]),
        (
            "an encoded line break",
            b"x-request-id: a%0d%0aset-cookie:evil=1\r\n",
            &[200],
        ),
        (
            "a long id",
            &[b"x-request-id: ", &[b'a'; 4_000][..], b"\r\n"].concat(),
            &[200],
        ),
        ("an id of odd bytes", b"x-request-id: \xff\xfe evil\r\n", &[200]),
        ("an odd trace", b"traceparent: 00-evil-evil-01\r\n", &[200]),
        (
            "an odd forwarder",
            b"x-forwarded-for: '; DROP TABLE sessions; --\r\n",
            &[200],
        ),
        (
            "many forwarders",
            &[b"x-forwarded-for: ", &b"evil, ".repeat(1_000)[..], b"evil\r\n"].concat(),
            &[200],
        ),
        ("another host", b"x-forwarded-host: evil.example\r\n", &[200]),
        ("another method", b"x-http-method-override: DELETE\r\n", &[200]),
        (
            "another path",
            b"x-original-url: /v1/me/export\r\nx-rewrite-url: /v1/me/export\r\n",
            &[200],
        ),
    ] {
        let lines = [bearer.as_bytes(), line].concat();
        let answer = asked(0, "GET", "/v1/me", &lines).await;
        let status = status(&answer).unwrap_or_else(|| panic!("{what}: {answer}"));
        assert!(statuses.contains(&status), "{what}: {answer}");
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        assert!(!head.contains("\r\nset-cookie"), "{what}: {answer}");
        if what != "an encoded line break" {
            assert!(!answer.contains("evil"), "{what}: {answer}");
        }
        nothing_leaks(&answer);
    }
    // Two of what there is one of.
    let twice = [bearer.as_bytes(), bearer.as_bytes()].concat();
    assert_eq!(status(&asked(1, "GET", "/v1/me", &twice).await), Some(401));
    person.client.get("/v1/me").await.expect(200);
    // What a client calls itself is shown to its owner, as the text that it is and no longer than is useful.
    let agent = format!("<script>alert(1)</script>{}", "x".repeat(2_000));
    let body = json!({"email": person.email, "password": person.password});
    let reply = person
        .client
        .with_token(None)
        .send("POST", "/v1/auth/login", Some(&body), &[("user-agent", &agent)])
        .await;
    assert!(matches!(reply.status, 200 | 503), "{reply}");
    let listed = person.client.get("/v1/auth/sessions").await.expect(200);
    assert_eq!(listed.header("content-type"), Some("application/json"));
    assert_eq!(listed.header("x-content-type-options"), Some("nosniff"));
    for session in listed.items() {
        let length = session["user_agent"].as_str().unwrap_or_default().len();
        assert!(length <= 200, "{length} characters of a user agent");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_past_its_guard() {
    let person = Person::register(0).await;
    let token = person.client.access_token().expect("a token");
    let bearer = format!("authorization: Bearer {token}\r\n");
    for target in [
        "/v1/%6de",
        "/v1/me/",
        "/v1//me",
        "//v1/me",
        "/V1/ME",
        "/v1/./me",
        "/v1/%2e/me",
        "/v1/products/../me",
        "/v1/products/%2e%2e/me",
        "/v1/products/..%2fme",
        "/v1/products/%2e%2e%2fme",
        "/v1/products/..%5cme",
        "/v1%2fme",
        "/v1/me%00",
        "/v1/me%2f",
        "/v1/me;x=y",
        "/v1/me/export%20",
        "/v1/me/..;/me",
        "http://evil.example/v1/me",
        "/v1/me/addresses/%00",
        "/v1/me/addresses/%ff",
        "/images/..%2f..%2fcluster.toml",
        "/images/%2e%2e/%2e%2e/cluster.toml",
        "/images/..%5c..%5ccluster.toml",
        "/images/%00.svg",
        "/images/....//cluster.toml",
        "/.well-known/../v1/me",
        "/%",
        "/%zz",
        "/v1/orders/%c0%ae%c0%ae",
        "*",
    ] {
        for method in ["GET", "DELETE", "POST"] {
            let answer = asked(0, method, target, b"content-length: 0\r\n").await;
            let status = status(&answer).unwrap_or_else(|| panic!("{method} {target}: {answer}"));
            assert!(
                matches!(status, 400 | 401 | 404 | 405),
                "a stranger's {method} {target}: {answer}"
            );
            nothing_leaks(&answer);
        }
    }
    let (sku, _) = stocked(&person.client).await;
    for target in [
        format!("/v1/admin/inventory/{sku}"),
        format!("/v1/admin/inventory/{sku}/"),
        format!("/v1//admin/inventory/{sku}"),
        format!("/v1/admin//inventory/{sku}"),
        format!("/v1/admin%2finventory%2f{sku}"),
        format!("/v1/%61dmin/inventory/{sku}"),
        format!("/v1/ADMIN/inventory/{sku}"),
        format!("/v1/admin/./inventory/{sku}"),
        format!("/v1/products/../admin/inventory/{sku}"),
        format!("/v1/products/..%2fadmin%2finventory%2f{sku}"),
        format!("/v1/me/../admin/inventory/{sku}"),
        format!("/v1/admin/inventory/{sku}%2fmovements"),
        format!("/v1/admin/inventory/{sku}/movements;x"),
        format!("/v1/admin/inventory/{sku}%00"),
        format!("/v1/admin/inventory/{sku}?roles=admin"),
    ] {
        let answer = asked(1, "GET", &target, bearer.as_bytes()).await;
        let status = status(&answer).unwrap_or_else(|| panic!("{target}: {answer}"));
        assert!(
            matches!(status, 400 | 403 | 404),
            "a shopper's {target}: {answer}"
        );
        assert!(!answer.contains("on_hand"), "{target}: {answer}");
    }
    for method in ["TRACE", "CONNECT", "PROPFIND", "get", "GETT"] {
        let answer = asked(0, method, "/v1/me", bearer.as_bytes()).await;
        let status = status(&answer).unwrap_or_else(|| panic!("{method}: {answer}"));
        assert!((400..500).contains(&status), "{method}: {answer}");
        assert!(!answer.contains(token), "{method} echoes nothing: {answer}");
    }
    person.client.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn oversized_requests_disturb_nobody_else() {
    let person = Person::register(0).await;
    for (what, line) in [
        ("a long header", format!("x-junk: {}\r\n", "x".repeat(200_000))),
        (
            "a long token",
            format!("authorization: Bearer {}\r\n", "x".repeat(200_000)),
        ),
        (
            "a long cart token",
            format!("cart-token: {}\r\n", "x".repeat(200_000)),
        ),
        (
            "many headers",
            (0..500).map(|number| format!("x-{number}: x\r\n")).collect(),
        ),
    ] {
        let answer = asked(0, "GET", "/v1/me", line.as_bytes()).await;
        assert!(
            answer.is_empty() || matches!(status(&answer), Some(400 | 401 | 431)),
            "{what}: {answer}"
        );
        nothing_leaks(&answer);
    }
    for length in [100, 2_047, 2_049, 20_000] {
        for header in ["authorization", "cart-token"] {
            let value = match header {
                "authorization" => format!("Bearer {}", "a.".repeat(length / 2)),
                _ => "a".repeat(length),
            };
            let reply = stranger(1)
                .send("GET", "/v1/cart", None, &[(header, &value)])
                .await;
            assert_eq!(reply.status, 401, "{length} bytes of {header}: {reply}");
        }
    }
    let token = "A".repeat(100_000);
    for (path, body) in [
        ("/v1/auth/refresh", json!({"refresh_token": token})),
        ("/v1/auth/email/verify", json!({"token": token})),
        (
            "/v1/auth/password/forgot",
            json!({"email": format!("{token}@accounts.example")}),
        ),
        (
            "/v1/auth/login",
            json!({"email": "petra@accounts.example", "password": token}),
        ),
    ] {
        let reply = crate::shared::unhurried(&stranger(0), path, &body).await;
        // A forgotten password is no fault, whatever is said to be the address.
        let expected: &[u16] = if path.ends_with("forgot") {
            &[202]
        } else {
            &[401, 422]
        };
        assert!(expected.contains(&reply.status), "{path}: {reply}");
    }
    person.client.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_cursor_is_bound_to_list_and_caller() {
    let owner = Person::register(0).await;
    let saved = add_address(&owner.client, "Cursor").await;
    for number in 0..2 {
        orders::order(&owner, &saved, &format!("cursor-{number}")).await;
    }
    let page = owner.client.get("/v1/orders?limit=1").await.expect(200);
    let cursor = page.str("/next_cursor").to_owned();
    let purchases = eventually("two purchases show", LIMIT, async || {
        let page = owner.client.get("/v1/me/purchases?limit=1").await.expect(200);
        match page.body["next_cursor"].as_str() {
            Some(cursor) => Ok(cursor.to_owned()),
            None => Err(page),
        }
    })
    .await;
    for (path, cursor) in [("/v1/orders", &cursor), ("/v1/me/purchases", &purchases)] {
        let rest = owner
            .at(1)
            .get(&format!("{path}?cursor={cursor}"))
            .await
            .expect(200);
        assert_eq!(rest.items().len(), 1, "{rest}");
    }
    let other = Person::register(1).await;
    let guest = stranger(0).guest().await;
    let mut forged = vec![
        format!("{cursor}A"),
        cursor[1..].to_owned(),
        cursor[..cursor.len() - 1].to_owned(),
        "x".to_owned(),
        "A".repeat(500),
        "%00".to_owned(),
        "ord_1".to_owned(),
    ];
    for at in [0, cursor.len() / 2, cursor.len() - 2] {
        let mut letters = cursor.clone().into_bytes();
        letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(letters).expect("ASCII"));
    }
    let mut tries: Vec<(_, &str, &str)> = vec![
        (&other.client, "/v1/orders", &cursor),
        (&guest, "/v1/orders", &cursor),
        (&other.client, "/v1/me/purchases", &purchases),
        (&owner.client, "/v1/orders", &purchases),
        (&owner.client, "/v1/me/purchases", &cursor),
        (&owner.client, "/v1/products", &cursor),
    ];
    tries.extend(
        forged
            .iter()
            .map(|forged| (&owner.client, "/v1/orders", forged.as_str())),
    );
    for (client, path, cursor) in tries {
        let refused = client.get(&format!("{path}?cursor={cursor}")).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (400, "bad-cursor"),
            "{path}?cursor={cursor}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_thousand_slow_clients_are_disconnected() {
    const SLOW: usize = 1_000;
    let person = Person::register(0).await;
    let head = "GET /v1/me HTTP/1.1\r\nhost: shop\r\nx-slow: ";
    let body = "POST /v1/auth/login HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{\"email\":\"";
    let started = Instant::now();
    let open = async |number: usize| {
        let mut stream = TcpStream::connect(host(0)).await.expect("the node listens");
        let begun = if number.is_multiple_of(2) { head } else { body };
        stream.write_all(begun.as_bytes()).await.expect("it reads");
        stream
    };
    let mut slow = within("a thousand connections", LIMIT, join_all((0..SLOW).map(open))).await;

    let guest = cluster().client(0).calling_from(&address()).guest().await;
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        guest.get_cart().await.expect(200);
        person.client.get("/v1/me").await.expect(200);
        longest = longest.max(asked.elapsed());
    }
    login(&person.client.with_token(None), &person.email, &person.password)
        .await
        .expect(200);
    println!("with {SLOW} slow clients, the slowest of 50 pairs of requests took {longest:?}");
    assert!(
        longest < Duration::from_secs(if full() { 5 } else { 30 }),
        "{longest:?}"
    );
    // A letter now and then does not buy more time.
    for stream in &mut slow {
        let _ = stream.write_all(b"x").await;
    }
    let longest = Duration::from_secs(HEAD_SECONDS.max(BODY_SECONDS)) + LIMIT;
    let ends = join_all(slow.iter_mut().map(|stream| async {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }));
    let answers = within("the end of slow connections", longest, ends).await;
    println!("all of them were cut off after {:?}", started.elapsed());
    for (number, answer) in answers.iter().enumerate() {
        if number % 2 == 1 {
            assert_eq!(status(answer), Some(408), "{answer}");
        } else {
            assert!(answer.is_empty() || status(answer) == Some(408), "{answer}");
        }
    }
    eventually("the node is ready", LIMIT, async || {
        let reply = cluster().client(0).get("/readyz").await;
        if reply.status == 200 { Ok(()) } else { Err(reply) }
    })
    .await;
}
