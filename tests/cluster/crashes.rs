//! A node crashes at each fail point of a checkout and is restarted; the order still ends, and its reservations and
//! charges agree with its outcome.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use souk::config::Config;
use souk::stores::documents::row_id;
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE};
use crate::load::answer;
use crate::shop::{self, Cart, Lines};

/// The course of a checkout that passes a fail point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Confirmed,
    Failed,
    Cancelled,
}

/// All fail points of a checkout, by the outcome of the order.
fn points() -> Vec<(Course, String)> {
    let steps = [
        (
            Course::Confirmed,
            &[
                "reserve",
                "authorise",
                "confirm",
                "clear",
                "take",
                "capture",
                "finish",
            ][..],
        ),
        (Course::Failed, &["void", "release", "unclaim", "end_failed"][..]),
        (
            Course::Cancelled,
            &["refund", "return_stock", "unclaim", "end_cancelled"][..],
        ),
    ];
    let mut points: Vec<(Course, String)> = steps
        .into_iter()
        .flat_map(|(course, steps)| steps.iter().map(move |step| (course, step)))
        .flat_map(|(course, step)| {
            ["before", "after"].map(|side| (course, format!("checkout.{step}.{side}")))
        })
        .collect();
    for point in ["authorise.intended", "authorise.answered", "capture.captured"] {
        points.push((Course::Confirmed, format!("checkout.{point}")));
    }
    points
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_ends_wherever_its_node_dies() {
    let mut cluster = Cluster::demo(1, 20).await;
    let shop = cluster.nodes[0].shop.clone();
    let sku = shop::plentiful(&cluster.client, &shop, 1).await.remove(0);
    let mut ended: Vec<(Course, String)> = Vec::new();
    for (course, point) in points() {
        cluster.kill(0);
        cluster.gone(0).await;
        cluster
            .start(0, &[("FAILPOINTS", &format!("{point}=1*return"))])
            .await;
        let cart = shop::cart_of(&shop::send(shop::new_cart(&cluster.client, &shop)).await.unwrap());
        let key = shop::key();
        answer(|| shop::add(&cluster.client, &shop, &cart, &sku, &key)).await;

        let buy = Purchase {
            course,
            cart,
            key: shop::key(),
        };
        // The node dies under one of these requests, or after its reply.
        let first = buy.place(&cluster, &shop).await;
        if let (Course::Cancelled, Some(order)) = (course, &first) {
            let id = order["id"].as_str().unwrap();
            buy.is_captured(&cluster, &shop, id).await;
            drop(shop::send(buy.cancel(&cluster, &shop, id)).await);
        }
        let Ok(status) = timeout(PATIENCE, cluster.exit(0)).await else {
            panic!("{point} was never reached; the first reply: {first:?}");
        };
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{point}");
        cluster.start(0, &[]).await;
        let restarted = Instant::now();
        ended.push((course, buy.ends(&cluster, &shop, &point).await));
        println!(
            "{point}: the order ended {:?} after its node was ready again",
            restarted.elapsed()
        );
    }
    cluster.checkouts_have_ended(0).await;
    println!(
        "{} orders ended after a crash at each of as many points",
        ended.len()
    );

    let bought = ended
        .iter()
        .filter(|(course, _)| *course == Course::Confirmed)
        .count();
    let stock = cluster.operator(0, &format!("/v1/actors/sku/{sku}")).await["state"].take();
    assert_eq!(stock["sold"].as_u64(), Some(bought as u64), "{stock}");
    assert_eq!(stock["reservations"], serde_json::json!([]), "{stock}");
    let charges = charges(&cluster).await;
    for (course, order) in &ended {
        let charges = charges.get(order).map_or(&[][..], Vec::as_slice);
        let captured = charges
            .iter()
            .filter(|charge| charge["standing"].get("captured").is_some());
        let expected = usize::from(*course != Course::Failed);
        assert_eq!(captured.count(), expected, "{order} {course:?}: {charges:?}");
        assert!(charges.len() <= 1, "{order} {course:?}: {charges:?}");
    }
    cluster.audit().await;
    cluster.end().await;
}

/// The charges at the provider, by order.
async fn charges(cluster: &Cluster) -> BTreeMap<String, Vec<Value>> {
    let config = Config::load(&cluster.config).unwrap();
    let stores = souk::stores::open(&config).await.unwrap();
    let mut charges: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in stores.sandbox.scan(None, 1_000).await.unwrap() {
        let document = row.unwrap();
        let charge: Value = serde_json::from_str(&document.body).unwrap();
        let order = charge["request"]["order"].as_str().unwrap().to_owned();
        charges.entry(order).or_default().push(charge);
    }
    charges
}

struct Purchase {
    course: Course,
    cart: Cart,
    key: String,
}

impl Purchase {
    fn request(&self, cluster: &Cluster, shop: &str) -> reqwest::RequestBuilder {
        let payment = match self.course {
            Course::Failed => "tok_declined",
            Course::Confirmed | Course::Cancelled => "tok_ok",
        };
        shop::place(&cluster.client, shop, &self.cart, payment, &self.key)
    }

    fn cancel(&self, cluster: &Cluster, shop: &str, order: &str) -> reqwest::RequestBuilder {
        cluster
            .client
            .post(format!("{shop}/v1/orders/{order}/cancel"))
            .header("cart-token", &self.cart.token)
    }

    /// Places the order; `None` if the node died before it answered.
    async fn place(&self, cluster: &Cluster, shop: &str) -> Option<Value> {
        let reply = shop::send(self.request(cluster, shop)).await.ok()?;
        assert!(matches!(reply.status, 201 | 202 | 402), "{reply:?}");
        Some(reply.body)
    }

    /// Waits until the order is paid: a cancellation then refunds it.
    async fn is_captured(&self, cluster: &Cluster, shop: &str, id: &str) {
        let captured = timeout(PATIENCE, async {
            while answer(|| shop::order(&cluster.client, shop, &self.cart, id))
                .await
                .body["payment_status"]
                != "captured"
            {}
        });
        captured.await.expect("the payment is captured");
    }

    /// Repeats the submission to learn the outcome; returns the order id.
    async fn ends(&self, cluster: &Cluster, shop: &str, point: &str) -> String {
        let mut order = Value::Null;
        let waited = timeout(PATIENCE, async {
            loop {
                let placed = shop::send(self.request(cluster, shop)).await.unwrap();
                let id = match placed.status {
                    201 | 202 => placed.body["id"].as_str().unwrap().to_owned(),
                    402 => self.only_order(cluster).await,
                    _ => continue,
                };
                order = answer(|| shop::order(&cluster.client, shop, &self.cart, &id))
                    .await
                    .body;
                let payment = match self.course {
                    Course::Confirmed if order["status"] == "confirmed" => "captured",
                    Course::Failed if order["status"] == "failed" => "declined",
                    Course::Cancelled if order["status"] == "cancelled" => "refunded",
                    Course::Cancelled => {
                        drop(shop::send(self.cancel(cluster, shop, &id)).await);
                        continue;
                    }
                    _ => continue,
                };
                let cart = answer(|| shop::read(&cluster.client, shop, &self.cart)).await;
                let cleared = shop::lines(&cart.body) == Lines::new();
                if order["payment_status"] == payment && cleared == (self.course != Course::Failed) {
                    return id;
                }
            }
        });
        match waited.await {
            Ok(id) => id,
            Err(_) => panic!("after {point} the order does not end: {order:#}"),
        }
    }

    /// The only order of this buyer.
    async fn only_order(&self, cluster: &Cluster) -> String {
        let config = Config::load(&cluster.config).unwrap();
        let stores = souk::stores::open(&config).await.unwrap();
        let orders = stores.orders.by_owner(&self.cart.id, None, 10).await.unwrap();
        assert_eq!(orders.len(), 1, "{orders:?}");
        row_id(&orders[0]).to_owned()
    }
}
