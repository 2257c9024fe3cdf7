//! Idempotent replies in Redis: a table with its indexes, and the bytes that are kept for each owner and network, which follow the rows
//! within each script. Nothing expires by itself, since those sums would be wrong then: sweeps remove what is old.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};

use super::{Attempt, Claim, IdempotencyStore, KeptReply, ROW_BYTES};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::redis::{Server, in_parts, script};
use souk_domain::Timestamp;

static CLAIM: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/claim.lua");
static ANSWER: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/answer.lua");
static RELEASE: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/release.lua");
static FORGET: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/forget.lua");
static SWEEP: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/sweep.lua");
static AT_REST: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/at_rest.lua");
static RESEAL: LazyLock<Script> = script!(row_bytes(); "lua/replies.lua", "lua/reseal.lua");

/// Most bytes of bodies in one page of [`RowsAtRest::rows_at_rest`], unless a single one is larger.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

fn row_bytes() -> String {
    format!("local ROW_BYTES = {ROW_BYTES}\n")
}

/// As the scripts read a text that may be absent.
fn optional(text: Option<&str>) -> String {
    text.map(|text| format!("={text}")).unwrap_or_default()
}

/// The adapter.
pub struct RedisIdempotency {
    server: Server,
    /// The keys of the table and its indexes.
    table: [Vec<u8>; 6],
}

impl RedisIdempotency {
    /// The kept replies on `server`.
    pub fn new(server: &Server) -> Self {
        let table = [
            "replies",
            "replies:bodies",
            "replies:by-claim",
            "replies:by-owner",
            "replies:answered",
            "replies:bytes",
        ];
        Self {
            server: server.for_store("idempotency"),
            table: table.map(|name| server.key(name)),
        }
    }

    fn on_table(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        call.key(&self.table);
        call
    }
}

#[async_trait]
impl IdempotencyStore for RedisIdempotency {
    fn technology(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.server.ping().await
    }

    async fn claim(
        &self,
        attempt: &Attempt<'_>,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let mut call = self.on_table(&CLAIM);
        call.arg(attempt.key)
            .arg(attempt.fingerprint)
            .arg(attempt.holder)
            .arg(now.as_millis())
            .arg(now.plus(lease).as_millis())
            .arg(now.minus(keep).as_millis())
            .arg(optional(attempt.owner))
            .arg(optional(attempt.network))
            .arg(attempt.quota.per_owner)
            .arg(attempt.quota.per_network);
        let (outcome, reply): (u8, Option<(u16, String, Vec<u8>)>) = self.server.write(&call).await?;
        Ok(match (outcome, reply) {
            (0, None) => Claim::Ours,
            (1, None) => Claim::Running,
            (2, Some((status, headers, body))) => Claim::Answered(KeptReply {
                status,
                headers: serde_json::from_str(&headers)
                    .map_err(|error| self.server.corrupt(format!("the headers of a reply: {error}")))?,
                body,
            }),
            (3, None) => Claim::OtherBody,
            (4, None) => Claim::OverQuota,
            _ => return Err(self.server.corrupt("a claim with an unknown outcome")),
        })
    }

    async fn answer(
        &self,
        key: &str,
        holder: &str,
        owner: Option<&str>,
        reply: &KeptReply,
    ) -> Result<(), StoreError> {
        let headers = serde_json::to_string(&reply.headers).map_err(|error| self.server.refused(error))?;
        let mut call = self.on_table(&ANSWER);
        call.arg(key)
            .arg(holder)
            .arg(optional(owner))
            .arg(reply.status)
            .arg(headers)
            .arg(&reply.body);
        self.server.write(&call).await
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        let mut call = self.on_table(&RELEASE);
        call.arg(key).arg(holder);
        self.server.write(&call).await
    }

    async fn forget(&self, owner: &str, limit: usize) -> Result<u64, StoreError> {
        in_parts(limit, |rows| {
            let mut call = self.on_table(&FORGET);
            call.arg(owner).arg(rows);
            async move { self.server.write(&call).await }
        })
        .await
    }

    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        in_parts(limit, |rows| {
            let mut call = self.on_table(&SWEEP);
            call.arg(before.as_millis()).arg(rows);
            async move { self.server.write(&call).await }
        })
        .await
    }
}

