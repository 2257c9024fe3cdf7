//! Writes: several documents by one call, each with an outcome of its own.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::{Effect, ServerError, failed};
use super::{Body, Index, SERVER_LIMIT, Server};
use crate::stores::StoreError;
use crate::stores::parts::parts;

/// Items of one call; more are written by several, one after the other.
const WRITE_ROWS: usize = 500;
/// Bytes of one call, which a single item may pass.
const WRITE_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of a document: [`Server::documents`] gets a hundred at once.
pub(super) const DOCUMENT_LIMIT: usize = 1024 * 1024;

/// The write of one document.
#[derive(Clone, Debug)]
pub(in crate::stores) struct Operation {
    action: Value,
    document: String,
    /// Higher than the server can count. It would refuse all operations of the call.
    is_beyond: bool,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::stores) enum Outcome {
    /// It is on the disks of all copies of the index.
    Applied {
        /// The version of the document.
        version: u64,
    },
    /// The document is not what the operation is for.
    Conflict,
    /// It failed.
    Failed(StoreError),
}

impl Operation {
    fn new(
        kind: &str,
        id: &str,
        conditions: &[(&str, Value)],
        document: &impl Serialize,
    ) -> serde_json::Result<Self> {
        let mut about = json!({ "_id": id });
        for (name, value) in conditions {
            about[name] = value.clone();
        }
        Ok(Self {
            action: json!({ kind: about }),
            document: serde_json::to_string(document)?,
            is_beyond: false,
        })
    }

    /// Writes a document, whatever was there.
    pub(in crate::stores) fn put(id: &str, document: &impl Serialize) -> serde_json::Result<Self> {
        Self::new("index", id, &[], document)
    }

    /// Writes a document that is not there yet.
    pub(in crate::stores) fn create(id: &str, document: &impl Serialize) -> serde_json::Result<Self> {
        Self::new("create", id, &[], document)
    }

    /// Replaces a document that nobody has changed since.
    pub(in crate::stores) fn replace(
        id: &str,
        change: (u64, u64),
        document: &impl Serialize,
    ) -> serde_json::Result<Self> {
        Self::new("index", id, &unchanged(change), document)
    }

    /// Sets fields of a document that nobody has changed since. That is a change also where they had these values.
    pub(in crate::stores) fn update(
        id: &str,
        change: (u64, u64),
        fields: &impl Serialize,
    ) -> serde_json::Result<Self> {
        Self::new(
            "update",
            id,
            &unchanged(change),
            &json!({ "doc": fields, "detect_noop": false }),
        )
    }

    /// Writes a document of this version, where there is none or one of a lower version.
    pub(in crate::stores) fn newer(
        id: &str,
        version: u64,
        document: &impl Serialize,
    ) -> serde_json::Result<Self> {
        let conditions = [("version", version.into()), ("version_type", "external".into())];
        Ok(Self {
            is_beyond: i64::try_from(version).is_err(),
            ..Self::new("index", id, &conditions, document)?
        })
    }

    fn bytes(&self) -> usize {
        self.document.len()
    }

    /// Why it is not sent.
    fn refusal(&self) -> Option<String> {
        if self.is_beyond {
            return Some("the version is beyond those that the server knows".to_owned());
        }
        (self.bytes() > DOCUMENT_LIMIT).then(|| format!("a document has more than {DOCUMENT_LIMIT} bytes"))
    }
}

fn unchanged((number, term): (u64, u64)) -> [(&'static str, Value); 2] {
    [("if_seq_no", number.into()), ("if_primary_term", term.into())]
}

#[derive(Deserialize)]
struct Reply {
    items: Vec<Item>,
}

/// The one field of it is named after the operation's kind.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item {
    Index(ItemResult),
    Create(ItemResult),
    Update(ItemResult),
}

#[derive(Deserialize)]
struct ItemResult {
    status: u16,
    #[serde(rename = "_version")]
    version: Option<u64>,
    error: Option<ServerError>,
}

impl Server {
    /// Writes; the outcome of each operation, in their order. Of several calls, those after one that fails are not sent.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] past the time limit or where the connection broke: some may have been applied.
    pub(in crate::stores) async fn bulk(
        &self,
        index: &Index,
        operations: &[Operation],
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for rows in operations.chunks(WRITE_ROWS) {
            for part in parts(rows, WRITE_BYTES, Operation::bytes) {
                outcomes.extend(self.bulk_part(index, part).await?);
            }
        }
        Ok(outcomes)
    }

    async fn bulk_part(&self, index: &Index, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let mut lines = String::new();
        for operation in operations
            .iter()
            .filter(|operation| operation.refusal().is_none())
        {
            lines.push_str(&operation.action.to_string());
            lines.push('\n');
            lines.push_str(&operation.document);
            lines.push('\n');
        }
        let mut results = Vec::new();
        if !lines.is_empty() {
            // Never into an index that came into being by this write, without its mapping.
            let path = format!(
                "{}/_bulk?require_alias=true&timeout={SERVER_LIMIT}",
                self.alias(index)
            );
            let answer = self
                .call(Effect::Write, Method::POST, &path, Body::Lines(lines))
                .await?;
            let bytes = self.checked(Effect::Write, answer)?;
            let reply: Reply = serde_json::from_slice(&bytes).map_err(|error| self.unknown(error))?;
            results = reply.items;
        }
        let mut results = results.into_iter();
        let outcomes: Option<Vec<Outcome>> = operations
            .iter()
            .map(|operation| match operation.refusal() {
                None => results.next().map(|item| self.outcome(item)),
                Some(cause) => Some(Outcome::Failed(self.refused(cause))),
            })
            .collect();
        outcomes.ok_or_else(|| self.unknown("the answer lacks outcomes"))
    }

    fn outcome(&self, item: Item) -> Outcome {
        let (Item::Index(result) | Item::Create(result) | Item::Update(result)) = item;
        let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match (result.version, &result.error) {
            (Some(version), None) if status.is_success() => Outcome::Applied { version },
            (_, Some(error)) if error.kind == "version_conflict_engine_exception" => Outcome::Conflict,
            // An update of what was removed.
            (_, Some(error)) if error.kind == "document_missing_exception" => Outcome::Conflict,
            _ => Outcome::Failed(failed(self.store(), Effect::Write, status, result.error)),
        }
    }

    fn unknown(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::OutcomeUnknown {
            store: self.store(),
            cause: cause.into(),
        }
    }
}

/// The error of a call of several operations: that some may have been applied, or else that none could be, or else the first refusal.
pub(in crate::stores) fn outcome_of_all(
    outcomes: impl IntoIterator<Item = Outcome>,
) -> Result<(), StoreError> {
    let mut worst: Option<StoreError> = None;
    let mut is_applied = false;
    let weight = |error: &StoreError| match error {
        StoreError::OutcomeUnknown { .. } => 2,
        StoreError::Unavailable { .. } => 1,
        _ => 0,
    };
    for outcome in outcomes {
        match outcome {
            Outcome::Failed(error) => {
                if worst.as_ref().is_none_or(|worst| weight(&error) > weight(worst)) {
                    worst = Some(error);
                }
            }
            Outcome::Applied { .. } => is_applied = true,
            Outcome::Conflict => {}
        }
    }
    match worst {
        None => Ok(()),
        // Something was written.
        Some(StoreError::Unavailable { store, cause }) if is_applied => {
            Err(StoreError::OutcomeUnknown { store, cause })
        }
        Some(error) => Err(error),
    }
}
