//! The settings of the HTTP interface, from the configuration.

use std::time::Duration;

use crate::config::{Gateway, Limits};
use crate::http::edge::client_address::TrustedProxies;
use crate::http::edge::slow_reader::ReadingPace;
use crate::http::edge::tls::ServerTls;
use crate::stores::idempotency::Quota;

/// A repeated request waits this much longer than the checkout that it may repeat.
const IDEMPOTENCY_WAIT_MARGIN: Duration = Duration::from_secs(1);

/// Longest head of a request, in bytes.
const HEAD_LIMIT: usize = 32 * 1024;

/// Limits and time-outs of middleware and handlers.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Time limit of a request.
    pub request_timeout: Duration,
    /// Time limit of one request to an entity.
    pub ask_timeout: Duration,
    /// How long a request waits for its checkout before the order is reported as pending.
    pub checkout_wait: Duration,
    /// How long an order may stay pending.
    pub checkout_time_to_live: Duration,
    /// Time limit for receiving a body.
    pub body_timeout: Duration,
    /// Longest body accepted, in bytes.
    pub body_limit: usize,
    /// Most bytes of bodies that are being received.
    pub bodies: usize,
    /// Most bytes of replies that their clients have not read yet.
    pub replies: usize,
    /// Most orders in lists that are made at once.
    pub listed_orders: usize,
    /// Longest path and query accepted, in bytes.
    pub uri_limit: usize,
    /// Most requests in flight; further ones are refused as busy.
    pub concurrency: usize,
    /// Idempotency keys.
    pub idempotency: IdempotencySettings,
    /// Rate limits.
    pub rate_limits: RateLimitSettings,
    /// The catalogue cache.
    pub catalogue_cache: CatalogueCacheSettings,
    /// The proxies whose forwarding headers are trusted.
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
            bodies: limits.bodies_bytes,
            replies: limits.replies_bytes,
            listed_orders: limits.listed_orders,
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

    /// For the listener of operators: no pages of other origins, and no compression, since its replies contain secrets.
    #[must_use]
    pub fn internal(self) -> Self {
        Self {
            cors_origins: Vec::new(),
            compression: false,
            ..self
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self::new(&Limits::default(), &Gateway::default())
    }
}

/// Idempotency keys (invariant 9).
#[derive(Clone, Copy, Debug)]
pub struct IdempotencySettings {
    /// How long a request holds its key without renewing its lease; after that (its node died) a repetition executes.
    /// Two that run at once are harmless: they send the same commands.
    pub lease: Duration,
    /// How long a reply is kept.
    pub keep: Duration,
    /// How much may be kept for a caller, and for an address.
    pub quota: Quota,
    /// How long a repetition waits for the first request.
    pub wait: Duration,
}

impl From<&Limits> for IdempotencySettings {
    fn from(limits: &Limits) -> Self {
        Self {
            lease: limits.idempotency_lease_seconds.duration(),
            keep: limits.idempotency_keep_seconds.duration(),
            quota: Quota {
                per_owner: limits.idempotency_bytes_per_caller,
                per_network: limits.idempotency_bytes_per_address,
            },
            wait: limits.checkout_wait_ms.duration() + IDEMPOTENCY_WAIT_MARGIN,
        }
    }
}

/// Rate limits, on all nodes together; 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// Requests a minute of one account, or of one guest's cart.
    pub per_caller: u32,
    /// Requests a minute of one address.
    pub per_address: u32,
    /// Time limit of the store. Callers wait for it once per chunk.
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

/// The catalogue cache.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueCacheSettings {
    /// Time to live of a product.
    pub products_for: Duration,
    /// Time to live of a stock badge.
    pub badges_for: Duration,
    /// Most products, and most SKUs, absent ones included.
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

/// How long kept connections wait for one more request when their listener ends: several times the pause of a busy
/// client, and short beside the rest of a drain.
pub const LINGER: Duration = Duration::from_secs(1);

/// Limits and time-outs of a listener's connections.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Time limit for receiving the head of a request.
    pub header_timeout: Duration,
    /// How long an idle kept-alive connection stays open.
    pub keep_alive: Duration,
    /// How fast a client reads at least.
    pub reading: ReadingPace,
    /// Most connections at once; further ones wait to be accepted.
    pub connections: usize,
    /// Most connections of one address at once; further ones are closed.
    pub connections_per_address: usize,
    /// Proxies exempt from that limit: all clients come through them.
    pub trusted_proxies: TrustedProxies,
    /// TLS; `None` for plain HTTP.
    pub tls: Option<ServerTls>,
    /// Most headers of a request.
    pub headers: usize,
    /// Longest head of a request, in bytes.
    pub head_limit: usize,
    /// How long requests in flight may take once the listener shuts down.
    pub grace: Duration,
    /// How long of that kept connections may wait for one more request, which is answered as their last.
    pub linger: Duration,
}

impl ServerSettings {
    /// Those of a configuration.
    pub fn new(limits: &Limits, gateway: &Gateway, tls: Option<ServerTls>) -> Self {
        Self {
            header_timeout: limits.header_seconds.duration(),
            keep_alive: limits.keep_alive_seconds.duration(),
            reading: ReadingPace {
                stall: limits.write_stall_seconds.duration(),
                bytes_per_second: limits.read_bytes_per_second,
            },
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
