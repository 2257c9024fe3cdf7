-- The ledger is append-only. What waits for delivery stands beside it, one row per event and consumer, and is deleted on
-- delivery.

DROP INDEX outbox_pending;
DROP INDEX outbox_dead;
ALTER TABLE outbox RENAME TO ledger;

CREATE TABLE outbox (
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

CREATE INDEX outbox_failed ON outbox (consumer, entity, sequence) WHERE retry_at IS NOT NULL;

CREATE TABLE dead_letters (
    consumer TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (consumer, sequence)
) STRICT, WITHOUT ROWID;

-- Each store had one consumer until now.
INSERT INTO outbox (consumer, sequence, entity, shard, attempts)
SELECT CASE WHEN name LIKE 'stock.%' THEN 'stock-badges' ELSE 'purchases' END, sequence, entity, shard, attempts
FROM ledger WHERE delivered_at IS NULL AND dead_reason IS NULL;

INSERT INTO dead_letters (consumer, sequence, attempts, reason)
SELECT CASE WHEN name LIKE 'stock.%' THEN 'stock-badges' ELSE 'purchases' END, sequence, attempts, dead_reason
FROM ledger WHERE delivered_at IS NULL AND dead_reason IS NOT NULL;

ALTER TABLE ledger DROP COLUMN event_id;
ALTER TABLE ledger DROP COLUMN attempts;
ALTER TABLE ledger DROP COLUMN delivered_at;
ALTER TABLE ledger DROP COLUMN dead_reason;
