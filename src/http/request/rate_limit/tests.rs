//! Nodes that share a store; an unavailable, slow, or overused store.

use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use axum::http::HeaderName;
use axum::http::StatusCode;
use futures::future::join_all;

use super::*;
use crate::stores::counters::Counter;
use crate::traces::captured::CapturedLog;

const NOW: i64 = 1_795_341_600_000;

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    Away,
    /// It never answers.
    Silent,
}

/// The counters of a sessions store, and nothing else of it.
#[derive(Default)]
struct Counters {
    counts: Mutex<HashMap<String, (i64, u64)>>,
    mood: Mutex<Mood>,
    asked: AtomicU64,
}

impl Counters {
    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

#[async_trait]
impl CounterStore for Counters {
    async fn hit(&self, key: &str, now: Timestamp, window: Duration, amount: u64) -> Result<u64, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => tokio::task::yield_now().await,
            Mood::Away => {
                return Err(StoreError::Unavailable {
                    store: "sessions",
                    cause: "gone".into(),
                });
            }
            Mood::Silent => std::future::pending().await,
        }
        let number = now.as_millis() / i64::try_from(window.as_millis()).unwrap();
        let mut counts = self.counts.lock().unwrap();
        let (latest, count) = counts.entry(key.to_owned()).or_default();
        if number > *latest {
            (*latest, *count) = (number, 0);
        }
        *count += amount;
        Ok(*count)
    }

    async fn counts(&self, _: &[Counter], _: Timestamp) -> Result<Vec<u64>, StoreError> {
        unreachable!("limits only count")
    }

    async fn forget(&self, _: &str) -> Result<(), StoreError> {
        unreachable!("limits only count")
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<u64, StoreError> {
        unreachable!("limits only count")
    }
}

/// A clock that is set by hand.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn on(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Arc::new(move || Timestamp::from_millis(hand.0.load(Ordering::Relaxed)))
    }
}

fn proxies() -> TrustedProxies {
    TrustedProxies::new(&["127.0.0.0/8".parse().unwrap()])
}

fn limiter(store: &Arc<Counters>, hand: &Hand, per_caller: u32, per_address: u32) -> Arc<RateLimiter> {
    let settings = RateLimitSettings {
        per_caller,
        per_address,
        ..RateLimitSettings::from(&crate::config::Gateway::default())
    };
    Arc::new(RateLimiter::new(
        Arc::clone(store) as Arc<_>,
        settings,
        proxies(),
        hand.clock(),
    ))
}

fn guest(name: &str) -> Caller {
    Caller::Guest {
        cart: CartId::from_suffix(name),
    }
}

