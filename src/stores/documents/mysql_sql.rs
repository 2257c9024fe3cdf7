//! The statements of documents and events in MariaDB and MySQL. `{store}` stands for the name of the store, `?1` for a
//! literal or a list of them. Each names the index that it goes by, which it is written for, whatever the optimiser thinks of
//! the tables' sizes.
//!
//! Sessions run at READ COMMITTED: reads take no locks, and writes none on gaps.

/// The rows of a batch, locked in the order of their ids, so that batches that overlap wait for each other and never in a circle.
pub(super) const LOCK: &str = "SELECT id, version FROM {store}_documents FORCE INDEX (PRIMARY) \
     WHERE id IN (?1) ORDER BY id FOR UPDATE";

/// Replaces rows that are locked: `?1` is a list of rows. They exist, so that nothing is inserted.
pub(super) const REPLACE: &str = "INSERT INTO {store}_documents \
         (id, shard, version, fence, due_at, owner, mark, body, created) VALUES ?1 \
     ON DUPLICATE KEY UPDATE shard = VALUES(shard), version = VALUES(version), fence = VALUES(fence), \
         due_at = VALUES(due_at), owner = VALUES(owner), mark = VALUES(mark), body = VALUES(body)";

/// The order of creation is that of the batch, which the order of the ids must not change: the batch takes one number, and the
/// place of a row in the batch follows it.
pub(super) const NUMBER: &[&str] = &[
    "INSERT INTO {store}_creations () VALUES ()",
    "SET @creation = LAST_INSERT_ID()",
    "DELETE FROM {store}_creations WHERE number = @creation",
];

/// Inserts rows that did not exist when the batch looked. Where another has inserted one since, the whole transaction is
/// repeated, and finds it.
pub(super) const CREATE: &str = "INSERT INTO {store}_documents \
     (id, shard, version, fence, due_at, owner, mark, body, created) VALUES ?1";

/// Events in the order in which an entity emitted them. An event is numbered while its row is locked, and so after all events
/// of earlier versions.
pub(super) const EMIT: &str = "INSERT INTO {store}_ledger (entity, shard, version, ordinal, at, name, detail) VALUES ?1 \
     ON DUPLICATE KEY UPDATE shard = VALUES(shard)";

/// The time of an event: that of the server, in milliseconds.
pub(super) const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// The events `?2` to the consumer `?1`.
pub(super) const FAN_OUT: &str = "INSERT INTO {store}_outbox (consumer, sequence, entity, shard) \
     SELECT ?1, sequence, entity, shard FROM {store}_ledger FORCE INDEX (event) WHERE ?2 \
     ON DUPLICATE KEY UPDATE shard = VALUES(shard)";

/// The bodies of rows, to be compared and replaced by [`RESEAL`].
pub(super) const LOCK_BODIES: &str = "SELECT id, body FROM {store}_documents FORCE INDEX (PRIMARY) \
     WHERE id IN (?1) ORDER BY id FOR UPDATE";
pub(super) const RESEAL: &str = "UPDATE {store}_documents SET body = ?2 WHERE id = ?1";

pub(super) const VERSIONS: &str =
    "SELECT id, version FROM {store}_documents FORCE INDEX (PRIMARY) WHERE id IN (?1)";
pub(super) const APPLIED: &str =
    "SELECT id FROM {store}_documents FORCE INDEX (PRIMARY) WHERE id IN (?1) AND mark = ?2";
pub(super) const DUE: &str = "SELECT id FROM {store}_documents FORCE INDEX (due) \
     WHERE due_at BETWEEN ?1 AND ?2 AND shard IN (?3) ORDER BY due_at, id LIMIT ?4";
pub(super) const AT_REST: &str = "SELECT id, body FROM {store}_documents FORCE INDEX (PRIMARY) \
     WHERE id > ?1 ORDER BY id LIMIT ?2";

/// The columns of a document, of an event, and of a delivery.
macro_rules! select {
    (documents $tail:literal) => {
        concat!(
            "SELECT id, shard, version, fence, due_at, owner, body FROM {store}_documents ",
            $tail
        )
    };
    (ledger $tail:literal) => {
        concat!(
            "SELECT sequence, entity, version, ordinal, shard, at, name, detail FROM {store}_ledger ",
            $tail
        )
    };
    ($table:ident $columns:literal $tail:literal) => {
        concat!(
            "SELECT l.sequence, l.entity, l.version, l.ordinal, l.shard, l.at, l.name, l.detail, o.attempts",
            $columns,
            " FROM {store}_",
            stringify!($table),
            " AS o FORCE INDEX (PRIMARY) STRAIGHT_JOIN {store}_ledger AS l FORCE INDEX (PRIMARY) ON l.sequence = o.sequence ",
            $tail
        )
    };
}

