//! `/v1/checkout/quote`.

use serde_json::{Value, json};

use crate::shared::{cluster, several_stocked};
use crate::support::client::{address, submission};

#[tokio::test]
async fn a_quote_is_what_the_order_then_costs() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let some = several_stocked(&client, 2, 20, 500).await;
    client.add(&some[0].sku, 2).await.expect(200);
    client.add(&some[1].sku, 1).await.expect(200);
    let subtotal = 2 * some[0].price + some[1].price;
    let weight = 2 * some[0].weight_grams + some[1].weight_grams;
    let mut german = address();
    german["country"] = "DE".into();
    german["postcode"] = "10115".into();
    let body = json!({"address": german});
    for node in 0..cluster.len() {
        let quote = client
            .at(cluster.shop(node))
            .post("/v1/checkout/quote", &body)
            .await
            .expect(200);
        assert_eq!(quote.i64("/subtotal/amount"), subtotal, "{quote}");
        assert_eq!(quote.i64("/weight_grams"), weight, "{quote}");
        // 19 %, to the nearest minor unit.
        let tax = quote.i64("/tax/amount");
        assert!(
            (tax * 100 - subtotal * 19).abs() <= 50,
            "19 % of {subtotal}: {quote}"
        );
    }
    let quote = client.post("/v1/checkout/quote", &body).await.expect(200);
    let options = quote.body["shipping_options"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(options.len() >= 2, "there is a choice: {quote}");
    for option in &options {
        let days = (option["min_days"].as_i64(), option["max_days"].as_i64());
        assert!(days.0.is_some() && days.0 <= days.1, "{option}");
    }
    let chosen = &options[1];
    let total = subtotal + quote.i64("/tax/amount") + chosen["price"]["amount"].as_i64().unwrap_or_default();
    let mut order = submission("tok_ok");
    order["address"] = german;
    order["shipping_option"] = chosen["id"].clone();
    order["expected_total"] = json!({"amount": total, "currency": "USD"});
    let placed = client.place("as-quoted", &order).await.expect(201);
    assert_eq!(placed.i64("/total/amount"), total, "{placed}");
    assert_eq!(placed.body["tax"], quote.body["tax"], "{placed}");
    assert_eq!(placed.body["shipping"], chosen["price"], "{placed}");
}

#[tokio::test]
async fn what_can_not_be_quoted_is_refused() {
    let client = cluster().client(2).guest().await;
    client.quote().await.expect_problem(422, "empty-cart");
    client
        .with_cart(None)
        .quote()
        .await
        .expect_problem(401, "unauthorised");
    for (change, blamed) in [
        (json!({"address": null}), "address"),
        (json!({"address_id": "adr_1"}), "address_id"),
    ] {
        let mut body = json!({"address": address()});
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let refused = client
            .post("/v1/checkout/quote", &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [blamed], "{refused}");
    }
    for field in ["name", "line1", "city", "postcode", "country"] {
        for wrong in [Value::Null, "".into(), json!(7), "x".repeat(5_000).into()] {
            let mut body = json!({"address": address()});
            body["address"][field] = wrong.clone();
            let refused = client
                .post("/v1/checkout/quote", &body)
                .await
                .expect_problem(422, "validation");
            assert_eq!(
                refused.blamed(),
                [format!("address.{field}")],
                "{wrong}: {refused}"
            );
        }
    }
}
