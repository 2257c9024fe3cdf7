//! Redis that is killed, restarted, full, read-only, or not to be reached any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::testing::{own_server, url};
use super::{RESPONSE_LIMIT, Server, StoreError, WAIT_LIMIT};
use crate::stores::TokenHash;
use crate::stores::counters::redis::RedisCounters;
use crate::stores::counters::{Counter, CounterStore};
use crate::stores::idempotency::redis::RedisIdempotency;
use crate::stores::idempotency::{Claim, IdempotencyStore, KeptReply, contract};
use crate::stores::sessions::redis::RedisSessions;
use crate::stores::sessions::{Rotation, Session, SessionStore};
use crate::stores::testing::until;
use souk_domain::{SessionId, Timestamp, UserId};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// Longest wait for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one writer knows to have been acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Keys with replies.
    replies: Vec<String>,
    /// The newest token of the session, and one whose exchange has an unknown outcome.
    token: Option<String>,
    next: Option<String>,
    hits: u64,
    unknown_hits: u64,
}

fn reply(key: &str) -> KeptReply {
    KeptReply {
        status: 201,
        headers: Vec::new(),
        body: key.as_bytes().to_vec(),
    }
}

fn session(writer: usize) -> Session {
    Session {
        id: SessionId::from_suffix(format!("writer-{writer}")),
        user: UserId::from_suffix("writers"),
        created_at: NOW,
        last_used_at: NOW,
        expires_at: NOW.plus(LIFE),
        user_agent: "a browser".into(),
        address: "192.0.2.1".into(),
    }
}

