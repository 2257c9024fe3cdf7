//! Login and registration reveal no accounts and limit guesses.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::shared::{
    NODES, Person, address, cluster, fresh_email, fresh_password, login, postal, secret, stranger, unhurried,
};
use crate::support::client::Reply;

/// Failed logins of one account from one address that are never throttled.
const ALWAYS: usize = 5;
/// By then the next attempt is refused, even if a counting window ended meanwhile.
const NEVER: usize = 2 * ALWAYS + 1;
/// The same for one account from any address.
const NEVER_ANYWHERE: usize = 2 * 50 + 1;

/// The members of a problem's body, without the request's id.
fn shape(reply: &Reply) -> Value {
    let mut body = reply.body.clone();
    body["instance"] = Value::Null;
    body
}

#[tokio::test]
async fn unknown_accounts_and_wrong_passwords_look_alike() {
    const PAIRS: usize = 15;
    let person = Person::register(0).await;
    let client = stranger(0);
    let mut times = [Vec::new(), Vec::new()];
    let mut shapes = Vec::new();
    for number in 0..PAIRS {
        for (kind, email) in [person.email.clone(), fresh_email()].into_iter().enumerate() {
            let client = client.calling_from(&address());
            let started = Instant::now();
            let body = json!({"email": email, "password": format!("Wrong-Guess-{number}")});
            let reply = client.post("/v1/auth/login", &body).await;
            times[kind].push(started.elapsed());
            // One that met a full queue is as slow as that queue.
            if reply.status == 503 {
                times[kind].pop();
                continue;
            }
            let refused = reply.expect_problem(401, "bad-credentials");
            assert!(refused.header("www-authenticate").is_some(), "{refused}");
            shapes.push((shape(&refused), refused.text.len()));
        }
    }
    shapes.dedup();
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let [known, unknown] = &mut times;
    assert!(
        known.len() > PAIRS / 2 && unknown.len() > PAIRS / 2,
        "too busy to tell"
    );
    let (known, unknown) = (median(known), median(unknown));
    println!("median of a login: {known:?} with an account, {unknown:?} without");
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!(
        (0.33..3.0).contains(&ratio),
        "{known:?} with an account, {unknown:?} without"
    );
    for odd in [
        "",
        "x",
        "no address",
        &format!("{}@accounts.example", "x".repeat(300)),
        "petra\u{430}@accounts.example",
    ] {
        let body = json!({"email": odd, "password": "Wrong-Guess-at-all"});
        let refused = unhurried(&client, "/v1/auth/login", &body).await;
        refused.expect_problem(401, "bad-credentials");
    }
}

#[tokio::test]
async fn an_address_that_is_any_case_of_ones_own_signs_in() {
    let person = Person::register(0).await;
    let opened = login(&stranger(1), &person.email.to_uppercase(), &person.password)
        .await
        .expect(200);
    assert_eq!(opened.str("/user/email"), person.email, "as it was registered");
    for password in [
        person.password.to_lowercase(),
        format!("{} ", person.password),
        person.password[1..].to_owned(),
        "x".repeat(10_000),
    ] {
        login(&stranger(1), &person.email, &password)
            .await
            .expect_problem(401, "bad-credentials");
    }
}

