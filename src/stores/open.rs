//! Opens the configured stores.

pub mod transfer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use souk_cluster::views::Views;
use tokio::sync::OnceCell;

use super::StoreError;
use super::at_rest::RowsAtRest;
use super::codes::CodeStore;
use super::codes::sqlite::SqliteCodes;
use super::counters::CounterStore;
use super::counters::sqlite::SqliteCounters;
use super::documents::DocumentStore;
use super::documents::outbox::Outbox;
use super::documents::sealed::SealedDocuments;
use super::documents::sqlite::SqliteDocuments;
use super::idempotency::IdempotencyStore;
use super::idempotency::sealed::SealedReplies;
use super::idempotency::sqlite::SqliteIdempotency;
use super::products::ProductStore;
use super::products::sqlite::SqliteProducts;
use super::revocations::RevocationStore;
use super::revocations::adapter::SqlRevocations;
use super::search::SearchIndex;
use super::search::sqlite::SqliteSearch;
use super::sessions::SessionStore;
use super::sessions::sqlite::SqliteSessions;
use super::signing_keys::SigningKeyStore;
use super::signing_keys::adapter::SqlSigningKeys;
use super::sql::SqlDatabase;
use super::sqlite::{Database, ROWS, store_process_writer};
use super::users::UserStore;
use super::users::adapter::SqlUsers;
use super::users::at_rest::{AddressesAtRest, PhonesAtRest};
use super::views::sqlite::SqliteViews;
use crate::config::{Cluster, Config, Scheme, Sealing, StoreUrls};
use crate::sealing::{Keyring, layout};
use souk_domain::Timestamp;
use souk_embedded::Writer;

#[cfg(feature = "mongodb")]
use super::documents::mongodb::MongoDocuments;
#[cfg(feature = "mssql")]
use super::documents::mssql::MssqlDocuments;
#[cfg(feature = "elasticsearch")]
use super::products::elasticsearch::ElasticProducts;
#[cfg(feature = "redis")]
use super::{
    codes::redis::RedisCodes, counters::redis::RedisCounters, idempotency::redis::RedisIdempotency,
    redis::Server, sessions::redis::RedisSessions,
};
#[cfg(feature = "mysql")]
use super::{documents::mysql::MysqlDocuments, views::mysql::MysqlViews};
#[cfg(feature = "postgres")]
use super::{
    documents::postgres::PostgresDocuments, postgres::PostgresPool, users, views::postgres::PostgresViews,
};

/// All stores. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    rows: Arc<HashMap<&'static str, Arc<dyn DocumentStore>>>,
    /// `stores.carts`
    pub carts: Arc<dyn DocumentStore>,
    /// `stores.orders`
    pub orders: Arc<dyn DocumentStore>,
    /// `stores.inventory`
    pub inventory: Arc<dyn DocumentStore>,
    /// `stores.orders`: the events of orders.
    pub order_events: Arc<dyn Outbox>,
    /// `stores.inventory`: the events of stock.
    pub stock_events: Arc<dyn Outbox>,
    /// `stores.payments`
    pub payments: Arc<dyn DocumentStore>,
    /// `stores.sandbox`: the ledger of the sandbox payment provider.
    pub sandbox: Arc<dyn DocumentStore>,
    /// `stores.catalogue`
    pub products: Arc<dyn ProductStore>,
    /// `stores.catalogue`: the index of the products.
    pub search: Arc<dyn SearchIndex>,
    /// `stores.users`
    pub users: Arc<dyn UserStore>,
    /// `stores.users`: the keys that sign access tokens.
    pub signing_keys: Arc<dyn SigningKeyStore>,
    /// `stores.users`: sessions whose access tokens are no longer accepted.
    pub revocations: Arc<dyn RevocationStore>,
    /// `stores.sessions`
    pub sessions: Arc<dyn SessionStore>,
    /// `stores.sessions`: failed logins and rate limits.
    pub counters: Arc<dyn CounterStore>,
    /// `stores.sessions`: one-time codes.
    pub codes: Arc<dyn CodeStore>,
    /// `stores.sessions`
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// `stores.views`
    pub views: Arc<dyn Views>,
    /// Those with sealed values, for the rotation of keys.
    pub at_rest: Arc<[Arc<dyn RowsAtRest>]>,
}

