-- Idempotency keys and the replies that were given under them.
CREATE TABLE idempotency (
    key TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    holder TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    -- The three are NULL together, as long as there is no reply.
    status INTEGER,
    headers TEXT,
    body BLOB
) STRICT;

CREATE INDEX idempotency_claimed_at ON idempotency (claimed_at);
