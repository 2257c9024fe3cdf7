//! `[limits]`: sizes, counts and times of everything that must be bounded.

use super::error::Problems;
use super::section::{Days, Milliseconds, Seconds, Settings, numbers, ordered};

/// Most rows of one batch that any store takes.
pub const BATCH_ROWS_LIMIT: usize = 512;

numbers! {
    /// `[limits]`: sizes, counts and times of everything that must be bounded.
    Limits "limits" {
        /// Largest request body in bytes; larger ones are answered with 413.
        body_bytes: usize = 262144, 1024..=16777216;
        /// Longest request target (path and query) in bytes.
        target_bytes: usize = 8192, 256..=65536;
        /// Most header lines in a request.
        header_lines: usize = 64, 16..=1000;
        /// Longest time for the head of a request to arrive.
        header_seconds: Seconds = 10, 1..=300;
        /// How long an idle kept-alive connection stays open; longer than clients and proxies keep theirs, since a request that crosses the end of its connection is lost.
        keep_alive_seconds: Seconds = 120, 1..=3600;
        /// Longest time for the body of a request to arrive.
        body_seconds: Seconds = 30, 1..=600;
        /// Most bytes of request bodies that are being received, as their heads announce them; one address (IPv6: one /64 network) gets a sixteenth. What did not arrive with its head and finds no room is refused as busy.
        bodies_bytes: usize = 67108864, 1048576..=2147483647;
        /// Most bytes of replies that their clients have not read yet; one address (IPv6: one /64 network) gets a sixteenth. Replies below 16 KiB are not counted; one that is made piece by piece counts as 1 MiB. A read whose reply finds no room is refused as busy.
        replies_bytes: usize = 134217728, 1048576..=2147483647;
        /// Most orders in lists of orders that one node makes at once; further lists wait for their turn.
        listed_orders: usize = 400, 101..=1000000;
        /// Longest time in which a client reads nothing of a reply; then its connection is closed.
        write_stall_seconds: Seconds = 30, 1..=600;
        /// Least bytes of a reply that a client reads in a second, on average beyond `write_stall_seconds`; then its connection is closed.
        read_bytes_per_second: u32 = 1024, 1..=16777216;
        /// Longest time from a request's head to its reply.
        total_seconds: Seconds = 60, 1..=3600;
        /// Most open connections of one listener; further ones wait to be accepted.
        connections: usize = 16384, 16..=1000000;
        /// Most open connections from one address (IPv6: one /64 network) to one listener; further ones are closed at once. `gateway.trusted_proxies` are exempt.
        connections_per_address: usize = 1024, 1..=1000000;
        /// Longest time for a client's TLS handshake.
        tls_handshake_ms: Milliseconds = 5000, 100..=60000;
        /// Most concurrent TLS handshakes of one listener; further ones wait within their time. Connections that have sent nothing yet are not counted.
        tls_handshakes: usize = 1024, 1..=100000;
        /// Most requests in flight on one node; further ones are refused as busy.
        in_flight_commands: usize = 4096, 16..=1000000;
        /// Longest time that half of the commands to entities should take, or three in a row of a checkout; and five times as long as on the quiet node. Where they take longer for two seconds, the node is overloaded, and works on as many requests as it can answer in that time; 0 for no such limit.
        overload_ms: Milliseconds = 90, 0..=60000;
        /// Most commands of requests in flight on one node for each kind of entity (carts, orders, SKUs); further ones are refused as busy. A kind whose store stalls leaves the rest of `in_flight_commands` to the others.
        in_flight_per_kind: usize = 2048, 8..=1000000;
        /// Most commands of background workers (checkouts, the sweeper) in flight on one node for each kind of entity, beside those of requests; further ones are sent again later.
        in_flight_background: usize = 2048, 8..=1000000;
        /// Most commands in flight for one entity; further ones are refused as busy. A SKU on sale needs room for all concurrent buyers.
        in_flight_per_entity: usize = 1024, 1..=1000000;
        /// Most entities of each kind (carts, orders, SKUs) in the memory of one node (each takes 11 KB and its state); the longest idle leave first.
        live_entities: usize = 200000, 100..=10000000;
        /// An entity leaves memory after this time without a command.
        idle_seconds: Seconds = 300, 1..=86400;
        /// Most rows that a persistence actor writes in one batch.
        batch_rows: usize = 512, 1..=512;
        /// Time budget of a request, after which its commands expire.
        request_budget_ms: Milliseconds = 10000, 100..=600000;
        /// How long `POST /v1/orders` waits for the outcome before it answers 202.
        checkout_wait_ms: Milliseconds = 5000, 0..=60000;
        /// Longest time for one call to a payment provider.
        payment_call_ms: Milliseconds = 4000, 100..=60000;
        /// Longest time for all attempts at one payment together.
        payment_total_ms: Milliseconds = 30000, 100..=600000;
        /// How long stock stays reserved before its order is consulted (invariant 11).
        reservation_seconds: Seconds = 900, 1..=86400;
        /// How long an order may stay pending (invariant 12).
        order_deadline_seconds: Seconds = 900, 1..=86400;
        /// Interval at which overdue reservations and orders are looked for (invariant 11).
        sweep_interval_ms: Milliseconds = 5000, 50..=600000;
        /// How long a failed order is kept after it has failed; then the sweeper prunes it. Applies to orders that fail from then on.
        failed_orders_keep_days: Days = 30, 1..=3650;
        /// Most products that a node caches.
        cached_products: usize = 50000, 0..=10000000;
        /// How long a cached product is used. Orders never use it.
        product_cache_ms: Milliseconds = 2000, 0..=600000;
        /// How long a cached stock badge is used. Orders never use it.
        badge_cache_ms: Milliseconds = 1000, 0..=600000;
        /// How long the reply to an `Idempotency-Key` is kept (invariant 9).
        idempotency_keep_seconds: Seconds = 86400, 60..=2592000;
        /// Most bytes of replies that are kept for one account or guest under `Idempotency-Key`s, compressed, with 512 for each key; further keys are refused with 429 until some expire.
        idempotency_bytes_per_caller: u64 = 16777216, 65536..=1073741824;
        /// Most bytes of replies that are kept for requests from one address (IPv6: one /64 network), likewise.
        idempotency_bytes_per_address: u64 = 67108864, 65536..=2147483647;
        /// How long a request holds its `Idempotency-Key` before another may take it over; renewed while the request runs.
        idempotency_lease_seconds: Seconds = 2, 1..=3600;
        /// Attempts to deliver an event to a consumer before it goes to the dead letters (invariant 10).
        delivery_attempts: u64 = 10, 1..=1000;
        /// Crashes of an entity within a minute after which it is parked; until then it is restarted with growing pauses.
        crashes: u32 = 5, 1..=1000;
        /// How long a parked entity refuses commands.
        parked_seconds: Seconds = 30, 1..=3600;
        /// Longest time for a node to drain before it stops anyway.
        drain_seconds: Seconds = 20, 1..=600;
    }
}

