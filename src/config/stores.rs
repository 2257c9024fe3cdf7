//! `[stores]`: the technology of each store, by URL scheme.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};
use strum::{EnumString, IntoStaticStr};
use toml::{Table, Value};

use super::error::Problems;
use super::reader::Reader;
use super::secret::REDACTED;
use super::section::{Section, text};

/// A technology that a store may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Scheme {
    /// `sqlite:`, the embedded default: files in the data directory.
    Sqlite,
    /// `postgres://`
    #[strum(to_string = "postgres", serialize = "postgresql")]
    Postgres,
    /// `mysql://`, MariaDB too.
    Mysql,
    /// `mongodb://`
    Mongodb,
    /// `redis://`, `rediss://` over TLS.
    #[strum(to_string = "redis", serialize = "rediss")]
    Redis,
    /// `elasticsearch://`, `elasticsearch+https://` over TLS.
    #[strum(to_string = "elasticsearch", serialize = "elasticsearch+https")]
    Elasticsearch,
    /// `mssql://`
    Mssql,
}

impl Scheme {
    /// The scheme of a URL; also the name of the Cargo feature, except for SQLite, which is always built.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether this build has an adapter for it. A new adapter adds its `cfg!` here.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Sqlite => true,
            Self::Mysql => cfg!(feature = "mysql"),
            Self::Postgres => cfg!(feature = "postgres"),
            Self::Redis => cfg!(feature = "redis"),
            Self::Mongodb => cfg!(feature = "mongodb"),
            Self::Elasticsearch => cfg!(feature = "elasticsearch"),
            Self::Mssql => cfg!(feature = "mssql"),
        }
    }

    fn of(url: &str) -> Result<Self, &str> {
        let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
        scheme.parse().map_err(|_| scheme)
    }
}

/// Address of a store. May contain a password: `Debug`, `Display` and `Serialize` leave it out.
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

    /// Its technology.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The whole URL, password included: never for a log or a reply.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Reads the setting `stores.<store>`; the embedded default where it is invalid.
    fn read(store: &str, allowed: &[Scheme], text: String, problems: &mut Problems) -> Self {
        let known = allowed
            .iter()
            .map(|scheme| format!("{}:", scheme.name()))
            .collect::<Vec<_>>()
            .join(", ");
        let (what, remedy) = match Scheme::of(&text) {
            Err(unknown) => (
                format!("has the unknown scheme {unknown:?}"),
                format!("write one of {known}"),
            ),
            Ok(scheme) if !allowed.contains(&scheme) => (
                format!("can't run on {}", scheme.name()),
                format!("write one of {known}"),
            ),
            Ok(scheme) if !scheme.is_built() => (
                format!("needs {}, which is not part of this build", scheme.name()),
                format!(
                    "build with `cargo build --features {}`, or write sqlite:",
                    scheme.name()
                ),
            ),
            Ok(Scheme::Sqlite) if text != "sqlite:" => (
                "names a file".to_owned(),
                "write just sqlite: (the embedded stores keep their files in cluster.data)".to_owned(),
            ),
            Ok(scheme) => return Self { scheme, text },
        };
        problems.add(format!("stores.{store}"), what, remedy);
        Self::embedded()
    }
}

