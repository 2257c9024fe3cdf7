-- When the token was exchanged; NULL where a version did that which did not say.
ALTER TABLE tokens ADD COLUMN spent_at INTEGER;

-- When the password was last asked for in this session besides sign-in.
ALTER TABLE sessions ADD COLUMN stepped_up_at INTEGER;

-- Networks from which somebody has signed in to an account, as hashes.
CREATE TABLE networks (
    hash BLOB NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX networks_expires_at ON networks (expires_at);
