//! Which store runs on what: `[stores]`, by URL scheme.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::error::Problem;
use super::secret::REDACTED;

/// A technology that a store may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sqlite:`, the embedded default: one file a store in the data directory.
    Sqlite,
    /// `postgres://`
    Postgres,
    /// `mysql://`, MariaDB too.
    Mysql,
    /// `mongodb://`
    Mongodb,
    /// `redis://`
    Redis,
    /// `elasticsearch://`
    Elasticsearch,
    /// `mssql://`
    Mssql,
}

impl Scheme {
    const ALL: [Self; 7] = [
        Self::Sqlite,
        Self::Postgres,
        Self::Mysql,
        Self::Mongodb,
        Self::Redis,
        Self::Elasticsearch,
        Self::Mssql,
    ];

    /// As it stands before the colon of a URL; the name of the Cargo feature too, but for SQLite, which is always built.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mongodb => "mongodb",
            Self::Redis => "redis",
            Self::Elasticsearch => "elasticsearch",
            Self::Mssql => "mssql",
        }
    }

    /// Whether this build has an adapter for it. An adapter that joins the crate answers here with its `cfg!`.
    pub const fn is_built(self) -> bool {
        matches!(self, Self::Sqlite)
    }

    fn of(url: &str) -> Result<Self, &str> {
        let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
        let name = if scheme == "postgresql" {
            "postgres"
        } else {
            scheme
        };
        Self::ALL
            .into_iter()
            .find(|known| known.name() == name)
            .ok_or(scheme)
    }
}

/// Where a store is. May carry a password: `Debug`, `Display` and `Serialize` leave it out.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    scheme: Scheme,
    text: String,
}

impl StoreUrl {
    /// The embedded default.
    pub fn embedded() -> Self {
        Self {
            scheme: Scheme::Sqlite,
            text: "sqlite:".into(),
        }
    }

