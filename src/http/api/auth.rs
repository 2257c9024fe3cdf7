//! `/v1/auth`: registration, sessions, passwords, verification of e-mail addresses.

use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::authentication::service::{AccountError, Device, Registration, SignedIn};
use crate::http::api::account::UserBody;
use crate::http::api::call::Call;
use crate::http::edge::client_address::ClientAddress;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::background::Background;
use crate::http::request::caller::{Caller, Signed};
use crate::http::request::front::SharedFront;
use crate::http::request::json::{self, Json};
use crate::http::request::path::PathParameter;
use crate::http::request::query::Page;
use souk_domain::account::{Account, email_key};
use souk_domain::{EmailAddress, OrderCommand, SessionId};

/// A token in the published document.
const REFRESH_TOKEN: &str = "3q2-7wEjRWeJq83v_wABAgMEBQYHCAkKCwwNDg8QERI";

/// Longest `User-Agent` stored with a session, in characters.
const USER_AGENT_LIMIT: usize = 200;

/// Time limit for transferring all of a guest's orders to an account.
const CLAIM_LIMIT: Duration = Duration::from_secs(10);

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    #[schema(max_length = 254, format = Email, example = "ada@example.org")]
    email: String,
    /// Common passwords are refused.
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password, example = "a long sentence of mine")]
    password: Zeroizing<String>,
    /// Printable, and not blank.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Ada Example")]
    name: String,
}

/// Credentials.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[schema(example = "ada@example.org")]
    email: String,
    #[schema(value_type = String, format = Password, example = "a long sentence of mine")]
    password: Zeroizing<String>,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    refresh_token: String,
}

/// The account with a forgotten password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgot {
    #[schema(example = "ada@example.org")]
    email: String,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// From the e-mail.
    token: String,
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password, example = "a long sentence of mine")]
    password: Zeroizing<String>,
}

/// A code that verifies an e-mail address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// From the e-mail.
    token: String,
}

/// An account with the tokens of a session.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub struct Tokens<'a> {
    user: UserBody<'a>,
    access_token: &'a str,
    /// `Bearer`
    #[schema(pattern = "^Bearer$")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: u64,
    /// Valid for one `POST /v1/auth/refresh`.
    refresh_token: &'a str,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionBody<'a> {
    id: &'a SessionId,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    user_agent: &'a str,
    /// The address of the client at sign-in.
    address: &'a str,
    /// Whether it is the session of the request's access token.
    current: bool,
}

/// All of the caller's sessions.
type Sessions = Page<SessionBody<'static>>;

/// The device that signs in.
impl<S: Send + Sync> FromRequestParts<S> for Device {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, state).await;
        let user_agent = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Ok(Self {
            user_agent: user_agent.chars().take(USER_AGENT_LIMIT).collect(),
            address,
        })
    }
}

/// Open an account
#[utoipa::path(
    post,
    path = "/v1/auth/register",
    operation_id = "register",
    tag = "Accounts",
    request_body(
        content = Register,
        example = json!({"email": "ada@example.org", "password": "a long sentence of mine", "name": "Ada Example"}),
    ),
    responses((status = 201, description = "The account, signed in.", body = Tokens<'static>, example = example)),
    extensions(("x-problems" = json!([problem::EMAIL_TAKEN]))),
)]
pub async fn register(
    State(front): State<SharedFront>,
    device: Device,
    background: Background,
    Json(body): Json<Register>,
) -> Result<Response, Problem> {
    let registration =
        Registration::new(&body.email, body.name, body.password).map_err(Problem::validation)?;
    let behind = background.clone();
    let opened = background.finish(async move {
        let tokens = front.accounts.register(registration, &device).await?;
        // The account is stored: the reply does not depend on sending the e-mail.
        let account = tokens.account.clone();
        behind.spawn(async move { front.accounts.send_verification(&account).await });
        Ok(tokens)
    });
    signed_in(StatusCode::CREATED, &opened.await?)
}

