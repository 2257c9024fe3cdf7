//! The statements of documents in SQLite. Each is prepared once, whatever the size of a batch.

/// The columns of [`Lines`](super::batch::Lines): `?1` holds the lines, `?2` the bodies.
macro_rules! body {
    () => {
        "CAST(substr(?2, j.value->>6, j.value->>7) AS TEXT)"
    };
}

/// Compare-and-set of rows that exist. What is not returned has another version.
pub(super) const UPDATE: &str = concat!(
    "UPDATE documents \
     SET shard = j.value->>1, version = j.value->>2, due_at = j.value->>4, owner = j.value->>5, mark = ?3, body = ",
    body!(),
    " FROM json_each(?1) AS j \
     WHERE documents.id = j.value->>0 AND documents.version = j.value->>3 \
     RETURNING documents.id"
);

/// Rows that must not exist yet. What is not returned exists.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO documents (id, shard, version, due_at, owner, mark, body) \
     SELECT j.value->>0, j.value->>1, j.value->>2, j.value->>4, j.value->>5, ?3, ",
    body!(),
    " FROM json_each(?1) AS j WHERE true \
     ON CONFLICT (id) DO NOTHING RETURNING id"
);

/// Events of the rows that this very batch wrote, which their mark and version tell. A batch that is sent twice finds
/// its events there already.
pub(super) const EMIT: &str = "INSERT INTO outbox (entity, shard, version, ordinal, at, name, detail) \
     SELECT d.id, d.shard, e.value->>'$.v', e.value->>'$.n', \
         CAST(round(unixepoch('subsec') * 1000) AS INTEGER), e.value->>'$.e', e.value->'$.d' \
     FROM json_each(?1) AS e \
     CROSS JOIN documents AS d ON d.id = e.value->>'$.i' \
     WHERE d.mark = ?2 AND d.version = e.value->>'$.w' \
     ORDER BY e.key \
     ON CONFLICT (entity, version, ordinal) DO NOTHING";

/// Compare-and-set of bodies alone. What is not returned has another body by now.
pub(super) const RESEAL: &str = "UPDATE documents SET body = j.value->>'$.n' \
     FROM json_each(?1) AS j \
     WHERE documents.id = j.value->>'$.i' AND documents.body = j.value->>'$.b' \
     RETURNING documents.id";

pub(super) const VERSION: &str = "SELECT version FROM documents WHERE id = ?1";
pub(super) const APPLIED: &str =
    "SELECT id FROM documents WHERE id IN (SELECT value FROM json_each(?1)) AND mark = ?2";
pub(super) const DUE: &str = "SELECT id FROM documents INDEXED BY documents_due \
     WHERE due_at IS NOT NULL AND due_at <= ?1 AND shard IN (SELECT value FROM json_each(?2)) \
     ORDER BY due_at, id LIMIT ?3";

/// The columns of a document, and of an event.
macro_rules! select {
    (documents $tail:literal) => {
        concat!("SELECT id, shard, version, due_at, owner, body FROM documents ", $tail)
    };
    (outbox $tail:literal) => {
        concat!(
            "SELECT sequence, event_id, entity, shard, version, at, attempts, name, detail, dead_reason FROM outbox ",
            $tail
        )
    };
}

pub(super) const LOAD: &str = select!(documents "WHERE id = ?1");
pub(super) const LOAD_MANY: &str = select!(documents "WHERE id IN (SELECT value FROM json_each(?1))");
pub(super) const BY_OWNER: &str = select!(documents "WHERE owner = ?1 ORDER BY id DESC LIMIT ?2");
pub(super) const BY_OWNER_BEFORE: &str =
    select!(documents "WHERE owner = ?1 AND id < ?3 ORDER BY id DESC LIMIT ?2");
pub(super) const AT_REST: &str = "SELECT id, body FROM documents WHERE id > ?1 ORDER BY id LIMIT ?2";
pub(super) const SCAN: &str = select!(documents "WHERE id > ?1 ORDER BY id LIMIT ?2");

// The partial indexes are named, because the planner may prefer to walk the whole ledger in the order of its key.
pub(super) const UNDELIVERED: &str = select!(outbox "INDEXED BY outbox_pending \
     WHERE delivered_at IS NULL AND dead_reason IS NULL AND shard IN (SELECT value FROM json_each(?1)) \
     ORDER BY sequence LIMIT ?2");
pub(super) const PENDING: &str = select!(outbox "INDEXED BY outbox_pending \
     WHERE delivered_at IS NULL AND dead_reason IS NULL ORDER BY sequence LIMIT ?1");
pub(super) const DEAD_LETTERS: &str = select!(outbox "INDEXED BY outbox_dead \
     WHERE dead_reason IS NOT NULL ORDER BY sequence DESC LIMIT ?1");
pub(super) const LEDGER: &str =
    select!(outbox "WHERE entity = ?1 AND version > ?2 ORDER BY version, ordinal LIMIT ?3");

pub(super) const DEPTH: &str = "SELECT \
     (SELECT count(*) FROM outbox INDEXED BY outbox_pending WHERE delivered_at IS NULL AND dead_reason IS NULL), \
     (SELECT count(*) FROM outbox INDEXED BY outbox_dead WHERE dead_reason IS NOT NULL), \
     (SELECT at FROM outbox INDEXED BY outbox_pending WHERE delivered_at IS NULL AND dead_reason IS NULL \
         ORDER BY sequence LIMIT 1)";
pub(super) const DELIVERED: &str = "UPDATE outbox SET delivered_at = ?2 \
     WHERE sequence IN (SELECT value FROM json_each(?1)) AND delivered_at IS NULL AND dead_reason IS NULL";
pub(super) const FAILED: &str = "UPDATE outbox SET attempts = attempts + 1, dead_reason = CASE WHEN ?3 THEN ?2 ELSE dead_reason END \
     WHERE sequence = ?1 AND delivered_at IS NULL AND dead_reason IS NULL";
pub(super) const REPLAY: &str = "UPDATE outbox INDEXED BY outbox_dead SET dead_reason = NULL, attempts = 0 \
     WHERE event_id = ?1 AND dead_reason IS NOT NULL RETURNING sequence";
