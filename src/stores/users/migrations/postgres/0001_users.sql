-- Accounts with their credentials, addresses, notification preferences and purchases; signing keys of access tokens, and the
-- sessions whose access tokens must no longer be accepted. Identifiers compare bytewise, whatever the database's collation.

CREATE TABLE users (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- What all spellings of the e-mail address share.
    email_key TEXT COLLATE "C" NOT NULL UNIQUE,
    email TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    phone TEXT COLLATE "C",
    -- A JSON array.
    roles TEXT COLLATE "C" NOT NULL,
    -- 0 or 1.
    email_verified BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    -- One of the user's addresses, NULL only where there is none: here, and not a mark on the address, so that no two
    -- can be the default one.
    default_address TEXT COLLATE "C"
);

CREATE TABLE addresses (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (user_id, id)
);

CREATE TABLE preferences (
    user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    body TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE purchases (
    order_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    placed_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL
);

CREATE INDEX purchases_user ON purchases (user_id, placed_at, order_id);

-- Orders of guests, by a keyed hash of the address that they were placed with: whoever proves the address gets them.
CREATE TABLE guest_orders (
    order_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    guest TEXT COLLATE "C" NOT NULL,
    placed_at BIGINT NOT NULL
);

CREATE INDEX guest_orders_guest ON guest_orders (guest, placed_at, order_id);

CREATE TABLE signing_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    material BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- A number is never reused, and those who add take turns, so that a reader that continues from a number misses nothing.
CREATE TABLE revocations (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id TEXT COLLATE "C" NOT NULL UNIQUE,
    revoked_at BIGINT NOT NULL
);

CREATE INDEX revocations_revoked_at ON revocations (revoked_at);
