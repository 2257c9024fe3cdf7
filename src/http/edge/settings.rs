//! The limits of the HTTP front, as the configuration sets them.

use std::time::Duration;

use crate::config::{Gateway, Limits};
use crate::http::edge::client_address::TrustedProxies;
use crate::http::edge::tls::ServerTls;

/// A repeated request waits this much longer than the checkout that it may repeat.
const IDEMPOTENCY_WAIT_MARGIN: Duration = Duration::from_secs(1);

/// Longest head of a request, in bytes.
const HEAD_LIMIT: usize = 32 * 1024;

/// Limits and time-outs of what stands behind the listener: middleware and handlers.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// A request is answered after this long, come what may.
    pub request_timeout: Duration,
    /// How long one entity may take to answer.
    pub ask_timeout: Duration,
    /// How long a checkout is waited for before it is answered as still pending.
    pub checkout_wait: Duration,
    /// How long after it was placed an order may stay pending.
    pub checkout_time_to_live: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Longest body accepted, in bytes.
    pub body_limit: usize,
    /// Longest path and query accepted, in bytes.
    pub uri_limit: usize,
    /// Most requests worked on at once; beyond, they are refused as busy.
    pub concurrency: usize,
    /// How repeated requests are recognised.
    pub idempotency: IdempotencySettings,
    /// How often callers may call.
    pub rate_limits: RateLimitSettings,
    /// How much of the catalogue is kept at hand, and how long.
    pub catalogue_cache: CatalogueCacheSettings,
    /// The proxies whose word on a client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// The origins whose pages may call from a browser: none, some, or `"*"`.
    pub cors_origins: Vec<String>,
    /// Whether large replies are compressed.
    pub compression: bool,
}

impl HttpSettings {
    /// Those of a configuration.
    pub fn new(limits: &Limits, gateway: &Gateway) -> Self {
        Self {
            request_timeout: limits.total_seconds.duration(),
            ask_timeout: limits.request_budget_ms.duration(),
            checkout_wait: limits.checkout_wait_ms.duration(),
            checkout_time_to_live: limits.order_deadline_seconds.duration(),
            body_timeout: limits.body_seconds.duration(),
            body_limit: limits.body_bytes,
            uri_limit: limits.target_bytes,
            concurrency: limits.in_flight_commands,
            idempotency: IdempotencySettings::from(limits),
            rate_limits: RateLimitSettings::from(gateway),
            catalogue_cache: CatalogueCacheSettings::from(limits),
            trusted_proxies: TrustedProxies::new(&gateway.trusted_proxies),
            cors_origins: gateway.cors_origins.clone(),
            compression: gateway.compression,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self::new(&Limits::default(), &Gateway::default())
    }
}

/// How repeated requests are recognised (invariant 9).
#[derive(Clone, Copy, Debug)]
pub struct IdempotencySettings {
    /// How long a running request holds its key without renewing that; after it (its node died) the next one with the
    /// same body goes on.
    /// Two that run at once are harmless: they send the same commands.
    pub lease: Duration,
    /// How long a reply is kept.
    pub keep: Duration,
    /// How long a repetition waits for the first to be answered.
    pub wait: Duration,
}

impl From<&Limits> for IdempotencySettings {
    fn from(limits: &Limits) -> Self {
        Self {
            lease: limits.idempotency_lease_seconds.duration(),
            keep: limits.idempotency_keep_seconds.duration(),
            wait: limits.checkout_wait_ms.duration() + IDEMPOTENCY_WAIT_MARGIN,
        }
    }
}

/// How often callers may call, on all nodes together; 0 for as often as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// Requests a minute of one account, or of one guest's cart.
    pub per_caller: u32,
    /// Requests a minute of one address.
    pub per_address: u32,
    /// How long the store may take. Its answer is waited for once a chunk.
    pub patience: Duration,
}

impl From<&Gateway> for RateLimitSettings {
    fn from(gateway: &Gateway) -> Self {
        Self {
            per_caller: gateway.requests_per_minute,
            per_address: gateway.requests_per_minute_per_address,
            patience: gateway.request_count_ms.duration(),
        }
    }
}

/// How much of the catalogue is kept at hand.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueCacheSettings {
    /// How old a product may be that is shown.
    pub products_for: Duration,
    /// How old a stock badge may be that is shown.
    pub badges_for: Duration,
    /// Most products kept, and most SKUs, those included that do not exist.
    pub capacity: u64,
}

impl From<&Limits> for CatalogueCacheSettings {
    fn from(limits: &Limits) -> Self {
        Self {
            products_for: limits.product_cache_ms.duration(),
            badges_for: limits.badge_cache_ms.duration(),
            capacity: u64::try_from(limits.cached_products).unwrap_or(u64::MAX),
        }
    }
}

/// How long kept connections wait for one more request when their listener ends: several times as long as a busy client is idle,
/// and little beside the rest of a drain.
pub const LINGER: Duration = Duration::from_secs(1);

/// Limits and time-outs of a listener's connections.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How long the head of a request may take to arrive; a kept-alive connection that is idle for so long is closed.
    pub header_timeout: Duration,
    /// How long a client may take nothing of a reply that is on its way.
    pub write_timeout: Duration,
    /// Most connections at once; beyond, they wait to be accepted.
    pub connections: usize,
    /// Most connections of one address at once; beyond, they are closed.
    pub connections_per_address: usize,
    /// The proxies that this does not hold for: all clients come through them.
    pub trusted_proxies: TrustedProxies,
    /// How the listener speaks TLS; `None` for plain HTTP.
    pub tls: Option<ServerTls>,
    /// Most headers of a request.
    pub headers: usize,
    /// Longest head of a request, in bytes.
    pub head_limit: usize,
    /// How long requests in flight may go on once the listener shuts down.
    pub grace: Duration,
    /// For how long of that kept connections may wait for one more request, which is answered as their last.
    pub linger: Duration,
}

impl ServerSettings {
    /// Those of a configuration.
    pub fn new(limits: &Limits, gateway: &Gateway, tls: Option<ServerTls>) -> Self {
        Self {
            header_timeout: limits.header_seconds.duration(),
            write_timeout: limits.write_stall_seconds.duration(),
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            trusted_proxies: TrustedProxies::new(&gateway.trusted_proxies),
            tls,
            headers: limits.header_lines,
            head_limit: HEAD_LIMIT,
            grace: limits.drain_seconds.duration(),
            linger: LINGER,
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self::new(&Limits::default(), &Gateway::default(), None)
    }
}
