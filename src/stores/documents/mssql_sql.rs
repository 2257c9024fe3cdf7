//! The statements of documents and events in SQL Server. Each is one round trip; several in one transaction are one batch.
//!
//! `{store}` stands for the name of the store, which its tables begin with, `{utf8}` for the collation of all texts, and what else is
//! in braces for what depends on the number of values. A parameter is UTF-16: where it is compared with a key it is converted to
//! the type of that column, or the index of the column would not serve.

/// A batch of rows under compare-and-set: `@P1` is its mark, `{rows}` its rows with their places in the batch. What it returns was
/// applied; `$events` goes between.
///
/// - First all rows are locked in the order of their ids, and the gaps where there are none, so that batches that overlap wait
///   for each other and hardly ever in a circle; where they do, the server ends one, which is repeated.
/// - A row is compared and written under its lock, and one is inserted under that of its gap.
/// - The order of creation is that of the batch: the numbers of new rows follow `ORDER BY`.
/// - An error ends the transaction, as every session asks for (`XACT_ABORT`).
macro_rules! write_batch {
    ($($events:literal)?) => {
        concat!(
            "DECLARE @input TABLE (place bigint NOT NULL, id varchar(800) {utf8} NOT NULL PRIMARY KEY, expected bigint NOT NULL, \
                 shard bigint NOT NULL, version bigint NOT NULL, fence bigint NOT NULL, due_at bigint NULL, \
                 owner varchar(800) {utf8} NULL, body varchar(max) {utf8} NOT NULL); \
             DECLARE @locked TABLE (id varchar(800) {utf8} NOT NULL); \
             DECLARE @applied TABLE (id varchar(800) {utf8} NOT NULL PRIMARY KEY); \
             INSERT INTO @input (place, id, expected, shard, version, fence, due_at, owner, body) VALUES {rows}; \
             BEGIN TRANSACTION; \
             INSERT INTO @locked (id) SELECT d.id FROM @input AS t \
                 INNER LOOP JOIN {store}_documents AS d WITH (UPDLOCK, HOLDLOCK, ROWLOCK) ON d.id = t.id; \
             UPDATE d SET shard = t.shard, version = t.version, fence = t.fence, due_at = t.due_at, owner = t.owner, \
                 mark = @P1, body = t.body \
                 OUTPUT inserted.id INTO @applied \
                 FROM {store}_documents AS d JOIN @input AS t ON d.id = t.id \
                 WHERE d.version = t.expected AND t.expected > 0; \
             INSERT INTO {store}_documents (id, shard, version, fence, due_at, owner, mark, body) \
                 OUTPUT inserted.id INTO @applied \
                 SELECT t.id, t.shard, t.version, t.fence, t.due_at, t.owner, @P1, t.body FROM @input AS t \
                 WHERE t.expected = 0 AND NOT EXISTS \
                     (SELECT 1 FROM {store}_documents AS d WITH (UPDLOCK, HOLDLOCK) WHERE d.id = t.id) \
                 ORDER BY t.place; ",
            $($events,)?
            "COMMIT TRANSACTION; \
             SELECT id FROM @applied"
        )
    };
}

/// A batch without events.
pub(super) const WRITE: &str = write_batch!();

/// A batch with events: `{events}` are those of the ledger, in the order in which an entity emitted them, and `{consumers}` who gets
/// them. An event is numbered when its row is written, and so after all events of earlier versions.
pub(super) const WRITE_WITH_EVENTS: &str = write_batch!(
    "DECLARE @events TABLE (place bigint NOT NULL, number bigint NOT NULL PRIMARY KEY, shard bigint NOT NULL, \
         version bigint NOT NULL, ordinal bigint NOT NULL, name varchar(max) {utf8} NOT NULL, detail varchar(max) {utf8} NOT NULL); \
     DECLARE @emitted TABLE (sequence bigint NOT NULL, entity varchar(800) {utf8} NOT NULL, shard bigint NOT NULL); \
     INSERT INTO @events (place, number, shard, version, ordinal, name, detail) VALUES {events}; \
     INSERT INTO {store}_ledger (entity, shard, version, ordinal, at, name, detail) \
         OUTPUT inserted.sequence, inserted.entity, inserted.shard INTO @emitted \
         SELECT a.id, e.shard, e.version, e.ordinal, DATEDIFF_BIG(millisecond, '19700101', SYSUTCDATETIME()), e.name, e.detail \
         FROM @events AS e JOIN @input AS t ON t.place = e.place JOIN @applied AS a ON a.id = t.id \
         WHERE NOT EXISTS (SELECT 1 FROM {store}_ledger AS l \
             WHERE l.entity = t.id AND l.version = e.version AND l.ordinal = e.ordinal) \
         ORDER BY e.number; \
     INSERT INTO {store}_outbox (consumer, sequence, entity, shard) \
         SELECT c.consumer, m.sequence, m.entity, m.shard \
         FROM @emitted AS m CROSS JOIN (VALUES {consumers}) AS c (consumer); "
);

