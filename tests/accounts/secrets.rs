//! Passwords, tokens and personal data must appear neither in logs nor in errors.

use std::fs;

use serde_json::{Value, json};

use crate::orders;
use crate::shared::{
    About, LIMIT, NODES, Person, add_address, cluster, code, emails, login, refresh, secret, secrets,
    stranger, unhurried,
};
use crate::support::client::{Client, Reply};
use crate::support::waiting::eventually;

/// Error replies, each with its request.
#[derive(Default)]
struct Seen(Vec<(String, Reply)>);

impl Seen {
    async fn raw(&mut self, client: &Client, method: &str, path: &str, body: String) {
        let reply = client
            .send_raw(method, path, Some("application/json"), body)
            .await;
        self.note(method, path, reply);
    }

    async fn send(&mut self, client: &Client, method: &str, path: &str, body: &Value) {
        let key = format!("secrets-{}", self.0.len());
        let reply = client
            .send(method, path, Some(body), &[("idempotency-key", &key)])
            .await;
        self.note(method, path, reply);
    }

    fn note(&mut self, method: &str, path: &str, reply: Reply) {
        assert!((400..500).contains(&reply.status), "{method} {path}: {reply}");
        reply.problem();
        self.0.push((format!("{method} {path}"), reply));
    }
}

/// Sends all kinds of secrets where they belong.
async fn traffic() -> (Person, Vec<String>) {
    let email = "petra.hidden@accounts.example";
    let password = "Heliotrope-Walrus-Cabinet";
    let person = Person::register_with(&stranger(0), email, password).await;
    let again = person.sign_in(1).await;
    let pair = refresh(&again.client, &again.refresh_token).await.expect(200);
    let again = again.client.with_token(Some(pair.str("/access_token")));
    again
        .patch(
            "/v1/me",
            &json!({"name": "Petra Unmentioned", "phone": "+1 217 555 0199"}),
        )
        .await
        .expect(200);
    let proof = code(email, About::Verification, None).await;
    person
        .client
        .post("/v1/auth/email/verify", &json!({"token": proof}))
        .await
        .expect(204);
    let address = add_address(&person.client, "Unmentionable").await;
    orders::order(&person, &address, "secret-order").await;
    let guest = stranger(1).guest().await;
    let cart = guest.cart_token().expect("a guest has a token").to_owned();
    secret(&cart);
    person
        .client
        .post("/v1/cart/merge", &json!({"cart_token": cart}))
        .await
        .expect(200);
    person.step_up().await;
    person.client.get("/v1/me/export").await.expect(200);
    let forgot = json!({"email": email});
    stranger(1)
        .post("/v1/auth/password/forgot", &forgot)
        .await
        .expect(202);
    let reset = code(email, About::Reset, None).await;
    let own = [
        email,
        "petra.hidden",
        password,
        "Unmentioned",
        "555 0199",
        "Unmentionable",
        &cart,
        &proof,
        &reset,
        pair.str("/refresh_token"),
        pair.str("/access_token"),
        &person.refresh_token,
        person.client.access_token().expect("a token"),
        "tok_unmentionable",
        "98765432109876",
    ]
    .map(str::to_owned);
    (person, own.into())
}

/// Sends all kinds of secrets where they do not belong.
async fn errors(person: &Person, own: &[String]) -> Seen {
    let mut seen = Seen::default();
    let nobody = stranger(0);
    let (email, password) = (&person.email, &person.password);
    for value in own {
        let quoted = json!(value).to_string();
        for path in [
            "/v1/auth/login",
            "/v1/auth/register",
            "/v1/auth/refresh",
            "/v1/auth/password/forgot",
            "/v1/auth/password/reset",
            "/v1/auth/password/change",
            "/v1/auth/step-up",
            "/v1/auth/email/verify",
        ] {
            seen.raw(&nobody, "POST", path, quoted.clone()).await;
            seen.raw(&nobody, "POST", path, format!("[{quoted}]")).await;
            seen.raw(
                &nobody,
                "POST",
                path,
                format!("{{\"email\":{quoted},\"password\":{quoted}"),
            )
            .await;
            for field in [
                "email",
                "password",
                "current_password",
                "refresh_token",
                "token",
                "name",
            ] {
                for wrong in [
                    json!({field: [value]}),
                    json!({field: {"x": value}}),
                    json!({field: 98_765_432_109_876_i64}),
                ] {
                    seen.send(&nobody, "POST", path, &wrong).await;
                }
            }
        }
        let client = &person.client;
        for field in [
            "address",
            "payment",
            "email",
            "expected_total",
            "address_id",
            "shipping_option",
        ] {
            let mut order = crate::support::client::submission("tok_ok");
            if field == "address_id" {
                order.as_object_mut().expect("an object").remove("address");
            }
            order[field] = json!(value);
            if field == "email" && value.contains("@accounts") {
                order[field] = json!(format!("{value} and {value}"));
            }
            seen.send(client, "POST", "/v1/orders", &order).await;
        }
        for (pointer, field) in [
            ("/payment", "gateway"),
            ("/payment", "token"),
            ("/address", "country"),
        ] {
            let mut order = crate::support::client::submission("tok_ok");
            let part = order.pointer_mut(pointer).expect("a part of an order");
            part[field] = json!(format!("{value} {value}"));
            seen.send(client, "POST", "/v1/orders", &order).await;
        }
        for (method, path) in [
            ("PATCH", "/v1/me"),
            ("POST", "/v1/me/addresses"),
            ("PUT", "/v1/me/notification-preferences"),
            ("POST", "/v1/cart/items"),
            ("POST", "/v1/cart/merge"),
            ("PUT", "/v1/cart/items/X-1"),
        ] {
            for wrong in [
                json!(value),
                json!({"name": [value], "quantity": value, "cart_token": [value], "orders": value}),
                json!({"phone": value, "country": value, "sku": [value], "cart_token": {"x": value}}),
            ] {
                seen.send(client, method, path, &wrong).await;
            }
        }
        if value.is_ascii() && !value.contains(' ') {
            for path in [
                format!("/v1/orders/{value}"),
                format!("/v1/{value}"),
                format!("/v1/orders?cursor={value}"),
                format!("/v1/products?limit={value}"),
                format!("/v1/products?sort={value}"),
            ] {
                let reply = client.get(&path).await;
                seen.note("GET", &path, reply);
            }
            let forged = format!("Bearer {value}x");
            let reply = nobody
                .send("GET", "/v1/me", None, &[("authorization", &forged)])
                .await;
            seen.note("GET", "/v1/me", reply);
            let reply = nobody.with_cart(Some(&format!("{value}x"))).get_cart().await;
            seen.note("GET", "/v1/cart", reply);
        }
    }
    let wrong = login(&nobody, email, "Heliotrope-Walrus-Cupboard").await;
    seen.note("POST", "/v1/auth/login", wrong);
    let body = json!({"email": email, "password": password, "name": "Petra Unmentioned"});
    let taken = unhurried(&nobody, "/v1/auth/register", &body).await;
    seen.note("POST", "/v1/auth/register", taken);
    let spent = refresh(&nobody, &person.refresh_token[1..]).await;
    seen.note("POST", "/v1/auth/refresh", spent);
    person.client.add("NO-SUCH", 1).await.expect(404);
    seen
}

