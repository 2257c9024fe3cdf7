//! The statements of documents and events in SQLite. Each is prepared once, and runs once for each row of a batch. `{store}`
//! stands for the name of the store, which its tables begin with.

/// Compare-and-set of a row that exists: `?9` is the version that it must have.
pub(super) const UPDATE: &str = "UPDATE {store}_documents \
     SET shard = ?2, version = ?3, fence = ?4, due_at = ?5, owner = ?6, mark = ?7, body = ?8 \
     WHERE id = ?1 AND version = ?9 RETURNING id";

/// A row that must not exist yet.
pub(super) const INSERT: &str = "INSERT INTO {store}_documents (id, shard, version, fence, due_at, owner, mark, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING RETURNING id";

/// An event of a row that this very batch wrote, which its mark and version tell. A batch that is sent twice finds its
/// events there already.
pub(super) const EMIT: &str = "INSERT INTO {store}_ledger (entity, shard, version, ordinal, at, name, detail) \
     SELECT id, shard, ?4, ?5, CAST(round(unixepoch('subsec') * 1000) AS INTEGER), ?6, ?7 \
     FROM {store}_documents WHERE id = ?1 AND mark = ?2 AND version = ?3 \
     ON CONFLICT (entity, version, ordinal) DO NOTHING";

/// The same event to one consumer, `?6`.
pub(super) const FAN_OUT: &str = "INSERT INTO {store}_outbox (consumer, sequence, entity, shard) \
     SELECT ?6, l.sequence, l.entity, l.shard \
     FROM {store}_documents AS d CROSS JOIN {store}_ledger AS l ON l.entity = d.id AND l.version = ?4 AND l.ordinal = ?5 \
     WHERE d.id = ?1 AND d.mark = ?2 AND d.version = ?3 \
     ON CONFLICT (consumer, sequence) DO NOTHING";

/// Compare-and-set of a body alone. What is not returned has another body by now.
pub(super) const RESEAL: &str =
    "UPDATE {store}_documents SET body = ?3 WHERE id = ?1 AND body = ?2 RETURNING id";

pub(super) const VERSIONS: &str = "SELECT id, version FROM {store}_documents WHERE id = ?1";
pub(super) const APPLIED: &str = "SELECT id FROM {store}_documents WHERE id = ?1 AND mark = ?2";
pub(super) const DUE: &str = "SELECT id FROM {store}_documents INDEXED BY {store}_documents_due \
     WHERE due_at IS NOT NULL AND due_at BETWEEN ?1 AND ?2 AND shard IN (SELECT value FROM json_each(?3)) \
     ORDER BY due_at, id LIMIT ?4";

/// The columns of a document, of an event, and of a delivery.
macro_rules! select {
    (documents $tail:literal) => {
        concat!("SELECT id, shard, version, fence, due_at, owner, body FROM {store}_documents ", $tail)
    };
    (ledger $tail:literal) => {
        concat!(
            "SELECT l.sequence, l.entity, l.version, l.ordinal, l.shard, l.at, l.name, l.detail FROM {store}_ledger AS l ",
            $tail
        )
    };
    ($table:ident $tail:literal) => {
        concat!(
            "SELECT l.sequence, l.entity, l.version, l.ordinal, l.shard, l.at, l.name, l.detail, o.attempts FROM {store}_",
            stringify!($table),
            " AS o CROSS JOIN {store}_ledger AS l ON l.sequence = o.sequence ",
            $tail
        )
    };
}

pub(super) const LOAD_MANY: &str = select!(documents "WHERE id = ?1");
/// A row's number grows with the time of its insertion.
pub(super) const BY_OWNER: &str = select!(documents "WHERE owner = ?1 ORDER BY rowid DESC LIMIT ?2");
pub(super) const BY_OWNER_BEFORE: &str = select!(documents
    "WHERE owner = ?1 AND rowid < (SELECT rowid FROM {store}_documents WHERE id = ?3) ORDER BY rowid DESC LIMIT ?2");
pub(super) const AT_REST: &str = "SELECT id, body FROM {store}_documents WHERE id > ?1 ORDER BY id LIMIT ?2";
pub(super) const SCAN: &str = select!(documents "WHERE id > ?1 ORDER BY id LIMIT ?2");

pub(super) const LEDGER: &str =
    select!(ledger "WHERE l.entity = ?1 AND l.version > ?2 ORDER BY l.version, l.ordinal LIMIT ?3");