/// Compare-and-set of a body alone: `{rows}` have id, former body and new one. What is not returned has another body by now.
/// Lengths are compared too, since a comparison of texts ignores blanks at their end.
pub(super) const RESEAL: &str = "DECLARE @input TABLE (id varchar(800) {utf8} NOT NULL PRIMARY KEY, \
         former varchar(max) {utf8} NOT NULL, body varchar(max) {utf8} NOT NULL); \
     DECLARE @resealed TABLE (id varchar(800) {utf8} NOT NULL); \
     INSERT INTO @input (id, former, body) VALUES {rows}; \
     UPDATE d SET body = t.body OUTPUT inserted.id INTO @resealed \
         FROM {store}_documents AS d JOIN @input AS t ON d.id = t.id \
         WHERE d.body = t.former AND DATALENGTH(d.body) = DATALENGTH(t.former); \
     SELECT id FROM @resealed";

/// What reads by ids, in `{ids}`.
macro_rules! by_ids {
    ($select:literal $tail:literal) => {
        concat!(
            "DECLARE @ids TABLE (id varchar(800) {utf8} NOT NULL PRIMARY KEY); \
             INSERT INTO @ids (id) SELECT DISTINCT v.id FROM (VALUES {ids}) AS v (id); \
             SELECT ",
            $select,
            " FROM @ids AS t JOIN {store}_documents AS d ON d.id = t.id",
            $tail
        )
    };
}

pub(super) const LOAD_MANY: &str = by_ids!("d.id, d.shard, d.version, d.fence, d.due_at, d.owner, d.body" "");
pub(super) const VERSIONS: &str = by_ids!("d.id, d.version" "");
/// `@P1` is the mark.
pub(super) const APPLIED: &str = by_ids!("d.id" " WHERE d.mark = CAST(@P1 {utf8} AS varchar(800))");

pub(super) const DUE: &str = "SELECT TOP (@P3) id FROM {store}_documents \
     WHERE due_at IS NOT NULL AND due_at BETWEEN @P1 AND @P2 AND shard IN ({shards}) ORDER BY due_at, id";
pub(super) const AT_REST: &str = "SELECT TOP (@P2) id, body FROM {store}_documents \
     WHERE id > CAST(@P1 {utf8} AS varchar(800)) ORDER BY id";

/// The columns of a document, and of a delivery.
macro_rules! select {
    (documents $tail:literal) => {
        concat!(
            "SELECT TOP (@P2) id, shard, version, fence, due_at, owner, body FROM {store}_documents ",
            $tail
        )
    };
    ($table:ident $top:literal $columns:literal $tail:literal) => {
        concat!(
            "SELECT TOP (",
            $top,
            ") l.sequence, l.entity, l.version, l.ordinal, l.shard, l.at, l.name, l.detail, o.attempts",
            $columns,
            " FROM {store}_",
            stringify!($table),
            " AS o JOIN {store}_ledger AS l ON l.sequence = o.sequence ",
            $tail
        )
    };
}

pub(super) const SCAN: &str = select!(documents "WHERE id > CAST(@P1 {utf8} AS varchar(800)) ORDER BY id");
pub(super) const BY_OWNER: &str =
    select!(documents "WHERE owner = CAST(@P1 {utf8} AS varchar(800)) ORDER BY created DESC");
pub(super) const BY_OWNER_BEFORE: &str = select!(documents
    "WHERE owner = CAST(@P1 {utf8} AS varchar(800)) \
     AND created < (SELECT created FROM {store}_documents WHERE id = CAST(@P3 {utf8} AS varchar(800))) ORDER BY created DESC");

pub(super) const LEDGER: &str = "SELECT TOP (@P3) sequence, entity, version, ordinal, shard, at, name, detail FROM {store}_ledger \
     WHERE entity = CAST(@P1 {utf8} AS varchar(800)) AND version > @P2 ORDER BY version, ordinal";
/// An entity whose delivery failed waits with all that it emitted later.
pub(super) const DELIVERABLE: &str = select!(outbox "@P3" ""
    "WHERE o.consumer = CAST(@P1 {utf8} AS varchar(100)) AND o.shard IN ({shards}) \
     AND NOT EXISTS (SELECT 1 FROM {store}_outbox AS f \
         WHERE f.consumer = CAST(@P1 {utf8} AS varchar(100)) AND f.entity = o.entity AND f.sequence <= o.sequence \
         AND f.retry_at IS NOT NULL AND f.retry_at > @P2) \
     ORDER BY o.sequence");