impl fmt::Display for StoreUrl {
    /// `scheme://user:[redacted]@host/path`; the query may contain a password too and is left out.
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

/// Declares the stores: the field, and the technologies that it may run on.
macro_rules! stores {
    ($( $(#[$documentation:meta])* $name:ident: $allowed:expr; )*) => {
        /// `[stores]`: the technology of each store.
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

            /// The URL of one store.
            pub fn of(&self, name: &str) -> Option<&StoreUrl> {
                let found = self.all().into_iter().find(|(own, _)| *own == name);
                found.map(|(_, url)| url)
            }

            /// The names of the embedded stores.
            pub fn embedded(&self) -> Vec<&'static str> {
                let all = self.all().into_iter();
                all.filter_map(|(name, url)| (url.scheme() == Scheme::Sqlite).then_some(name)).collect()
            }

            /// Whether any store is embedded.
            pub fn any_embedded(&self) -> bool {
                !self.embedded().is_empty()
            }
        }

        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Raw {
            $( $name: Option<String>, )*
        }

        impl Section for StoreUrls {
            fn read(section: &str, reader: &mut Reader) -> Option<Self> {
                let raw: Raw = reader.section(section);
                Some(Self {
                    $(
                        $name: raw.$name.map_or_else(StoreUrl::embedded, |text| {
                            StoreUrl::read(stringify!($name), &$allowed, text, &mut reader.problems)
                        }),
                    )*
                })
            }

            fn write(&self, _: &Path) -> Result<Value, toml::ser::Error> {
                let urls = self.all().into_iter();
                let table: Table = urls.map(|(name, url)| (name.to_owned(), text(url.expose()))).collect();
                Ok(Value::Table(table))
            }
        }
    };
}

stores! {
    /// Carts.
    carts: [Scheme::Sqlite, Scheme::Mongodb, Scheme::Postgres];
    /// Orders, their timeline and outbox.
    orders: [Scheme::Sqlite, Scheme::Mssql, Scheme::Postgres];
    /// SKUs, reservations, the ledger of stock.
    inventory: [Scheme::Sqlite, Scheme::Mysql, Scheme::Postgres];
    /// Payment intents, attempts, captures, refunds.
    payments: [Scheme::Sqlite, Scheme::Mysql, Scheme::Postgres];
    /// Products, categories, search.
    catalogue: [Scheme::Sqlite, Scheme::Elasticsearch];
    /// Accounts with their credentials, addresses, preferences and purchases.
    users: [Scheme::Sqlite, Scheme::Postgres];
    /// Sessions, and the replies kept for repeated requests.
    sessions: [Scheme::Sqlite, Scheme::Redis];
    /// The cluster's numbered view: the coordination store.
    views: [Scheme::Sqlite, Scheme::Postgres, Scheme::Mysql];
    /// The ledger of the sandbox payment provider, which stands for a third party.
    sandbox: [Scheme::Sqlite, Scheme::Mysql, Scheme::Postgres];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn problem(store: &str, allowed: &[Scheme], text: &str) -> String {
        let mut problems = Problems::default();
        StoreUrl::read(store, allowed, text.to_owned(), &mut problems);
        problems.0[0].to_string()
    }

    #[test]
    fn problems_name_the_allowed_schemes() {
        let allowed = [Scheme::Sqlite, Scheme::Mongodb];
        assert_eq!(
            problem("carts", &allowed, "oracle://host"),
            "stores.carts has the unknown scheme \"oracle\"; write one of sqlite:, mongodb:"
        );
        assert_eq!(
            problem("carts", &allowed, "redis://host"),
            "stores.carts can't run on redis; write one of sqlite:, mongodb:"
        );
        if !Scheme::Mssql.is_built() {
            let allowed = [Scheme::Sqlite, Scheme::Mssql];
            assert_eq!(
                problem("orders", &allowed, "mssql://user:secret@host"),
                "stores.orders needs mssql, which is not part of this build; build with `cargo build --features mssql`, or write sqlite:"
            );
        }
        let allowed = [Scheme::Sqlite, Scheme::Mongodb];
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
    fn a_technology_over_tls_is_the_same() {
        assert_eq!(Scheme::of("rediss://host"), Ok(Scheme::Redis));
        assert_eq!(Scheme::Redis.name(), "redis");
        assert_eq!(
            Scheme::of("elasticsearch+https://host"),
            Ok(Scheme::Elasticsearch)
        );
        assert_eq!(Scheme::Elasticsearch.name(), "elasticsearch");
    }

    #[test]
    fn the_file_for_servers_is_right_where_its_features_are_built() {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.full.toml"));
        let text = std::fs::read_to_string(file).unwrap();
        match Config::parse(&text, file, []) {
            Ok(config) => {
                assert!(!config.stores.any_embedded());
            }
            Err(error) => {
                let text = error.to_string();
                if cfg!(feature = "full") {
                    panic!("{text}");
                }
                assert!(text.contains("cargo build --features"), "{text}");
            }
        }
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
