//! MongoDB as the technology of a store: connections to a replica set, and the errors as [`StoreError`].
//!
//! **Writes** are acknowledged by a majority that has them in its journals. They are `bulkWrite` commands, the only kind that tells
//! the outcome of each operation, and are sent once: the driver's retries would rely on what the server remembers of a command,
//! while a document store finds out by the mark what a lost answer did.
//!
//! **Reads** go to the primary and are linearizable: a majority confirms that it still is the primary. Reads of the level `majority`
//! on one that has been replaced without knowing would miss what its successor acknowledged.

mod failure;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, Tls,
    WriteConcern,
};
use mongodb::{Client, Collection, Database};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(super) use self::failure::OperationError;
use self::failure::{Effect, failed, unanswered};
use super::StoreError;

/// Most connections of a store, and calls that are under way at once.
const CONNECTIONS: u32 = 8;
/// Longest wait of a call for its turn, before anything is sent.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a call from then on.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of a command on the server, and of its replication: within that of the call, so that most calls end in an answer.
const COMMAND_LIMIT: Duration = Duration::from_secs(4);
/// Longest wait for a primary.
const SELECTION_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A connection that was idle for this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Longest time to make the indexes of a collection.
const INDEX_LIMIT: Duration = Duration::from_secs(60);
/// The database of a URL that names none.
const DEFAULT_DATABASE: &str = "souk";
/// The version of the protocol in MongoDB 8.0, the first with the command `bulkWrite`.
const LEAST_WIRE_VERSION: i64 = 25;

/// A duplicate key: where `_id` is the only unique index, the row exists already.
pub(super) const DUPLICATE_KEY: i64 = 11_000;

/// What a query is to return.
pub(super) struct Query {
    pub(super) filter: Document,
    /// Empty for whole documents.
    pub(super) projection: Document,
    /// Empty for any order.
    pub(super) sort: Document,
    pub(super) limit: usize,
}

/// What became of one operation of a bulk write: how many documents it matched or inserted.
pub(super) type OperationResult = Result<u64, OperationError>;

/// The collection of one store.
pub(super) struct MongoCollection {
    /// The database of commands that concern no other.
    admin: Database,
    collection: Collection<RawDocumentBuf>,
    permits: Semaphore,
    store: &'static str,
}

impl MongoCollection {
    /// Connects to the servers of `url`, and makes the collection of the store and its indexes where they are missing. Any number of
    /// nodes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where no primary answers, [`StoreError::Refused`] for a URL that can't be used, and for a server
    /// that does not fit.
    pub(super) async fn open(
        store: &'static str,
        url: &str,
        indexes: Vec<Document>,
    ) -> Result<Self, StoreError> {
        let options = options(store, url).await?;
        let name = options.default_database.clone();
        let client = Client::with_options(options).map_err(|error| refused(store, error))?;
        let database = client.database(name.as_deref().unwrap_or(DEFAULT_DATABASE));
        let linearizable = CollectionOptions::builder()
            .read_concern(ReadConcern::linearizable())
            .build();
        let collection = Self {
            collection: database.collection_with_options(store, linearizable),
            admin: client.database("admin"),
            permits: Semaphore::new(CONNECTIONS as usize),
            store,
        };
        collection.check_server().await?;
        let create = doc! { "createIndexes": store, "indexes": indexes, "writeConcern": { "w": "majority" } };
        let create = database.run_command(create);
        collection.call(Effect::Read, INDEX_LIMIT, create).await?;
        Ok(collection)
    }

    async fn check_server(&self) -> Result<(), StoreError> {
        let store = self.store;
        let hello = self.admin.run_command(doc! { "hello": 1 });
        let hello = self.call(Effect::Read, CALL_LIMIT, hello).await?;
        let is_router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if !is_router && hello.get_str("setName").is_err() {
            let cause = "it is a standalone server: make it a replica set, of one member if need be";
            return Err(refused(store, cause));
        }
        let version = hello.get("maxWireVersion").and_then(integer).unwrap_or(0);
        if version < LEAST_WIRE_VERSION {
            return Err(refused(store, "it is older than MongoDB 8.0"));
        }
        match hello.get_bool("isWritablePrimary") {
            Ok(true) => Ok(()),
            _ => Err(StoreError::Unavailable {
                store,
                cause: "the server is not the primary".into(),
            }),
        }
    }

