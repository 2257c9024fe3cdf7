//! The numbers: `[limits]`, `[membership]`, `[transport]` and `[accounts]`, each with its unit, default and range in one table.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Problem;
use crate::stores::documents::BATCH_LIMIT;

/// A time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// A time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milliseconds(pub u64);

impl Seconds {
    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl Milliseconds {
    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Seconds> for Duration {
    fn from(time: Seconds) -> Self {
        time.duration()
    }
}

impl From<Milliseconds> for Duration {
    fn from(time: Milliseconds) -> Self {
        time.duration()
    }
}

/// What is counted in a table below.
trait Number {
    fn number(self) -> u64;
}

impl Number for u64 {
    fn number(self) -> u64 {
        self
    }
}

impl Number for usize {
    fn number(self) -> u64 {
        u64::try_from(self).unwrap_or(u64::MAX)
    }
}

impl Number for Seconds {
    fn number(self) -> u64 {
        self.0
    }
}

impl Number for Milliseconds {
    fn number(self) -> u64 {
        self.0
    }
}

/// A number outside of its range is a problem.
pub(super) fn within(
    section: &str,
    key: &str,
    number: u64,
    range: std::ops::RangeInclusive<u64>,
    problems: &mut Vec<Problem>,
) {
    if !range.contains(&number) {
        problems.push(Problem::new(
            format!("{section}.{key}"),
            format!("is {number}"),
            format!("it must lie between {} and {}", range.start(), range.end()),
        ));
    }
}

/// `later` must not be below `earlier`.
fn ordered(
    section: &str,
    (small_key, small): (&str, impl Into<Duration> + fmt::Debug),
    (large_key, large): (&str, impl Into<Duration> + fmt::Debug),
    why: &str,
    problems: &mut Vec<Problem>,
) {
    let (small, large) = (small.into(), large.into());
    if small > large {
        problems.push(Problem::new(
            format!("{section}.{small_key}"),
            format!("({small:?}) is longer than {section}.{large_key} ({large:?})"),
            format!("shorten the one or lengthen the other: {why}"),
        ));
    }
}

/// Declares a section: a struct whose every field has a type, a default and a range.
macro_rules! section {
    (
        $(#[$documentation:meta])*
        $name:ident $path:literal {
            $( $(#[$field_documentation:meta])* $field:ident: $type:ty = $default:expr, $range:expr; )*
        }
    ) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$field_documentation])*
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`; allowed: `", stringify!($range), "`.")]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            /// Each number against its range.
            fn ranges(&self, problems: &mut Vec<Problem>) {
                $( within($path, stringify!($field), self.$field.number(), $range, problems); )*
            }
        }
    };
}

section! {
    /// `[limits]`: how much of everything, and how long.
    Limits "limits" {
        /// Largest request body in bytes; more is answered with 413.
        body_bytes: usize = 262_144, 1_024..=16_777_216;
        /// Longest request target (path and query) in bytes.
        target_bytes: usize = 8_192, 256..=65_536;
        /// Most header lines in a request.
        header_lines: usize = 64, 16..=1_000;
        /// Longest time for the head of a request to arrive.
        header_seconds: Seconds = Seconds(10), 1..=300;
        /// Longest time for the body of a request to arrive.
        body_seconds: Seconds = Seconds(30), 1..=600;
        /// Longest time in which a client takes nothing of a reply that is on its way; then its connection is closed.
        write_stall_seconds: Seconds = Seconds(30), 1..=600;
        /// Longest time from a request's head to its reply.
        total_seconds: Seconds = Seconds(60), 1..=3_600;
        /// Most open connections of one listener; further ones wait to be accepted.
        connections: usize = 16_384, 16..=1_000_000;
        /// Most open connections that one address (of IPv6: one /64 network) may have at one listener; further ones are
        /// closed at once. Trusted proxies are exempt.
        connections_per_address: usize = 4_096, 1..=1_000_000;
        /// Longest time for a client's TLS handshake.
        tls_handshake_ms: Milliseconds = Milliseconds(5_000), 100..=60_000;
        /// Most TLS handshakes under way at once at one listener; further ones wait within their time.
        tls_handshakes: usize = 1_024, 1..=100_000;
        /// Most commands under way in one node; further ones are refused as busy.
        in_flight_commands: usize = 4_096, 16..=1_000_000;
        /// Most commands under way for one entity; further ones are refused as busy. A SKU on sale needs room for all who
        /// want it at once.
        in_flight_per_entity: usize = 4_096, 1..=1_000_000;
        /// Most entities of each kind (carts, orders, SKUs) in the memory of one node (each takes 11 KB and its state); the
        /// idlest leave first.
        live_entities: usize = 200_000, 100..=10_000_000;
        /// After this time without a command an entity leaves memory.
        idle_seconds: Seconds = Seconds(300), 1..=86_400;
        /// Most rows that a persistence actor writes in one statement.
        batch_rows: usize = BATCH_LIMIT, 1..=512;
        /// What a request may take in all before its commands expire.
        request_budget_ms: Milliseconds = Milliseconds(10_000), 100..=600_000;
        /// How long POST /v1/orders waits for the outcome before it answers 202.
        checkout_wait_ms: Milliseconds = Milliseconds(5_000), 0..=60_000;
        /// Longest time for one call to a payment provider.
        payment_call_ms: Milliseconds = Milliseconds(4_000), 100..=60_000;
        /// Longest time for all attempts at one payment together.
        payment_total_ms: Milliseconds = Milliseconds(30_000), 100..=600_000;
        /// How long stock stays reserved before its order is asked (invariant 11).
        reservation_seconds: Seconds = Seconds(900), 1..=86_400;
        /// How long an order may stay pending (invariant 12).
        order_deadline_seconds: Seconds = Seconds(900), 1..=86_400;
        /// How often what is overdue is looked for (invariant 11).
        sweep_interval_ms: Milliseconds = Milliseconds(5_000), 50..=600_000;
        /// Products that a node keeps in memory.
        cached_products: usize = 50_000, 0..=10_000_000;
        /// How old a product in memory may be. Orders never use it.
        product_cache_ms: Milliseconds = Milliseconds(2_000), 0..=600_000;
        /// How old a stock badge in memory may be. Orders never use it.
        badge_cache_ms: Milliseconds = Milliseconds(1_000), 0..=600_000;
        /// How long the reply to an Idempotency-Key is kept (invariant 9).
        idempotency_keep_seconds: Seconds = Seconds(86_400), 60..=2_592_000;
        /// How long a request holds its Idempotency-Key before another may take it over; renewed while it runs.
        idempotency_lease_seconds: Seconds = Seconds(2), 1..=3_600;
        /// How often an event is offered to its consumers before it goes to the dead letters (invariant 10).
        delivery_attempts: u64 = 10, 1..=1_000;
        /// How often an entity may crash within a minute before it is parked; before that, it rests longer after each crash.
        crashes: u64 = 5, 1..=1_000;
        /// How long a parked entity refuses commands.
        parked_seconds: Seconds = Seconds(30), 1..=3_600;
        /// Longest time for a node to drain before it stops anyway.
        drain_seconds: Seconds = Seconds(20), 1..=600;
    }
}

section! {
    /// `[membership]`: how fast the cluster notices, and how sure it wants to be.
    Membership "membership" {
        /// How often a node gossips.
        gossip_interval_ms: Milliseconds = Milliseconds(120), 20..=5_000;
        /// How often a node looks at the view in the coordination store.
        look_interval_ms: Milliseconds = Milliseconds(300), 20..=10_000;
        /// How long a look at the view stands: as long, a node may answer from memory.
        verified_ms: Milliseconds = Milliseconds(1_000), 100..=60_000;
        /// How much longer than the majority the minority waits before it proposes a view.
        minority_wait_ms: Milliseconds = Milliseconds(4_000), 0..=600_000;
    }
}

section! {
    /// `[transport]`: the links between nodes.
    Transport "transport" {
        /// Longest time for a TLS handshake.
        handshake_ms: Milliseconds = Milliseconds(5_000), 100..=60_000;
        /// Most handshakes under way at once.
        handshakes: usize = 64, 1..=10_000;
        /// A link without a byte for so long is closed; ractor's pings come every 1 to 5 seconds.
        idle_ms: Milliseconds = Milliseconds(10_000), 5_000..=600_000;
        /// A link that takes no byte of a pending write for so long is closed.
        write_stall_ms: Milliseconds = Milliseconds(5_000), 100..=600_000;
        /// Longest time between two attempts to reach a peer.
        redial_ms: Milliseconds = Milliseconds(2_000), 50..=60_000;
    }
}

section! {
    /// `[accounts]`: how long sessions and tokens last, and what a password costs.
    Accounts "accounts" {
        /// How long an access token is good.
        access_token_seconds: Seconds = Seconds(900), 60..=86_400;
        /// A session that is not refreshed for so long has ended.
        session_seconds: Seconds = Seconds(2_592_000), 600..=31_536_000;
        /// How long the code of a forgotten password is good.
        reset_seconds: Seconds = Seconds(3_600), 60..=86_400;
        /// How long the code that proves an e-mail address is good.
        verification_seconds: Seconds = Seconds(259_200), 600..=2_592_000;
        /// How often the revoked sessions are read: so long may a logout take to reach the other nodes.
        revocations_ms: Milliseconds = Milliseconds(1_000), 100..=5_000;
        /// Memory of one password hash (argon2id), in KiB.
        password_memory_kib: u64 = 19_456, 8_192..=1_048_576;
        /// Passes of one password hash over that memory.
        password_passes: u64 = 2, 1..=20;
        /// Threads that hash passwords; each has the memory of a hash.
        password_workers: usize = 1, 1..=64;
        /// Passwords that may wait to be hashed; further ones are refused as busy.
        password_queue: usize = 64, 1..=10_000;
    }
}

impl Limits {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.ranges(problems);
        if self.in_flight_per_entity > self.in_flight_commands {
            problems.push(Problem::new(
                "limits.in_flight_per_entity",
                format!(
                    "({}) is more than limits.in_flight_commands ({})",
                    self.in_flight_per_entity, self.in_flight_commands
                ),
                "lower the one or raise the other: an entity can't have more under way than its node",
            ));
        }
        ordered(
            "limits",
            ("checkout_wait_ms", self.checkout_wait_ms),
            ("request_budget_ms", self.request_budget_ms),
            "the checkout waits within a request",
            problems,
        );
        ordered(
            "limits",
            ("request_budget_ms", self.request_budget_ms),
            ("total_seconds", self.total_seconds),
            "a request must be answered before its connection is given up",
            problems,
        );
        ordered(
            "limits",
            ("payment_call_ms", self.payment_call_ms),
            ("payment_total_ms", self.payment_total_ms),
            "one call is a part of all attempts",
            problems,
        );
        ordered(
            "limits",
            ("payment_total_ms", self.payment_total_ms),
            ("order_deadline_seconds", self.order_deadline_seconds),
            "a payment must end before its order's deadline",
            problems,
        );
    }
}

impl Membership {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.ranges(problems);
        // A look must succeed at least twice within the time it stands for, or every late look sends reads to the store.
        if self.look_interval_ms.0.saturating_mul(2) > self.verified_ms.0 {
            problems.push(Problem::new(
                "membership.look_interval_ms",
                format!("({}) is more than half of membership.verified_ms ({})", self.look_interval_ms.0, self.verified_ms.0),
                "look more often or trust longer: otherwise one late look ends the time in which a node answers from memory",
            ));
        }
    }
}

impl Accounts {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.ranges(problems);
        ordered(
            "accounts",
            ("access_token_seconds", self.access_token_seconds),
            ("session_seconds", self.session_seconds),
            "a token does not outlive its session by much",
            problems,
        );
    }
}

impl Transport {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.ranges(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(limits: &Limits) -> Vec<String> {
        let mut problems = Vec::new();
        limits.check(&mut problems);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_within_their_ranges() {
        let mut problems = Vec::new();
        Limits::default().check(&mut problems);
        Membership::default().check(&mut problems);
        Transport::default().check(&mut problems);
        Accounts::default().check(&mut problems);
        assert_eq!(problems, []);
    }

    #[test]
    fn numbers_out_of_range_are_named_with_their_range() {
        let mut problems = Vec::new();
        Limits {
            body_bytes: 1,
            batch_rows: 513,
            ..Limits::default()
        }
        .check(&mut problems);
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "limits.body_bytes is 1; it must lie between 1024 and 16777216",
                "limits.batch_rows is 513; it must lie between 1 and 512",
            ]
        );
    }

    #[test]
    fn times_that_contain_each_other_must_be_in_order() {
        let limits = Limits {
            checkout_wait_ms: Milliseconds(20_000),
            payment_call_ms: Milliseconds(40_000),
            in_flight_per_entity: 5_000,
            ..Limits::default()
        };
        assert_eq!(
            problems_of(&limits),
            [
                "limits.in_flight_per_entity",
                "limits.checkout_wait_ms",
                "limits.payment_call_ms"
            ]
        );
    }

    #[test]
    fn a_node_must_look_more_often_than_it_trusts() {
        let mut problems = Vec::new();
        Membership {
            look_interval_ms: Milliseconds(600),
            ..Membership::default()
        }
        .check(&mut problems);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "membership.look_interval_ms");
    }
}
