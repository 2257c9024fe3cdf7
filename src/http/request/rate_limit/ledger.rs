//! The requests of one caller in the current window, as one node knows them. Pure: time is a parameter, and the store
//! is asked elsewhere.
//!
//! A node grants a caller a chunk of requests on credit, and then settles with the store, which replies with the total
//! of all nodes. So a caller with fewer requests than a chunk costs no write, and one with many costs one per chunk.
//! Unsettled requests are fewer than a chunk, so that nobody exceeds the limit by more than a chunk per node.

use souk_domain::Timestamp;

/// The credit at each node is one in this many of the limit.
const CHUNKS: u32 = 10;

/// A limit: requests per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Requests in a window; at least 1.
    pub(super) requests: u32,
    /// Length of a window, in milliseconds; at least 1.
    pub(super) window: i64,
}

impl Limit {
    /// The credit.
    pub(super) const fn chunk(self) -> u32 {
        self.requests.div_ceil(CHUNKS)
    }

    /// The number of the window that contains `now`.
    const fn window_of(self, now: Timestamp) -> i64 {
        now.as_millis().div_euclid(self.window)
    }
}

/// The state after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Requests left in the window, as far as this node knows.
    pub(super) remaining: u32,
    /// Until the next window, in milliseconds.
    pub(super) reset: i64,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Admitted.
    Admitted(Standing),
    /// Refused.
    Refused(Standing),
    /// The credit is used up: settle [`Claim::amount`] with the store first.
    Settle(Claim),
}

/// What to settle with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Requests in this window that the store does not know.
    pub(super) amount: u32,
    window: i64,
}

impl Claim {
    /// A time in the window of the requests: when the store is asked, the next one may have begun.
    pub(super) const fn made_at(self, limit: Limit) -> Timestamp {
        Timestamp::from_millis(self.window.saturating_mul(limit.window))
    }
}

/// One caller's requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ledger {
    window: i64,
    /// Admitted by this node in the window.
    used: u32,
    /// Those of them that are settled.
    settled: u32,
    /// The store's count of all others.
    others: u32,
    /// `used` may reach this before the next settlement.
    credit: u32,
}

impl Ledger {
    pub(super) fn new(limit: Limit, now: Timestamp) -> Self {
        Self::in_window(limit, limit.window_of(now))
    }

    fn in_window(limit: Limit, window: i64) -> Self {
        Self {
            window,
            used: 0,
            settled: 0,
            others: 0,
            credit: limit.chunk(),
        }
    }

    /// Decides about one more request.
    pub(super) fn take(&mut self, limit: Limit, now: Timestamp) -> Verdict {
        let window = limit.window_of(now);
        // A clock that is set back starts no earlier window, here as in the store.
        if window > self.window {
            *self = Self::in_window(limit, window);
        }
        if self.is_exhausted(limit) {
            return Verdict::Refused(self.standing(limit, now));
        }
        if let Some(claim) = self.open_claim(limit, now) {
            return Verdict::Settle(claim);
        }
        self.used += 1;
        Verdict::Admitted(self.standing(limit, now))
    }

    /// What must be settled before the next decision, if anything.
    pub(super) fn open_claim(&self, limit: Limit, now: Timestamp) -> Option<Claim> {
        let is_open = self.used >= self.credit && !self.is_exhausted(limit) && !self.is_over(limit, now);
        is_open.then(|| Claim {
            amount: self.used - self.settled,
            window: self.window,
        })
    }

    /// Whether the limit is reached, by the requests of this node and the known ones of others.
    fn is_exhausted(&self, limit: Limit) -> bool {
        self.used.saturating_add(self.others) >= limit.requests
    }

    /// Records a settlement: the store has counted `total` in all; `None` where it is unavailable: then this node
    /// counts alone.
    pub(super) fn settle(&mut self, limit: Limit, claim: Claim, total: Option<u64>) {
        if claim.window != self.window || claim.amount != self.used - self.settled {
            return;
        }
        self.settled = self.used;
        let left = match total {
            Some(total) => {
                let total = u32::try_from(total).unwrap_or(u32::MAX);
                // A count only grows, except for a clock that is ahead, whose windows it has begun already.
                self.others = self.others.max(total.saturating_sub(self.settled));
                limit.requests.saturating_sub(total)
            }
            None => limit.chunk(),
        };
        self.credit = self.used.saturating_add(left.min(limit.chunk()));
    }

    /// Whether `now` is in a later window.
    pub(super) fn is_over(&self, limit: Limit, now: Timestamp) -> bool {
        limit.window_of(now) > self.window
    }

