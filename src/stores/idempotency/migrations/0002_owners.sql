-- Who a reply is kept for: digests under a key of the shop, of the caller and of the network that the request came from. NULL where
-- there is none, and in rows from before this migration, which expire within the time that replies are kept.
ALTER TABLE idempotency ADD COLUMN owner TEXT;
ALTER TABLE idempotency ADD COLUMN network TEXT;

CREATE INDEX idempotency_owner ON idempotency (owner) WHERE owner IS NOT NULL;

-- The bytes that are kept for each owner and each network. The triggers keep it exact within the transaction of every change, whichever
-- node makes it, so that a quota costs a look at two rows. A row of `idempotency` counts 512 bytes beside its body: ROW_BYTES.
CREATE TABLE kept_bytes (
    who TEXT NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER idempotency_added AFTER INSERT ON idempotency BEGIN
    INSERT INTO kept_bytes (who, bytes)
        SELECT who, 512 + coalesce(length(new.body), 0) FROM (SELECT new.owner AS who UNION ALL SELECT new.network)
        WHERE who IS NOT NULL
        ON CONFLICT (who) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER idempotency_changed AFTER UPDATE OF body, owner, network ON idempotency BEGIN
    UPDATE kept_bytes SET bytes = bytes - 512 - coalesce(length(old.body), 0) WHERE who IN (old.owner, old.network);
    INSERT INTO kept_bytes (who, bytes)
        SELECT who, 512 + coalesce(length(new.body), 0) FROM (SELECT new.owner AS who UNION ALL SELECT new.network)
        WHERE who IS NOT NULL
        ON CONFLICT (who) DO UPDATE SET bytes = bytes + excluded.bytes;
    DELETE FROM kept_bytes WHERE who IN (old.owner, old.network) AND bytes <= 0;
END;

CREATE TRIGGER idempotency_removed AFTER DELETE ON idempotency BEGIN
    UPDATE kept_bytes SET bytes = bytes - 512 - coalesce(length(old.body), 0) WHERE who IN (old.owner, old.network);
    DELETE FROM kept_bytes WHERE who IN (old.owner, old.network) AND bytes <= 0;
END;
