-- When the token was exchanged; NULL where a version did that which did not say.
ALTER TABLE tokens ADD COLUMN spent_at INTEGER;
