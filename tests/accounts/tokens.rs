//! Every route of the table with every kind of bad token: generated from the table, so that a new route is covered
//! automatically.
//!
//! Each bad token is invalid for one reason. Where that needs the cluster's own signing key (an expired token, another
//! issuer), it is taken from the cluster's store: see [`forge::own_key`]. Further forged headers are tested beside
//! `src/authentication/tokens.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use souk::http::request::policy::Policy;
use souk::http::request::route::Endpoint;
use souk::http::routes::table;

use crate::forge;
use crate::shared::{NODES, Person, admin, cluster, refresh, revocation_limit, signed_out, stranger};
use crate::support::client::{Client, Reply};

/// The route's path with plausible values for its parameters.
fn path(route: &Endpoint) -> String {
    let prefixes = [
        ("/v1/products/{id}", "prd_1"),
        ("/v1/orders/{id}", "ord_1"),
        ("/v1/auth/sessions/{id}", "ses_1"),
        ("/v1/me/addresses/{id}", "adr_1"),
    ];
    let known = prefixes
        .iter()
        .find(|(prefix, _)| route.path.starts_with(prefix))
        .map_or("X-1", |(_, value)| value);
    route
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { known } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

/// A request without a body: authorisation comes before the body is read.
async fn call(client: &Client, route: &Endpoint) -> Reply {
    let key = [("idempotency-key", "tokens")];
    let headers = match route.repetition {
        souk::http::request::policy::Repetition::Plain => &[][..],
        _ => &key,
    };
    client
        .send(route.method.as_str(), &path(route), None, headers)
        .await
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply.status, 401 | 403)
}

#[track_caller]
fn refused(route: &Endpoint, what: &str, reply: &Reply, status: u16, kind: &str) {
    assert_eq!(
        (reply.status, reply.problem()),
        (status, kind),
        "{} {} with {what}: {reply}",
        route.method,
        route.path
    );
    assert_eq!(
        reply.header("www-authenticate").is_some(),
        status == 401,
        "{reply}"
    );
    assert!(
        reply.header("set-cookie").is_none() && reply.header("etag").is_none(),
        "a refusal carries nothing of what was refused"
    );
}

