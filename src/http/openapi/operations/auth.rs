//! `/v1/auth`

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::operation::{Operation, Tag};
use crate::http::api::auth::{Forgot, Login, Refresh, Register, Reset, Sessions, Tokens, Verify};
use crate::http::edge::problem;
use souk_domain::SessionId;

const REFRESH_TOKEN: &str = "3q2-7wEjRWeJq83v_wABAgMEBQYHCAkKCwwNDg8QERI";

fn signed_in() -> Value {
    json!({
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

pub fn register() -> Operation {
    Operation::new(Tag::Accounts, "register", "Open an account")
        .body::<Register>(
            json!({"email": "ada@example.org", "password": "a long sentence of mine", "name": "Ada Example"}),
        )
        .reply::<Tokens<'static>>(StatusCode::CREATED, "The account, signed in.")
        .example(signed_in())
        .problem(problem::EMAIL_TAKEN)
}

pub fn login() -> Operation {
    Operation::new(Tag::Accounts, "login", "Sign in")
        .about("Takes as long for an account that does not exist as for a wrong password.")
        .body::<Login>(json!({"email": "ada@example.org", "password": "a long sentence of mine"}))
        .reply::<Tokens<'static>>(StatusCode::OK, "The account, signed in.")
        .example(signed_in())
        .problem(problem::BAD_CREDENTIALS)
}

pub fn refresh() -> Operation {
    Operation::new(Tag::Accounts, "refreshTokens", "Get new tokens")
        .about("The refresh token is spent with this; who sends it again ends the whole session.")
        .body::<Refresh>(json!({"refresh_token": REFRESH_TOKEN}))
        .reply::<Tokens<'static>>(StatusCode::OK, "A new pair.")
        .example(signed_in())
        .problem(problem::BAD_REFRESH_TOKEN)
}

pub fn logout() -> Operation {
    Operation::new(Tag::Accounts, "logout", "End this session")
        .about("Its tokens stop working on every node within seconds.")
        .empty(StatusCode::NO_CONTENT, "It is over.")
}

pub fn sessions() -> Operation {
    Operation::new(Tag::Accounts, "listSessions", "List the caller's sessions")
        .reply::<Sessions<'static>>(StatusCode::OK, "All of them, the latest used first.")
}

pub fn end_session() -> Operation {
    Operation::new(Tag::Accounts, "endSession", "End a session of the caller's")
        .variable::<SessionId>("The session.")
        .empty(StatusCode::NO_CONTENT, "It is over.")
}

pub fn forgot_password() -> Operation {
    Operation::new(
        Tag::Accounts,
        "forgotPassword",
        "Ask for a letter to set a new password by",
    )
    .body::<Forgot>(json!({"email": "ada@example.org"}))
    .empty(
        StatusCode::ACCEPTED,
        "Where there is such an account, a letter is on its way to it.",
    )
}

pub fn reset_password() -> Operation {
    Operation::new(Tag::Accounts, "resetPassword", "Set a new password")
        .about("Every session of the account ends.")
        .body::<Reset>(json!({"token": REFRESH_TOKEN, "password": "another long sentence"}))
        .empty(StatusCode::NO_CONTENT, "It is set.")
}

pub fn verify_email() -> Operation {
    Operation::new(
        Tag::Accounts,
        "verifyEmail",
        "Prove that the e-mail address is one's own",
    )
    .about(
        "What was ordered as a guest with the address becomes the account's: at once where the caller is signed in there, \
         else when its owner signs in next.",
    )
    .body::<Verify>(json!({"token": REFRESH_TOKEN}))
    .empty(StatusCode::NO_CONTENT, "It is proven.")
}
