//! `/v1/me`: the caller's account.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::super::background::Background;
use super::super::caller::Signed;
use super::super::conventions::Context;
use super::super::etag::{IfMatch, IfNoneMatch};
use super::super::json::{self, Json};
use super::super::problem::{FieldError, Problem};
use super::super::{SharedFront, auth, erasure};
use souk_domain::UserId;
use souk_domain::account::{self, Account, Role};

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserBody<'a> {
    #[schema(value_type = UserId)]
    id: &'a str,
    email: &'a str,
    name: &'a str,
    #[schema(required)]
    phone: Option<&'a str>,
    roles: Vec<Role>,
    email_verified: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// The entity tag begins with it.
    version: u64,
}

impl<'a> UserBody<'a> {
    /// The account.
    pub fn new(account: &'a Account) -> Self {
        Self {
            id: account.id.as_str(),
            email: account.email.as_str(),
            name: &account.name,
            phone: account.phone.as_deref(),
            roles: account.roles.iter().copied().collect(),
            email_verified: account.email_verified,
            created_at: account.created_at.to_rfc3339(),
            version: account.version,
        }
    }
}

/// What an owner may change. Everything else of an account, its roles above all, is refused as an unknown field.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeUser)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Change {
    /// Printable, and not blank.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Ada Example")]
    name: Option<String>,
    /// `null` takes it away.
    #[schema(value_type = Option<String>, max_length = 32, pattern = "^[0-9+./() -]*$", example = "+1 217 555 0100")]
    #[serde(default, deserialize_with = "given")]
    phone: Option<Option<String>>,
}

/// Tells `null` from what was left out.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `GET /v1/me`.
pub(in super::super) async fn show(
    State(front): State<SharedFront>,
    signed: Signed,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let account = auth::account(&front, &signed).await?;
    json::unless_had(&condition, account.version, &UserBody::new(&account))
}

/// `PATCH /v1/me`.
pub(in super::super) async fn change(
    State(front): State<SharedFront>,
    signed: Signed,
    condition: IfMatch,
    Json(body): Json<Change>,
) -> Result<Response, Problem> {
    let phone = body
        .phone
        .map(|phone| phone.filter(|phone| !phone.trim().is_empty()));
    let mut errors = Vec::new();
    if let Some(Err(error)) = body.name.as_deref().map(account::check_name) {
        errors.push(FieldError::new(error.field, error.message));
    }
    if let Some(Some(phone)) = &phone {
        let wrong = account::phone_errors(phone).into_iter();
        errors.extend(wrong.map(|error| FieldError::new(error.field, error.message)));
    }
    if !errors.is_empty() {
        return Err(Problem::validation(errors));
    }
    let account = front
        .accounts
        .change_if(
            &signed.0.user,
            |version| condition.allows(version),
            None,
            |account| {
                if let Some(name) = &body.name {
                    account.name.clone_from(name);
                }
                if let Some(phone) = &phone {
                    account.phone.clone_from(phone);
                }
            },
        )
        .await?;
    json::versioned(StatusCode::OK, account.version, &UserBody::new(&account))
}

/// `DELETE /v1/me`: the account is gone; orders stay for the books, stripped of what identifies.
pub(in super::super) async fn erase(
    State(front): State<SharedFront>,
    context: Context,
    signed: Signed,
    condition: IfMatch,
    background: Background,
) -> Result<StatusCode, Problem> {
    let current = async || Ok(auth::account(&front, &signed).await?.version);
    condition.hold(current).await?;
    let erasure = erasure::erase(front, context, signed.0, background.clone());
    background.finish(erasure).await?;
    Ok(StatusCode::NO_CONTENT)
}