    pub(super) fn store(&self) -> &'static str {
        self.store
    }

    /// Whether the primary answers.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let ping = self.admin.run_command(doc! { "ping": 1 });
        self.call(Effect::Read, CALL_LIMIT, ping).await.map(drop)
    }

    /// Reads.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] past the time limit, or where no primary answers.
    pub(super) async fn find(&self, query: Query) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let Query {
            filter,
            projection,
            sort,
            limit,
        } = query;
        if limit == 0 {
            // Which the server would take for no limit.
            return Ok(Vec::new());
        }
        let find = async {
            let cursor = self
                .collection
                .find(filter)
                .projection(projection)
                .sort(sort)
                .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                // All of it in one answer, unless that would be too large.
                .batch_size(u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1))
                .max_time(COMMAND_LIMIT)
                .await?;
            cursor.try_collect().await
        };
        self.call(Effect::Read, CALL_LIMIT, Box::pin(find)).await
    }

    /// Writes by `operations` on the one namespace with the number 0; the result of each, in their order. Where `ordered` is set,
    /// they end with the first that fails.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] past the time limit, or where the connection broke.
    pub(super) async fn bulk_write(
        &self,
        ordered: bool,
        operations: Vec<RawDocumentBuf>,
    ) -> Result<Vec<OperationResult>, StoreError> {
        let count = operations.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let milliseconds = i64::try_from(COMMAND_LIMIT.as_millis()).unwrap_or(i64::MAX);
        let command = rawdoc! {
            "bulkWrite": 1,
            "ops": RawArrayBuf::from_iter(operations),
            "nsInfo": [{ "ns": self.collection.namespace().to_string() }],
            "ordered": ordered,
            "errorsOnly": false,
            "maxTimeMS": milliseconds,
            "writeConcern": { "w": "majority", "j": true, "wtimeout": milliseconds },
        };
        let write = self.admin.run_raw_command(command);
        let effect = if count == 1 { Effect::Write } else { Effect::Writes };
        let reply = self.call(effect, CALL_LIMIT, write).await?;
        if let Ok(error) = reply.get_document("writeConcernError") {
            // It may be on no majority yet, and be undone by the next primary.
            return Err(self.unknown(error.to_string()));
        }
        self.results(&reply, count)
    }

    fn results(&self, reply: &Document, count: usize) -> Result<Vec<OperationResult>, StoreError> {
        let mut results: Vec<Option<OperationResult>> = (0..count).map(|_| None).collect();
        let batch = reply
            .get_document("cursor")
            .and_then(|cursor| cursor.get_array("firstBatch"))
            .map_err(|error| self.unknown(error))?;
        for result in batch.iter().filter_map(Bson::as_document) {
            let number = |key: &str| result.get(key).and_then(integer);
            let place = number("idx").and_then(|index| usize::try_from(index).ok());
            if let Some(place) = place.and_then(|place| results.get_mut(place)) {
                let count = number("n").and_then(|count| u64::try_from(count).ok());
                *place = match (number("code"), count) {
                    (None, count) => count.map(Ok),
                    (Some(code), _) => Some(Err(OperationError {
                        code,
                        message: result.get_str("errmsg").unwrap_or_default().to_owned(),
                    })),
                };
            }
        }
        // Some are missing after the failure of one that was ordered.
        let missing = || {
            Err(OperationError {
                code: 0,
                message: "it has no result".to_owned(),
            })
        };
        Ok(results
            .into_iter()
            .map(|result| result.unwrap_or_else(missing))
            .collect())
    }

    async fn call<T>(
        &self,
        effect: Effect,
        limit: Duration,
        call: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StoreError> {
        let store = self.store;
        let Ok(Ok(_permit)) = timeout(ACQUIRE_LIMIT, self.permits.acquire()).await else {
            return Err(StoreError::Unavailable {
                store,
                cause: "all connections are in use".into(),
            });
        };
        match timeout(limit, call.into_future()).await {
            Ok(answer) => answer.map_err(|error| failed(store, effect, error)),
            Err(elapsed) => Err(unanswered(store, effect, elapsed)),
        }
    }

    fn unknown(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        unanswered(self.store, Effect::Writes, cause)
    }
}

/// A number of any of the kinds that servers answer with.
fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        // Counts and codes, which are small.
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

/// [`StoreError::Refused`]
pub(super) fn refused(
    store: &'static str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Refused {
        store,
        cause: cause.into(),
    }
}

/// The options of a URL, with those that the promises of the ports depend on as they must be.
async fn options(store: &'static str, url: &str) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(url).await.map_err(|error| {
        // The message may repeat parts of the URL, and so of a password.
        if url.contains('@') {
            refused(store, "the URL is malformed")
        } else {
            refused(store, error)
        }
    })?;
    if let Some(Tls::Enabled(tls)) = &options.tls
        && (tls.allow_invalid_certificates == Some(true))
    {
        return Err(refused(store, "the URL makes TLS accept any certificate"));
    }
    options.app_name.get_or_insert_with(|| format!("souk {store}"));
    options.max_pool_size = Some(CONNECTIONS);
    options.min_pool_size = None;
    options.max_idle_time = Some(IDLE_LIMIT);
    options.connect_timeout = Some(CONNECT_LIMIT);
    options.server_selection_timeout = Some(SELECTION_LIMIT);
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build(),
    );
    Ok(options)
}