pub(super) const LOAD_MANY: &str = select!(documents "FORCE INDEX (PRIMARY) WHERE id IN (?1)");
pub(super) const BY_OWNER: &str =
    select!(documents "FORCE INDEX (owner) WHERE owner = ?1 ORDER BY created DESC LIMIT ?2");
pub(super) const BY_OWNER_BEFORE: &str = select!(documents
    "FORCE INDEX (owner) WHERE owner = ?1 \
     AND created < (SELECT created FROM {store}_documents WHERE id = ?3) ORDER BY created DESC LIMIT ?2");
pub(super) const SCAN: &str = select!(documents "FORCE INDEX (PRIMARY) WHERE id > ?1 ORDER BY id LIMIT ?2");

pub(super) const LEDGER: &str = select!(ledger
    "FORCE INDEX (event) WHERE entity = ?1 AND version > ?2 ORDER BY version, ordinal LIMIT ?3");
/// An entity whose delivery failed waits with all that it emitted later.
pub(super) const DELIVERABLE: &str = select!(outbox ""
    "WHERE o.consumer = ?1 AND o.shard IN (?2) \
     AND NOT EXISTS (SELECT 1 FROM {store}_outbox AS f FORCE INDEX (failed) \
         WHERE f.consumer = ?1 AND f.entity = o.entity AND f.retry_at > ?3 AND f.sequence <= o.sequence) \
     ORDER BY o.sequence LIMIT ?4");
pub(super) const PENDING: &str = select!(outbox "" "WHERE o.consumer = ?1 ORDER BY o.sequence LIMIT ?2");
pub(super) const DEAD_LETTERS: &str =
    select!(dead_letters ", o.consumer, o.reason" "ORDER BY o.sequence DESC, o.consumer LIMIT ?1");

/// Of one consumer.
pub(super) const DEPTH: &str = "SELECT ?1, \
     (SELECT COUNT(*) FROM {store}_outbox WHERE consumer = ?1), \
     (SELECT COUNT(*) FROM {store}_dead_letters WHERE consumer = ?1), \
     (SELECT at FROM {store}_ledger WHERE sequence = (SELECT MIN(sequence) FROM {store}_outbox WHERE consumer = ?1))";
pub(super) const DELIVERED: &str = "DELETE FROM {store}_outbox WHERE consumer = ?1 AND sequence IN (?2)";

pub(super) const RETRY: &str = "UPDATE {store}_outbox SET attempts = attempts + 1, retry_at = ?3 \
     WHERE consumer = ?1 AND sequence = ?2";
pub(super) const BURY: &[&str] = &[
    "INSERT INTO {store}_dead_letters (consumer, sequence, attempts, reason) \
     SELECT consumer, sequence, attempts + 1, ?3 FROM {store}_outbox WHERE consumer = ?1 AND sequence = ?2 FOR UPDATE",
    "DELETE FROM {store}_outbox WHERE consumer = ?1 AND sequence = ?2",
];

/// The dead letters of the event `?1` of a consumer that `?2` allows; what [`REPLAY`] then puts back.
pub(super) const LOCK_DEAD_LETTERS: &str = "SELECT d.consumer, d.sequence FROM {store}_ledger AS l \
     STRAIGHT_JOIN {store}_dead_letters AS d ON d.sequence = l.sequence WHERE ?1 AND ?2 FOR UPDATE";
pub(super) const REPLAY: &[&str] = &[
    "INSERT INTO {store}_outbox (consumer, sequence, entity, shard) \
     SELECT ?1, sequence, entity, shard FROM {store}_ledger WHERE sequence = ?2",
    "DELETE FROM {store}_dead_letters WHERE sequence = ?2 AND consumer = ?1",
];

/// Of the entity `?1`, what no consumer of `?2` waits for or has among its dead letters; whether nothing else is left.
pub(super) const FORGET: &[&str] = &[
    "DELETE FROM {store}_ledger WHERE entity = ?1 \
     AND NOT EXISTS (SELECT 1 FROM {store}_outbox AS o WHERE o.consumer IN (?2) AND o.sequence = {store}_ledger.sequence) \
     AND NOT EXISTS (SELECT 1 FROM {store}_dead_letters AS o \
         WHERE o.consumer IN (?2) AND o.sequence = {store}_ledger.sequence)",
    "SELECT NOT EXISTS (SELECT 1 FROM {store}_ledger WHERE entity = ?1)",
];
