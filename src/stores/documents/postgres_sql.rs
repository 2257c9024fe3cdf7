//! The statements of documents and events in PostgreSQL. Each is one round trip; what follows a write in the same transaction
//! is part of its statement.

/// A batch of rows under compare-and-set: `$1` is its mark, the other parameters are a list per column, in the order of the
/// ids. What it returns was applied; `$events` is what goes between.
///
/// - Rows are locked before any is written, in the order of their ids, and rows that are new are inserted after those that exist,
///   again in that order: so batches that overlap wait for each other and never in a circle. The comparisons with a count are
///   always true; they make one part wait for the other, which nothing else does.
/// - A version is compared when the row is locked: PostgreSQL looks at the condition again on the latest version of a row
///   that it waited for. A row that somebody else inserts at the same time is waited for too, and a conflict then.
/// - The order of creation is that of the batch, which the order of the ids must not change: the batch takes one number, and the
///   place of a row in the batch follows it.
macro_rules! write_batch {
    ($($events:literal)?) => {
        concat!(
            "WITH input AS MATERIALIZED ( \
                 SELECT * FROM unnest($2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::text[], \
                     $9::text[], $10::int8[]) \
                     AS t (id, expected, shard, version, fence, due_at, owner, body, place) \
             ), locked AS MATERIALIZED ( \
                 SELECT id FROM documents WHERE id = ANY ($2) ORDER BY id FOR UPDATE \
             ), updated AS ( \
                 UPDATE documents AS d SET shard = t.shard, version = t.version, fence = t.fence, due_at = t.due_at, \
                     owner = t.owner, mark = $1, body = t.body \
                 FROM input AS t \
                 WHERE d.id = t.id AND d.version = t.expected AND t.expected > 0 AND (SELECT count(*) FROM locked) >= 0 \
                 RETURNING d.id \
             ), inserted AS ( \
                 INSERT INTO documents (id, shard, version, fence, due_at, owner, mark, body, created) \
                 SELECT id, shard, version, fence, due_at, owner, $1, body, (SELECT nextval('creations')) * 65536 + place \
                 FROM input WHERE expected = 0 AND (SELECT count(*) FROM updated) >= 0 ORDER BY id COLLATE \"C\" \
                 ON CONFLICT (id) DO NOTHING RETURNING id \
             ) ",
            $($events,)?
            "SELECT id FROM updated UNION ALL SELECT id FROM inserted"
        )
    };
}

/// A batch without events.
pub(super) const WRITE: &str = write_batch!();

/// A batch with events: `$11` to `$16` have a list per column of the ledger, in the order in which an entity emitted
/// them, and `$17` has the consumers. An event is numbered when its row is written, and so after all events of
/// earlier versions.
pub(super) const WRITE_WITH_EVENTS: &str = write_batch!(
    ", emitted AS ( \
         INSERT INTO ledger (entity, shard, version, ordinal, at, name, detail) \
         SELECT entity, shard, version, ordinal, (extract(epoch FROM clock_timestamp()) * 1000)::int8, name, detail \
         FROM unnest($11::text[], $12::int8[], $13::int8[], $14::int8[], $15::text[], $16::text[]) WITH ORDINALITY \
             AS e (entity, shard, version, ordinal, name, detail, number) \
         WHERE (entity IN (SELECT id FROM updated UNION ALL SELECT id FROM inserted)) IS TRUE ORDER BY number \
         ON CONFLICT (entity, version, ordinal) DO NOTHING RETURNING sequence, entity, shard \
     ), fanned_out AS ( \
         INSERT INTO outbox (consumer, sequence, entity, shard) \
         SELECT consumer, sequence, entity, shard FROM emitted CROSS JOIN unnest($17::text[]) AS c (consumer) \
     ) "
);

/// Compare-and-set of a body alone. What is not returned has another body by now.
pub(super) const RESEAL: &str = "UPDATE documents AS d SET body = t.content \
     FROM unnest($1::text[], $2::text[], $3::text[]) AS t (id, body, content) \
     WHERE d.id = t.id AND d.body = t.body RETURNING d.id";

pub(super) const VERSIONS: &str = "SELECT id, version FROM documents WHERE id = ANY ($1)";
pub(super) const APPLIED: &str = "SELECT id FROM documents WHERE id = ANY ($1) AND mark = $2";
pub(super) const DUE: &str = "SELECT id FROM documents \
     WHERE due_at IS NOT NULL AND due_at BETWEEN $1 AND $2 AND shard = ANY ($3) ORDER BY due_at, id LIMIT $4";
pub(super) const AT_REST: &str = "SELECT id, body FROM documents WHERE id > $1 ORDER BY id LIMIT $2";

