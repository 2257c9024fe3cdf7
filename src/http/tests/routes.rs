//! Every route: credentials, admission, methods.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt;

use super::client::{Client, shop_with_permits, store};
use crate::http::request::policy::Policy;
use crate::http::routes;
use crate::http::test_support::MemoryIdempotency as Memory;

#[tokio::test]
async fn nobody_and_impostors_are_turned_away() {
    let mut client = Client::new().await;
    client.token = None;
    let nobody = client.send("GET", "/v1/cart", None, &[]).await;
    assert_eq!((nobody.status, nobody.problem()), (401, "unauthorised"));
    let bearer = client
        .send("GET", "/v1/cart", None, &[("authorization", "Bearer x")])
        .await;
    assert_eq!((bearer.status, bearer.problem()), (401, "bad-token"));
    client.token = Some("A".repeat(43));
    for path in ["/v1/cart", "/v1/orders", "/v1/orders/ord_1"] {
        let forged = client.send("GET", path, None, &[]).await;
        assert_eq!((forged.status, forged.problem()), (401, "bad-cart-token"));
    }
}

#[tokio::test]
async fn probes_are_answered_above_the_limit() {
    let (router, ..) = shop_with_permits(0, Arc::new(Memory::default()), store().await).await;
    let send = |path| {
        router
            .clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
    };
    for route in routes::table().into_iter().map(|route| route.endpoint) {
        let request = Request::builder()
            .method(&route.method)
            .uri(route.path.replace(['{', '}'], "x"));
        let refused = router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        // A caller without permission is refused first: that takes no place among the requests in flight.
        let open = matches!(route.policy, Policy::Public | Policy::Optional);
        let expected = if open { 503 } else { 401 };
        assert_eq!(refused.status(), expected, "{}", route.path);
        if open {
            assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        }
    }
    assert_eq!(send("/readyz").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn other_methods_are_refused_by_name_and_described() {
    let client = Client::new().await;
    for (path, allowed) in [
        ("/v1/orders", "POST,GET,HEAD"),
        ("/v1/carts", "POST"),
        ("/livez", "GET,HEAD"),
    ] {
        let refused = client.send("PATCH", path, None, &[]).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (405, "method-not-allowed"),
            "{path}"
        );
        assert_eq!(refused.header("allow"), Some(allowed));
        let described = client.send("OPTIONS", path, None, &[]).await;
        assert_eq!(
            (described.status, described.header("allow")),
            (204, Some(allowed))
        );
    }
    let nowhere = client.send("GET", "/v1/nowhere", None, &[]).await;
    assert_eq!((nowhere.status, nowhere.problem()), (404, "not-found"));
}
