//! `/v1/auth/password`, `/v1/auth/email` and `/v1/auth/step-up`: how somebody proves who they are besides signing in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::auth::{REFRESH_TOKEN, Tokens, example, signed_in};
use super::call::Call;
use crate::authentication::service::{AccountError, Device, STEP_UP};
use crate::http::edge::problem::{self, Problem};
use crate::http::request::background::Background;
use crate::http::request::caller::Signed;
use crate::http::request::front::SharedFront;
use crate::http::request::json::{self, Json};
use souk_domain::EmailAddress;
use souk_domain::account::email_key;

/// The account with a forgotten password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgot {
    #[schema(example = "ada@example.org")]
    email: String,
}

/// A new password, by a code from an e-mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// From the e-mail.
    token: String,
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password, example = "a long sentence of mine")]
    password: Zeroizing<String>,
}

/// A new password, by the current one.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangePassword)]
#[serde(deny_unknown_fields)]
pub struct Change {
    #[schema(value_type = String, format = Password, example = "a long sentence of mine")]
    current_password: Zeroizing<String>,
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password, example = "another long sentence")]
    password: Zeroizing<String>,
}

/// The password once more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    #[schema(value_type = String, format = Password, example = "a long sentence of mine")]
    password: Zeroizing<String>,
}

/// How long the session may do what needs a step-up.
#[derive(Serialize, ToSchema)]
pub struct SteppedUp {
    /// Seconds.
    expires_in: u64,
}

/// A code that verifies an e-mail address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// From the e-mail.
    token: String,
}

/// Request an e-mail for setting a new password
#[utoipa::path(
    post,
    path = "/v1/auth/password/forgot",
    operation_id = "forgotPassword",
    tag = "Accounts",
    request_body(content = Forgot, example = json!({"email": "ada@example.org"})),
    responses((status = 202, description = "If the account exists, an e-mail is on its way to it.")),
)]
// The work continues behind the reply, so that neither status nor time tells whether the account exists.
pub async fn forgot(
    State(front): State<SharedFront>,
    background: Background,
    Json(body): Json<Forgot>,
) -> Result<StatusCode, Problem> {
    // An address that no account can have gets the same reply as an unknown one.
    if let Ok(email) = EmailAddress::parse(&body.email) {
        background.spawn(async move {
            if let Err(error) = front.accounts.forgot_password(&email_key(&email)).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the e-mail for a forgotten password could not be sent"
                );
            }
        });
    }
    Ok(StatusCode::ACCEPTED)
}

/// Set a new password
///
/// Every session of the account ends, and one begins. Failed sign-ins of the account are forgotten.
#[utoipa::path(
    post,
    path = "/v1/auth/password/reset",
    operation_id = "resetPassword",
    tag = "Accounts",
    request_body(content = Reset, example = json!({"token": REFRESH_TOKEN, "password": "another long sentence"})),
    responses((status = 200, description = "The account, signed in.", body = Tokens<'static>, example = example)),
)]
pub async fn reset(
    State(front): State<SharedFront>,
    device: Device,
    background: Background,
    Json(body): Json<Reset>,
) -> Result<Response, Problem> {
    let reset = background.finish(async move {
        let reset = front
            .accounts
            .reset_password(&body.token, &body.password, &device);
        reset.await.map_err(spent_token)
    });
    signed_in(StatusCode::OK, &reset.await?)
}

/// Change the password
///
/// All other sessions of the account end.
#[utoipa::path(
    post,
    path = "/v1/auth/password/change",
    operation_id = "changePassword",
    tag = "Accounts",
    request_body(
        content = Change,
        example = json!({"current_password": "a long sentence of mine", "password": "another long sentence"}),
    ),
    responses((status = 204, description = "The password is set.")),
    extensions(("x-problems" = json!([problem::BAD_CREDENTIALS]))),
)]
pub async fn change(
    call: Call<Signed>,
    device: Device,
    background: Background,
    Json(body): Json<Change>,
) -> Result<StatusCode, Problem> {
    let change = background.finish(async move {
        let caller = (call.user(), &call.caller.0.session);
        let accounts = &call.front.accounts;
        let change = accounts.change_password(caller, &body.current_password, &body.password, device.address);
        change.await.map_err(Problem::from)
    });
    change.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Confirm the password
///
/// Erasing the account and exporting its data need that within the last 15 minutes, in the same session.
#[utoipa::path(
    post,
    path = "/v1/auth/step-up",
    operation_id = "stepUp",
    tag = "Accounts",
    request_body(content = StepUp, example = json!({"password": "a long sentence of mine"})),
    responses((status = 200, description = "It is the password.", body = SteppedUp)),
    extensions(("x-problems" = json!([problem::BAD_CREDENTIALS]))),
)]
pub async fn step_up(
    call: Call<Signed>,
    device: Device,
    Json(body): Json<StepUp>,
) -> Result<Response, Problem> {
    let caller = (call.user(), &call.caller.0.session);
    let accounts = &call.front.accounts;
    accounts.step_up(caller, &body.password, device.address).await?;
    let expires_in = STEP_UP.as_secs();
    json::reply(StatusCode::OK, &SteppedUp { expires_in })
}

/// Refuses what needs a step-up to a session without one.
///
/// # Errors
/// 403 `step-up-required`
pub async fn require_step_up(call: &Call<Signed>) -> Result<(), Problem> {
    let accounts = &call.front.accounts;
    if accounts
        .has_stepped_up(call.user(), &call.caller.0.session)
        .await?
    {
        return Ok(());
    }
    Err(Problem::new(problem::STEP_UP_REQUIRED).detail("confirm the password first: POST /v1/auth/step-up"))
}

/// Verify the e-mail address of the caller's account
///
/// Orders placed as a guest with this address can then be claimed.
#[utoipa::path(
    post,
    path = "/v1/auth/email/verify",
    operation_id = "verifyEmail",
    tag = "Accounts",
    request_body(content = Verify, example = json!({"token": REFRESH_TOKEN})),
    responses((status = 204, description = "The address is verified.")),
)]
pub async fn verify(
    call: Call<Signed>,
    background: Background,
    Json(body): Json<Verify>,
) -> Result<StatusCode, Problem> {
    let proof = background.finish(async move {
        let proof = call.front.accounts.verify_email(call.user(), &body.token);
        proof.await.map_err(spent_token)
    });
    proof.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Request another e-mail for verifying the address
#[utoipa::path(
    post,
    path = "/v1/auth/email/verify/resend",
    operation_id = "resendVerification",
    tag = "Accounts",
    responses((status = 202, description = "Unless the address is verified, an e-mail is on its way to it.")),
)]
pub async fn resend(call: Call<Signed>, background: Background) -> Result<StatusCode, Problem> {
    background.spawn(async move {
        if let Err(error) = call.front.accounts.resend_verification(call.user()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "another verification e-mail could not be sent"
            );
        }
    });
    Ok(StatusCode::ACCEPTED)
}

/// An invalid code is an invalid field of the body, not an authentication failure.
fn spent_token(error: AccountError) -> Problem {
    match error {
        AccountError::BadToken => Problem::field("token", "is not valid, or not any more: ask for a new one"),
        error => error.into(),
    }
}