/// The columns of a document, of an event, and of a delivery. An event is looked up by its number for each entry of a queue,
/// and by nothing else: `OFFSET 0` keeps the planner from going through the ledger.
macro_rules! select {
    (documents $tail:literal) => {
        concat!(
            "SELECT id, shard, version, fence, due_at, owner, body FROM documents ",
            $tail
        )
    };
    (ledger $tail:literal) => {
        concat!(
            "SELECT sequence, entity, version, ordinal, shard, at, name, detail FROM ledger ",
            $tail
        )
    };
    ($table:ident $columns:literal $tail:literal) => {
        concat!(
            "SELECT l.sequence, l.entity, l.version, l.ordinal, l.shard, l.at, l.name, l.detail, o.attempts",
            $columns,
            " FROM ",
            stringify!($table),
            " AS o CROSS JOIN LATERAL (SELECT * FROM ledger WHERE sequence = o.sequence OFFSET 0) AS l ",
            $tail
        )
    };
}

pub(super) const LOAD_MANY: &str = select!(documents "WHERE id = ANY ($1)");
pub(super) const BY_OWNER: &str = select!(documents "WHERE owner = $1 ORDER BY created DESC LIMIT $2");
pub(super) const BY_OWNER_BEFORE: &str = select!(documents
    "WHERE owner = $1 AND created < (SELECT created FROM documents WHERE id = $3) ORDER BY created DESC LIMIT $2");
pub(super) const SCAN: &str = select!(documents "WHERE id > $1 ORDER BY id LIMIT $2");

pub(super) const LEDGER: &str =
    select!(ledger "WHERE entity = $1 AND version > $2 ORDER BY version, ordinal LIMIT $3");
/// An entity whose delivery failed waits with all that it emitted later.
pub(super) const DELIVERABLE: &str = select!(outbox ""
    "WHERE o.consumer = $1 AND o.shard = ANY ($2) \
     AND NOT EXISTS (SELECT 1 FROM outbox AS f \
         WHERE f.consumer = $1 AND f.entity = o.entity AND f.sequence <= o.sequence AND f.retry_at > $3) \
     ORDER BY o.sequence LIMIT $4");
pub(super) const PENDING: &str = select!(outbox "" "WHERE o.consumer = $1 ORDER BY o.sequence LIMIT $2");
pub(super) const DEAD_LETTERS: &str =
    select!(dead_letters ", o.consumer, o.reason" "ORDER BY o.sequence DESC, o.consumer LIMIT $1");

pub(super) const DEPTH: &str = "SELECT c.consumer, \
     (SELECT count(*) FROM outbox WHERE consumer = c.consumer), \
     (SELECT count(*) FROM dead_letters WHERE consumer = c.consumer), \
     (SELECT at FROM ledger WHERE sequence = (SELECT min(sequence) FROM outbox WHERE consumer = c.consumer)) \
     FROM unnest($1::text[]) WITH ORDINALITY AS c (consumer, place) ORDER BY c.place";
pub(super) const DELIVERED: &str = "DELETE FROM outbox WHERE consumer = $1 AND sequence = ANY ($2)";

/// `$2` to `$4` have the sequences with the time of the retry, none where it becomes a dead letter, and the reason.
pub(super) const FAILED: &str = "WITH failures AS MATERIALIZED ( \
         SELECT * FROM unnest($2::int8[], $3::int8[], $4::text[]) AS f (sequence, retry_at, reason) \
     ), retried AS ( \
         UPDATE outbox AS o SET attempts = attempts + 1, retry_at = f.retry_at FROM failures AS f \
         WHERE o.consumer = $1 AND o.sequence = ANY ($2) AND o.sequence = f.sequence AND f.retry_at IS NOT NULL \
     ), buried AS ( \
         DELETE FROM outbox AS o USING failures AS f \
         WHERE o.consumer = $1 AND o.sequence = ANY ($2) AND o.sequence = f.sequence AND f.retry_at IS NULL \
         RETURNING o.sequence, o.attempts + 1 AS attempts, f.reason \
     ) \
     INSERT INTO dead_letters (consumer, sequence, attempts, reason) \
     SELECT $1, sequence, attempts, reason FROM buried";

pub(super) const REPLAY: &str = "WITH raised AS ( \
         DELETE FROM dead_letters AS d USING ledger AS l \
         WHERE l.entity = $1 AND l.version = $2 AND l.ordinal = $3 AND d.sequence = l.sequence \
             AND ($4::text IS NULL OR d.consumer = $4) \
         RETURNING d.consumer, l.sequence, l.entity, l.shard \
     ) \
     INSERT INTO outbox (consumer, sequence, entity, shard) \
     SELECT consumer, sequence, entity, shard FROM raised RETURNING consumer";

/// Of the entity `$1`, what no consumer of `$2` waits for or has among its dead letters; whether nothing else is left.
pub(super) const FORGET: &str = "WITH forgotten AS ( \
         DELETE FROM ledger AS l WHERE entity = $1 \
         AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.consumer = ANY ($2) AND o.sequence = l.sequence) \
         AND NOT EXISTS (SELECT 1 FROM dead_letters AS o WHERE o.consumer = ANY ($2) AND o.sequence = l.sequence) \
         RETURNING 1 \
     ) \
     SELECT (SELECT count(*) FROM forgotten) = (SELECT count(*) FROM ledger WHERE entity = $1)";