impl Stores {
    /// A store of rows by its name.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where [`ROWS`] has none of this name.
    pub fn rows(&self, name: &'static str) -> Result<Arc<dyn DocumentStore>, StoreError> {
        named(&self.rows, name)
    }

    /// Removes expired sessions, codes and counters, and revocations and ended sessions that were kept for
    /// `keep_revocations`: at most `limit` of each.
    ///
    /// # Errors
    /// [`StoreError`] of the first store that fails.
    pub async fn sweep_expired(
        &self,
        now: Timestamp,
        keep_revocations: Duration,
        limit: usize,
    ) -> Result<(), StoreError> {
        self.sessions.sweep(now, keep_revocations, limit).await?;
        self.codes.sweep(now, limit).await?;
        self.counters.sweep(now, limit).await?;
        let until = now.minus(keep_revocations);
        self.revocations.sweep(until, limit).await.map(drop)
    }

    /// Whether `stores.views` answers.
    ///
    /// # Errors
    /// [`StoreError`], where it does not.
    pub(super) async fn ping_views(&self) -> Result<(), StoreError> {
        self.view_number().await.map(drop)
    }

    /// The number of the current view; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`], where `stores.views` does not answer.
    pub async fn view_number(&self) -> Result<u64, StoreError> {
        match self.views.current().await {
            Ok(view) => Ok(view.map_or(0, |view| view.number)),
            Err(cause) => Err(cause.downcast().map_or_else(
                |cause| StoreError::Unavailable {
                    store: "views",
                    cause,
                },
                |own| *own,
            )),
        }
    }
}

fn named<T: Clone>(stores: &HashMap<&'static str, T>, name: &'static str) -> Result<T, StoreError> {
    stores.get(name).cloned().ok_or_else(|| StoreError::Refused {
        store: name,
        cause: "there is no store of rows by this name".into(),
    })
}

/// Opens every store on the technology that its URL names.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open(config: &Config) -> Result<Stores, StoreError> {
    let keyring = keyring(&config.cluster, &config.sealing)?;
    Opener {
        urls: &config.stores,
        directory: &config.cluster.data,
        writer: OnceCell::new(),
        keyring: &keyring,
    }
    .open()
    .await
}

/// The keyring of a configuration.
///
/// # Errors
/// [`StoreError::Unavailable`] where the system's cryptography fails.
pub fn keyring(cluster: &Cluster, sealing: &Sealing) -> Result<Arc<Keyring>, StoreError> {
    Keyring::of(sealing, &cluster.shared_key()).map_err(|error| StoreError::Unavailable {
        store: "sealed",
        cause: error.into(),
    })
}

/// Opens the embedded stores of `directory`, with values sealed under `keyring`.
///
/// # Errors
/// [`StoreError`] of the first store that does not open.
pub async fn open_embedded(
    writer: &Writer,
    directory: &Path,
    keyring: &Arc<Keyring>,
) -> Result<Stores, StoreError> {
    Opener {
        urls: &StoreUrls::default(),
        directory,
        writer: OnceCell::new_with(Some(writer.clone())),
        keyring,
    }
    .open()
    .await
}

/// Opens `stores.views` alone, where it is on a server; an embedded one needs nobody who asks whether a node runs.
///
/// # Errors
/// [`StoreError`]
pub async fn views_on_server(config: &Config) -> Result<Option<Arc<dyn Views>>, StoreError> {
    if config.stores.views.scheme() == Scheme::Sqlite {
        return Ok(None);
    }
    let keyring = keyring(&config.cluster, &config.sealing)?;
    let opener = Opener {
        urls: &config.stores,
        directory: &config.cluster.data,
        writer: OnceCell::new(),
        keyring: &keyring,
    };
    opener.views().await.map(Some)
}

/// One of the stores of rows, of whatever technology.
struct Rows {
    documents: Arc<dyn DocumentStore>,
    at_rest: Arc<dyn RowsAtRest>,
    /// Of a technology that can keep events.
    outbox: Option<Arc<dyn Outbox>>,
}

impl Rows {
    fn of(store: impl DocumentStore + Outbox + RowsAtRest) -> Self {
        let store = Arc::new(store);
        Self {
            outbox: Some(Arc::clone(&store) as Arc<dyn Outbox>),
            ..Self::without_events(store)
        }
    }

