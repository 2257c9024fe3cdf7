//! One-time codes in Redis: a table with its indexes.

use std::sync::LazyLock;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};

use super::{CodeStore, Purpose};
use crate::stores::redis::{Server, in_parts, script};
use crate::stores::{StoreError, TokenHash};
use souk_domain::{Timestamp, UserId};

static ISSUE: LazyLock<Script> = script!("lua/codes.lua", "lua/issue.lua");
static REDEEM: LazyLock<Script> = script!("lua/codes.lua", "lua/redeem.lua");
static SWEEP: LazyLock<Script> = script!("lua/codes.lua", "lua/sweep.lua");

/// The adapter.
pub struct RedisCodes {
    server: Server,
    /// The keys of the table and its indexes.
    table: [Vec<u8>; 3],
}

impl RedisCodes {
    /// The codes on `server`.
    pub fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
            table: ["codes", "codes:holders", "codes:by-expiry"].map(|name| server.key(name)),
        }
    }

    fn on_table(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        call.key(&self.table);
        call
    }

    fn redemption(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
        redeem: bool,
    ) -> ScriptInvocation<'static> {
        let mut call = self.on_table(&REDEEM);
        call.arg(purpose.as_str())
            .arg(&code.0)
            .arg(now.as_millis())
            .arg(u8::from(redeem));
        call
    }

    fn user(&self, user: Option<String>) -> Result<Option<UserId>, StoreError> {
        user.map(|user| UserId::parse(&user))
            .transpose()
            .map_err(|error| self.server.corrupt(error.to_string()))
    }
}

#[async_trait]
impl CodeStore for RedisCodes {
    async fn issue(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        user: &UserId,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut call = self.on_table(&ISSUE);
        call.arg(purpose.as_str())
            .arg(user.as_str())
            .arg(&code.0)
            .arg(expires_at.as_millis());
        if self.server.write(&call).await? {
            Ok(())
        } else {
            Err(self.server.refused("the code was issued to somebody else"))
        }
    }

    async fn redeem(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let call = self.redemption(purpose, code, now, true);
        self.user(self.server.write(&call).await?)
    }

    async fn holder(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let call = self.redemption(purpose, code, now, false);
        self.user(self.server.read(&call).await?)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        in_parts(limit, |rows| {
            let mut call = self.on_table(&SWEEP);
            call.arg(now.as_millis()).arg(rows);
            async move { self.server.write(&call).await }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::codes::contract;
    use crate::stores::redis::testing::on_server;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        on_server(async |server| {
            contract::suite(Arc::new(RedisCodes::new(&server))).await;
        })
        .await;
    }
}
