//! The tables of every store in their canonical form: those of the embedded store.

use super::Class::{self, Bytes, Integer, Text};
use super::{Order, Table};

const fn table(
    name: &'static str,
    columns: &'static [(&'static str, Class)],
    key: &'static [&'static str],
) -> Table {
    Table {
        name,
        columns,
        order: Order::Key(key),
        is_of_rows: false,
        numbered: None,
        expires: None,
    }
}

const fn of_rows(table: Table) -> Table {
    Table {
        is_of_rows: true,
        ..table
    }
}

const fn in_order_of_creation(table: Table) -> Table {
    Table {
        order: Order::Creation,
        ..table
    }
}

const fn expiring(table: Table, column: &'static str) -> Table {
    Table {
        expires: Some(column),
        ..table
    }
}

const fn numbered(table: Table, column: &'static str) -> Table {
    Table {
        numbered: Some(column),
        ..table
    }
}

/// Of a store of rows.
pub static ROWS: [Table; 4] = [
    of_rows(in_order_of_creation(table(
        "documents",
        &[
            ("id", Text),
            ("shard", Integer),
            ("version", Integer),
            ("fence", Integer),
            ("due_at", Integer),
            ("owner", Text),
            ("mark", Text),
            ("body", Text),
        ],
        &["id"],
    ))),
    of_rows(numbered(
        table(
            "ledger",
            &[
                ("sequence", Integer),
                ("entity", Text),
                ("version", Integer),
                ("ordinal", Integer),
                ("shard", Integer),
                ("at", Integer),
                ("name", Text),
                ("detail", Text),
            ],
            &["sequence"],
        ),
        "sequence",
    )),
    of_rows(table(
        "outbox",
        &[
            ("consumer", Text),
            ("sequence", Integer),
            ("entity", Text),
            ("shard", Integer),
            ("attempts", Integer),
            ("retry_at", Integer),
        ],
        &["consumer", "sequence"],
    )),
    of_rows(table(
        "dead_letters",
        &[
            ("consumer", Text),
            ("sequence", Integer),
            ("attempts", Integer),
            ("reason", Text),
        ],
        &["consumer", "sequence"],
    )),
];

/// Of `stores.users`; addresses and what else belongs to a user come after the users.
pub static USERS: [Table; 7] = [
    table(
        "users",
        &[
            ("id", Text),
            ("email_key", Text),
            ("email", Text),
            ("name", Text),
            ("phone", Text),
            ("roles", Text),
            ("email_verified", Integer),
            ("created_at", Integer),
            ("version", Integer),
            ("credential", Text),
            ("default_address", Text),
        ],
        &["id"],
    ),
    table(
        "addresses",
        &[
            ("user_id", Text),
            ("id", Text),
            ("body", Text),
            ("created_at", Integer),
            ("version", Integer),
        ],
        &["user_id", "id"],
    ),
    table(
        "preferences",
        &[("user_id", Text), ("body", Text), ("version", Integer)],
        &["user_id"],
    ),
    table(
        "purchases",
        &[
            ("order_id", Text),
            ("user_id", Text),
            ("placed_at", Integer),
            ("version", Integer),
            ("body", Text),
        ],
        &["order_id"],
    ),
    table(
        "guest_orders",
        &[("order_id", Text), ("guest", Text), ("placed_at", Integer)],
        &["order_id"],
    ),
    table(
        "signing_keys",
        &[("id", Text), ("material", Bytes), ("created_at", Integer)],
        &["id"],
    ),
    numbered(
        table(
            "revocations",
            &[
                ("sequence", Integer),
                ("session_id", Text),
                ("revoked_at", Integer),
            ],
            &["sequence"],
        ),
        "sequence",
    ),
];

pub(super) const TOKENS: Table = expiring(
    table(
        "tokens",
        &[
            ("hash", Bytes),
            ("session_id", Text),
            ("expires_at", Integer),
            ("successor", Bytes),
            ("spent_at", Integer),
        ],
        &["hash"],
    ),
    "expires_at",
);

