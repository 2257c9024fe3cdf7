-- The versioned documents of a store, and the events that they emit. Identifiers compare bytewise, whatever the database's
-- collation.

CREATE TABLE documents (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    shard BIGINT NOT NULL,
    version BIGINT NOT NULL,
    -- The view under which the row was written last.
    fence BIGINT NOT NULL,
    due_at BIGINT,
    owner TEXT COLLATE "C",
    -- Names the batch that wrote the row last.
    mark TEXT COLLATE "C" NOT NULL,
    -- Grows with each row that is created.
    created BIGINT NOT NULL,
    -- JSON, as text: it comes back byte for byte.
    body TEXT COLLATE "C" NOT NULL
-- Rows are replaced all the time: room on the page keeps the indexes out of it.
) WITH (fillfactor = 85);

CREATE INDEX documents_due ON documents (due_at, id, shard) WHERE due_at IS NOT NULL;
CREATE INDEX documents_owner ON documents (owner, created) WHERE owner IS NOT NULL;

-- Batches in the order in which they create rows.
CREATE SEQUENCE creations;

-- Append-only.
CREATE TABLE ledger (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    -- Position among the events of this version.
    ordinal BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    at BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    UNIQUE (entity, version, ordinal)
);

-- What waits for delivery: one row per event and consumer, deleted on delivery.
CREATE TABLE outbox (
    consumer TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    entity TEXT COLLATE "C" NOT NULL,
    shard BIGINT NOT NULL,
    -- Failed deliveries so far.
    attempts BIGINT NOT NULL DEFAULT 0,
    -- After a failure: not before this time, and no later event of the entity either.
    retry_at BIGINT,
    PRIMARY KEY (consumer, sequence)
-- A queue: what is left of delivered rows goes soon, or every look at it would pass over them.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX outbox_failed ON outbox (consumer, entity, sequence) WHERE retry_at IS NOT NULL;

CREATE TABLE dead_letters (
    sequence BIGINT NOT NULL,
    consumer TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (sequence, consumer)
);
