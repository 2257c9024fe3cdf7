//! From the configuration to the settings of the parts.

use std::time::Duration;

use crate::actors::region::RegionLimits;
use crate::config::{Config, Limits};
use crate::http::edge::client_address::TrustedProxies;
use crate::http::edge::settings::{
    CatalogueCacheSettings, HttpSettings, IdempotencySettings, RateLimitSettings, ServerSettings,
};
use crate::http::edge::tls::ServerTls;
use crate::sagas::checkout::CheckoutLimits;
use souk_cluster::membership::MembershipSettings;
use souk_cluster::transport::{StreamLimits, TransportSettings};

/// What a caller is told who is refused because too much waits.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A waiting request of the same key is answered before its own time is up.
const IDEMPOTENCY_WAIT_MARGIN: Duration = Duration::from_secs(1);

pub(super) fn region(limits: &Limits) -> RegionLimits {
    RegionLimits {
        in_flight_per_node: limits.in_flight_commands,
        in_flight_per_entity: u32::try_from(limits.in_flight_per_entity).unwrap_or(u32::MAX),
        live_entities: limits.live_entities,
        idle: limits.idle_seconds.duration(),
        retry_after: RETRY_AFTER,
        crashes: u32::try_from(limits.crashes).unwrap_or(u32::MAX),
        parked: limits.parked_seconds.duration(),
    }
}

pub(super) fn checkout(limits: &Limits) -> CheckoutLimits {
    CheckoutLimits {
        ask: limits.request_budget_ms.duration(),
        payment_call: limits.payment_call_ms.duration(),
        payment_total: limits.payment_total_ms.duration(),
        reservation: limits.reservation_seconds.duration(),
    }
}

pub(super) fn membership(config: &Config) -> MembershipSettings {
    MembershipSettings {
        look_interval: config.membership.look_interval_ms.duration(),
        verified: config.membership.verified_ms.duration(),
        minority_wait: config.membership.minority_wait_ms.duration(),
        drain: config.limits.drain_seconds.duration(),
    }
}

pub(super) fn transport(config: &Config) -> TransportSettings {
    let transport = &config.transport;
    TransportSettings {
        handshake_limit: transport.handshake_ms.duration(),
        concurrent_handshakes: transport.handshakes,
        stream: StreamLimits {
            idle: transport.idle_ms.duration(),
            write_stall: transport.write_stall_ms.duration(),
        },
        redial_limit: transport.redial_ms.duration(),
        ..TransportSettings::default()
    }
}

pub(super) fn http(config: &Config) -> HttpSettings {
    let limits = &config.limits;
    let checkout_wait = limits.checkout_wait_ms.duration();
    HttpSettings {
        request_timeout: limits.total_seconds.duration(),
        ask_timeout: limits.request_budget_ms.duration(),
        checkout_wait,
        checkout_time_to_live: limits.order_deadline_seconds.duration(),
        body_timeout: limits.body_seconds.duration(),
        body_limit: limits.body_bytes,
        uri_limit: limits.target_bytes,
        concurrency: limits.in_flight_commands,
        idempotency: IdempotencySettings {
            lease: limits.idempotency_lease_seconds.duration(),
            keep: limits.idempotency_keep_seconds.duration(),
            wait: checkout_wait + IDEMPOTENCY_WAIT_MARGIN,
        },
        rate_limits: RateLimitSettings {
            per_caller: config.gateway.requests_per_minute,
            per_address: config.gateway.requests_per_minute_per_address,
            patience: config.gateway.request_count_ms.duration(),
        },
        catalogue_cache: CatalogueCacheSettings {
            products_for: limits.product_cache_ms.duration(),
            badges_for: limits.badge_cache_ms.duration(),
            capacity: u64::try_from(limits.cached_products).unwrap_or(u64::MAX),
        },
        trusted_proxies: TrustedProxies::new(&config.gateway.trusted_proxies),
        cors_origins: config.gateway.cors_origins.clone(),
        compression: config.gateway.compression,
    }
}

pub(super) fn server(config: &Config, tls: Option<ServerTls>) -> ServerSettings {
    let limits = &config.limits;
    ServerSettings {
        header_timeout: limits.header_seconds.duration(),
        write_timeout: limits.write_stall_seconds.duration(),
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        trusted_proxies: TrustedProxies::new(&config.gateway.trusted_proxies),
        tls,
        headers: limits.header_lines,
        grace: limits.drain_seconds.duration(),
        ..ServerSettings::default()
    }
}