#[tokio::test]
async fn failed_logins_are_counted_across_nodes() {
    let person = Person::register(0).await;
    let at = address();
    let fail = async |number: usize| {
        let client = cluster().client(number % NODES).calling_from(&at);
        login(&client, &person.email, "Wrong-Guess-Again").await
    };
    let mut looked_at = 0;
    let throttled = loop {
        let reply = fail(looked_at).await;
        if reply.status == 429 {
            break reply;
        }
        reply.expect_problem(401, "bad-credentials");
        looked_at += 1;
        assert!(looked_at <= NEVER, "{looked_at} failures were looked at");
    };
    assert!(looked_at >= ALWAYS, "after {looked_at} failures: {throttled}");
    let throttled = throttled.expect_problem(429, "too-many-requests");
    let wait: u64 = throttled
        .header("retry-after")
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no Retry-After: {throttled}"));
    assert!((1..=24 * 3_600).contains(&wait), "{throttled}");
    // Nobody else is kept out: not the account from elsewhere, and no other account from here.
    login(&stranger(1), &person.email, &person.password)
        .await
        .expect(200);
    let other = Person::register_with(
        &cluster().client(1).calling_from(&at),
        &fresh_email(),
        &fresh_password(),
    )
    .await;
    login(&other.client.with_token(None), &other.email, &other.password)
        .await
        .expect(200);
    // A good login clears the count of mistypings.
    let typo = Person::register(0).await;
    for _ in 0..3 {
        for _ in 0..ALWAYS - 2 {
            login(&typo.client.with_token(None), &typo.email, "Wrong-Guess-Again")
                .await
                .expect_problem(401, "bad-credentials");
        }
        login(&typo.client.with_token(None), &typo.email, &typo.password)
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn failed_logins_elsewhere_do_not_lock_the_owner_out() {
    let person = Person::register(0).await;
    let mut looked_at = 0;
    loop {
        let reply = login(&stranger(looked_at % NODES), &person.email, "Wrong-Guess-Again").await;
        if reply.status == 401 {
            reply.expect_problem(401, "bad-credentials");
            looked_at += 1;
            assert!(looked_at <= NEVER_ANYWHERE, "{looked_at} failures were looked at");
            continue;
        }
        reply.expect_problem(429, "too-many-requests");
        // Not even with the right password; but where the window of the count has ended just now, it begins anew.
        let owner = login(&stranger(0), &person.email, &person.password).await;
        if owner.status == 429 {
            break;
        }
        owner.expect(200);
    }
    // At the address of the session that the account was opened with.
    for node in 0..NODES {
        login(&person.at(node).with_token(None), &person.email, &person.password)
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn an_address_has_one_account_in_any_spelling() {
    let person = Person::register(0).await;
    for (node, email) in [person.email.clone(), person.email.to_uppercase()]
        .into_iter()
        .enumerate()
    {
        let body = json!({"email": email, "password": fresh_password(), "name": "Somebody"});
        let refused = unhurried(&stranger(node), "/v1/auth/register", &body)
            .await
            .expect_problem(409, "email-taken");
        for hidden in [&person.id, &person.name, &person.email] {
            assert!(!refused.text.contains(hidden.as_str()), "{refused}");
        }
    }
    let email = fresh_email();
    let race = (0..6).map(|number| {
        let email = if number % 3 == 0 {
            email.to_uppercase()
        } else {
            email.clone()
        };
        let body = json!({"email": email, "password": fresh_password(), "name": "Racer"});
        async move { unhurried(&stranger(number % NODES), "/v1/auth/register", &body).await }
    });
    let mut statuses: Vec<_> = futures::future::join_all(race)
        .await
        .into_iter()
        .map(|reply| reply.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn lookalike_and_invalid_addresses_are_refused() {
    let good = json!({"email": "x", "password": fresh_password(), "name": "Somebody"});
    for email in [
        // Cyrillic, a Kelvin sign, full width, a combining accent, a zero-width joiner, another script's domain.
        "p\u{435}tra@accounts.example",
        "\u{212a}ate@accounts.example",
        "\u{ff50}etra@accounts.example",
        "pe\u{301}tra@accounts.example",
        "pe\u{200d}tra@accounts.example",
        "petra@\u{430}ccounts.example",
        "petra\u{202e}@accounts.example",
        "",
        "petra",
        "@accounts.example",
        "petra@",
        "petra@accounts.example\r\nBcc: thief@evil.example",
        "petra@accounts.example, thief@evil.example",
        "\"petra\"@accounts.example",
        "petra@accounts.example\u{0}",
        " petra@accounts.example",
        "petra@[127.0.0.1]",
    ] {
        let mut body = good.clone();
        body["email"] = json!(email);
        let refused = unhurried(&stranger(0), "/v1/auth/register", &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), ["email"], "{email:?}: {refused}");
    }
}

#[tokio::test]
async fn guessable_passwords_are_refused_everywhere() {
    let email = fresh_email();
    let local = email.split('@').next().expect("an address").to_owned();
    for (password, email) in [
        ("", email.as_str()),
        ("Short-One", &email),
        ("password123", &email),
        ("PassWord1234", &email),
        ("qwertyuiop", &email),
        ("1234567890", &email),
        ("aaaaaaaaaaaa", &email),
        (&email, &email),
        (&email.to_uppercase(), &email),
        (
            &format!("{local}-extended"),
            &format!("{local}-extended@accounts.example"),
        ),
        ("Somebody Example", &email),
        (&"long ".repeat(100), &email),
    ] {
        let body = json!({"email": email, "password": password, "name": "Somebody Example"});
        let refused = unhurried(&stranger(1), "/v1/auth/register", &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), ["password"], "{password:?}: {refused}");
        assert!(
            password.is_empty() || !refused.text.contains(password),
            "{refused}"
        );
    }
    // Length is what counts; letters of any script, and spaces, are as good as others.
    let phrase = "пароль для магазина 🙂";
    secret(phrase);
    let person = Person::register_with(&stranger(0), &email, phrase).await;
    login(&person.client.with_token(None), &email, phrase)
        .await
        .expect(200);
}

#[tokio::test]
async fn protected_fields_are_refused_in_every_body() {
    let person = Person::register(0).await;
    let client = &person.client;
    let address = crate::shared::add_address(client, "Assigned").await;
    let with = |body: &Value, name: &str, value: &Value| {
        let mut body = body.clone();
        body[name] = value.clone();
        body
    };
    let register = json!({"email": fresh_email(), "password": fresh_password(), "name": "Somebody"});
    let credentials = json!({"email": person.email, "password": person.password});
    let preferences = client
        .get("/v1/me/notification-preferences")
        .await
        .expect(200)
        .body;
    let bodies = [
        ("POST", "/v1/auth/register".to_owned(), register),
        ("POST", "/v1/auth/login".to_owned(), credentials),
        (
            "POST",
            "/v1/auth/refresh".to_owned(),
            json!({"refresh_token": person.refresh_token}),
        ),
        (
            "POST",
            "/v1/auth/password/forgot".to_owned(),
            json!({"email": person.email}),
        ),
        (
            "POST",
            "/v1/auth/password/reset".to_owned(),
            json!({"token": "x", "password": fresh_password()}),
        ),
        ("POST", "/v1/auth/email/verify".to_owned(), json!({"token": "x"})),
        ("PATCH", "/v1/me".to_owned(), json!({"name": "Somebody"})),
        ("POST", "/v1/me/addresses".to_owned(), postal("Assigned")),
        (
            "PATCH",
            format!("/v1/me/addresses/{address}"),
            json!({"city": "X"}),
        ),
        ("PUT", "/v1/me/notification-preferences".to_owned(), preferences),
    ];
    for (method, path, body) in &bodies {
        for (name, value) in [
            ("roles", json!(["admin"])),
            ("role", json!("admin")),
            ("email_verified", json!(true)),
            ("id", json!("usr_1")),
            ("user_id", json!("usr_1")),
            ("version", json!(99)),
            ("created_at", json!("2020-01-01T00:00:00Z")),
            ("credential", json!("x")),
            ("__proto__", json!({"roles": ["admin"]})),
        ] {
            let body = with(body, name, &value);
            let refused = client.send(method, path, Some(&body), &[]).await;
            let refused = refused.expect_problem(422, "validation");
            assert_eq!(refused.blamed(), [name], "{method} {path}: {refused}");
        }
    }
    for field in ["email", "password"] {
        let refused = client
            .patch("/v1/me", &json!({field: "x@accounts.example"}))
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [field], "{refused}");
    }
    let me = client.get("/v1/me").await.expect(200);
    assert_eq!(
        (&me.body["roles"], &me.body["email_verified"], me.i64("/version")),
        (&json!(["customer"]), &json!(false), 1),
        "{me}"
    );
    client
        .get("/v1/admin/inventory/X-1")
        .await
        .expect_problem(403, "forbidden");
}
