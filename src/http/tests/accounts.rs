//! Accounts as clients meet them: who sees whose, and what goes on when a client has gone away.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;

use super::client::{Client, Reply, submission};
use crate::actors::region::Ask;
use crate::authentication::service::Accounts;
use crate::gateways::mail::{Email, MailError, Mailer};
use crate::http::test_support::{NOW, accounts};
use crate::stores::TokenHash;
use crate::stores::codes::Purpose;
use crate::stores::documents::{Document, DocumentWrite};
use crate::traces::captured::CapturedLog;
use souk_domain::account::{Role, email_key};
use souk_domain::{EmailAddress, OrderCommand, OrderId, PaymentId, UserId};

const PASSWORD: &str = "a long sentence of mine";

async fn sign_up(client: &Client, email: &str) -> (UserId, String) {
    let body = json!({"email": email, "password": PASSWORD, "name": "Somebody"});
    let opened = client.send("POST", "/v1/auth/register", Some(body), &[]).await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    let text = |pointer: &str| opened.body.pointer(pointer).unwrap().as_str().unwrap();
    let user = UserId::parse(text("/user/id")).unwrap();
    (user, format!("Bearer {}", text("/access_token")))
}

async fn sign_in(client: &Client, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    client.send("POST", "/v1/auth/login", Some(body), &[]).await
}