/// Of `stores.sessions`.
pub static SESSIONS: [Table; 5] = [
    table(
        "sessions",
        &[
            ("id", Text),
            ("user_id", Text),
            ("created_at", Integer),
            ("last_used_at", Integer),
            ("expires_at", Integer),
            ("user_agent", Text),
            ("address", Text),
            ("revoked_at", Integer),
            ("stepped_up_at", Integer),
        ],
        &["id"],
    ),
    TOKENS,
    expiring(
        table(
            "hits",
            &[
                ("key", Text),
                ("starts_at", Integer),
                ("ends_at", Integer),
                ("count", Integer),
            ],
            &["key"],
        ),
        "ends_at",
    ),
    table(
        "one_time_tokens",
        &[
            ("purpose", Text),
            ("user_id", Text),
            ("hash", Bytes),
            ("expires_at", Integer),
        ],
        &["purpose", "user_id"],
    ),
    expiring(
        table("networks", &[("hash", Bytes), ("expires_at", Integer)], &["hash"]),
        "expires_at",
    ),
];

/// The kept replies, also of `stores.sessions`. Quotas follow from them.
pub static IDEMPOTENCY: [Table; 1] = [table(
    "idempotency",
    &[
        ("key", Text),
        ("fingerprint", Text),
        ("holder", Text),
        ("claimed_at", Integer),
        ("lease_until", Integer),
        ("status", Integer),
        ("headers", Text),
        ("body", Bytes),
        ("owner", Text),
        ("network", Text),
    ],
    &["key"],
)];

/// The products of a catalogue. SKUs and the search index follow from them.
pub(super) const PRODUCTS: Table = numbered(
    table(
        "products",
        &[
            ("sequence", Integer),
            ("id", Text),
            ("category", Text),
            ("brand", Text),
            ("price", Integer),
            ("in_stock", Integer),
            ("body", Text),
        ],
        &["sequence"],
    ),
    "sequence",
);

/// Of `stores.catalogue`; the index of a product needs its category.
pub static CATALOGUE: [Table; 3] = [
    in_order_of_creation(table(
        "categories",
        &[("slug", Text), ("name", Text), ("parent", Text)],
        &["slug"],
    )),
    PRODUCTS,
    table(
        "badges",
        &[("sku", Text), ("available", Integer), ("version", Integer)],
        &["sku"],
    ),
];

/// Of `stores.views`. Heartbeats are not moved: no node runs. The view is, since rows carry its number, which never goes back.
pub static VIEWS: [Table; 1] = [table(
    "views",
    &[("singleton", Integer), ("number", Integer), ("body", Text)],
    &["singleton"],
)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use souk_embedded::{Statement, Value};

    use super::*;
    use crate::stores::sql::SqlDatabase as _;
    use crate::stores::testing::open_database;

    /// What is not moved, and why, stands with the tables above and in the documentation of the module.
    const NOT_MOVED: &[&str] = &["kept_bytes", "skus", "search", "beats", "taken_over"];

    /// A migration that adds a table or a column must add it here.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_column_of_the_embedded_stores_is_moved() {
        let shop: Vec<String> = crate::stores::sqlite::ROWS
            .iter()
            .flat_map(|(store, _)| ROWS.iter().map(move |table| format!("{store}_{}", table.name)))
            .collect();
        let plain = |tables: &'static [Table]| tables.iter().map(|table| (table.name.to_owned(), table));
        let rows = shop.into_iter().zip(ROWS.iter().cycle());
        let databases: [(&str, Vec<(String, &Table)>); 6] = [
            ("shop", rows.collect()),
            ("users", plain(&USERS).collect()),
            ("sessions", plain(&SESSIONS).collect()),
            ("idempotency", plain(&IDEMPOTENCY).collect()),
            ("catalogue", plain(&CATALOGUE).collect()),
            ("views", plain(&VIEWS).collect()),
        ];
        for (name, tables) in databases {
            let (database, _folder) = open_database(name).await;
            let sql = "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c \
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'search_%'";
            let rows = database.read(Statement::new(sql)).await.unwrap();
            let text = |value: &Value| match value {
                Value::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            };
            let there: BTreeSet<(String, String)> = rows
                .iter()
                .map(|row| (text(&row[0]), text(&row[1])))
                .filter(|(table, _)| !NOT_MOVED.contains(&table.as_str()))
                .collect();
            let moved: BTreeSet<(String, String)> = tables
                .iter()
                .flat_map(|(name, table)| {
                    let columns = table.columns.iter();
                    columns.map(move |(column, _)| (name.clone(), (*column).to_owned()))
                })
                .collect();
            assert_eq!(moved, there, "{name}");
        }
    }
}
