//! Opens the rows of stores for moving them, on the technology that each URL names.

use std::path::Path;

use super::no_adapter;
use crate::config::{Scheme, StoreUrl, StoreUrls};
use crate::stores::StoreError;
use crate::stores::sqlite::{CATALOGUE, Database, IDEMPOTENCY, ROWS, SESSIONS, USERS, VIEWS};
use crate::stores::transfer::sql::{Dialect, SqlTransfer};
use crate::stores::transfer::{Transfer, tables};
use crate::stores::{documents, products};
use souk_embedded::Writer;

#[cfg(feature = "mysql")]
use crate::stores::mysql::MysqlPool;
#[cfg(feature = "postgres")]
use crate::stores::postgres::PostgresPool;
#[cfg(feature = "elasticsearch")]
use crate::stores::transfer::elasticsearch::ElasticTransfer;
#[cfg(feature = "redis")]
use crate::stores::{redis::Server, transfer::redis::RedisTransfer};

/// Whether the rows of stores on this technology can be moved. A new implementation of [`Transfer`] adds its technology here.
pub const fn is_movable(scheme: Scheme) -> bool {
    match scheme {
        Scheme::Sqlite
        | Scheme::Postgres
        | Scheme::Mysql
        | Scheme::Redis
        | Scheme::Mongodb
        | Scheme::Elasticsearch => true,
        Scheme::Mssql => false,
    }
}

/// Where a configuration keeps its stores.
pub struct Places<'a> {
    /// The URLs.
    pub urls: &'a StoreUrls,
    /// The folder of the embedded stores.
    pub directory: &'a Path,
    /// Writes to that folder; needed where a store is embedded.
    pub writer: Option<&'a Writer>,
}

impl Places<'_> {
    /// The rows of a store of `[stores]`, which may be in several databases.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it can't be moved; [`StoreError`] where it does not open.
    pub async fn transfers(&self, name: &'static str) -> Result<Vec<Box<dyn Transfer>>, StoreError> {
        let Some(url) = self.urls.of(name) else {
            return Err(no_adapter(name));
        };
        let one = match name {
            "sessions" if url.scheme() == Scheme::Sqlite => {
                let sessions = self.embedded(SESSIONS).await?;
                let replies = self.embedded(IDEMPOTENCY).await?;
                return Ok(vec![
                    Box::new(SqlTransfer::new(sessions, &tables::SESSIONS, Dialect::Sqlite)),
                    Box::new(SqlTransfer::new(replies, &tables::IDEMPOTENCY, Dialect::Sqlite)),
                ]);
            }
            #[cfg(feature = "redis")]
            "sessions" if url.scheme() == Scheme::Redis => {
                let server = Server::open(url.expose()).await?;
                return Ok(vec![
                    Box::new(RedisTransfer::of_sessions(&server)),
                    Box::new(RedisTransfer::of_replies(&server)),
                ]);
            }
            "catalogue" if url.scheme() == Scheme::Sqlite => {
                let catalogue = self.embedded(CATALOGUE).await?;
                let transfer = SqlTransfer::new(catalogue, &tables::CATALOGUE, Dialect::Sqlite);
                let derived = ("products", products::sqlite::DERIVED);
                Box::new(transfer.deriving(derived)) as Box<dyn Transfer>
            }
            #[cfg(feature = "elasticsearch")]
            "catalogue" if url.scheme() == Scheme::Elasticsearch => {
                let products = products::elasticsearch::ElasticProducts::open(url.expose()).await?;
                Box::new(ElasticTransfer::new(products))
            }
            "users" => self.users(url).await?,
            "views" => self.views(url).await?,
            name if ROWS.iter().any(|(rows, _)| *rows == name) => self.rows(name, url).await?,
            name => return Err(no_adapter(name)),
        };
        Ok(vec![one])
    }

    async fn embedded(&self, name: &'static str) -> Result<Database, StoreError> {
        self.embedded_for(name, name).await
    }

    async fn embedded_for(&self, store: &'static str, name: &'static str) -> Result<Database, StoreError> {
        let writer = self.writer.ok_or_else(|| no_adapter(store))?;
        Database::open_for(store, writer, self.directory, name).await
    }

    async fn rows(&self, name: &'static str, url: &StoreUrl) -> Result<Box<dyn Transfer>, StoreError> {
        let tables = &tables::ROWS;
        match url.scheme() {
            Scheme::Sqlite => {
                let database = self.embedded_for(name, documents::sqlite::FILE).await?;
                Ok(Box::new(SqlTransfer::new(database, tables, Dialect::Sqlite)))
            }
            #[cfg(feature = "mysql")]
            Scheme::Mysql => {
                let pool = MysqlPool::open(name, url.expose(), documents::mysql::MIGRATIONS).await?;
                Ok(Box::new(SqlTransfer::new(pool, tables, Dialect::Mysql)))
            }
            #[cfg(feature = "postgres")]
            Scheme::Postgres => {
                let pool = PostgresPool::open(name, url.expose(), documents::postgres::MIGRATIONS).await?;
                Ok(Box::new(SqlTransfer::new(pool, tables, Dialect::Postgres)))
            }
            #[cfg(feature = "mongodb")]
            Scheme::Mongodb => {
                let documents = documents::mongodb::MongoDocuments::open(url.expose(), name).await?;
                Ok(Box::new(documents::mongodb_transfer::MongoTransfer::new(
                    documents,
                )))
            }
            _ => Err(no_adapter(name)),
        }
    }

    async fn users(&self, url: &StoreUrl) -> Result<Box<dyn Transfer>, StoreError> {
        let tables = &tables::USERS;
        match url.scheme() {
            Scheme::Sqlite => {
                let database = self.embedded(USERS).await?;
                Ok(Box::new(SqlTransfer::new(database, tables, Dialect::Sqlite)))
            }
            #[cfg(feature = "postgres")]
            Scheme::Postgres => {
                let migrations = crate::stores::users::postgres::MIGRATIONS;
                let pool = PostgresPool::open(USERS, url.expose(), migrations).await?;
                Ok(Box::new(SqlTransfer::new(pool, tables, Dialect::Postgres)))
            }
            _ => Err(no_adapter(USERS)),
        }
    }

    async fn views(&self, url: &StoreUrl) -> Result<Box<dyn Transfer>, StoreError> {
        let tables = &tables::VIEWS;
        match url.scheme() {
            Scheme::Sqlite => {
                let database = self.embedded(VIEWS).await?;
                Ok(Box::new(SqlTransfer::new(database, tables, Dialect::Sqlite)))
            }
            #[cfg(feature = "mysql")]
            Scheme::Mysql => {
                let migrations = crate::stores::views::mysql::MIGRATIONS;
                let pool = MysqlPool::open(VIEWS, url.expose(), migrations).await?;
                Ok(Box::new(SqlTransfer::new(pool, tables, Dialect::Mysql)))
            }
            #[cfg(feature = "postgres")]
            Scheme::Postgres => {
                let migrations = crate::stores::views::postgres::MIGRATIONS;
                let pool = PostgresPool::open(VIEWS, url.expose(), migrations).await?;
                Ok(Box::new(SqlTransfer::new(pool, tables, Dialect::Postgres)))
            }
            _ => Err(no_adapter(VIEWS)),
        }
    }
}
