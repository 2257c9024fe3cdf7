//! The latest identifiers that were handled, so that a repetition changes nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The latest `LIMIT` distinct items, oldest first. Stored in an entity's row: keep the limit small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recent<T, const LIMIT: usize>(VecDeque<T>);

impl<T, const LIMIT: usize> Default for Recent<T, LIMIT> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone + PartialEq, const LIMIT: usize> Recent<T, LIMIT> {
    /// Whether `item` is among the latest.
    pub fn contains(&self, item: &T) -> bool {
        self.0.contains(item)
    }

    /// Remembers `item`; the oldest is forgotten once there are more than `LIMIT`.
    pub fn remember(&mut self, item: &T) {
        if self.contains(item) {
            return;
        }
        self.0.push_back(item.clone());
        while self.0.len() > LIMIT {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_item_is_forgotten() {
        let mut recent = Recent::<u8, 3>::default();
        for item in [1, 2, 2, 3, 1] {
            recent.remember(&item);
        }
        assert_eq!(recent.0.len(), 3);
        recent.remember(&4);
        assert!(!recent.contains(&1), "the oldest stayed");
        assert!([2, 3, 4].iter().all(|item| recent.contains(item)));
    }
}