/// Whether the files of the embedded stores contain any of these bytes.
fn in_stores(hidden: &[String]) -> Option<String> {
    let files = fs::read_dir(cluster().data().join("stores")).expect("there are stores");
    for path in files.flatten().map(|entry| entry.path()) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !(name.ends_with(".db") || name.ends_with(".db-wal")) {
            continue;
        }
        let bytes = fs::read(&path).expect("a store's file can be read");
        // Whatever is no ASCII becomes something else that is none: what is looked for is.
        let text: String = bytes
            .iter()
            .map(|byte| {
                if byte.is_ascii() {
                    char::from(*byte)
                } else {
                    '\u{fffd}'
                }
            })
            .collect();
        if let Some(found) = hidden.iter().find(|hidden| text.contains(hidden.as_str())) {
            return Some(format!("{found} in {name}"));
        }
    }
    None
}

#[tokio::test]
async fn no_store_holds_a_password_or_a_token() {
    let client = stranger(0);
    let password = "Marmalade-Turbine-Violet";
    let body =
        json!({"email": "petra.stored@accounts.example", "password": password, "name": "Petra Example"});
    let opened = eventually("the registration is not busy", LIMIT, async || {
        let keyed = [("idempotency-key", "stored")];
        let reply = client
            .send("POST", "/v1/auth/register", Some(&body), &keyed)
            .await;
        if reply.status == 503 {
            Err(reply)
        } else {
            Ok(reply)
        }
    })
    .await
    .expect(201);
    let forgot = json!({"email": "petra.stored@accounts.example"});
    client.post("/v1/auth/password/forgot", &forgot).await.expect(202);
    let reset = code("petra.stored@accounts.example", About::Reset, None).await;
    let id = opened.str("/user/id").to_owned();
    assert!(in_stores(&[id]).is_some(), "what is kept in clear is found");
    let sent = serde_json::to_vec(&body).expect("JSON");
    let hidden = [
        password.to_owned(),
        opened.str("/access_token").to_owned(),
        opened.str("/refresh_token").to_owned(),
        reset,
        // Hashes of the body that are no slower to try than a list of passwords is long.
        souk::digest::of_parts(&[&sent]),
        hex::encode(souk::digest::sha256(&sent)),
        hex::encode(souk::digest::sha256(password.as_bytes())),
    ];
    assert_eq!(in_stores(&hidden), None);
}

#[tokio::test]
async fn logs_and_errors_show_no_secrets() {
    let (person, own) = traffic().await;
    let seen = errors(&person, &own).await;
    assert!(seen.0.len() > 500, "{} errors", seen.0.len());
    for (request, reply) in &seen.0 {
        for hidden in &own {
            assert!(
                !reply.text.contains(hidden.as_str()),
                "the answer to {request} shows {hidden:?}: {reply}"
            );
        }
        for inside in [
            "struct ", "souk::", "src/", ".rs:", "SELECT", "argon2", "panicked",
        ] {
            assert!(!reply.text.contains(inside), "{request}: {reply}");
        }
    }
    assert_eq!(emails(&person.email, About::Reset).len(), 1);

    // Whatever the other tests have sent until now, too.
    let mut hidden = secrets();
    hidden.extend(own);
    hidden.retain(|text| text.len() >= 8);
    let folder = cluster().data().join("logs");
    let mut read = 0;
    for entry in fs::read_dir(&folder).expect("there are logs").flatten() {
        let bytes = fs::read(entry.path()).expect("a log can be read");
        let log = String::from_utf8_lossy(&bytes);
        for line in log.lines() {
            let found = hidden.iter().find(|text| line.contains(text.as_str()));
            assert!(
                found.is_none(),
                "{} shows {found:?}: {line}",
                entry.path().display()
            );
        }
        read += log.lines().count();
    }
    assert!(read > 100 * NODES, "the logs were talkative: {read} lines");
}
