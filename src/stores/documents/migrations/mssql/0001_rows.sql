-- The versioned documents of a store, and the events that they emit. Texts compare bytewise, but for blanks at their end, which
-- no key has.

CREATE TABLE {store}_documents (
    id varchar(800) {utf8} NOT NULL PRIMARY KEY,
    shard bigint NOT NULL,
    version bigint NOT NULL,
    -- The view under which the row was written last.
    fence bigint NOT NULL,
    due_at bigint NULL,
    owner varchar(800) {utf8} NULL,
    -- Names the batch that wrote the row last.
    mark varchar(800) {utf8} NOT NULL,
    -- Grows with each row that is created.
    created bigint IDENTITY(1, 1) NOT NULL,
    -- JSON, as text: it comes back byte for byte.
    body varchar(max) {utf8} NOT NULL
);

CREATE INDEX {store}_documents_due ON {store}_documents (due_at, id, shard) WHERE due_at IS NOT NULL;
CREATE INDEX {store}_documents_owner ON {store}_documents (owner, created) WHERE owner IS NOT NULL;

-- Append-only.
CREATE TABLE {store}_ledger (
    sequence bigint IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    entity varchar(800) {utf8} NOT NULL,
    version bigint NOT NULL,
    -- Position among the events of this version.
    ordinal bigint NOT NULL,
    shard bigint NOT NULL,
    at bigint NOT NULL,
    name varchar(max) {utf8} NOT NULL,
    detail varchar(max) {utf8} NOT NULL,
    UNIQUE (entity, version, ordinal)
);

-- What waits for delivery: one row per event and consumer, deleted on delivery.
CREATE TABLE {store}_outbox (
    consumer varchar(100) {utf8} NOT NULL,
    sequence bigint NOT NULL,
    entity varchar(800) {utf8} NOT NULL,
    shard bigint NOT NULL,
    -- Failed deliveries so far.
    attempts bigint NOT NULL DEFAULT 0,
    -- After a failure: not before this time, and no later event of the entity either.
    retry_at bigint NULL,
    PRIMARY KEY (consumer, sequence)
);

CREATE INDEX {store}_outbox_failed ON {store}_outbox (consumer, entity, sequence) WHERE retry_at IS NOT NULL;

CREATE TABLE {store}_dead_letters (
    sequence bigint NOT NULL,
    consumer varchar(100) {utf8} NOT NULL,
    attempts bigint NOT NULL,
    reason varchar(max) {utf8} NOT NULL,
    PRIMARY KEY (sequence, consumer)
);