#[track_caller]
fn passed(route: &Endpoint, what: &str, reply: &Reply) {
    assert!(
        !is_refused(reply) && reply.status < 500,
        "{} {} with {what} is not refused for it: {reply}",
        route.method,
        route.path
    );
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

fn with(claims: &Value, changes: &[(&str, Value)]) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

/// All kinds of bad tokens, by what is wrong with them.
async fn forgeries() -> Vec<(&'static str, String)> {
    let cluster = cluster();
    let person = Person::register(0).await;
    let good = person.client.access_token().expect("a token").to_owned();
    let claims = forge::claims(&good);
    let kid = forge::header(&good)["kid"]
        .as_str()
        .expect("a key's id")
        .to_owned();
    let own = forge::own_key(cluster, &kid).await;
    let foreign = forge::foreign_key();
    let jwks = cluster.client(1).get("/.well-known/jwks.json").await.expect(200);
    let key = jwks.body["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|key| key["kid"] == kid)
        .unwrap_or_else(|| panic!("the key that signs is published: {jwks}"))
        .clone();
    let public = key["x"].as_str().expect("the public key").to_owned();
    let public_bytes = URL_SAFE_NO_PAD.decode(&public).expect("base64url");
    let admin = with(&claims, &[("roles", json!(["customer", "merchant", "admin"]))]);

    // The control: what is signed with the cluster's key by hand is good.
    let by_hand = forge::signed(&own, &kid, &claims);
    cluster
        .client(1)
        .with_token(Some(&by_hand))
        .get("/v1/me")
        .await
        .expect(200);

    let old = now() - 3_600;
    let expired = with(
        &claims,
        &[
            ("iat", json!(old)),
            ("nbf", json!(old)),
            ("exp", json!(old + 900)),
        ],
    );
    let later = now() + 3_600;
    let early = with(
        &claims,
        &[
            ("iat", json!(later)),
            ("nbf", json!(later)),
            ("exp", json!(later + 900)),
        ],
    );
    let tampered = forge::with_signature_of(&good, &admin);
    let somebody = with(&claims, &[("sub", json!("usr_1"))]);
    let mut nameless = claims.clone();
    nameless.as_object_mut().expect("claims").remove("sid");

    let ended = person.sign_in(1).await;
    ended
        .client
        .send("POST", "/v1/auth/logout", None, &[])
        .await
        .expect(204);
    ended.is_out().await;

    vec![
        ("an expired token", forge::signed(&own, &kid, &expired)),
        ("a token of tomorrow", forge::signed(&own, &kid, &early)),
        (
            "another issuer's token",
            forge::signed(
                &own,
                &kid,
                &with(&claims, &[("iss", json!("https://evil.example"))]),
            ),
        ),
        (
            "a token for another audience",
            forge::signed(&own, &kid, &with(&claims, &[("aud", json!("elsewhere"))])),
        ),
        ("a token of no session", forge::signed(&own, &kid, &nameless)),
        ("no algorithm", forge::unsigned("none", &good, &admin)),
        (
            "no algorithm in another spelling",
            forge::unsigned("nOnE", &good, &admin),
        ),
        ("no signature", forge::unsigned("EdDSA", &good, &admin)),
        (
            "HMAC under the public key",
            forge::by_hmac(&good, &admin, &public_bytes),
        ),
        (
            "HMAC under the public key's text",
            forge::by_hmac(&good, &admin, public.as_bytes()),
        ),
        (
            "HMAC under the published key",
            forge::by_hmac(&good, &admin, key.to_string().as_bytes()),
        ),
        ("tampered roles", tampered),
        ("somebody else's name", forge::with_signature_of(&good, &somebody)),
        (
            "a foreign key under our name",
            forge::signed(&foreign, &kid, &admin),
        ),
        (
            "a foreign key under its own name",
            forge::signed(&foreign, "foreign", &admin),
        ),
        (
            "a revoked session's token",
            ended.client.access_token().expect("a token").to_owned(),
        ),
        ("a refresh token", person.refresh_token.clone()),
        ("the operator's token", cluster.token().to_owned()),
        ("garbage", "x".to_owned()),
        ("nothing after the scheme", String::new()),
        ("dots", "..".to_owned()),
        ("a token and a half", format!("{good}.{good}")),
        ("a long token", "A".repeat(5_000)),
    ]
}

#[tokio::test]
async fn no_route_takes_a_token_that_is_not_good() {
    let forgeries = forgeries().await;
    for (number, route) in table().into_iter().map(|route| route.endpoint).enumerate() {
        let route = &route;
        for (what, token) in &forgeries {
            let client = stranger(number % NODES);
            // As text: an empty token is one too.
            let bearer = format!("Bearer {token}");
            let reply = client
                .send(
                    route.method.as_str(),
                    &path(route),
                    None,
                    &[("authorization", &bearer)],
                )
                .await;
            if route.policy == Policy::Public {
                passed(route, what, &reply);
            } else {
                refused(route, what, &reply, 401, "bad-token");
                assert!(!reply.text.contains("evil"), "a forger learns nothing: {reply}");
            }
        }
    }
}

#[tokio::test]
async fn a_cart_token_does_not_excuse_a_bad_access_token() {
    let guest = stranger(0).guest().await;
    for route in table().into_iter().map(|route| route.endpoint) {
        if route.policy == Policy::Public {
            continue;
        }
        for bearer in ["Bearer x", "Bearer", "Basic eDp5", "Token x"] {
            let reply = guest
                .send(
                    route.method.as_str(),
                    &path(&route),
                    None,
                    &[("authorization", bearer)],
                )
                .await;
            refused(&route, bearer, &reply, 401, "bad-token");
        }
    }
}

#[tokio::test]
async fn without_a_token_only_what_is_open_is_open() {
    for (number, route) in table().into_iter().map(|route| route.endpoint).enumerate() {
        let route = &route;
        let nobody = stranger(number % NODES);
        let reply = call(&nobody, route).await;
        match route.policy {
            Policy::Public | Policy::Optional => passed(route, "no token", &reply),
            Policy::Shopper | Policy::Account | Policy::Merchant | Policy::Admin => {
                refused(route, "no token", &reply, 401, "unauthorised");
            }
        }
        let forged = call(&nobody.with_cart(Some("made-up")), route).await;
        match route.policy {
            Policy::Public => passed(route, "a made-up cart token", &forged),
            _ => refused(route, "a made-up cart token", &forged, 401, "bad-cart-token"),
        }
        let guest = call(&nobody.guest().await, route).await;
        match route.policy {
            Policy::Public | Policy::Optional | Policy::Shopper => passed(route, "a cart token", &guest),
            Policy::Account | Policy::Merchant | Policy::Admin => {
                refused(route, "a cart token", &guest, 401, "unauthorised");
            }
        }
    }
}

#[tokio::test]
async fn each_role_passes_where_it_may_and_nowhere_else() {
    let mut person = Person::register(0).await;
    person.step_up().await;
    for (number, route) in table().into_iter().map(|route| route.endpoint).enumerate() {
        let route = &route;
        let client = person.at(number % NODES);
        let reply = call(&client, route).await;
        match route.policy {
            Policy::Merchant | Policy::Admin => {
                refused(route, "a customer's token", &reply, 403, "forbidden")
            }
            _ => passed(route, "a customer's token", &reply),
        }
        // Some routes end the session that calls them; that is found out rather than listed.
        if client.get("/v1/me").await.status == 401 {
            person = Person::register(0).await;
            person.step_up().await;
        }
        // Where a role is asked for, those who have it are let in, so that the refusals above are about the role.
        if matches!(route.policy, Policy::Merchant | Policy::Admin) {
            let reply = call(&admin(number % NODES).await, route).await;
            passed(route, "an admin's token", &reply);
        }
    }
}

#[tokio::test]
async fn a_logout_reaches_every_node_in_time() {
    for node in 0..NODES {
        let other = (node + 1) % NODES;
        let person = Person::register(node).await;
        let [out, ended, kept] = [
            person.sign_in(node).await,
            person.sign_in(other).await,
            person.sign_in(node).await,
        ];
        // At the node that is asked, at once.
        out.at(node)
            .send("POST", "/v1/auth/logout", None, &[])
            .await
            .expect(204);
        out.at(node).get("/v1/me").await.expect_problem(401, "bad-token");
        signed_out(&out.at(other), revocation_limit()).await;

        let path = format!("/v1/auth/sessions/{}", ended.session());
        kept.at(node).delete(&path).await.expect(204);
        ended
            .at(node)
            .get("/v1/me")
            .await
            .expect_problem(401, "bad-token");
        signed_out(&ended.at(other), revocation_limit()).await;

        for session in [&person, &kept] {
            for node in 0..NODES {
                session.at(node).get("/v1/me").await.expect(200);
            }
        }
        let pair = refresh(&kept.client, &kept.refresh_token).await.expect(200);
        kept.client
            .with_token(Some(pair.str("/access_token")))
            .get("/v1/me")
            .await
            .expect(200);
    }
}
