//! `/v1/me/notification-preferences`: topics and channels of the caller's notifications.

use axum::http::StatusCode;
use axum::response::Response;

use crate::authentication::service::CHANGE_ATTEMPTS;
use crate::http::api::call::Call;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::json::{self, Json};
use crate::stores::users::Change;
use souk_domain::Preferences;

/// Show the caller's notification preferences
///
/// They are at version 0 until they are first set.
#[utoipa::path(
    get,
    path = "/v1/me/notification-preferences",
    operation_id = "getPreferences",
    tag = "Me",
    params(IfNoneMatch),
    responses((status = 200, description = "By topic and channel.", body = Preferences, headers(("ETag")))),
)]
pub async fn show(call: Call<Signed>, condition: IfNoneMatch) -> Result<Response, Problem> {
    let users = &call.front.accounts.users;
    let (preferences, version) = users.preferences(call.user()).await?.unwrap_or_default();
    json::if_none_match(&condition, version, &preferences)
}

/// Set the caller's notification preferences
///
/// All at once: an absent topic gets its default, and an absent channel is off.
#[utoipa::path(
    put,
    path = "/v1/me/notification-preferences",
    operation_id = "setPreferences",
    tag = "Me",
    params(IfMatch),
    request_body(content = Preferences, example = json!({"orders": {"email": true, "in_app": true}, "marketing": {}})),
    responses((status = 200, description = "By topic and channel.", body = Preferences, headers(("ETag")))),
)]
pub async fn replace(
    call: Call<Signed>,
    condition: IfMatch,
    Json(preferences): Json<Preferences>,
) -> Result<Response, Problem> {
    let (users, user) = (&call.front.accounts.users, call.user());
    for _ in 0..CHANGE_ATTEMPTS {
        let standing = users.preferences(user).await?.map(|(_, version)| version);
        let version = standing.unwrap_or_default();
        if !condition.allows(version) {
            return Err(Problem::version_conflict(version));
        }
        match users.put_preferences(user, &preferences, standing).await? {
            Change::Applied => return json::versioned(StatusCode::OK, version + 1, &preferences),
            Change::Conflict => {}
            Change::Missing => return Err(Problem::new(problem::BAD_TOKEN)),
        }
    }
    Err(Problem::busy(problem::RETRY_AFTER))
}
