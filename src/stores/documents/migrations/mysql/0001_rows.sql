-- The versioned documents of a store, and the events that they emit. Texts are bytes: identifiers compare bytewise, and bodies come
-- back as they went. Each statement may run again.

CREATE TABLE IF NOT EXISTS {store}_documents (
    id VARBINARY(1024) NOT NULL PRIMARY KEY,
    shard BIGINT NOT NULL,
    version BIGINT NOT NULL,
    -- The view under which the row was written last.
    fence BIGINT NOT NULL,
    due_at BIGINT,
    owner VARBINARY(1024),
    -- Names the batch that wrote the row last.
    mark VARBINARY(1024) NOT NULL,
    -- Grows with each row that is created.
    created BIGINT NOT NULL,
    -- JSON.
    body LONGBLOB NOT NULL,
    KEY due (due_at, id, shard),
    KEY owner (owner, created)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Gives batches numbers in the order in which they create rows; no row stays.
CREATE TABLE IF NOT EXISTS {store}_creations (
    number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY
) ENGINE = InnoDB;

-- Append-only.
CREATE TABLE IF NOT EXISTS {store}_ledger (
    sequence BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    entity VARBINARY(1024) NOT NULL,
    version BIGINT NOT NULL,
    -- Position among the events of this version.
    ordinal BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    at BIGINT NOT NULL,
    name BLOB NOT NULL,
    detail LONGBLOB NOT NULL,
    UNIQUE KEY event (entity, version, ordinal)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What waits for delivery: one row per event and consumer, deleted on delivery.
CREATE TABLE IF NOT EXISTS {store}_outbox (
    consumer VARBINARY(255) NOT NULL,
    sequence BIGINT NOT NULL,
    entity VARBINARY(1024) NOT NULL,
    shard BIGINT NOT NULL,
    -- Failed deliveries so far.
    attempts BIGINT NOT NULL DEFAULT 0,
    -- After a failure: not before this time, and no later event of the entity either. There are no partial indexes: those
    -- without a time stand together before those that have one, and nobody looks at them.
    retry_at BIGINT,
    PRIMARY KEY (consumer, sequence),
    KEY failed (consumer, entity, retry_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {store}_dead_letters (
    sequence BIGINT NOT NULL,
    consumer VARBINARY(255) NOT NULL,
    attempts BIGINT NOT NULL,
    reason MEDIUMBLOB NOT NULL,
    PRIMARY KEY (sequence, consumer)
) ENGINE = InnoDB;