pub(super) const PENDING: &str =
    select!(outbox "@P2" "" "WHERE o.consumer = CAST(@P1 {utf8} AS varchar(100)) ORDER BY o.sequence");
pub(super) const DEAD_LETTERS: &str =
    select!(dead_letters "@P1" ", o.consumer, o.reason" "ORDER BY o.sequence DESC, o.consumer");

pub(super) const DEPTH: &str = "SELECT @P1, \
     (SELECT COUNT_BIG(*) FROM {store}_outbox WHERE consumer = CAST(@P1 {utf8} AS varchar(100))), \
     (SELECT COUNT_BIG(*) FROM {store}_dead_letters WHERE consumer = CAST(@P1 {utf8} AS varchar(100))), \
     (SELECT at FROM {store}_ledger WHERE sequence = \
         (SELECT MIN(sequence) FROM {store}_outbox WHERE consumer = CAST(@P1 {utf8} AS varchar(100))))";
pub(super) const DELIVERED: &str = "DELETE FROM {store}_outbox \
     WHERE consumer = CAST(@P1 {utf8} AS varchar(100)) AND sequence IN ({sequences})";

/// `{failures}` have sequence, the time of the retry, none where it becomes a dead letter, and the reason.
pub(super) const FAILED: &str = "DECLARE @failures TABLE (sequence bigint NOT NULL PRIMARY KEY, retry_at bigint NULL, \
         reason varchar(max) {utf8} NOT NULL); \
     DECLARE @buried TABLE (sequence bigint NOT NULL, attempts bigint NOT NULL); \
     INSERT INTO @failures (sequence, retry_at, reason) VALUES {failures}; \
     BEGIN TRANSACTION; \
     UPDATE o SET attempts = o.attempts + 1, retry_at = f.retry_at \
         FROM {store}_outbox AS o JOIN @failures AS f ON f.sequence = o.sequence \
         WHERE o.consumer = CAST(@P1 {utf8} AS varchar(100)) AND f.retry_at IS NOT NULL; \
     DELETE FROM {store}_outbox OUTPUT deleted.sequence, deleted.attempts INTO @buried \
         WHERE consumer = CAST(@P1 {utf8} AS varchar(100)) AND sequence IN (SELECT sequence FROM @failures WHERE retry_at IS NULL); \
     INSERT INTO {store}_dead_letters (consumer, sequence, attempts, reason) \
         SELECT @P1, b.sequence, b.attempts + 1, f.reason FROM @buried AS b JOIN @failures AS f ON f.sequence = b.sequence; \
     COMMIT TRANSACTION";

/// `@P4` is the consumer, none for all.
pub(super) const REPLAY: &str = "DECLARE @raised TABLE (consumer varchar(100) {utf8} NOT NULL, sequence bigint NOT NULL); \
     BEGIN TRANSACTION; \
     DELETE FROM {store}_dead_letters OUTPUT deleted.consumer, deleted.sequence INTO @raised \
         WHERE (@P4 IS NULL OR consumer = CAST(@P4 {utf8} AS varchar(100))) AND sequence IN \
             (SELECT sequence FROM {store}_ledger \
              WHERE entity = CAST(@P1 {utf8} AS varchar(800)) AND version = @P2 AND ordinal = @P3); \
     INSERT INTO {store}_outbox (consumer, sequence, entity, shard) \
         SELECT r.consumer, l.sequence, l.entity, l.shard \
         FROM @raised AS r JOIN {store}_ledger AS l ON l.sequence = r.sequence; \
     COMMIT TRANSACTION; \
     SELECT consumer FROM @raised";

/// Of the entity `@P1`, what no consumer of `{consumers}` waits for or has among its dead letters; whether nothing else is left.
pub(super) const FORGET: &str = "DELETE FROM {store}_ledger WHERE entity = CAST(@P1 {utf8} AS varchar(800)) \
         AND NOT EXISTS (SELECT 1 FROM {store}_outbox AS o \
             WHERE o.consumer IN ({consumers}) AND o.sequence = {store}_ledger.sequence) \
         AND NOT EXISTS (SELECT 1 FROM {store}_dead_letters AS o \
             WHERE o.consumer IN ({consumers}) AND o.sequence = {store}_ledger.sequence); \
     SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM {store}_ledger WHERE entity = CAST(@P1 {utf8} AS varchar(800))) \
         THEN 0 ELSE 1 END AS bigint)";