/// Writes until the server is gone.
async fn write(server: Server, writer: usize, done: Arc<AtomicUsize>) -> Acknowledged {
    let sessions = RedisSessions::new(&server);
    let (replies, counters) = (RedisIdempotency::new(&server), RedisCounters::new(&server));
    let mut known = Acknowledged::default();
    for number in 0.. {
        let key = format!("{writer}-{number}");
        let outcome = async {
            let attempt = contract::attempt(&key, "body", "one");
            let claim = replies.claim(&attempt, NOW, MINUTE, LIFE).await?;
            assert_eq!(claim, Claim::Ours);
            replies.answer(&key, "one", None, &reply(&key)).await?;
            known.replies.push(key.clone());
            known.next = Some(key.clone());
            match &known.token {
                None => sessions.open(&session(writer), &TokenHash::of(&key)).await?,
                Some(token) => {
                    let (old, new) = (TokenHash::of(token), TokenHash::of(&key));
                    let rotation = sessions.rotate(&old, &new, NOW, NOW.plus(LIFE)).await?;
                    assert!(matches!(rotation, Rotation::Rotated(_)));
                }
            }
            known.token = known.next.take();
            known.unknown_hits = 1;
            counters.hit(&format!("writer {writer}"), NOW, MINUTE, 1).await?;
            known.hits += 1;
            known.unknown_hits = 0;
            Ok::<(), StoreError>(())
        }
        .await;
        if let Err(error) = outcome {
            assert!(error.is_transient(), "{error:?}");
            return known;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_and_the_adapters_recover() {
    let Some(mut process) = own_server().await else {
        return;
    };
    let server = Server::open(&url(&process)).await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(write(server.clone(), writer, Arc::clone(&done))))
        .collect();
    until("writing", async || {
        (done.load(Ordering::Relaxed) >= 200).then_some(())
    })
    .await;
    process.kill().await;
    let mut all = Vec::new();
    for writer in writers {
        all.push(tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap());
    }
    // Nothing is written while the server is down, and once that is known, no call waits.
    until("noticing", async || {
        let began = Instant::now();
        let error = RedisCounters::new(&server)
            .hit("away", NOW, MINUTE, 1)
            .await
            .unwrap_err();
        (matches!(error, StoreError::Unavailable { .. }) && began.elapsed() < WAIT_LIMIT / 2).then_some(())
    })
    .await;
    process.restart().await;
    until("recovery", async || server.ping().await.ok()).await;

    let sessions = RedisSessions::new(&server);
    let (replies, counters) = (RedisIdempotency::new(&server), RedisCounters::new(&server));
    let mut kept = 0;
    for (writer, known) in all.iter().enumerate() {
        for key in &known.replies {
            let attempt = contract::attempt(key, "body", "two");
            let claim = replies.claim(&attempt, NOW, MINUTE, LIFE).await.unwrap();
            assert_eq!(claim, Claim::Answered(reply(key)));
            kept += 1;
        }
        if let Some(token) = &known.token {
            let found = sessions.session_of(&TokenHash::of(token), NOW).await.unwrap();
            assert_eq!(found, Some(session(writer)));
            // The live one is this or the one of the exchange that was cut off, in which case the client repeats the call.
            let next = known.next.clone().unwrap_or_else(|| format!("{writer}-after"));
            let rotation = sessions
                .rotate(&TokenHash::of(token), &TokenHash::of(&next), NOW, NOW.plus(LIFE))
                .await
                .unwrap();
            assert!(matches!(rotation, Rotation::Rotated(_)), "{rotation:?}");
        }
        let counter = Counter {
            key: format!("writer {writer}"),
            window: MINUTE,
        };
        let hits = counters.counts(&[counter], NOW).await.unwrap()[0];
        assert!((known.hits..=known.hits + known.unknown_hits).contains(&hits));
    }
    println!("{kept} acknowledged replies were there");
    let away = Counter {
        key: "away".to_owned(),
        window: MINUTE,
    };
    // The server had ended before the first of these calls.
    assert_eq!(counters.counts(&[away], NOW).await.unwrap(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_calls_is_not_noticed() {
    let Some(mut process) = own_server().await else {
        return;
    };
    let server = Server::open(&url(&process)).await.unwrap();
    let counters = RedisCounters::new(&server);
    for round in 1..=3 {
        assert_eq!(counters.hit("calm", NOW, MINUTE, 1).await.unwrap(), round);
        process.kill().await;
        until("noticing", async || {
            let lanes = &server.shared.lanes;
            lanes.iter().all(|lane| !lane.is_up()).then_some(())
        })
        .await;
        process.restart().await;
        until("recovery", async || {
            server.shared.lanes.iter().all(super::Lane::is_up).then_some(())
        })
        .await;
    }
    // Nor that it has forgotten the scripts.
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    let () = server.write(&flush).await.unwrap();
    assert_eq!(counters.hit("calm", NOW, MINUTE, 1).await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_not_write_is_unavailable() {
    let Some(process) = own_server().await else {
        return;
    };
    let server = Server::open(&url(&process)).await.unwrap();
    let counters = RedisCounters::new(&server);
    let replies = RedisIdempotency::new(&server);
    let command = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let () = server.write(&command).await.unwrap();
    };
    assert_eq!(counters.hit("some", NOW, MINUTE, 1).await.unwrap(), 1);
    for (broken, mended) in [
        (
            ["CONFIG", "SET", "maxmemory", "1"],
            ["CONFIG", "SET", "maxmemory", "0"],
        ),
        // Of a server that is not there.
        (
            ["REPLICAOF", "127.0.0.1", "1", ""],
            ["REPLICAOF", "NO", "ONE", ""],
        ),
    ] {
        let words = |words: [&'static str; 4]| {
            words
                .into_iter()
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
        };
        command(&words(broken)).await;
        let hit = counters.hit("some", NOW, MINUTE, 1).await;
        assert!(
            matches!(hit, Err(StoreError::Unavailable { .. })),
            "{broken:?}: {hit:?}"
        );
        let attempt = contract::attempt("key", "body", "one");
        let claim = replies.claim(&attempt, NOW, MINUTE, LIFE).await;
        assert!(
            matches!(claim, Err(StoreError::Unavailable { .. })),
            "{broken:?}: {claim:?}"
        );
        command(&words(mended)).await;
        assert_eq!(replies.sweep(NOW.plus(LIFE), 9).await.unwrap(), 0);
    }
    assert_eq!(counters.hit("some", NOW, MINUTE, 1).await.unwrap(), 2);
    // What is no counter is a defect and does not go away.
    let key = String::from_utf8(server.key_of("hits:", b"list")).unwrap();
    command(&["LPUSH", &key, "a"]).await;
    let hit = counters.hit("list", NOW, MINUTE, 1).await;
    assert!(matches!(hit, Err(StoreError::Refused { .. })), "{hit:?}");
}

/// Forwards connections to `port` while `forwards` holds; then both sides see only silence. Returns its own port.
async fn proxy(port: u16, forwards: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(forward(from_client, to_server, forwards.clone()));
            tokio::spawn(forward(from_server, to_client, forwards.clone()));
        }
    });
    own
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut forwards: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if forwards.wait_for(|forwards| *forwards).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_noticed_within_the_limits() {
    let Some(process) = own_server().await else {
        return;
    };
    let (switch, forwards) = watch::channel(true);
    let port = proxy(process.port(), forwards).await;
    let server = Server::open(&format!("redis://127.0.0.1:{port}")).await.unwrap();
    let counters = RedisCounters::new(&server);
    let counter = [Counter {
        key: "silent".to_owned(),
        window: MINUTE,
    }];
    assert_eq!(counters.hit("silent", NOW, MINUTE, 1).await.unwrap(), 1);
    switch.send_replace(false);
    let began = Instant::now();
    let (hit, counts) = tokio::join!(
        counters.hit("silent", NOW, MINUTE, 1),
        counters.counts(&counter, NOW)
    );
    assert!(matches!(hit, Err(StoreError::OutcomeUnknown { .. })), "{hit:?}");
    assert!(
        matches!(counts, Err(StoreError::Unavailable { .. })),
        "{counts:?}"
    );
    let took = began.elapsed();
    println!("silence was noticed after {took:?}");
    assert!(took >= RESPONSE_LIMIT);
    // A busy machine may stall, but a call without a limit would not return at all.
    assert!(took < PATIENCE);
    switch.send_replace(true);
    let count = until("recovery", async || counters.counts(&counter, NOW).await.ok()).await;
    assert!((1..=2).contains(&count[0]), "{count:?}");
}
