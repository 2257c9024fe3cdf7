-- Rows of an owner are listed newest first. Every index ends with the row's number, which grows with each insertion.

DROP INDEX documents_owner;
CREATE INDEX documents_owner ON documents (owner) WHERE owner IS NOT NULL;