    /// What it runs on.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The whole URL, password included: for the adapter that connects, never for a log or a reply.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Reads what stands at `stores.<store>`.
    fn parse(store: &str, allowed: &[Scheme], text: &str) -> Result<Self, Problem> {
        let key = format!("stores.{store}");
        let known = allowed
            .iter()
            .map(|scheme| format!("{}:", scheme.name()))
            .collect::<Vec<_>>()
            .join(", ");
        let scheme = Scheme::of(text).map_err(|unknown| {
            Problem::new(
                &key,
                format!("has the unknown scheme {unknown:?}"),
                format!("write one of {known}"),
            )
        })?;
        if !allowed.contains(&scheme) {
            return Err(Problem::new(
                &key,
                format!("can't run on {}", scheme.name()),
                format!("write one of {known}"),
            ));
        }
        if !scheme.is_built() {
            return Err(Problem::new(
                &key,
                format!("wants {}, which this build lacks", scheme.name()),
                format!(
                    "build with `cargo build --features {}`, or write sqlite:",
                    scheme.name()
                ),
            ));
        }
        if scheme == Scheme::Sqlite && text != "sqlite:" {
            return Err(Problem::new(
                &key,
                "names a file",
                "write just sqlite: (the embedded stores keep their files in cluster.data)",
            ));
        }
        Ok(Self {
            scheme,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for StoreUrl {
    /// `scheme://user:[redacted]@host/path`; what follows a `?` may be a password too and is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self
            .text
            .split_once('?')
            .map_or(self.text.as_str(), |(plain, _)| plain);
        let Some((scheme, rest)) = plain.split_once("://") else {
            return f.write_str(plain);
        };
        match rest.rsplit_once('@') {
            Some((user, place)) => {
                let user = user.split_once(':').map_or(user, |(user, _)| user);
                write!(f, "{scheme}://{user}:{REDACTED}@{place}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Declares the stores once: the field, and what it may run on.
macro_rules! stores {
    ($( $(#[$documentation:meta])* $name:ident: $allowed:expr; )*) => {
        /// `[stores]`: where each store is.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct StoreUrls {
            $( $(#[$documentation])* pub $name: StoreUrl, )*
        }

        impl Default for StoreUrls {
            fn default() -> Self {
                Self { $( $name: StoreUrl::embedded(), )* }
            }
        }

        impl StoreUrls {
            /// Every store with its name, in the order of the file.
            pub fn all(&self) -> Vec<(&'static str, &StoreUrl)> {
                vec![$( (stringify!($name), &self.$name), )*]
            }
        }

        /// `[stores]` as it stands in the file.
        #[derive(Debug, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct RawStores {
            $( $name: String, )*
        }

        impl Default for RawStores {
            fn default() -> Self {
                Self { $( $name: "sqlite:".into(), )* }
            }
        }

        impl RawStores {
            pub(super) fn check(&self, problems: &mut Vec<Problem>) -> StoreUrls {
                $(
                    let $name = StoreUrl::parse(stringify!($name), &$allowed, &self.$name).unwrap_or_else(|problem| {
                        problems.push(problem);
                        StoreUrl::embedded()
                    });
                )*
                StoreUrls { $( $name, )* }
            }
        }
    };
}

stores! {
    /// Carts.
    carts: [Scheme::Sqlite, Scheme::Mongodb];
    /// Orders, their timeline and outbox.
    orders: [Scheme::Sqlite, Scheme::Mssql, Scheme::Postgres];
    /// SKUs, reservations, the ledger of stock.
    inventory: [Scheme::Sqlite, Scheme::Mysql];
    /// Payment intents, attempts, captures, refunds.
    payments: [Scheme::Sqlite, Scheme::Mysql];
    /// Products, categories, search.
    catalogue: [Scheme::Sqlite, Scheme::Elasticsearch];
    /// Accounts with their credentials, addresses, preferences and purchases.
    users: [Scheme::Sqlite, Scheme::Postgres];
    /// Sessions, and the replies kept for repeated requests.
    sessions: [Scheme::Sqlite, Scheme::Redis];
    /// The cluster's numbered view: the coordination store.
    views: [Scheme::Sqlite, Scheme::Postgres, Scheme::Mysql];
    /// The ledger of the sandbox payment provider, which stands for a third party.
    sandbox: [Scheme::Sqlite];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(store: &str, allowed: &[Scheme], text: &str) -> String {
        StoreUrl::parse(store, allowed, text).unwrap_err().to_string()
    }

    #[test]
    fn unknown_unsuitable_and_unbuilt_schemes_say_what_would_work() {
        let allowed = [Scheme::Sqlite, Scheme::Mongodb];
        assert_eq!(
            problem("carts", &allowed, "oracle://host"),
            "stores.carts has the unknown scheme \"oracle\"; write one of sqlite:, mongodb:"
        );
        assert_eq!(
            problem("carts", &allowed, "redis://host"),
            "stores.carts can't run on redis; write one of sqlite:, mongodb:"
        );
        assert_eq!(
            problem("carts", &allowed, "mongodb://user:secret@host"),
            "stores.carts wants mongodb, which this build lacks; build with `cargo build --features mongodb`, or write sqlite:"
        );
        assert_eq!(
            problem("carts", &allowed, "sqlite:/var/carts.db"),
            "stores.carts names a file; write just sqlite: (the embedded stores keep their files in cluster.data)"
        );
        assert_eq!(
            problem("carts", &allowed, ""),
            "stores.carts has the unknown scheme \"\"; write one of sqlite:, mongodb:"
        );
    }

    #[test]
    fn both_names_of_postgres_are_known() {
        assert_eq!(Scheme::of("postgresql://host"), Ok(Scheme::Postgres));
        assert_eq!(Scheme::of("postgres://host"), Ok(Scheme::Postgres));
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (text, shown) in [
            (
                "postgres://ann:p@ss@db/souk?sslpassword=x",
                "postgres://ann:[redacted]@db/souk",
            ),
            ("postgres://db/souk", "postgres://db/souk"),
            ("sqlite:", "sqlite:"),
        ] {
            let url = StoreUrl {
                scheme: Scheme::Postgres,
                text: text.into(),
            };
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }
}
