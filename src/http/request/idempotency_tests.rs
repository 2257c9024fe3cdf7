//! Requests under a key, against a store in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::http::test_support::MemoryIdempotency as Memory;
use souk_domain::Timestamp;

fn once(store: &Arc<Memory>, holder: &str, fingerprint: &str) -> KeyedRequest {
    KeyedRequest {
        store: Arc::clone(store) as Arc<dyn IdempotencyStore>,
        clock: Arc::new(|| Timestamp::from_millis(1_000)),
        settings: IdempotencySettings::from(&crate::config::Limits::default()),
        scope: "scope".to_owned(),
        fingerprint: fingerprint.to_owned(),
        owner: Some("owner".to_owned()),
        network: None,
        holder: holder.to_owned(),
        request_id: Arc::from(holder),
    }
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), BODY_LIMIT)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_repetition_gets_the_first_reply() {
    let store = Arc::new(Memory::default());
    let first = once(&store, "a", "body")
        .run(async {
            let headers = [(header::ETAG, "\"1\""), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::CREATED, headers, "made").into_response()
        })
        .await
        .unwrap();
    assert!(!first.headers().contains_key(REPLAYED));

    let second = once(&store, "b", "body")
        .run(async { panic!("it ran twice") })
        .await
        .unwrap();
    assert_eq!(second.status(), StatusCode::CREATED);
    assert_eq!(second.headers()[REPLAYED], "true");
    assert_eq!(second.headers()[header::ETAG], "\"1\"");
    assert_eq!(second.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(
        second.headers()[header::CONTENT_TYPE],
        first.headers()[header::CONTENT_TYPE]
    );
    assert_eq!(text(second).await, text(first).await);

    let other = once(&store, "c", "other body")
        .run(async { panic!("it ran for another body") })
        .await;
    assert_eq!(other.unwrap_err().kind(), problem::IDEMPOTENCY_KEY_REUSED);
}

#[tokio::test]
async fn above_the_quota_nothing_is_done() {
    let store = Arc::new(Memory::default());
    let request = |holder: &str| {
        let mut request = once(&store, holder, "body");
        request.scope = format!("scope of {holder}");
        request.settings.quota.per_owner = 4;
        request
    };
    request("a").run(async { "kept".into_response() }).await.unwrap();
    let refused = request("b").run(async { panic!("it ran") }).await;
    assert_eq!(refused.unwrap_err().kind(), problem::TOO_MANY_REQUESTS);
    let again = request("a").run(async { panic!("it ran twice") }).await.unwrap();
    assert_eq!(text(again).await, "kept");
}

#[tokio::test]
async fn refusals_are_replayed_and_failures_retried() {
    let store = Arc::new(Memory::default());
    let failed = once(&store, "a", "body")
        .run(async { Problem::busy(Duration::ZERO).into_response() })
        .await
        .unwrap();
    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);

    let refused = once(&store, "b", "body").run(async { Problem::new(problem::EMPTY_CART).into_response() });
    assert_eq!(refused.await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    let again = once(&store, "c", "body")
        .run(async { panic!("it ran twice") })
        .await
        .unwrap();
    assert_eq!(again.headers()[header::CONTENT_TYPE], problem::MEDIA_TYPE);
    let body = text(again).await;
    assert!(
        body.contains("empty-cart") && body.contains("\"instance\":\"b\""),
        "{body}"
    );
}

#[tokio::test]
async fn a_panic_gives_the_key_back() {
    let store = Arc::new(Memory::default());
    let panicking = once(&store, "a", "body").run(async { panic!("a defect") });
    assert!(AssertUnwindSafe(panicking).catch_unwind().await.is_err());
    let again = once(&store, "b", "body")
        .run(async { "fine".into_response() })
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_repetition_waits_a_limited_time() {
    let store = Arc::new(Memory::default());
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn(once(&store, "a", "body").run(async move {
        finished.await.unwrap();
        "done".into_response()
    }));
    let mut claims = store.claims.subscribe();
    claims.wait_for(|claims| *claims == 1).await.unwrap();

    let mut impatient = once(&store, "b", "body");
    impatient.settings.wait = Duration::from_millis(40);
    let gave_up = impatient.run(async { panic!("it ran twice") }).await.unwrap_err();
    assert_eq!(gave_up.kind(), problem::REQUEST_IN_PROGRESS);
    assert!(
        gave_up
            .into_response()
            .headers()
            .contains_key(header::RETRY_AFTER)
    );

    let so_far = *claims.borrow_and_update();
    let patient = tokio::spawn(once(&store, "c", "body").run(async { panic!("it ran twice") }));
    claims.wait_for(|claims| *claims > so_far).await.unwrap();
    finish.send(()).unwrap();
    assert_eq!(text(first.await.unwrap().unwrap()).await, "done");
    let replayed = patient.await.unwrap().unwrap();
    assert_eq!(replayed.headers()[REPLAYED], "true");
    assert_eq!(text(replayed).await, "done");
}

#[tokio::test]
async fn of_many_at_once_one_runs() {
    let store = Arc::new(Memory::default());
    let runs = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let runs = Arc::clone(&runs);
            tokio::spawn(once(&store, &number.to_string(), "body").run(async move {
                tokio::task::yield_now().await;
                runs.fetch_add(1, Ordering::Relaxed).to_string().into_response()
            }))
        })
        .collect();
    for task in tasks {
        assert_eq!(text(task.await.unwrap().unwrap()).await, "0");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn keys_are_visible_ascii_of_limited_length() {
    let read = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers)
            .map(|key| key.map(|key| key.to_string()))
            .map_err(|problem| problem.kind())
    };
    let longest = "k".repeat(KEY_LIMIT);
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[longest.as_bytes()]), Ok(Some(longest.clone())));
    for bad in [
        &b""[..],
        b"a b",
        b"\xc3\xa9",
        b"a\tb",
        format!("{longest}k").as_bytes(),
    ] {
        assert_eq!(read(&[bad]), Err(problem::BAD_IDEMPOTENCY_KEY), "{bad:?}");
    }
    assert_eq!(read(&[b"a", b"b"]), Err(problem::BAD_IDEMPOTENCY_KEY));
}

