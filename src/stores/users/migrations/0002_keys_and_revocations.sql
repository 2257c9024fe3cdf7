-- Signing keys of access tokens, and the sessions whose access tokens must no longer be accepted. Those that the database
-- `sessions` used to hold are not carried over: a cluster makes a new key at its next start, access tokens under the old
-- ones are refused, and clients exchange their refresh tokens, which stay valid.

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    material BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: a number is never reused, even when its row has been removed, so that a reader that continues from a
-- number misses nothing.
CREATE TABLE revocations (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL UNIQUE,
    revoked_at INTEGER NOT NULL
) STRICT;

CREATE INDEX revocations_revoked_at ON revocations (revoked_at);