/// An entity whose delivery failed waits with all that it emitted later.
pub(super) const DELIVERABLE: &str = select!(outbox
    "WHERE o.consumer = ?1 AND o.shard IN (SELECT value FROM json_each(?2)) \
     AND NOT EXISTS (SELECT 1 FROM {store}_outbox AS f INDEXED BY {store}_outbox_failed \
         WHERE f.consumer = ?1 AND f.entity = o.entity AND f.sequence <= o.sequence \
         AND f.retry_at IS NOT NULL AND f.retry_at > ?3) \
     ORDER BY o.sequence LIMIT ?4");
pub(super) const PENDING: &str = select!(outbox "WHERE o.consumer = ?1 ORDER BY o.sequence LIMIT ?2");
pub(super) const DEAD_LETTERS: &str = "SELECT l.sequence, l.entity, l.version, l.ordinal, l.shard, l.at, l.name, l.detail, \
         o.attempts, o.consumer, o.reason \
     FROM {store}_dead_letters AS o CROSS JOIN {store}_ledger AS l ON l.sequence = o.sequence \
     ORDER BY o.sequence DESC, o.consumer LIMIT ?1";

pub(super) const DEPTH: &str = "SELECT c.value, \
     (SELECT count(*) FROM {store}_outbox WHERE consumer = c.value), \
     (SELECT count(*) FROM {store}_dead_letters WHERE consumer = c.value), \
     (SELECT l.at FROM {store}_outbox AS o CROSS JOIN {store}_ledger AS l ON l.sequence = o.sequence \
         WHERE o.consumer = c.value ORDER BY o.sequence LIMIT 1) \
     FROM json_each(?1) AS c ORDER BY c.key";
pub(super) const DELIVERED: &str = "DELETE FROM {store}_outbox \
     WHERE consumer = ?1 AND sequence IN (SELECT value FROM json_each(?2))";

/// Of the entity `?1`, what no consumer of `?2` waits for or has among its dead letters.
pub(super) const FORGET_EVENTS: &str = "DELETE FROM {store}_ledger WHERE entity = ?1 \
     AND NOT EXISTS (SELECT 1 FROM {store}_outbox AS o \
         WHERE o.consumer IN (SELECT value FROM json_each(?2)) AND o.sequence = {store}_ledger.sequence) \
     AND NOT EXISTS (SELECT 1 FROM {store}_dead_letters AS o \
         WHERE o.consumer IN (SELECT value FROM json_each(?2)) AND o.sequence = {store}_ledger.sequence)";
pub(super) const HAS_EVENTS: &str = "SELECT entity FROM {store}_ledger WHERE entity = ?1 LIMIT 1";

/// `?2` holds sequences with the time of the retry and the reason.
pub(super) const RETRY: &str = "UPDATE {store}_outbox AS o SET attempts = attempts + 1, retry_at = j.value->>1 \
     FROM json_each(?2) AS j \
     WHERE o.consumer = ?1 AND o.sequence = j.value->>0 AND j.value->>1 IS NOT NULL";
pub(super) const BURY: &str = "INSERT INTO {store}_dead_letters (consumer, sequence, attempts, reason) \
     SELECT o.consumer, o.sequence, o.attempts + 1, j.value->>2 \
     FROM json_each(?2) AS j CROSS JOIN {store}_outbox AS o ON o.consumer = ?1 AND o.sequence = j.value->>0 \
     WHERE j.value->>1 IS NULL";
pub(super) const REMOVE_BURIED: &str = "DELETE FROM {store}_outbox WHERE consumer = ?1 AND sequence IN \
     (SELECT value->>0 FROM json_each(?2) WHERE value->>1 IS NULL)";

pub(super) const REPLAY: &str = "INSERT INTO {store}_outbox (consumer, sequence, entity, shard) \
     SELECT d.consumer, l.sequence, l.entity, l.shard \
     FROM {store}_ledger AS l CROSS JOIN {store}_dead_letters AS d ON d.sequence = l.sequence \
     WHERE l.entity = ?1 AND l.version = ?2 AND l.ordinal = ?3 AND (?4 IS NULL OR d.consumer = ?4) \
     RETURNING consumer";
pub(super) const REMOVE_REPLAYED: &str = "DELETE FROM {store}_dead_letters WHERE (?4 IS NULL OR consumer = ?4) AND sequence = \
     (SELECT sequence FROM {store}_ledger WHERE entity = ?1 AND version = ?2 AND ordinal = ?3)";