fn address(text: &str) -> Option<ClientAddress> {
    Some(ClientAddress(text.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_a_store_share_a_limit() {
    let (store, hand) = (Arc::new(Counters::default()), Hand::new());
    let nodes = [(); 3].map(|()| limiter(&store, &hand, 100, 0));
    let requests = (0..400).map(|number: usize| {
        let node = nodes[number % nodes.len()].clone();
        tokio::spawn(async move { node.by_caller(&guest("a")).await.is_ok() })
    });
    let admitted = join_all(requests)
        .await
        .into_iter()
        .filter(|outcome| *outcome.as_ref().unwrap())
        .count();
    assert!((100..=130).contains(&admitted), "{admitted} of 100");
    assert!(store.asked() <= 13, "{} writes", store.asked());
    // What is refused is not asked about.
    let before = store.asked();
    for node in &nodes {
        assert!(node.by_caller(&guest("a")).await.is_err());
        assert!(node.by_caller(&guest("b")).await.is_ok());
    }
    assert_eq!(store.asked(), before);
    hand.on(WINDOW);
    assert!(nodes[0].by_caller(&guest("a")).await.is_ok());
}

#[tokio::test]
async fn a_refusal_says_how_long_to_wait() {
    let (store, hand) = (Arc::new(Counters::default()), Hand::new());
    let node = limiter(&store, &hand, 2, 0);
    // Halfway through a second, 30 seconds into a window.
    hand.on(Duration::from_millis(30_500));
    for remaining in ["1", "0"] {
        let mut headers = HeaderMap::new();
        let allowance = node.by_caller(&guest("a")).await.ok().flatten().unwrap();
        allowance.write(&mut headers);
        assert_eq!(headers[RATE_LIMIT], "2");
        assert_eq!(headers[RATE_LIMIT_REMAINING], remaining);
        assert_eq!(headers[RATE_LIMIT_RESET], "30");
    }
    let reply = node.by_caller(&guest("a")).await.err().unwrap().into_response();
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.headers()[RATE_LIMIT_REMAINING], "0");
    assert_eq!(reply.headers()[axum::http::header::RETRY_AFTER], "30");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_store_refuses_nobody() {
    for mood in [Mood::Away, Mood::Silent] {
        let (store, hand) = (Arc::new(Counters::default()), Hand::new());
        let node = limiter(&store, &hand, 50, 0);
        store.be(mood);
        let began = tokio::time::Instant::now();
        for caller in 0..20 {
            for _ in 0..50 {
                assert!(node.by_caller(&guest(&caller.to_string())).await.is_ok());
            }
        }
        assert_eq!(store.asked(), 1, "it is left alone for a while");
        assert!(
            began.elapsed()
                <= RateLimitSettings::from(&crate::config::Gateway::default()).patience
                    + Duration::from_millis(2),
            "{mood:?}"
        );
        assert!(
            node.by_caller(&guest("0")).await.is_err(),
            "what a node sees by itself still counts"
        );
        hand.on(PAUSE);
        store.be(Mood::Well);
        for _ in 0..50 {
            assert!(node.by_caller(&guest("late")).await.is_ok());
        }
        assert!(store.asked() > 1);
        assert!(!node.is_away.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn store_failures_are_logged_once() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let recording = metrics::set_default_local_recorder(&recorder);
    let (kept, logging) = CapturedLog::start("warn");
    let (store, hand) = (Arc::new(Counters::default()), Hand::new());
    let node = limiter(&store, &hand, 20, 0);
    store.be(Mood::Away);
    for _ in 0..20 {
        assert!(node.by_caller(&guest("a")).await.is_ok());
        hand.on(PAUSE);
    }
    assert!(node.by_caller(&guest("a")).await.is_err());
    drop((recording, logging));
    let shown = recorder.handle().render();
    // Chunks are two requests; the last one needs no settling.
    assert!(shown.contains("souk_rate_limit_unavailable_total 9"), "{shown}");
    assert!(
        shown.contains("souk_rate_limited_total{by=\"caller\"} 1"),
        "{shown}"
    );
    let log = kept.text();
    assert_eq!(log.matches("can't be counted across nodes").count(), 1, "{log}");
}

#[tokio::test]
async fn addresses_count_for_whoever_has_one() {
    let (store, hand) = (Arc::new(Counters::default()), Hand::new());
    let node = limiter(&store, &hand, 0, 2);
    for _ in 0..5 {
        assert!(
            node.by_caller(&guest("a")).await.ok().unwrap().is_none(),
            "0 is no limit"
        );
        assert!(node.by_address(None).await.ok().unwrap().is_none());
    }
    // One network of IPv6 is one client.
    assert!(node.by_address(address("2001:db8::1")).await.is_ok());
    assert!(node.by_address(address("2001:db8::2")).await.is_ok());
    assert!(node.by_address(address("2001:db8::3")).await.is_err());
    assert!(node.by_address(address("2001:db8:0:1::1")).await.is_ok());
}

#[test]
fn a_proxys_own_requests_have_no_address() {
    let node = limiter(&Arc::new(Counters::default()), &Hand::new(), 1, 1);
    let client = |peer: &str, headers: &[(&'static str, &str)]| {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 99)));
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        proxies().mark(&mut extensions, &headers);
        node.client(&extensions, &headers)
            .map(|client| client.0.to_string())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(client("127.0.0.1", &[]), None);
    assert_eq!(client("::ffff:127.0.0.1", &[]), None);
    assert_eq!(client("203.0.113.9", &[]), some("203.0.113.9"));
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(client("127.0.0.1", &forwarded), some("203.0.113.9"));
    // A client that spoils what the proxy says does not get rid of the limit.
    for (name, value) in [("x-forwarded-for", "garbage"), ("forwarded", "for=\"1.2.3.4")] {
        assert_eq!(client("127.0.0.1", &[(name, value)]), some("127.0.0.1"));
    }
    assert_eq!(node.client(&Extensions::new(), &HeaderMap::new()), None);
}

#[test]
fn memory_is_bounded_and_the_busiest_stay() {
    let (store, hand) = (Arc::new(Counters::default()), Hand::new());
    let node = limiter(&store, &hand, 10, 0);
    let limit = node.per_caller.as_ref().unwrap().limit;
    let busy = Subject::Guest(CartId::from_suffix("busy"));
    node.take(limit, &busy);
    let claim = node.claim(limit, &busy).unwrap();
    node.credit(limit, &busy, claim, Some(10));
    for number in 0..2 * SHARDS * SHARD_LIMIT {
        node.take(limit, &Subject::Guest(CartId::from_suffix(number)));
    }
    let known: usize = node.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
    assert!(known <= SHARDS * SHARD_LIMIT, "{known}");
    assert!(matches!(node.take(limit, &busy), Taken::Refused(_)));
}
