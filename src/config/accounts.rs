//! `[accounts]`: lifetimes of sessions and tokens, cost of passwords.

use super::error::Problems;
use super::section::{Milliseconds, Seconds, Settings, numbers, ordered};

numbers! {
    /// `[accounts]`: lifetimes of sessions and tokens, cost of passwords.
    Accounts "accounts" {
        /// Lifetime of an access token.
        access_token_seconds: Seconds = 900, 60..=86400;
        /// A session that is not refreshed for this long ends.
        session_seconds: Seconds = 2592000, 600..=31536000;
        /// A session ends after this long, however often it is refreshed.
        session_total_seconds: Seconds = 15552000, 600..=315360000;
        /// Lifetime of the code for resetting a password.
        reset_seconds: Seconds = 3600, 60..=86400;
        /// Lifetime of the code that verifies an e-mail address.
        verification_seconds: Seconds = 259200, 600..=2592000;
        /// Interval at which revoked sessions are read: a logout may take this long to reach the other nodes.
        revocations_ms: Milliseconds = 1000, 100..=5000;
        /// Memory of one password hash (argon2id), in KiB.
        password_memory_kib: u32 = 19456, 8192..=1048576;
        /// Passes of one password hash over that memory.
        password_passes: u32 = 2, 1..=20;
        /// Threads that hash passwords; each has the memory of a hash.
        password_workers: usize = 1, 1..=64;
        /// Passwords that may wait to be hashed; further ones are refused as busy.
        password_queue: usize = 64, 1..=10000;
    }
}

impl Settings for Accounts {
    fn check(&self, problems: &mut Problems) {
        self.check_ranges(problems);
        ordered(
            (
                "accounts.access_token_seconds",
                self.access_token_seconds.duration(),
            ),
            ("accounts.session_seconds", self.session_seconds.duration()),
            "a token must not outlive its session by much",
            problems,
        );
        ordered(
            ("accounts.session_seconds", self.session_seconds.duration()),
            (
                "accounts.session_total_seconds",
                self.session_total_seconds.duration(),
            ),
            "a session that is never refreshed must not last longer than one that is",
            problems,
        );
    }
}
