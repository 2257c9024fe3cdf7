-- Signing keys and revocations belong to the database `users`.

DROP TABLE signing_keys;
DROP TABLE revocations;
