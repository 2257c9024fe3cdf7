//! Rate limits per caller and per address, on all nodes together.
//!
//! A caller is an account or a guest's cart; a stranger counts by address alone. Each node counts by itself and settles
//! with the sessions store a chunk at a time (see `ledger.rs`), so that most requests cost a look into a map and wait
//! for the store only where a chunk is used up. **While the store is unavailable** nobody is refused because of that:
//! each node continues with its own counts.
//!
//! Requests without a client address are not counted by address: those that come straight from a trusted proxy are the
//! operator's own (a health check, a load test on the node's machine), or those of a proxy that hides its clients, who
//! would all count as one.

mod ledger;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::Extensions;
use axum::http::header::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use self::ledger::{Claim, Ledger, Limit, Standing, Verdict};
use crate::clock::Clock;
use crate::http::edge::client_address::{ClientAddress, TrustedProxies};
use crate::http::edge::headers::{RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET};
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::settings::RateLimitSettings;
use crate::http::request::caller::Caller;
use crate::stores::StoreError;
use crate::stores::counters::CounterStore;
use souk_domain::{CartId, Timestamp, UserId};

/// Length of a window.
pub const WINDOW: Duration = Duration::from_secs(60);
/// The same in seconds.
const WINDOW_SECONDS: usize = 60;
/// Pause after a failure of the store, so that callers wait for it once and not once per chunk.
const PAUSE: Duration = Duration::from_secs(1);
/// Shards of the map of callers, each with its own lock.
const SHARDS: usize = 64;
/// Most callers in one shard: about 130,000 in all, of some 100 bytes each.
const SHARD_LIMIT: usize = 2_048;

/// The subject of a count.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    Account(UserId),
    Guest(CartId),
    Address(IpAddr),
}

impl Subject {
    fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Account(principal) => Self::Account(principal.user.clone()),
            Caller::Guest { cart } => Self::Guest(cart.clone()),
        }
    }

    /// The key in the store.
    fn key(&self) -> String {
        match self {
            Self::Account(user) => format!("rate:caller:{user}"),
            Self::Guest(cart) => format!("rate:caller:{cart}"),
            Self::Address(address) => format!("rate:address:{address}"),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) | Self::Guest(_) => "caller",
            Self::Address(_) => "address",
        }
    }
}

/// A caller in the map.
struct Entry {
    ledger: Ledger,
    /// The lock for settling with the store; made when it is first needed.
    turn: Option<Arc<AsyncMutex<()>>>,
}

impl Entry {
    fn take(&mut self, limit: Limit, now: Timestamp) -> Taken {
        match self.ledger.take(limit, now) {
            Verdict::Admitted(standing) => Taken::Admitted(standing),
            Verdict::Refused(standing) => Taken::Refused(standing),
            Verdict::Settle(_) => Taken::MustSettle(Arc::clone(self.turn.get_or_insert_default())),
        }
    }
}

type Shard = Mutex<HashMap<Subject, Entry>>;

/// A limit with its headers.
struct Rule {
    limit: Limit,
    header: HeaderValue,
}

impl Rule {
    /// `None` for a limit of 0: unlimited.
    fn new(requests: u32, window: Duration) -> Option<Self> {
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
        (requests > 0).then(|| Self {
            limit: Limit { requests, window },
            header: HeaderValue::from(requests),
        })
    }
}

/// The requests left: the headers of a reply.
pub(crate) struct Allowance {
    limit: HeaderValue,
    standing: Standing,
}

/// Each number of seconds as a header, since every limited reply has one.
static SECONDS: LazyLock<Vec<HeaderValue>> =
    LazyLock::new(|| (0..=WINDOW_SECONDS).map(HeaderValue::from).collect());

impl Allowance {
    /// The one that is used up first.
    pub(crate) fn tighter(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if one.standing.remaining <= other.standing.remaining => Some(one),
            (one, None) => one,
            (_, other) => other,
        }
    }

    /// Adds the headers.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let seconds = usize::try_from(self.standing.reset.saturating_add(999) / 1_000).unwrap_or(usize::MAX);
        let reset = SECONDS
            .get(seconds)
            .cloned()
            .unwrap_or_else(|| HeaderValue::from(seconds));
        headers.reserve(3);
        headers.insert(RATE_LIMIT, self.limit);
        headers.insert(RATE_LIMIT_REMAINING, HeaderValue::from(self.standing.remaining));
        headers.insert(RATE_LIMIT_RESET, reset);
    }
}

