-- The versioned documents of a store, and the events that they emit: in one file, so that one transaction covers both.

CREATE TABLE {store}_documents (
    id TEXT NOT NULL PRIMARY KEY,
    shard INTEGER NOT NULL,
    version INTEGER NOT NULL,
    -- The view under which the row was written last; 0: by a version that did not say.
    fence INTEGER NOT NULL,
    due_at INTEGER,
    owner TEXT,
    -- Names the batch that wrote the row last.
    mark TEXT NOT NULL,
    -- Last, because a long body lies on pages of its own that the other columns need not touch.
    body TEXT NOT NULL
) STRICT;

CREATE INDEX {store}_documents_due ON {store}_documents (due_at, id, shard) WHERE due_at IS NOT NULL;
-- Every index ends with the row's number, which grows with each insertion: rows of an owner are listed newest first.
CREATE INDEX {store}_documents_owner ON {store}_documents (owner) WHERE owner IS NOT NULL;

-- Append-only.
CREATE TABLE {store}_ledger (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    version INTEGER NOT NULL,
    -- Position among the events of this version.
    ordinal INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    detail TEXT NOT NULL,
    UNIQUE (entity, version, ordinal)
) STRICT;

-- What waits for delivery: one row per event and consumer, deleted on delivery.
CREATE TABLE {store}_outbox (
    consumer TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    entity TEXT NOT NULL,
    shard INTEGER NOT NULL,
    -- Failed deliveries so far.
    attempts INTEGER NOT NULL DEFAULT 0,
    -- After a failure: not before this time, and no later event of the entity either.
    retry_at INTEGER,
    PRIMARY KEY (consumer, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX {store}_outbox_failed ON {store}_outbox (consumer, entity, sequence) WHERE retry_at IS NOT NULL;

CREATE TABLE {store}_dead_letters (
    consumer TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (consumer, sequence)
) STRICT, WITHOUT ROWID;