impl Settings for Limits {
    fn check(&self, problems: &mut Problems) {
        self.check_ranges(problems);
        for (key, part, whole_key, whole, reason) in [
            (
                "limits.in_flight_per_entity",
                self.in_flight_per_entity,
                "limits.in_flight_per_kind",
                self.in_flight_per_kind,
                "an entity must leave some to the others",
            ),
            (
                "limits.in_flight_per_kind",
                self.in_flight_per_kind,
                "limits.in_flight_commands",
                self.in_flight_commands,
                "a kind must leave some to the others",
            ),
        ] {
            if part >= whole {
                let what = format!("({part}) is not less than {whole_key} ({whole})");
                problems.add(
                    key,
                    what,
                    format!("lower the former or raise the latter: {reason}"),
                );
            }
        }
        let header = ("limits.header_seconds", self.header_seconds.duration());
        let keep_alive = ("limits.keep_alive_seconds", self.keep_alive_seconds.duration());
        let checkout_wait = ("limits.checkout_wait_ms", self.checkout_wait_ms.duration());
        let budget = ("limits.request_budget_ms", self.request_budget_ms.duration());
        let total = ("limits.total_seconds", self.total_seconds.duration());
        let call = ("limits.payment_call_ms", self.payment_call_ms.duration());
        let payment = ("limits.payment_total_ms", self.payment_total_ms.duration());
        let order = (
            "limits.order_deadline_seconds",
            self.order_deadline_seconds.duration(),
        );
        for (short, long, reason) in [
            (
                header,
                keep_alive,
                "an idle connection must stay open for as long as a head may take",
            ),
            (checkout_wait, budget, "the checkout waits within a request"),
            (
                budget,
                total,
                "a request must be answered before its connection is closed",
            ),
            (call, payment, "one call is part of all attempts"),
            (payment, order, "a payment must end before its order's deadline"),
        ] {
            ordered(short, long, reason, problems);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(limits: &Limits) -> Vec<String> {
        let mut problems = Problems::default();
        limits.check(&mut problems);
        problems.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn problems_name_the_allowed_range() {
        let limits = Limits {
            body_bytes: 1,
            batch_rows: 513,
            ..Limits::default()
        };
        assert_eq!(
            problems(&limits),
            [
                "limits.body_bytes is 1; it must be between 1024 and 16777216",
                "limits.batch_rows is 513; it must be between 1 and 512",
            ]
        );
        assert_eq!(
            problems(&Limits {
                batch_rows: BATCH_ROWS_LIMIT,
                ..Limits::default()
            }),
            [""; 0]
        );
    }

    #[test]
    fn a_part_may_not_take_longer_than_the_whole() {
        let limits = Limits {
            checkout_wait_ms: Milliseconds(20_000),
            payment_call_ms: Milliseconds(40_000),
            in_flight_per_kind: 5_000,
            in_flight_per_entity: 6_000,
            ..Limits::default()
        };
        let keys: Vec<_> = problems(&limits)
            .into_iter()
            .filter_map(|problem| Some(problem.split_once(' ')?.0.to_owned()))
            .collect();
        assert_eq!(
            keys,
            [
                "limits.in_flight_per_entity",
                "limits.in_flight_per_kind",
                "limits.checkout_wait_ms",
                "limits.payment_call_ms"
            ]
        );
    }
}
