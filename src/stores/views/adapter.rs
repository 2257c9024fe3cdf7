//! The coordination store in a SQL database: the view is one row, replaced if its number is the previous one. One adapter for
//! all of them.

use async_trait::async_trait;

use souk_cluster::view::View;
use souk_cluster::views::{Views, ViewsError};

use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use souk_embedded::Statement;

const CURRENT: &str = "SELECT body FROM views";
const BEATS: &str = "SELECT name, incarnation, count FROM beats";

/// What databases write differently.
pub(super) struct Statements {
    /// The first view: `?1` is its number, `?2` the body. Returns a row where it was written.
    pub(super) first: &'static str,
    /// A later one, likewise.
    pub(super) next: &'static str,
    /// Counts a beat of the member `?1` in its incarnation `?2`.
    pub(super) beat: &'static str,
}

impl Statements {
    /// As SQLite and PostgreSQL have them.
    pub(super) const WITH_RETURNING: Self = Self {
        first: "INSERT INTO views (singleton, number, body) VALUES (1, ?1, ?2) \
             ON CONFLICT (singleton) DO NOTHING RETURNING number",
        next: "UPDATE views SET number = ?1, body = ?2 WHERE number = ?1 - 1 RETURNING number",
        beat: "INSERT INTO beats (name, incarnation, count) VALUES (?1, ?2, 1) \
             ON CONFLICT (name) DO UPDATE SET \
                 count = CASE WHEN beats.incarnation = excluded.incarnation THEN beats.count + 1 ELSE 1 END, \
                 incarnation = excluded.incarnation \
             WHERE excluded.incarnation >= beats.incarnation",
    };
}

/// The adapter.
pub struct SqlViews<D> {
    pub(super) database: D,
    pub(super) statements: Statements,
}

impl<D: SqlDatabase> SqlViews<D> {
    /// The database, unless a test has cut this node off from it.
    fn reach(&self) -> Result<&D, StoreError> {
        if crate::fail::is_cut_off("views") {
            return Err(StoreError::Unavailable {
                store: self.database.name(),
                cause: "cut off by a fail point".into(),
            });
        }
        Ok(&self.database)
    }
}

#[async_trait]
impl<D: SqlDatabase> Views for SqlViews<D> {
    fn technology(&self) -> &'static str {
        D::TECHNOLOGY
    }

    async fn current(&self) -> Result<Option<View>, ViewsError> {
        let rows = self.reach()?.read(Statement::new(CURRENT)).await?;
        let views = self.database.decode(rows, |row| {
            serde_json::from_str(&row.text("body")?).map_err(|error| self.database.corrupt(error.to_string()))
        })?;
        Ok(views.into_iter().next())
    }

    async fn propose(&self, view: &View) -> Result<bool, ViewsError> {
        let body = serde_json::to_string(view).map_err(|error| StoreError::Refused {
            store: self.database.name(),
            cause: Box::new(error),
        })?;
        let sql = if view.number == 1 {
            self.statements.first
        } else {
            self.statements.next
        };
        let rows = self
            .reach()?
            .transact_one(Statement::new(sql).bind(view.number).bind(body))
            .await?;
        Ok(!rows.is_empty())
    }

    async fn beat(&self, name: &str, incarnation: u64) -> Result<(), ViewsError> {
        let statement = Statement::new(self.statements.beat).bind(name).bind(incarnation);
        self.reach()?.transact_one(statement).await?;
        Ok(())
    }

    async fn beats(&self) -> Result<Vec<(String, u64, u64)>, ViewsError> {
        let rows = self.reach()?.read(Statement::new(BEATS)).await?;
        Ok(self.database.decode(rows, |row| {
            Ok((
                row.text("name")?,
                row.integer("incarnation")?,
                row.integer("count")?,
            ))
        })?)
    }
}