/// Sign in
///
/// Takes as long for an account that does not exist as for a wrong password.
#[utoipa::path(
    post,
    path = "/v1/auth/login",
    operation_id = "login",
    tag = "Accounts",
    request_body(content = Login, example = json!({"email": "ada@example.org", "password": "a long sentence of mine"})),
    responses((status = 200, description = "The account, signed in.", body = Tokens<'static>, example = example)),
    extensions(("x-problems" = json!([problem::BAD_CREDENTIALS]))),
)]
pub async fn login(
    call: Call<()>,
    device: Device,
    background: Background,
    Json(body): Json<Login>,
) -> Result<Response, Problem> {
    // An address that no account can have gets the same reply as an unknown one.
    let email = EmailAddress::parse(&body.email).map_err(|_| Problem::new(problem::BAD_CREDENTIALS))?;
    let accounts = &call.front.accounts;
    let tokens = accounts
        .login(&email_key(&email), &body.password, &device)
        .await?;
    // Orders placed as a guest since the address was verified are transferred behind the reply.
    background.spawn(claim_orders(call, tokens.account.clone()));
    signed_in(StatusCode::OK, &tokens)
}

/// Get new tokens
///
/// A refresh token is exchanged once. Again within 10 seconds (two tabs, a lost answer) it gives the same successor; later, that
/// ends the session.
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    operation_id = "refreshTokens",
    tag = "Accounts",
    request_body(content = Refresh, example = json!({"refresh_token": REFRESH_TOKEN})),
    responses((status = 200, description = "A new pair.", body = Tokens<'static>, example = example)),
    extensions(("x-problems" = json!([problem::BAD_REFRESH_TOKEN]))),
)]
pub async fn refresh(
    State(front): State<SharedFront>,
    Json(body): Json<Refresh>,
) -> Result<Response, Problem> {
    match front.accounts.refresh(&body.refresh_token).await {
        Ok(tokens) => signed_in(StatusCode::OK, &tokens),
        Err(AccountError::BadToken) => Err(Problem::new(problem::BAD_REFRESH_TOKEN)),
        Err(error) => Err(error.into()),
    }
}

/// End this session
///
/// Its tokens become invalid on every node within seconds.
#[utoipa::path(
    post,
    path = "/v1/auth/logout",
    operation_id = "logout",
    tag = "Accounts",
    responses((status = 204, description = "The session has ended.")),
)]
pub async fn logout(call: Call<Signed>) -> Result<StatusCode, Problem> {
    let session = &call.caller.0.session;
    call.front.accounts.end_session(call.user(), session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the caller's sessions
#[utoipa::path(
    get,
    path = "/v1/auth/sessions",
    operation_id = "listSessions",
    tag = "Accounts",
    responses((status = 200, description = "All of them, the most recently used first.", body = Sessions)),
)]
pub async fn sessions(call: Call<Signed>) -> Result<Response, Problem> {
    let sessions = &call.front.accounts.sessions;
    let sessions = sessions.list(call.user(), (call.front.clock)()).await?;
    let items = sessions
        .iter()
        .map(|session| SessionBody {
            id: &session.id,
            created_at: session.created_at.to_rfc3339(),
            last_used_at: session.last_used_at.to_rfc3339(),
            expires_at: session.expires_at.to_rfc3339(),
            user_agent: &session.user_agent,
            address: &session.address,
            current: session.id == call.caller.0.session,
        })
        .collect();
    json::reply(StatusCode::OK, &Page::whole(items))
}

