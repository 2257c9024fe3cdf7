//! The databases that the embedded store knows, each with its migrations.

use sqlx::migrate::Migrator;

use crate::stores::{documents, idempotency, products, sessions, users, views};

/// A database of the embedded store: one file, one writer, one schema.
pub struct Schema {
    /// The file's name without `.db`; also the store's name in errors and metrics.
    pub name: &'static str,
    /// Brings a file of any earlier version up to date.
    pub migrator: &'static Migrator,
}

/// Everything that may be opened. A name that is not listed is refused, so that no request can reach another file.
pub(super) static SCHEMAS: [Schema; 10] = [
    Schema {
        name: "carts",
        migrator: &documents::sqlite::MIGRATOR,
    },
    Schema {
        name: "orders",
        migrator: &documents::sqlite::MIGRATOR,
    },
    Schema {
        name: "inventory",
        migrator: &documents::sqlite::MIGRATOR,
    },
    Schema {
        name: "payments",
        migrator: &documents::sqlite::MIGRATOR,
    },
    Schema {
        name: "sandbox",
        migrator: &documents::sqlite::MIGRATOR,
    },
    Schema {
        name: "catalogue",
        migrator: &products::sqlite::MIGRATOR,
    },
    Schema {
        name: "idempotency",
        migrator: &idempotency::sqlite::MIGRATOR,
    },
    Schema {
        name: "sessions",
        migrator: &sessions::sqlite::MIGRATOR,
    },
    Schema {
        name: "users",
        migrator: &users::sqlite::MIGRATOR,
    },
    Schema {
        name: "views",
        migrator: &views::sqlite::MIGRATOR,
    },
];

/// The schema with this name.
pub fn schema(name: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.name == name)
}