/// Confirms the password.
async fn step_up(client: &Client, mine: &[(&str, &str)]) {
    let body = json!({"password": PASSWORD});
    let reply = client.send("POST", "/v1/auth/step-up", Some(body), mine).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// A code as e-mails hold them.
async fn code(accounts: &Accounts, purpose: Purpose, user: &UserId, token: &'static str) -> &'static str {
    let hash = TokenHash::of(token);
    let expires_at = NOW.plus(Duration::from_secs(60));
    accounts
        .codes
        .issue(purpose, &hash, user, expires_at)
        .await
        .unwrap();
    token
}

/// Until nothing goes on behind replies.
async fn settled(client: &Client) {
    while !client.background.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entity_tags_do_not_match_across_accounts() {
    let client = Client::new().await;
    let (_, ada) = sign_up(&client, "ada@example.org").await;
    let (_, bob) = sign_up(&client, "bob@example.org").await;
    for path in ["/v1/me", "/v1/cart"] {
        let get = async |token: &str, tag: &str| {
            let headers = [("authorization", token), ("if-none-match", tag)];
            client.send("GET", path, None, &headers).await
        };
        let hers = get(&ada, "\"\"").await;
        assert_eq!(hers.status, 200, "{path}");
        assert_eq!(hers.header("vary"), Some("authorization, cart-token"), "{path}");
        let tag = hers.header("etag").unwrap();
        assert_eq!(get(&ada, tag).await.status, 304, "{path}");
        let his = get(&bob, tag).await;
        assert_eq!(his.status, 200, "{path}");
        assert_eq!(his.body["version"], hers.body["version"], "{path}");
        assert_ne!(his.body["id"], hers.body["id"], "{path}");
    }
    let mine = [("authorization", ada.as_str())];
    for (path, kept) in [("/v1/me", "no-store"), ("/v1/cart", "private, no-cache")] {
        let reply = client.send("GET", path, None, &mine).await;
        assert_eq!(reply.header("cache-control"), Some(kept), "{path}");
    }
    let refused = client
        .send("GET", "/v1/me", None, &[("authorization", "Bearer x")])
        .await;
    assert_eq!((refused.status, refused.problem()), (401, "bad-token"));
    assert_eq!(refused.header("vary"), Some("authorization, cart-token"));
    let public = client.send("GET", "/v1/categories", None, &mine).await;
    assert_eq!(public.header("vary"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_reset_completes_after_a_disconnect() {
    let accounts = accounts().await;
    let client = Client::of(Arc::clone(&accounts)).await;
    let (ada, _) = sign_up(&client, "ada@example.org").await;
    settled(&client).await;
    let before = accounts.sessions.list(&ada, NOW).await.unwrap();
    let token = code(&accounts, Purpose::PasswordReset, &ada, "reset-code").await;
    let body = json!({"token": token, "password": "another long sentence"});
    let request = Request::post("/v1/auth/password/reset")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let mut asked = Box::pin(client.router.clone().oneshot(request));
    while client.background.is_empty() {
        tokio::select! {
            biased;
            _ = &mut asked => panic!("answered before anybody could hang up"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    drop(asked);
    settled(&client).await;
    let sessions = accounts.sessions.list(&ada, NOW).await.unwrap();
    assert!(
        sessions.iter().all(|session| !before.contains(session)),
        "{sessions:?}"
    );
    assert_eq!(sign_in(&client, "ada@example.org", PASSWORD).await.status, 401);
    let back = sign_in(&client, "ada@example.org", "another long sentence").await;
    assert_eq!(back.status, 200, "{}", back.body);
}

/// Never finishes sending an e-mail.
struct Stuck;

#[async_trait::async_trait]
impl Mailer for Stuck {
    async fn send(&self, _: &Email) -> Result<(), MailError> {
        std::future::pending().await
    }

    async fn forget(&self, _: &EmailAddress) -> Result<(), MailError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_does_not_wait_for_email() {
    let mut accounts = Arc::into_inner(accounts().await).unwrap();
    // The mailer that is replaced keeps the folder of the stores.
    let _mailer = std::mem::replace(&mut accounts.mailer, Arc::new(Stuck));
    let client = Client::of(Arc::new(accounts)).await;
    let opened = tokio::time::timeout(Duration::from_secs(8), sign_up(&client, "ada@example.org"));
    opened.await.expect("registration waits for an e-mail");
    assert_eq!(client.background.len(), 1, "the e-mail is sent after the reply");
}

#[tokio::test(flavor = "multi_thread")]
async fn guest_orders_wait_until_their_owner_claims_them() {
    let accounts = accounts().await;
    let client = Client::of(Arc::clone(&accounts)).await;
    client.add("A-1", 1).await;
    let placed = client.place("guest", submission()).await;
    let id = placed.body["id"].as_str().unwrap();
    let path = format!("/v1/orders/{id}");
    let key = email_key(&EmailAddress::parse("ada@example.org").unwrap());
    let guest = accounts.guests.name(&key);
    accounts
        .users
        .put_guest_order(&guest, &OrderId::parse(id).unwrap(), NOW)
        .await
        .unwrap();

    let (ada, token) = sign_up(&client, "ada@example.org").await;
    let (_, bob) = sign_up(&client, "bob@example.org").await;
    let verify = async |code: &str, headers: &[(&str, &str)]| {
        let body: Value = json!({"token": code});
        let path = "/v1/auth/email/verify";
        client.send("POST", path, Some(body), headers).await.status
    };
    let claim = async |token: &str| {
        let path = format!("/v1/me/claimable-orders/{id}");
        let headers = [("authorization", token)];
        client.send("POST", &path, None, &headers).await.status
    };
    // The reader of the e-mail need not be who opened the account: the code proves nothing for a stranger, nor for
    // another account, and it is not spent by them.
    let proof = code(&accounts, Purpose::EmailVerification, &ada, "proof").await;
    assert_eq!(verify(proof, &[]).await, 401);
    assert_eq!(verify(proof, &[("authorization", bob.as_str())]).await, 422);
    for token in [&token, &bob] {
        assert_eq!(claim(token).await, 404);
    }
    assert_eq!(verify(proof, &[("authorization", token.as_str())]).await, 204);
    assert_eq!(claim(&bob).await, 404);
    // Proven, it is not the account's before its owner says so.
    let mine = [("authorization", token.as_str())];
    assert_eq!(client.send("GET", &path, None, &mine).await.status, 404);
    assert_eq!(client.send("GET", &path, None, &[]).await.status, 200);
    for _ in 0..2 {
        assert_eq!(claim(&token).await, 200);
    }
    assert_eq!(client.send("GET", &path, None, &mine).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_placed_during_erasure_are_anonymised() {
    let client = Client::new().await;
    let (ada, token) = sign_up(&client, "ada@example.org").await;
    let mine = [("authorization", token.as_str())];
    let body = json!({"sku": "A-1", "quantity": 1});
    client.send("POST", "/v1/cart/items", Some(body), &mine).await;
    let headers = [("authorization", token.as_str()), ("idempotency-key", "late")];
    let placed = client
        .send("POST", "/v1/orders", Some(submission()), &headers)
        .await;
    let id = placed.body["id"].as_str().unwrap();
    step_up(&client, &mine).await;
    // Not listed yet: the erasure does not find it at first. Then its checkout is under way.
    let erased = client.send("DELETE", "/v1/me", None, &mine).await;
    assert_eq!(erased.status, 204, "{}", erased.body);
    let write = DocumentWrite {
        document: Document {
            id: id.to_owned(),
            shard: 0,
            version: 1,
            fence: 0,
            due_at: None,
            owner: Some(ada.as_str().to_owned()),
            body: json!({"state": crate::http::test_support::placed(id, "crt_1"), "answered": []})
                .to_string(),
        },
        expected: 0,
        events: Vec::new(),
    };
    client.listed.write("mark", &[write]).await.unwrap();
    let payment = PaymentId::from_suffix("1");
    client.drive(id, OrderCommand::Confirm { payment }).await;
    let finish = OrderCommand::Finish {
        captured: true,
        steps: Vec::new(),
    };
    client.drive(id, finish).await;
    settled(&client).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    let look = Ask::new(OrderCommand::Get, deadline, Arc::from(""));
    let order = client.regions.orders.ask(id, look).await.unwrap().view.unwrap();
    assert_eq!(order.placement.email, EmailAddress::erased());
    assert_eq!(order.placement.payment.token, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_address_is_not_removed() {
    let client = Client::new().await;
    let (_, token) = sign_up(&client, "ada@example.org").await;
    let send = async |method: &str, path: &str, body: Option<Value>, tag: &str| {
        let headers = [("authorization", token.as_str()), ("if-match", tag)];
        client.send(method, path, body, &headers).await
    };
    step_up(&client, &[("authorization", token.as_str())]).await;
    let address = serde_json::to_value(crate::http::test_support::guest_address()).unwrap();
    let added = send("POST", "/v1/me/addresses", Some(address), "*").await;
    assert_eq!(added.status, 201, "{}", added.body);
    let path = format!("/v1/me/addresses/{}", added.body["id"].as_str().unwrap());
    for (path, change) in [
        (path.as_str(), json!({"city": "Chicago"})),
        ("/v1/me", json!({"name": "Ada Renamed"})),
    ] {
        let changed = send("PATCH", path, Some(change), "*").await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        let stale = send("DELETE", path, None, "\"1\"").await;
        assert_eq!(
            (stale.status, stale.problem()),
            (412, "version-conflict"),
            "{path}"
        );
        let tag = changed.header("etag").unwrap();
        assert_eq!(send("DELETE", path, None, tag).await.status, 204, "{path}");
    }
}

#[tokio::test]
async fn the_audit_log_tells_of_a_receipt_once() {
    let accounts = accounts().await;
    let client = Client::of(Arc::clone(&accounts)).await;
    let (ada, _) = sign_up(&client, "ada@example.org").await;
    let promoted = accounts.change(&ada, None, |account| {
        account.roles.insert(Role::Merchant);
    });
    promoted.await.unwrap();
    let back = sign_in(&client, "ada@example.org", PASSWORD).await;
    let token = format!("Bearer {}", back.body["access_token"].as_str().unwrap());
    let (log, _guard) = CapturedLog::start("souk::audit=info");
    for _ in 0..2 {
        let body = json!({"quantity": 3, "reference": "delivery 4711"});
        let headers = [("authorization", token.as_str())];
        let path = "/v1/admin/inventory/A-1/receipts";
        let received = client.send("POST", path, Some(body), &headers).await;
        assert_eq!((received.status, &received.body["received"]), (201, &json!(3)));
    }
    let told = log.lines();
    let told = told.iter().filter(|line| line["message"] == "stock was received");
    assert_eq!(told.count(), 1, "{}", log.text());
}