    /// Whether requests are settled, so that evicting this would lose their count.
    pub(super) fn is_settled(&self) -> bool {
        self.settled > 0
    }

    fn standing(&self, limit: Limit, now: Timestamp) -> Standing {
        let end = self.window.saturating_add(1).saturating_mul(limit.window);
        Standing {
            remaining: limit
                .requests
                .saturating_sub(self.used)
                .saturating_sub(self.others),
            reset: end.saturating_sub(now.as_millis()).max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 60_000;

    fn limit(requests: u32) -> Limit {
        Limit {
            requests,
            window: WINDOW,
        }
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    /// The store's counter of one key, as the contract of `CounterStore::hit` has it.
    #[derive(Default)]
    struct Counter {
        window: i64,
        count: u64,
    }

    impl Counter {
        fn hit(&mut self, now: Timestamp, amount: u32) -> u64 {
            let window = now.as_millis().div_euclid(WINDOW);
            if window > self.window {
                *self = Self { window, count: 0 };
            }
            self.count += u64::from(amount);
            self.count
        }
    }

    fn claim(verdict: Verdict) -> Claim {
        match verdict {
            Verdict::Settle(claim) => claim,
            other => panic!("nothing to settle: {other:?}"),
        }
    }

    /// A request at one node: whether it was admitted, and whether the store was told.
    fn request(ledger: &mut Ledger, limit: Limit, now: Timestamp, store: &mut Counter) -> (bool, bool) {
        let mut told = false;
        loop {
            match ledger.take(limit, now) {
                Verdict::Admitted(_) => return (true, told),
                Verdict::Refused(_) => return (false, told),
                Verdict::Settle(claim) => {
                    assert!(!told, "once is enough");
                    told = true;
                    let total = store.hit(claim.made_at(limit), claim.amount);
                    ledger.settle(limit, claim, Some(total));
                }
            }
        }
    }

    #[test]
    fn one_node_admits_exactly_the_limit() {
        for requests in [1, 2, 9, 10, 11, 120, 1_200] {
            let limit = limit(requests);
            let (mut ledger, mut store) = (Ledger::new(limit, at(5)), Counter::default());
            let (mut admitted, mut told) = (0, 0);
            for _ in 0..requests * 2 + 5 {
                let outcome = request(&mut ledger, limit, at(5), &mut store);
                admitted += u32::from(outcome.0);
                told += u32::from(outcome.1);
            }
            assert_eq!(admitted, requests);
            assert!(told <= CHUNKS, "{told} writes for {requests} requests");
        }
    }

    #[test]
    fn a_caller_below_a_chunk_is_never_a_write() {
        let limit = limit(1_200);
        let mut ledger = Ledger::new(limit, at(0));
        for _ in 0..limit.chunk() {
            assert!(matches!(ledger.take(limit, at(0)), Verdict::Admitted(_)));
        }
        assert!(!ledger.is_settled());
        assert_eq!(claim(ledger.take(limit, at(0))).amount, 120);
    }

    #[test]
    fn remaining_counts_down_within_a_window() {
        let limit = limit(3);
        let (mut ledger, mut store) = (Ledger::new(limit, at(59_000)), Counter::default());
        for remaining in [2, 1, 0] {
            let mut verdict = ledger.take(limit, at(59_000));
            if let Verdict::Settle(claim) = verdict {
                let total = store.hit(claim.made_at(limit), claim.amount);
                ledger.settle(limit, claim, Some(total));
                verdict = ledger.take(limit, at(59_000));
            }
            let standing = Standing {
                remaining,
                reset: 1_000,
            };
            assert_eq!(verdict, Verdict::Admitted(standing));
        }
        let standing = Standing {
            remaining: 0,
            reset: 250,
        };
        assert_eq!(ledger.take(limit, at(59_750)), Verdict::Refused(standing));
        assert!(!ledger.is_over(limit, at(59_999)) && ledger.is_over(limit, at(60_000)));
        assert!(matches!(
            ledger.take(limit, at(60_000)),
            Verdict::Admitted(Standing {
                remaining: 2,
                reset: 60_000
            })
        ));
        // A clock that is set back: the window stays the later one.
        assert_eq!(
            claim(ledger.take(limit, at(59_000))),
            Claim { amount: 1, window: 1 }
        );
    }

    #[test]
    fn without_the_store_each_node_counts_alone() {
        let limit = limit(20);
        let mut ledger = Ledger::new(limit, at(0));
        let mut admitted = 0;
        for _ in 0..100 {
            match ledger.take(limit, at(0)) {
                Verdict::Admitted(_) => admitted += 1,
                Verdict::Settle(claim) => ledger.settle(limit, claim, None),
                Verdict::Refused(_) => break,
            }
        }
        assert_eq!(admitted, 20);
    }

    #[test]
    fn a_late_store_reply_changes_nothing() {
        let limit = limit(10);
        let mut ledger = Ledger::new(limit, at(0));
        assert!(matches!(ledger.take(limit, at(0)), Verdict::Admitted(_)));
        let late = claim(ledger.take(limit, at(0)));
        assert!(matches!(ledger.take(limit, at(WINDOW)), Verdict::Admitted(_)));
        ledger.settle(limit, late, Some(10));
        assert_eq!(claim(ledger.take(limit, at(WINDOW))).amount, 1);
    }

    /// What happens next: at which node, how much later, and whether an answer is still on its way meanwhile.
    #[derive(Clone, Copy, Debug)]
    struct Event {
        node: usize,
        later: i64,
        answer_is_late: bool,
    }

    fn events(nodes: usize) -> impl Strategy<Value = Vec<Event>> {
        let event = (0..nodes, 0_i64..200, any::<bool>()).prop_map(|(node, later, answer_is_late)| Event {
            node,
            later,
            answer_is_late,
        });
        prop::collection::vec(event, 1..900)
    }

    /// What came of it.
    #[derive(Default)]
    struct Outcome {
        /// Most that was admitted in one window.
        most: u32,
        total: u32,
        windows: u32,
    }

    /// Plays the events. `lags`: how far each node's clock is behind.
    fn play(limit: Limit, events: &[Event], lags: &[i64]) -> Outcome {
        let mut now = 10 * WINDOW;
        let clock = |now: i64, node: usize| at(now - lags[node]);
        let mut ledgers: Vec<Ledger> = (0..lags.len())
            .map(|node| Ledger::new(limit, clock(now, node)))
            .collect();
        let mut answers: Vec<Option<(Claim, u64)>> = vec![None; lags.len()];
        let mut store = Counter::default();
        let (mut admitted, mut window) = (0, now / WINDOW);
        let mut outcome = Outcome {
            windows: 1,
            ..Outcome::default()
        };
        for event in events {
            now += event.later;
            if now / WINDOW > window {
                (admitted, window) = (0, now / WINDOW);
                outcome.windows += 1;
            }
            let node = event.node;
            if let Some((claim, total)) = answers[node].take() {
                ledgers[node].settle(limit, claim, Some(total));
            }
            loop {
                match ledgers[node].take(limit, clock(now, node)) {
                    Verdict::Admitted(_) => {
                        admitted += 1;
                        outcome.most = outcome.most.max(admitted);
                        outcome.total += 1;
                        break;
                    }
                    Verdict::Refused(_) => break,
                    Verdict::Settle(claim) => {
                        let total = store.hit(claim.made_at(limit), claim.amount);
                        if event.answer_is_late {
                            answers[node] = Some((claim, total));
                            break;
                        }
                        ledgers[node].settle(limit, claim, Some(total));
                    }
                }
            }
        }
        outcome
    }

    proptest! {
        /// Whatever node a caller turns to, in whatever order, and however late the store answers.
        #[test]
        fn the_limit_is_exceeded_by_a_chunk_per_node_at_most(
            requests in 1_u32..150,
            (nodes, events) in (1_usize..5).prop_flat_map(|nodes| (Just(nodes), events(nodes))),
        ) {
            let limit = limit(requests);
            let most = play(limit, &events, &vec![0; nodes]).most;
            let bound = requests + limit.chunk() * u32::try_from(nodes).unwrap();
            prop_assert!(most <= bound, "{most} of {requests} with chunks of {}", limit.chunk());
        }

        /// A node whose clock is behind opens no window of the store again: what it tells late counts in the present one, so
        /// that over time nobody gets more than by right clocks, but for the window that the late node begins in.
        #[test]
        fn a_clock_that_lags_gains_nothing_over_time(
            requests in 1_u32..150,
            lag in 0_i64..WINDOW,
            events in events(2),
        ) {
            let limit = limit(requests);
            let Outcome { total, windows, .. } = play(limit, &events, &[0, lag]);
            let bound = (windows + 1) * (requests + limit.chunk() * 2);
            prop_assert!(total <= bound, "{total} of {requests} in {windows} windows");
        }
    }
}
