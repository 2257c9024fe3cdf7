-- Accounts with their credentials, addresses, notification preferences and purchases.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    -- What all spellings of the e-mail address share.
    email_key TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    phone TEXT,
    -- A JSON array.
    roles TEXT NOT NULL,
    email_verified INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    credential TEXT NOT NULL,
    -- One of the user's addresses, NULL only where there is none: here, and not a mark on the address, so that no two
    -- can be the default one.
    default_address TEXT
) STRICT;

CREATE TABLE addresses (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (user_id, id)
) STRICT;

CREATE TABLE preferences (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    body TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE purchases (
    order_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    placed_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX purchases_user ON purchases (user_id, placed_at, order_id);

-- Orders of guests, by a keyed hash of the address that they were placed with: whoever proves the address gets them.
CREATE TABLE guest_orders (
    order_id TEXT NOT NULL PRIMARY KEY,
    guest TEXT NOT NULL,
    placed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX guest_orders_guest ON guest_orders (guest, placed_at, order_id);