/// A request above the limit.
pub(crate) struct Refusal {
    problem: Problem,
    allowance: Allowance,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        self.allowance.write(response.headers_mut());
        response
    }
}

/// Counts requests.
pub(crate) struct RateLimiter {
    store: Arc<dyn CounterStore>,
    clock: Clock,
    trusted_proxies: TrustedProxies,
    per_caller: Option<Rule>,
    per_address: Option<Rule>,
    /// Time limit of the store.
    patience: Duration,
    hasher: RandomState,
    shards: Box<[Shard]>,
    /// Whether the last request to the store failed.
    is_away: AtomicBool,
    /// No requests to the store until then, in milliseconds since the Unix epoch.
    away_until: AtomicI64,
}

impl RateLimiter {
    /// Settles with `store`.
    pub(crate) fn new(
        store: Arc<dyn CounterStore>,
        settings: RateLimitSettings,
        trusted_proxies: TrustedProxies,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            clock,
            trusted_proxies,
            per_caller: Rule::new(settings.per_caller, WINDOW),
            per_address: Rule::new(settings.per_address, WINDOW),
            patience: settings.patience,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            is_away: AtomicBool::new(false),
            away_until: AtomicI64::new(i64::MIN),
        }
    }

    /// The address that a request counts for, if any.
    pub(crate) fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<ClientAddress> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        if self.trusted_proxies.speaks_for_itself(peer.ip(), headers) {
            return None;
        }
        ClientAddress::of(extensions)
    }

    /// Counts a request of this address; `None` where it has no limit.
    pub(crate) async fn by_address(
        self: &Arc<Self>,
        client: Option<ClientAddress>,
    ) -> Result<Option<Allowance>, Refusal> {
        match (&self.per_address, client) {
            (Some(rule), Some(client)) => {
                let who = Subject::Address(client.counted());
                self.count(rule, &who).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Counts a request of this caller; `None` where it has no limit.
    pub(crate) async fn by_caller(self: &Arc<Self>, caller: &Caller) -> Result<Option<Allowance>, Refusal> {
        let Some(rule) = &self.per_caller else {
            return Ok(None);
        };
        self.count(rule, &Subject::of(caller)).await.map(Some)
    }

    async fn count(self: &Arc<Self>, rule: &Rule, who: &Subject) -> Result<Allowance, Refusal> {
        loop {
            let allowance = |standing| Allowance {
                limit: rule.header.clone(),
                standing,
            };
            let turn = match self.take(rule.limit, who) {
                Taken::Admitted(standing) => return Ok(allowance(standing)),
                Taken::Refused(standing) => {
                    counter!("souk_rate_limited_total", "by" => who.kind()).increment(1);
                    return Err(Refusal {
                        problem: too_many(rule, who, standing),
                        allowance: allowance(standing),
                    });
                }
                Taken::MustSettle(turn) => turn.lock_owned().await,
            };
            // Another request may have settled meanwhile.
            if let Some(claim) = self.claim(rule.limit, who) {
                let (limiter, limit, whose) = (Arc::clone(self), rule.limit, who.clone());
                // Runs to its end even if the client disconnects: otherwise it would be unknown whether the store
                // counted.
                let settled = tokio::spawn(async move { limiter.settle(limit, &whose, claim, turn).await });
                if let Err(error) = settled.await {
                    tracing::error!(error = &error as &dyn StdError, "a rate limit was not settled");
                    self.credit(rule.limit, who, claim, None);
                }
            }
        }
    }

    fn shard(&self, who: &Subject) -> MutexGuard<'_, HashMap<Subject, Entry>> {
        // The remainder is far below the range of usize.
        #[expect(clippy::cast_possible_truncation)]
        let index = (self.hasher.hash_one(who) % SHARDS as u64) as usize;
        // Nothing panics while the lock is held; any count is valid.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, limit: Limit, who: &Subject) -> Taken {
        let now = (self.clock)();
        let mut shard = self.shard(who);
        if let Some(entry) = shard.get_mut(who) {
            return entry.take(limit, now);
        }
        make_room(&mut shard, limit, now);
        let mut entry = Entry {
            ledger: Ledger::new(limit, now),
            turn: None,
        };
        let taken = entry.take(limit, now);
        shard.insert(who.clone(), entry);
        taken
    }

    /// The claim to settle. `None` where it was settled meanwhile, or requests to the store are paused.
    fn claim(&self, limit: Limit, who: &Subject) -> Option<Claim> {
        let now = (self.clock)();
        let mut shard = self.shard(who);
        let ledger = &mut shard.get_mut(who)?.ledger;
        let claim = ledger.open_claim(limit, now)?;
        let left = self
            .away_until
            .load(Ordering::Relaxed)
            .saturating_sub(now.as_millis());
        // A clock that is set back makes no pause longer.
        if left > 0 && Timestamp::from_millis(left) <= Timestamp::default().plus(PAUSE) {
            unavailable();
            ledger.settle(limit, claim, None);
            return None;
        }
        Some(claim)
    }

    /// Settles with the store; holds the lock until the reply is counted.
    async fn settle(&self, limit: Limit, who: &Subject, claim: Claim, _turn: OwnedMutexGuard<()>) {
        let (key, amount) = (who.key(), u64::from(claim.amount));
        let hit = self.store.hit(&key, claim.made_at(limit), WINDOW, amount);
        let total = match tokio::time::timeout(self.patience, hit).await {
            Ok(total) => total.map_err(Unsettled::from),
            Err(_) => Err(Unsettled::TimedOut(self.patience)),
        };
        if let Err(error) = &total {
            self.failed(error);
        } else if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("requests are counted across nodes again");
        }
        self.credit(limit, who, claim, total.ok());
    }

    fn credit(&self, limit: Limit, who: &Subject, claim: Claim, total: Option<u64>) {
        // If it was evicted meanwhile, it starts anew.
        if let Some(entry) = self.shard(who).get_mut(who) {
            entry.ledger.settle(limit, claim, total);
        }
    }

    fn failed(&self, error: &Unsettled) {
        unavailable();
        let until = (self.clock)().plus(PAUSE).as_millis();
        self.away_until.store(until, Ordering::Relaxed);
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = error as &dyn StdError,
                "requests can't be counted across nodes just now: each node counts its own"
            );
        }
    }
}

