//! `/v1/auth`: registration and sessions.

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
use crate::http::request::caller::Signed;
use crate::http::request::front::SharedFront;
use crate::http::request::idempotency::KeptFor;
use crate::http::request::json::{self, Json};
use crate::http::request::path::PathParameter;
use crate::http::request::query::Page;
use souk_domain::account::email_key;
use souk_domain::{EmailAddress, SessionId};

/// A token in the published document.
pub const REFRESH_TOKEN: &str = "3q2-7wEjRWeJq83v_wABAgMEBQYHCAkKCwwNDg8QERI";

/// Longest `User-Agent` stored with a session, in characters.
const USER_AGENT_LIMIT: usize = 200;

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
        let owner = front.keys.owner(account.id.as_str());
        behind.spawn(async move { front.accounts.send_verification(&account).await });
        Ok((tokens, owner))
    });
    let (tokens, owner) = opened.await?;
    let mut reply = signed_in(StatusCode::CREATED, &tokens)?;
    reply.extensions_mut().insert(KeptFor(owner));
    Ok(reply)
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
    State(front): State<SharedFront>,
    device: Device,
    Json(body): Json<Login>,
) -> Result<Response, Problem> {
    // An address that no account can have gets the same reply as an unknown one.
    let email = EmailAddress::parse(&body.email).map_err(|_| Problem::new(problem::BAD_CREDENTIALS))?;
    let tokens = front
        .accounts
        .login(&email_key(&email), &body.password, &device)
        .await?;
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

/// A reply with the tokens of a session.
pub fn signed_in(status: StatusCode, tokens: &SignedIn) -> Result<Response, Problem> {
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
pub fn example() -> serde_json::Value {
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