    fn without_events(store: Arc<impl DocumentStore + RowsAtRest>) -> Self {
        Self {
            documents: Arc::clone(&store) as Arc<dyn DocumentStore>,
            at_rest: store,
            outbox: None,
        }
    }
}

/// What `stores.users` holds.
struct Accounts {
    users: Arc<dyn UserStore>,
    signing_keys: Arc<dyn SigningKeyStore>,
    revocations: Arc<dyn RevocationStore>,
    at_rest: [Arc<dyn RowsAtRest>; 2],
}

/// What `stores.sessions` holds.
struct Sessions {
    sessions: Arc<dyn SessionStore>,
    counters: Arc<dyn CounterStore>,
    codes: Arc<dyn CodeStore>,
    replies: Arc<dyn IdempotencyStore>,
    at_rest: Arc<dyn RowsAtRest>,
}

/// Opens one store after the other.
struct Opener<'a> {
    urls: &'a StoreUrls,
    /// Of the embedded stores.
    directory: &'a Path,
    /// Of the embedded stores; there is no store process where none is embedded.
    writer: OnceCell<Writer>,
    keyring: &'a Arc<Keyring>,
}

impl Opener<'_> {
    async fn open(self) -> Result<Stores, StoreError> {
        let (mut rows, mut outboxes) = (HashMap::new(), HashMap::new());
        let mut at_rest: Vec<Arc<dyn RowsAtRest>> = Vec::new();
        for (name, consumers) in ROWS {
            let store = self.rows(name, consumers).await?;
            outboxes.extend(store.outbox.map(|outbox| (name, outbox)));
            at_rest.push(store.at_rest);
            rows.insert(name, SealedDocuments::before(store.documents, self.keyring));
        }
        let (products, search) = self.catalogue().await?;
        let accounts = self.accounts().await?;
        at_rest.extend(accounts.at_rest);
        let sessions = self.sessions().await?;
        at_rest.push(sessions.at_rest);
        at_rest.retain(|store| layout::layout(store.store()).is_some());
        Ok(Stores {
            carts: named(&rows, "carts")?,
            orders: named(&rows, "orders")?,
            inventory: named(&rows, "inventory")?,
            order_events: named(&outboxes, "orders")?,
            stock_events: named(&outboxes, "inventory")?,
            payments: named(&rows, "payments")?,
            sandbox: named(&rows, "sandbox")?,
            rows: Arc::new(rows),
            products,
            search,
            users: accounts.users,
            signing_keys: accounts.signing_keys,
            revocations: accounts.revocations,
            sessions: sessions.sessions,
            counters: sessions.counters,
            codes: sessions.codes,
            idempotency: SealedReplies::before(sessions.replies, self.keyring),
            views: self.views().await?,
            at_rest: at_rest.into(),
        })
    }

    async fn writer(&self) -> Result<&Writer, StoreError> {
        let start = || store_process_writer(self.directory);
        self.writer.get_or_try_init(start).await
    }

    async fn embedded(&self, name: &'static str) -> Result<Database, StoreError> {
        Database::open(self.writer().await?, self.directory, name).await
    }

    async fn rows(&self, name: &'static str, consumers: &'static [&'static str]) -> Result<Rows, StoreError> {
        let Some(url) = self.urls.of(name) else {
            return Err(no_adapter(name));
        };
        match url.scheme() {
            Scheme::Sqlite => {
                let writer = self.writer().await?;
                let store = SqliteDocuments::open(writer, self.directory, name, consumers).await?;
                Ok(Rows::of(store))
            }
            #[cfg(feature = "mssql")]
            Scheme::Mssql => {
                let store = MssqlDocuments::open(url.expose(), name, consumers).await?;
                Ok(Rows::of(store))
            }
            #[cfg(feature = "mysql")]
            Scheme::Mysql => {
                let store = MysqlDocuments::open(url.expose(), name, consumers).await?;
                Ok(Rows::of(store))
            }
            #[cfg(feature = "postgres")]
            Scheme::Postgres => {
                let store = PostgresDocuments::open(url.expose(), name, consumers).await?;
                Ok(Rows::of(store))
            }
            #[cfg(feature = "mongodb")]
            Scheme::Mongodb => {
                let store = MongoDocuments::open(url.expose(), name).await?;
                Ok(Rows::without_events(Arc::new(store)))
            }
            _ => Err(no_adapter(name)),
        }
    }

    async fn catalogue(&self) -> Result<(Arc<dyn ProductStore>, Arc<dyn SearchIndex>), StoreError> {
        match self.urls.catalogue.scheme() {
            Scheme::Sqlite => {
                let catalogue = self.embedded("catalogue").await?;
                Ok((
                    Arc::new(SqliteProducts(catalogue.clone())),
                    Arc::new(SqliteSearch(catalogue)),
                ))
            }
            #[cfg(feature = "elasticsearch")]
            Scheme::Elasticsearch => {
                let products = ElasticProducts::open(self.urls.catalogue.expose()).await?;
                let search = products.search();
                Ok((Arc::new(products), Arc::new(search)))
            }
            _ => Err(no_adapter("catalogue")),
        }
    }

    async fn accounts(&self) -> Result<Accounts, StoreError> {
        match self.urls.users.scheme() {
            Scheme::Sqlite => Ok(self.accounts_in(self.embedded("users").await?)),
            #[cfg(feature = "postgres")]
            Scheme::Postgres => {
                let url = self.urls.users.expose();
                let pool = PostgresPool::open("users", url, users::postgres::MIGRATIONS).await?;
                Ok(self.accounts_in(pool))
            }
            _ => Err(no_adapter("users")),
        }
    }

    fn accounts_in<D: SqlDatabase + Clone>(&self, database: D) -> Accounts {
        Accounts {
            users: Arc::new(SqlUsers::new(database.clone(), self.keyring)),
            signing_keys: Arc::new(SqlSigningKeys(database.clone())),
            revocations: Arc::new(SqlRevocations(database.clone())),
            at_rest: [
                Arc::new(PhonesAtRest(database.clone())),
                Arc::new(AddressesAtRest(database)),
            ],
        }
    }

    async fn sessions(&self) -> Result<Sessions, StoreError> {
        match self.urls.sessions.scheme() {
            Scheme::Sqlite => {
                let sessions = self.embedded("sessions").await?;
                let replies = Arc::new(SqliteIdempotency(self.embedded("idempotency").await?));
                Ok(Sessions {
                    sessions: Arc::new(SqliteSessions(sessions.clone())),
                    counters: Arc::new(SqliteCounters(sessions.clone())),
                    codes: Arc::new(SqliteCodes(sessions)),
                    replies: Arc::clone(&replies) as Arc<dyn IdempotencyStore>,
                    at_rest: replies,
                })
            }
            #[cfg(feature = "redis")]
            Scheme::Redis => {
                let server = Server::open(self.urls.sessions.expose()).await?;
                let replies = Arc::new(RedisIdempotency::new(&server));
                Ok(Sessions {
                    sessions: Arc::new(RedisSessions::new(&server)),
                    counters: Arc::new(RedisCounters::new(&server)),
                    codes: Arc::new(RedisCodes::new(&server)),
                    replies: Arc::clone(&replies) as Arc<dyn IdempotencyStore>,
                    at_rest: replies,
                })
            }
            _ => Err(no_adapter("sessions")),
        }
    }

    async fn views(&self) -> Result<Arc<dyn Views>, StoreError> {
        match self.urls.views.scheme() {
            Scheme::Sqlite => {
                let writer = self.writer().await?;
                Ok(Arc::new(SqliteViews::open(writer, self.directory).await?))
            }
            #[cfg(feature = "mysql")]
            Scheme::Mysql => Ok(Arc::new(MysqlViews::open(self.urls.views.expose()).await?)),
            #[cfg(feature = "postgres")]
            Scheme::Postgres => Ok(Arc::new(PostgresViews::open(self.urls.views.expose()).await?)),
            _ => Err(no_adapter("views")),
        }
    }
}

/// The configuration accepts no URL that this build has no adapter for.
fn no_adapter(store: &'static str) -> StoreError {
    StoreError::Refused {
        store,
        cause: "this build has no adapter for the technology of its URL".into(),
    }
}