fn too_many(rule: &Rule, who: &Subject, standing: Standing) -> Problem {
    let whose = match who {
        Subject::Account(_) => "an account",
        Subject::Guest(_) => "a guest",
        Subject::Address(_) => "one address",
    };
    let wait = u64::try_from(standing.reset).unwrap_or(0);
    Problem::new(problem::TOO_MANY_REQUESTS)
        .detail(format!(
            "{whose} may make {} requests a minute",
            rule.limit.requests
        ))
        .retry_after(Duration::from_millis(wait))
}

/// The decision about a request; see [`Verdict`].
enum Taken {
    Admitted(Standing),
    Refused(Standing),
    MustSettle(Arc<AsyncMutex<()>>),
}

/// Why a count is local to this node.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the store did not answer within {0:?}")]
    TimedOut(Duration),
}

fn unavailable() {
    counter!("souk_rate_limit_unavailable_total").increment(1);
}

/// Evicts when the map is full: first windows that are over; then callers with less than a chunk, who start anew; then
/// all others, whom the store knows.
fn make_room(shard: &mut HashMap<Subject, Entry>, limit: Limit, now: Timestamp) {
    if shard.len() >= SHARD_LIMIT {
        shard.retain(|_, entry| !entry.ledger.is_over(limit, now));
    }
    if shard.len() >= SHARD_LIMIT {
        shard.retain(|_, entry| entry.ledger.is_settled());
    }
    if shard.len() >= SHARD_LIMIT {
        shard.clear();
    }
}
