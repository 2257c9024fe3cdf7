//! `/v1/me/notification-preferences`: what the caller wants to be told about, and how.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::authentication::service::CHANGE_ATTEMPTS;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::front::SharedFront;
use crate::http::request::json::{self, Json};
use crate::stores::users::Change;
use souk_domain::Preferences;

/// `GET /v1/me/notification-preferences`. Who never chose stands at version 0.
pub async fn show(
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
pub async fn replace(
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
