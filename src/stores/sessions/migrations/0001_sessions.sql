-- Sessions with their refresh tokens, revocations, hit counters, one-time tokens and signing keys. Of tokens there are
-- hashes only.

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    user_agent TEXT NOT NULL,
    address TEXT NOT NULL,
    -- NULL while it lives.
    revoked_at INTEGER
) STRICT;

CREATE INDEX sessions_user ON sessions (user_id, last_used_at);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- A session's refresh tokens; all but the newest are spent. They go when they expire, without regard to their session:
-- a token whose session is gone is as good as none.
CREATE TABLE tokens (
    hash BLOB NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    -- The token that took its place, NULL while it is live.
    successor BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_session ON tokens (session_id);
CREATE INDEX tokens_expires_at ON tokens (expires_at);

-- AUTOINCREMENT: a number is never used again, also where its row has been removed, so that whoever has read up to a
-- number has missed nothing.
CREATE TABLE revocations (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    revoked_at INTEGER NOT NULL
) STRICT;

CREATE INDEX revocations_revoked_at ON revocations (revoked_at);

CREATE TABLE hits (
    key TEXT NOT NULL PRIMARY KEY,
    -- The window that is counted in, in milliseconds since the Unix epoch: the first one in it, the first one past it.
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT;

CREATE INDEX hits_ends_at ON hits (ends_at);

CREATE TABLE one_time_tokens (
    purpose TEXT NOT NULL,
    user_id TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, user_id)
) STRICT;

CREATE INDEX one_time_tokens_expires_at ON one_time_tokens (expires_at);

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    material BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