/// End a session of the caller
#[utoipa::path(
    delete,
    path = "/v1/auth/sessions/{id}",
    operation_id = "endSession",
    tag = "Accounts",
    params(("id" = SessionId, Path, description = "The session.")),
    responses((status = 204, description = "The session has ended.")),
)]
pub async fn end_session(
    call: Call<Signed>,
    PathParameter(id): PathParameter,
) -> Result<StatusCode, Problem> {
    let not_found = || Problem::new(problem::NOT_FOUND);
    let session = SessionId::parse(&id).map_err(|_| not_found())?;
    if call.front.accounts.end_session(call.user(), &session).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_found())
    }
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
pub async fn forgot_password(
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
/// Every session of the account ends.
#[utoipa::path(
    post,
    path = "/v1/auth/password/reset",
    operation_id = "resetPassword",
    tag = "Accounts",
    request_body(content = Reset, example = json!({"token": REFRESH_TOKEN, "password": "another long sentence"})),
    responses((status = 204, description = "The password is set.")),
)]
pub async fn reset_password(
    call: Call<()>,
    background: Background,
    Json(body): Json<Reset>,
) -> Result<StatusCode, Problem> {
    let front = call.front.clone();
    let reset = background.finish(async move {
        let reset = front.accounts.reset_password(&body.token, &body.password);
        reset.await.map_err(spent_token)
    });
    let account = reset.await?;
    // The reader of the e-mails has just set the password, and all other sessions have ended.
    background.spawn(claim_orders(call, account));
    Ok(StatusCode::NO_CONTENT)
}

/// Verify the e-mail address of an account
///
/// Orders placed as a guest with this address become the account's: at once where the caller is signed in to it, else
/// when its owner signs in next.
#[utoipa::path(
    post,
    path = "/v1/auth/email/verify",
    operation_id = "verifyEmail",
    tag = "Accounts",
    request_body(content = Verify, example = json!({"token": REFRESH_TOKEN})),
    responses((status = 204, description = "The address is verified.")),
)]
pub async fn verify_email(
    call: Call<Option<Caller>>,
    background: Background,
    Json(body): Json<Verify>,
) -> Result<StatusCode, Problem> {
    let front = call.front.clone();
    let proof = background.finish(async move {
        front
            .accounts
            .verify_email(&body.token)
            .await
            .map_err(spent_token)
    });
    let account = proof.await?;
    // The account may belong to somebody else, who opened it under this address: the orders of its reader are
    // transferred only to a session of that account, now or at the next sign-in.
    if call.caller.as_ref().and_then(Caller::user) == Some(&account.id) {
        background.spawn(claim_orders(call, account));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Transfers orders placed by a guest with the account's verified address. Failures are retried at the next sign-in.
async fn claim_orders<C>(call: Call<C>, account: Account) {
    let claims = claim_each(&call, &account);
    if tokio::time::timeout(CLAIM_LIMIT, claims).await.is_err() {
        tracing::warn!("a guest's orders were not handed over in time");
    }
}

async fn claim_each<C>(call: &Call<C>, account: &Account) {
    let orders = match call.front.accounts.guest_orders(account).await {
        Ok(orders) => orders,
        Err(error) => {
            return tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a guest's orders can't be read"
            );
        }
    };
    for order in orders {
        let command = OrderCommand::Claim {
            buyer: account.id.as_str().to_owned(),
        };
        if let Err(error) = call.ask_order(&order, command).await {
            tracing::warn!(error = &error as &dyn std::error::Error, %order, "a guest's order was not handed over");
        }
    }
}

/// An invalid code is an invalid field of the body, not an authentication failure.
fn spent_token(error: AccountError) -> Problem {
    match error {
        AccountError::BadToken => Problem::field("token", "is not valid, or not any more: ask for a new one"),
        error => error.into(),
    }
}

fn signed_in(status: StatusCode, tokens: &SignedIn) -> Result<Response, Problem> {
    let body = Tokens {
        user: UserBody::new(&tokens.account),
        access_token: &tokens.access_token,
        token_type: "Bearer",
        expires_in: tokens.expires_in,
        refresh_token: &tokens.refresh_token,
    };
    // Tokens must not be cached (RFC 6749, section 5.1).
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, json::reply(status, &body)?).into_response())
}

/// A reply with tokens in the published document.
fn example() -> serde_json::Value {
    serde_json::json!({
        "user": {
            "id": "usr_000001",
            "email": "ada@example.org",
            "name": "Ada Example",
            "phone": null,
            "roles": ["customer"],
            "email_verified": false,
            "created_at": "2026-11-22T10:00:00.000Z",
            "version": 1,
        },
        "access_token": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmVk",
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_token": REFRESH_TOKEN,
    })
}
