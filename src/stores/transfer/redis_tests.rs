//! Rows that are moved into Redis and out of it.

use std::time::Duration;

use super::*;
use crate::stores::TokenHash;
use crate::stores::codes::redis::RedisCodes;
use crate::stores::codes::{CodeStore as _, Purpose};
use crate::stores::counters::redis::RedisCounters;
use crate::stores::counters::{Counter, CounterStore as _};
use crate::stores::idempotency::IdempotencyStore as _;
use crate::stores::idempotency::redis::RedisIdempotency;
use crate::stores::redis::testing::on_server;
use crate::stores::sessions::redis::RedisSessions;
use crate::stores::sessions::{Session, SessionStore as _};
use crate::stores::transfer::testing::{assert_filled, fill, record, text};
use souk_domain::{SessionId, Timestamp, UserId};

/// Rows of each table: the second page is not full.
const FILLED: u64 = PAGE_ROWS as u64 + 3;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_back() {
    on_server(async |server| {
        let transfer = RedisTransfer::of_sessions(&server);
        // A page may be imported twice.
        for _ in 0..2 {
            fill(&transfer, FILLED).await;
        }
        assert_filled(&transfer, FILLED).await;
    })
    .await;
}

/// The rows, and what the server counts beside them.
#[tokio::test(flavor = "multi_thread")]
async fn replies_come_back() {
    on_server(async |server| {
        let transfer = RedisTransfer::of_replies(&server);
        for _ in 0..2 {
            fill(&transfer, FILLED).await;
        }
        assert_filled(&transfer, FILLED).await;
        let replies = RedisIdempotency::new(&server);
        let sums = async || {
            let mut count = redis::cmd("HLEN");
            count.arg(server.key("replies:bytes"));
            server.read::<u64>(&count).await.unwrap()
        };
        assert!(sums().await > 0);
        let first = record(&tables::IDEMPOTENCY[0], 1);
        let Value::Text(owner) = &first[8] else {
            panic!("the first reply has an owner");
        };
        assert_eq!(replies.forget(owner, 10).await.unwrap(), 1);
        let all = usize::try_from(FILLED).unwrap();
        let later = Timestamp::from_millis(i64::MAX / 2);
        assert_eq!(replies.sweep(later, all).await.unwrap(), FILLED - 1);
        assert_eq!(sums().await, 0);
    })
    .await;
}

/// What the adapters have written is the same after it was moved to another prefix, and they can use it there.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_adapters_wrote_is_moved() {
    on_server(async |from| {
        on_server(async |to| {
            let (hash, other) = (TokenHash([7; 32]), TokenHash([8; 32]));
            let user = UserId::from_suffix("one");
            let at = Timestamp::from_millis;
            // By the clock of a node long ago: the server keeps them for some time still.
            let now = at(1_000_000);
            let session = |id: &str| Session {
                id: SessionId::from_suffix(id),
                user: user.clone(),
                created_at: now,
                last_used_at: now,
                expires_at: at(9_000_000),
                user_agent: "Zoë's browser".to_owned(),
                address: "192.0.2.1".to_owned(),
            };
            let sessions = RedisSessions::new(&from);
            sessions.open(&session("one"), &hash).await.unwrap();
            sessions.open(&session("two"), &other).await.unwrap();
            let two = session("two").id;
            assert_eq!(
                sessions
                    .end(&user, std::slice::from_ref(&two), now)
                    .await
                    .unwrap(),
                1
            );
            sessions.remember_network(&hash, at(5_000_000)).await.unwrap();
            let hour = Duration::from_secs(3_600);
            RedisCounters::new(&from).hit("key", now, hour, 3).await.unwrap();
            let purpose = Purpose::PasswordReset;
            RedisCodes::new(&from)
                .issue(purpose, &hash, &user, at(5_000_000))
                .await
                .unwrap();

            let source = RedisTransfer::of_sessions(&from);
            let target = RedisTransfer::of_sessions(&to);
            for table in source.tables() {
                assert!(source.count(table).await.unwrap() > 0, "{}", table.name);
                let page = source.export(table, None).await.unwrap();
                target.import(table, 0, &page.records).await.unwrap();
                assert_eq!(text(&source, table).await, text(&target, table).await);
            }

            let sessions = RedisSessions::new(&to);
            let found = sessions.session_of(&hash, now).await.unwrap().unwrap();
            assert_eq!(found, session("one"));
            assert_eq!(sessions.list(&user, now).await.unwrap(), [session("one")]);
            assert!(sessions.remembers_network(&hash, now).await.unwrap());
            // Both indexes are there.
            assert_eq!(sessions.sweep(at(9_000_000), hour, 10).await.unwrap(), 2);
            let counter = Counter {
                key: "key".to_owned(),
                window: hour,
            };
            assert_eq!(
                RedisCounters::new(&to).counts(&[counter], now).await.unwrap(),
                [3]
            );
            let redeemed = RedisCodes::new(&to).redeem(purpose, &hash, now).await.unwrap();
            assert_eq!(redeemed, Some(user));
        })
        .await;
    })
    .await;
}
