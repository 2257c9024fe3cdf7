//! `/v1/me`: the caller's account.

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::erasure;
use crate::http::api::account::UserBody;
use crate::http::api::call::Call;
use crate::http::api::credentials::require_step_up;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::background::Background;
use crate::http::request::caller::Signed;
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::json::{self, Json};
use souk_domain::account::{Account, check_name};
use souk_domain::text::shows_nothing;
use souk_domain::{FieldError, phone};

/// What an owner may change. Other fields of an account, roles above all, are refused as unknown.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeUser)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Printable, and not blank.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Ada Example")]
    name: Option<String>,
    /// `null` removes it.
    #[schema(value_type = Option<String>, max_length = 32, example = "+1 217 555 0100")]
    #[serde(default, deserialize_with = "given")]
    phone: Option<Option<String>>,
}

/// Distinguishes `null` from an absent field.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Show the caller's account
#[utoipa::path(
    get,
    path = "/v1/me",
    operation_id = "getMe",
    tag = "Me",
    params(IfNoneMatch),
    responses((status = 200, description = "The account.", body = UserBody<'static>, headers(("ETag")))),
)]
pub async fn show(call: Call<Signed>, condition: IfNoneMatch) -> Result<Response, Problem> {
    let account = call.front.accounts.account(call.user()).await?;
    json::if_none_match(&condition, account.version, &UserBody::new(&account))
}

/// Change the caller's account
///
/// Absent fields stay as they are.
#[utoipa::path(
    patch,
    path = "/v1/me",
    operation_id = "changeMe",
    tag = "Me",
    params(IfMatch),
    request_body(content = Change, example = json!({"name": "Ada Example", "phone": "+1 217 555 0100"})),
    responses((status = 200, description = "The account.", body = UserBody<'static>, headers(("ETag")))),
)]
pub async fn change(
    call: Call<Signed>,
    condition: IfMatch,
    Json(body): Json<Change>,
) -> Result<Response, Problem> {
    let mut errors: Vec<FieldError> = Vec::new();
    if let Some(Err(error)) = body.name.as_deref().map(check_name) {
        errors.push(error);
    }
    // `Some(None)` removes the number, as does one that shows nothing.
    let mut phone = None;
    if let Some(given) = body.phone {
        let given = given.filter(|phone| !shows_nothing(phone));
        match given.as_deref().map(phone::normalise).transpose() {
            Ok(given) => phone = Some(given),
            Err(error) => errors.push(FieldError::new("phone", error.to_string())),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::validation(errors));
    }
    let allowed = |version| condition.allows(version);
    let change = |account: &mut Account| {
        if let Some(name) = &body.name {
            account.name.clone_from(name);
        }
        if let Some(phone) = &phone {
            account.phone.clone_from(phone);
        }
    };
    let accounts = &call.front.accounts;
    let account = accounts.change_if(call.user(), allowed, None, change).await?;
    json::versioned(StatusCode::OK, account.version, &UserBody::new(&account))
}

/// Erase the caller's account
///
/// Orders are kept for bookkeeping, without personal data. Needs a step-up.
#[utoipa::path(
    delete,
    path = "/v1/me",
    operation_id = "eraseMe",
    tag = "Me",
    params(IfMatch),
    responses((status = 204, description = "The account is erased.")),
    extensions(("x-problems" = json!([problem::STEP_UP_REQUIRED]))),
)]
pub async fn erase(
    call: Call<Signed>,
    condition: IfMatch,
    background: Background,
) -> Result<StatusCode, Problem> {
    require_step_up(&call).await?;
    let current = async || Ok(call.front.accounts.account(call.user()).await?.version);
    condition.check(current).await?;
    let erasure = erasure::erase(call, background.clone());
    background.finish(erasure).await?;
    Ok(StatusCode::NO_CONTENT)
}
