-- From the file that each store had to itself. Rows keep their numbers, by which those of an owner are listed.

INSERT INTO {store}_documents (rowid, id, shard, version, fence, due_at, owner, mark, body)
SELECT rowid, id, shard, version, fence, due_at, owner, mark, body FROM former.documents ORDER BY rowid;

INSERT INTO {store}_ledger (sequence, entity, version, ordinal, shard, at, name, detail)
SELECT sequence, entity, version, ordinal, shard, at, name, detail FROM former.ledger ORDER BY sequence;

INSERT INTO {store}_outbox (consumer, sequence, entity, shard, attempts, retry_at)
SELECT consumer, sequence, entity, shard, attempts, retry_at FROM former.outbox;

INSERT INTO {store}_dead_letters (consumer, sequence, attempts, reason)
SELECT consumer, sequence, attempts, reason FROM former.dead_letters;
