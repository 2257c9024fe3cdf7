//! The settings of the HTTP interface, each with its default.

use std::time::Duration;

use crate::http::edge::client_address::TrustedProxies;
use crate::http::edge::tls::ServerTls;

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

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            ask_timeout: Duration::from_secs(5),
            checkout_wait: Duration::from_secs(5),
            checkout_time_to_live: Duration::from_secs(15 * 60),
            body_timeout: Duration::from_secs(10),
            body_limit: 256 * 1024,
            uri_limit: 8 * 1024,
            concurrency: 4096,
            idempotency: IdempotencySettings::default(),
            rate_limits: RateLimitSettings::default(),
            catalogue_cache: CatalogueCacheSettings::default(),
            trusted_proxies: TrustedProxies::default(),
            cors_origins: Vec::new(),
            compression: true,
        }
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
    /// How long a repetition waits for the first request.
    pub wait: Duration,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(2),
            keep: Duration::from_secs(24 * 60 * 60),
            wait: Duration::from_secs(8),
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

impl Default for RateLimitSettings {
    fn default() -> Self {
        Self {
            per_caller: 1_200,
            per_address: 12_000,
            patience: Duration::from_millis(200),
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

impl Default for CatalogueCacheSettings {
    fn default() -> Self {
        Self {
            products_for: Duration::from_secs(2),
            badges_for: Duration::from_secs(1),
            capacity: 50_000,
        }
    }
}

/// How long kept connections wait for one more request when their listener ends: several times the pause of a busy
/// client, and short beside the rest of a drain.
pub const LINGER: Duration = Duration::from_secs(1);

/// Limits and time-outs of a listener's connections.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Time limit for receiving the head of a request; an idle kept-alive connection is closed after it.
    pub header_timeout: Duration,
    /// Time limit of a write that makes no progress.
    pub write_timeout: Duration,
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

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            connections: 16_384,
            connections_per_address: 4_096,
            trusted_proxies: TrustedProxies::default(),
            tls: None,
            headers: 64,
            head_limit: 32 * 1024,
            grace: Duration::from_secs(30),
            linger: LINGER,
        }
    }
}
