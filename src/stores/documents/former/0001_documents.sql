-- Versioned documents and the outbox of what they emit, together in one file so that one transaction covers both.

CREATE TABLE documents (
    id TEXT NOT NULL PRIMARY KEY,
    shard INTEGER NOT NULL,
    version INTEGER NOT NULL,
    due_at INTEGER,
    owner TEXT,
    -- Names the batch that wrote the row last.
    mark TEXT NOT NULL,
    -- Last, because a long body lies on pages of its own that the other columns need not touch.
    body TEXT NOT NULL
) STRICT;

CREATE INDEX documents_due ON documents (due_at, id, shard) WHERE due_at IS NOT NULL;
CREATE INDEX documents_owner ON documents (owner, id) WHERE owner IS NOT NULL;

CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    version INTEGER NOT NULL,
    -- Position among the events of this version.
    ordinal INTEGER NOT NULL,
    -- Unique because its parts are.
    event_id TEXT NOT NULL GENERATED ALWAYS AS (entity || '.' || version || '.' || ordinal) VIRTUAL,
    shard INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    delivered_at INTEGER,
    dead_reason TEXT,
    detail TEXT NOT NULL,
    UNIQUE (entity, version, ordinal)
) STRICT;

-- Small, however long the ledger grows. Both are in the order of the sequence, which is the row's number.
CREATE INDEX outbox_pending ON outbox (sequence, shard) WHERE delivered_at IS NULL AND dead_reason IS NULL;
CREATE INDEX outbox_dead ON outbox (sequence) WHERE dead_reason IS NOT NULL;
