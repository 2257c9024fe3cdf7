//! The statements of the sessions store in SQLite.

pub(super) const OPEN: &str = "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, user_agent, address) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";
pub(super) const FIRST_TOKEN: &str = "INSERT INTO tokens (hash, session_id, expires_at) SELECT ?1, ?2, ?3 \
     WHERE NOT EXISTS (SELECT 1 FROM tokens WHERE session_id = ?2) ON CONFLICT (hash) DO NOTHING";
pub(super) const FAMILY: &str = "SELECT session_id FROM tokens WHERE hash = ?1 AND session_id = ?2";

// The parameters of a rotation, the same in all of its statements: ?1 old, ?2 new, ?3 now, ?4 expires_at.
pub(super) const SPEND: &str = "UPDATE tokens SET successor = ?2 \
     WHERE hash = ?1 AND successor IS NULL AND expires_at > ?3 AND EXISTS \
         (SELECT 1 FROM sessions AS s WHERE s.id = tokens.session_id AND s.revoked_at IS NULL AND s.expires_at > ?3)";
pub(super) const SUCCEED: &str = "INSERT INTO tokens (hash, session_id, expires_at) \
     SELECT ?2, session_id, ?4 FROM tokens WHERE hash = ?1 AND successor = ?2 ON CONFLICT (hash) DO NOTHING";
/// The session whose live token `?2` took the place of `?1`: this call has rotated, or an earlier one like it.
pub(super) const USE: &str = "UPDATE sessions SET last_used_at = max(last_used_at, ?3), expires_at = ?4 \
     WHERE revoked_at IS NULL AND expires_at > ?3 AND id = \
         (SELECT old.session_id FROM tokens AS old JOIN tokens AS new ON new.hash = old.successor \
          WHERE old.hash = ?1 AND new.hash = ?2 AND new.successor IS NULL)";
/// The session of the token `?1`, where that was spent in another call than this one.
pub(super) const REVOKE_FAMILY: &str = "INSERT INTO revocations (session_id, revoked_at) SELECT s.id, ?3 \
     FROM tokens AS old JOIN sessions AS s ON s.id = old.session_id \
     LEFT JOIN tokens AS new ON new.hash = old.successor \
     WHERE old.hash = ?1 AND old.expires_at > ?3 AND old.successor IS NOT NULL \
         AND (new.hash IS NOT ?2 OR new.successor IS NOT NULL) AND s.revoked_at IS NULL";
pub(super) const END_FAMILY: &str = "UPDATE sessions SET revoked_at = ?3 WHERE revoked_at IS NULL AND id IN \
     (SELECT old.session_id FROM tokens AS old LEFT JOIN tokens AS new ON new.hash = old.successor \
      WHERE old.hash = ?1 AND old.expires_at > ?3 AND old.successor IS NOT NULL \
         AND (new.hash IS NOT ?2 OR new.successor IS NOT NULL))";
pub(super) const ROTATED: &str = "SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.user_agent, s.address, \
         s.revoked_at IS NOT NULL, old.successor IS NOT NULL, new.hash IS ?2 AND new.successor IS NULL \
     FROM tokens AS old JOIN sessions AS s ON s.id = old.session_id \
     LEFT JOIN tokens AS new ON new.hash = old.successor \
     WHERE old.hash = ?1 AND old.expires_at > ?3 AND s.expires_at > ?3";

pub(super) const SESSION_OF: &str = "SELECT s.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.user_agent, s.address \
     FROM tokens AS old JOIN sessions AS s ON s.id = old.session_id \
     WHERE old.hash = ?1 AND old.expires_at > ?2 AND s.expires_at > ?2";
pub(super) const LIST: &str = "SELECT id, user_id, created_at, last_used_at, expires_at, user_agent, address FROM sessions \
     WHERE user_id = ?1 AND revoked_at IS NULL AND expires_at > ?2 ORDER BY last_used_at DESC, id LIMIT ?3";
// Of the user ?1: the session ?3 where that is given, and not the session ?4 where that is.
pub(super) const REVOKE: &str = "INSERT INTO revocations (session_id, revoked_at) SELECT id, ?2 FROM sessions \
     WHERE user_id = ?1 AND revoked_at IS NULL AND expires_at > ?2 \
         AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR id <> ?4) RETURNING 1";
pub(super) const END: &str = "UPDATE sessions SET revoked_at = ?2 \
     WHERE user_id = ?1 AND revoked_at IS NULL AND expires_at > ?2 \
         AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR id <> ?4)";
pub(super) const REVOKED: &str =
    "SELECT sequence, session_id FROM revocations WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";

pub(super) const HIT: &str = "INSERT INTO hits (key, starts_at, ends_at, count) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (key) DO UPDATE SET \
         count = iif(excluded.starts_at > starts_at, excluded.count, count + excluded.count), \
         starts_at = max(excluded.starts_at, starts_at), ends_at = max(excluded.ends_at, ends_at) \
     RETURNING count";
pub(super) const COUNTS: &str =
    "SELECT key, count FROM hits WHERE key IN (SELECT value FROM json_each(?1)) AND ends_at > ?2";
pub(super) const FORGET: &str = "DELETE FROM hits WHERE key = ?1";

pub(super) const ISSUE: &str = "INSERT INTO one_time_tokens (purpose, user_id, hash, expires_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (purpose, user_id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at";
pub(super) const REDEEM: &str = "DELETE FROM one_time_tokens WHERE purpose = ?1 AND hash = ?2 AND expires_at > ?3 \
     RETURNING user_id";

pub(super) const KEYS: &str =
    "SELECT id, material, created_at FROM signing_keys ORDER BY created_at DESC, id DESC";
pub(super) const ADD_KEY: &str = "INSERT INTO signing_keys (id, material, created_at) SELECT ?1, ?2, ?3 \
     WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE created_at > ?4) ON CONFLICT (id) DO NOTHING";
pub(super) const KEY: &str = "SELECT id FROM signing_keys WHERE id = ?1";
pub(super) const REMOVE_KEYS: &str = "DELETE FROM signing_keys WHERE created_at < ?1 RETURNING 1";

/// What a sweep removes that has expired at `?1`, `?2` rows of each.
pub(super) const SWEEP_EXPIRED: [&str; 4] = [
    "DELETE FROM tokens WHERE hash IN \
         (SELECT hash FROM tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1",
    "DELETE FROM sessions WHERE id IN \
         (SELECT id FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1",
    "DELETE FROM one_time_tokens WHERE rowid IN \
         (SELECT rowid FROM one_time_tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2) RETURNING 1",
    "DELETE FROM hits WHERE rowid IN \
         (SELECT rowid FROM hits WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2) RETURNING 1",
];
/// What it removes that was revoked at or before `?1`.
pub(super) const SWEEP_REVOKED: [&str; 2] = [
    "DELETE FROM sessions WHERE id IN \
         (SELECT id FROM sessions WHERE revoked_at <= ?1 ORDER BY revoked_at LIMIT ?2) RETURNING 1",
    "DELETE FROM revocations WHERE sequence IN \
         (SELECT sequence FROM revocations WHERE revoked_at <= ?1 ORDER BY revoked_at LIMIT ?2) RETURNING 1",
];
