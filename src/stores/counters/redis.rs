//! Counters in Redis: a key for each, which the server removes after its window.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::{Counter, CounterStore};
use crate::stores::StoreError;
use crate::stores::redis::{Server, script};
use souk_domain::Timestamp;

static HIT: LazyLock<Script> = script!("lua/hit.lua");
static COUNTS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local counts = {} \
         for index, key in ipairs(KEYS) do \
           local window = redis.call('HMGET', key, 'finish', 'count') \
           counts[index] = window[1] and tonumber(window[1]) > tonumber(ARGV[1]) and window[2] or 0 \
         end \
         return counts",
    )
});

/// How long a counter is kept after its window: the clocks of two nodes may differ by as much before hits are lost.
const SLACK: Duration = Duration::from_secs(60);
/// The longest that a counter is kept.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The adapter.
pub struct RedisCounters(Server);

impl RedisCounters {
    /// The counters on `server`.
    pub fn new(server: &Server) -> Self {
        Self(server.clone())
    }

    fn key(&self, key: &str) -> Vec<u8> {
        self.0.key_of("hits:", key.as_bytes())
    }
}

#[async_trait]
impl CounterStore for RedisCounters {
    async fn hit(&self, key: &str, now: Timestamp, window: Duration, amount: u64) -> Result<u64, StoreError> {
        let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
        let starts_at = now.as_millis().saturating_sub(now.as_millis().rem_euclid(length));
        let ends_at = Timestamp::from_millis(starts_at.saturating_add(length));
        let keep = ends_at.since(now).saturating_add(SLACK).min(LONGEST);
        let mut call = HIT.prepare_invoke();
        call.key(self.key(key))
            .arg(starts_at)
            .arg(ends_at.as_millis())
            .arg(amount)
            .arg(keep.as_millis().to_string());
        self.0.write(&call).await
    }

    async fn counts(&self, counters: &[Counter], now: Timestamp) -> Result<Vec<u64>, StoreError> {
        let mut call = COUNTS.arg(now.as_millis());
        for counter in counters {
            call.key(self.key(&counter.key));
        }
        self.0.read(&call).await
    }

    async fn forget(&self, key: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(key));
        self.0.write(&command).await
    }

    /// The server removes them.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::counters::contract;
    use crate::stores::redis::testing::on_server;
    use crate::stores::testing::Expiry;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        on_server(async |server| {
            contract::suite(Arc::new(RedisCounters::new(&server)), Expiry::ByItself).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_removes_counters_after_their_window() {
        on_server(async |server| {
            let counters = RedisCounters::new(&server);
            // A window that ends in a second, by a clock that has nothing to do with the server's.
            let (now, minute) = (Timestamp::from_millis(59_000), Duration::from_secs(60));
            counters.hit("a", now, minute, 1).await.unwrap();
            counters.hit("a", now, minute, 1).await.unwrap();
            let mut look = redis::cmd("PTTL");
            look.arg(counters.key("a"));
            let left: u64 = server.read(&look).await.unwrap();
            let most = SLACK + Duration::from_secs(1);
            assert!((1..=most.as_millis()).contains(&u128::from(left)), "{left}");
        })
        .await;
    }
}