#[async_trait]
impl RowsAtRest for RedisIdempotency {
    fn store(&self) -> &'static str {
        self.server.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let mut call = self.on_table(&AT_REST);
        // No key is empty.
        call.arg(after.unwrap_or_default()).arg(limit).arg(PAGE_BYTES);
        let rows: Vec<(String, Vec<u8>)> = self.server.read(&call).await?;
        let rows = rows.into_iter().map(|(id, content)| RowAtRest { id, content });
        Ok(rows.collect())
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let mut call = self.on_table(&RESEAL);
        for Resealed { row, content } in rows {
            call.arg(&row.id).arg(&row.content).arg(content);
        }
        self.server.write(&call).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::idempotency::contract;
    use crate::stores::redis::testing::on_server;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        on_server(async |server| {
            let store = Arc::new(RedisIdempotency::new(&server));
            contract::suite(Arc::clone(&store) as Arc<dyn IdempotencyStore>).await;
            contract::reseals(&*store).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract_with_sealed_bodies() {
        on_server(async |server| contract::sealed(Arc::new(RedisIdempotency::new(&server))).await).await;
    }

    /// The sums and the indexes are those of the rows after everything that the contract does.
    #[tokio::test(flavor = "multi_thread")]
    async fn sums_and_indexes_follow_the_rows() {
        on_server(async |server| {
            let store = Arc::new(RedisIdempotency::new(&server));
            contract::suite(Arc::clone(&store) as Arc<dyn IdempotencyStore>).await;
            contract::reseals(&*store).await;
            contract::kept_for(&*store, 5).await;
            let compare = Script::new(&format!(
                "{}{}{}",
                row_bytes(),
                include_str!("lua/replies.lua"),
                "local sums, owned_rows, answered, rows = {}, 0, 0, redis.call('HGETALL', REPLIES)
                 local wrong = {}
                 local function expect(what, is, should)
                   if tonumber(is) ~= tonumber(should) then
                     wrong[#wrong + 1] = what .. ' is ' .. tostring(is) .. ' and should be ' .. tostring(should)
                   end
                 end
                 for index = 1, #rows, 2 do
                   local key, row = rows[index], cmsgpack.unpack(rows[index + 1])
                   for _, who in ipairs({row.owner or false, row.network or false}) do
                     if who then sums[who] = (sums[who] or 0) + size(key) end
                   end
                   if row.owner then
                     owned_rows = owned_rows + 1
                     expect('the owner of ' .. key, redis.call('ZSCORE', BY_OWNER, owned(row.owner, key)), 0)
                   end
                   if row.status then
                     answered = answered + 1
                     expect('the reply of ' .. key, redis.call('ZSCORE', ANSWERED, key), 0)
                   end
                   expect('the claim of ' .. key, redis.call('ZSCORE', BY_CLAIM, key), row.claimed_at)
                 end
                 local kept = redis.call('HGETALL', BYTES)
                 for index = 1, #kept, 2 do
                   expect(kept[index], kept[index + 1], sums[kept[index]])
                   sums[kept[index]] = nil
                 end
                 for who, bytes in pairs(sums) do expect(who, 0, bytes) end
                 expect('the number of owned', redis.call('ZCARD', BY_OWNER), owned_rows)
                 expect('the number of answered', redis.call('ZCARD', ANSWERED), answered)
                 expect('the number of bodies', redis.call('HLEN', BODIES), answered)
                 expect('the number of claims', redis.call('ZCARD', BY_CLAIM), #rows / 2)
                 return {#kept / 2, wrong}"
            ));
            let mut call = compare.prepare_invoke();
            call.key(&store.table);
            let (sums, wrong): (usize, Vec<String>) = server.read(&call).await.unwrap();
            assert_eq!(wrong, Vec::<String>::new());
            assert!(sums >= 2);
        })
        .await;
    }
}
