//! `/v1/me/notification-preferences`: what the caller wants to be told about, and how.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::SharedFront;
use super::super::caller::Signed;
use super::super::etag::{IfMatch, IfNoneMatch};
use super::super::json::{self, Json};
use super::super::problem::{self, Problem};
use crate::authentication::service::CHANGE_ATTEMPTS;
use crate::stores::users::Change;
use souk_domain::Preferences;

/// `GET /v1/me/notification-preferences`. Who never chose stands at version 0.
pub(in super::super) async fn show(
    State(front): State<SharedFront>,
    signed: Signed,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let (preferences, version) = front
        .accounts
        .users
        .preferences(&signed.0.user)
        .await?
        .unwrap_or_default();
    json::unless_had(&condition, version, &preferences)
}

/// `PUT /v1/me/notification-preferences`: all of them; a topic that is left out has its default.
pub(in super::super) async fn replace(
    State(front): State<SharedFront>,
    signed: Signed,
    condition: IfMatch,
    Json(preferences): Json<Preferences>,
) -> Result<Response, Problem> {
    let user = &signed.0.user;
    for _ in 0..CHANGE_ATTEMPTS {
        let standing = front
            .accounts
            .users
            .preferences(user)
            .await?
            .map(|(_, version)| version);
        let version = standing.unwrap_or_default();
        if !condition.allows(version) {
            return Err(Problem::version_conflict(version));
        }
        match front
            .accounts
            .users
            .put_preferences(user, &preferences, standing)
            .await?
        {
            Change::Applied => return json::versioned(StatusCode::OK, version + 1, &preferences),
            Change::Conflict => {}
            Change::Missing => return Err(Problem::new(problem::BAD_TOKEN)),
        }
    }
    Err(Problem::busy(problem::RETRY_AFTER))
}
