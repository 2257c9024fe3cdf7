//! Which accounts' exports are under way.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use souk_domain::UserId;

/// The accounts whose exports are under way at this node: one at a time for each.
#[derive(Clone, Debug, Default)]
pub struct Exports(Arc<Mutex<HashSet<UserId>>>);

/// An export under way, until it is dropped.
pub struct Running {
    exports: Exports,
    user: UserId,
}

impl Exports {
    /// Begins the export of this account; `None` where one is under way.
    pub fn begin(&self, user: &UserId) -> Option<Running> {
        self.users().insert(user.clone()).then(|| Running {
            exports: self.clone(),
            user: user.clone(),
        })
    }

    /// No code panics while it holds the lock.
    fn users(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// The account.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.exports.users().remove(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_export_at_a_time() {
        let exports = Exports::default();
        let [ada, other] = ["usr_ada", "usr_other"].map(|id| UserId::parse(id).unwrap());
        let running = exports.begin(&ada).unwrap();
        assert!(exports.begin(&ada).is_none());
        assert!(exports.begin(&other).is_some());
        drop(running);
        assert!(exports.begin(&ada).is_some());
    }
}