proptest! {
    #[test]
    fn scopes_differ_by_each_part(
        one in ("[a-z]{1,4}", "/[a-z]{1,4}", any::<Option<u8>>()),
        other in ("[a-z]{1,4}", "/[a-z]{1,4}", any::<Option<u8>>()),
    ) {
        let scope_of = |(key, path, last): &(String, String, Option<u8>)| {
            let mut parts = Request::builder().uri(path).body(()).unwrap().into_parts().0;
            if let Some(last) = last {
                parts.extensions.insert(ClientAddress([10, 0, 0, *last].into()));
            }
            scope(None, &parts, key)
        };
        prop_assert_eq!(one == other, scope_of(&one) == scope_of(&other));
    }
}

#[tokio::test]
async fn a_request_that_takes_long_renews_its_lease() {
    let store = Arc::new(Memory::default());
    let mut claims = store.claims.subscribe();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let mut first = once(&store, "a", "body");
    first.settings.lease = Duration::from_millis(30);
    let running = tokio::spawn(first.run(async move {
        finished.await.unwrap();
        "done".into_response()
    }));
    // Its claim, and two renewals.
    claims.wait_for(|claims| *claims >= 3).await.unwrap();
    finish.send(()).unwrap();
    assert_eq!(text(running.await.unwrap().unwrap()).await, "done");
}

#[test]
fn anonymous_keys_are_scoped_to_the_client_address() {
    let scope_of = |client: Option<&str>| {
        let mut request = Request::post("/v1/carts").body(()).unwrap();
        // Both come through the same proxy.
        let peer: std::net::SocketAddr = "127.0.0.1:99".parse().unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        if let Some(client) = client {
            request
                .extensions_mut()
                .insert(ClientAddress(client.parse().unwrap()));
        }
        let parts = request.into_parts().0;
        scope(None, &parts, "key")
    };
    assert_eq!(scope_of(Some("203.0.113.1")), scope_of(Some("203.0.113.1")));
    assert_ne!(scope_of(Some("203.0.113.1")), scope_of(Some("203.0.113.2")));
    assert_ne!(scope_of(Some("203.0.113.1")), scope_of(None));
}
