//! What was handled, remembered so that a repetition has no effect: orders that took or returned their units, and references
//! of documents.
//!
//! Only hashes are kept. They are 64 bits of identifiers that nobody can choose freely or would gain from: two in one window
//! are the same with a probability of about one in 10^11.

use std::time::Duration;

use rpds::{HashTrieSetSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use crate::Timestamp;

/// How many are remembered, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Most that are remembered.
    pub(super) limit: usize,
    /// None is forgotten within this time.
    pub(super) within: Duration,
    /// All are forgotten after it.
    pub(super) kept: Duration,
}

/// The time of what comes from a row of an older form; replaced by that of the next entry.
const UNKNOWN: Timestamp = Timestamp::from_millis(0);

/// What was handled, oldest first, each with its time. A copy shares its entries with the original.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Form")]
pub(super) struct Remembered {
    by_time: RedBlackTreeSetSync<(Timestamp, u64)>,
    known: HashTrieSetSync<u64>,
}

/// As stored: time, hash.
type Rows = Vec<(Timestamp, u64)>;

/// The current form in rows, and the older ones: texts with and without times.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Rows(Rows),
    Timed(Vec<(String, Timestamp)>),
    Texts(Vec<String>),
}

impl From<Form> for Remembered {
    fn from(form: Form) -> Self {
        let rows = match form {
            Form::Rows(rows) => rows,
            Form::Timed(timed) => timed.iter().map(|(text, at)| (*at, hash(text))).collect(),
            Form::Texts(texts) => texts.iter().map(|text| (UNKNOWN, hash(text))).collect(),
        };
        Self {
            known: rows.iter().map(|(_, hash)| *hash).collect(),
            by_time: rows.into_iter().collect(),
        }
    }
}

// As `Rows`, without a copy of them.
impl Serialize for Remembered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.by_time.iter())
    }
}

impl Remembered {
    pub(super) fn contains(&self, text: &str) -> bool {
        self.known.contains(&hash(text))
    }

    /// Remembers `text`. `false` if there is no room: all that are remembered may still be repeated.
    #[must_use]
    pub(super) fn remember(&mut self, text: &str, at: Timestamp, window: Window) -> bool {
        while let Some((UNKNOWN, hash)) = self.oldest() {
            self.by_time.remove_mut(&(UNKNOWN, hash));
            self.by_time.insert_mut((at, hash));
        }
        while let Some((since, _)) = self.oldest()
            && at.since(since) > window.kept
        {
            self.forget_oldest();
        }
        if self.by_time.size() >= window.limit {
            if self
                .oldest()
                .is_some_and(|(since, _)| at.since(since) < window.within)
            {
                return false;
            }
            self.forget_oldest();
        }
        let hash = hash(text);
        self.by_time.insert_mut((at, hash));
        self.known.insert_mut(hash);
        true
    }

    fn oldest(&self) -> Option<(Timestamp, u64)> {
        self.by_time.first().copied()
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.oldest() {
            self.by_time.remove_mut(&oldest);
            self.known.remove_mut(&oldest.1);
        }
    }
}

/// The same on every node and in every release, which the standard library's hashers do not promise.
fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}
