//! A shopper of goose: its requests, and which replies are right.

use std::time::Duration;

use goose::prelude::*;
use serde_json::Value;

use super::world::{Event, World};
use crate::client::retry_after;
use crate::order;

/// Longest pause after a refusal, whatever `Retry-After` says.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A cart that a guest has left.
#[derive(Clone, Debug)]
pub struct LeftCart {
    /// Its token.
    pub token: String,
    /// The pieces in it.
    pub pieces: u64,
}

/// An account with its access token.
#[derive(Clone, Debug)]
pub struct Account {
    /// The address it signs in with.
    pub email: String,
    /// The access token.
    pub token: String,
    /// When the token was given.
    pub since: std::time::Instant,
}

/// What a shopper remembers from one journey to the next.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Journeys so far.
    pub journeys: usize,
    /// Carts that were left, oldest first.
    pub left: std::collections::VecDeque<LeftCart>,
    /// The shopper's account.
    pub account: Option<Account>,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// Nobody in particular.
    Anyone,
    /// A guest, by the token of the cart.
    Guest(&'a str),
    /// An account, by its access token.
    Account(&'a str),
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    method: GooseMethod,
    path: &'a str,
    /// What it is called in reports: the path without identifiers.
    name: &'a str,
    caller: Caller<'a>,
    body: Option<Value>,
    has_key: bool,
    expected: Option<&'static str>,
}

impl<'a> Request<'a> {
    /// A GET.
    pub fn get(path: &'a str, name: &'a str, caller: Caller<'a>) -> Self {
        Self {
            method: GooseMethod::Get,
            path,
            name,
            caller,
            body: None,
            has_key: false,
            expected: None,
        }
    }

    /// A POST.
    pub fn post(path: &'a str, name: &'a str, caller: Caller<'a>) -> Self {
        Self {
            method: GooseMethod::Post,
            ..Self::get(path, name, caller)
        }
    }

    /// Adds a body.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds an idempotency key.
    #[must_use]
    pub fn with_key(mut self) -> Self {
        self.has_key = true;
        self
    }

    /// A problem that is right here as well.
    #[must_use]
    pub fn expecting(mut self, problem: Option<&'static str>) -> Self {
        self.expected = problem;
        self
    }
}

/// A reply that is right.
#[derive(Debug)]
pub enum Reply {
    /// Success: the status and the body.
    Done(u16, Value),
    /// The problem that was expected.
    Expected,
}

/// Why a journey ends early.
#[derive(Debug)]
pub enum Stop {
    /// The shop said when to try again.
    Refused,
    /// Something is wrong.
    Wrong(Box<TransactionError>),
}

impl From<Box<TransactionError>> for Stop {
    fn from(error: Box<TransactionError>) -> Self {
        Self::Wrong(error)
    }
}

/// One shopper on one journey.
pub struct Shopper<'a> {
    /// Goose's side of it.
    pub user: &'a mut GooseUser,
    /// What all shoppers share.
    pub world: &'a World,
    /// What the shopper remembers.
    pub session: &'a mut Session,
}

impl Shopper<'_> {
    /// Continues at the next node.
    pub fn change_node(&mut self) -> Result<(), Stop> {
        self.session.journeys += 1;
        let at = (self.user.weighted_users_index + self.session.journeys) % self.world.shops.len();
        Ok(self.user.set_base_url(&self.world.shops[at].to_string())?)
    }

    /// Makes a request. Success is right, and so are the problem that is expected and a refusal with `Retry-After`; goose
    /// counts all else as failed.
    pub async fn call(&mut self, request: Request<'_>) -> Result<Reply, Stop> {
        let mut builder = self.user.get_request_builder(&request.method, request.path)?;
        builder = match request.caller {
            Caller::Anyone => builder,
            Caller::Guest(token) => builder.header("Cart-Token", token),
            Caller::Account(token) => builder.bearer_auth(token),
        };
        if request.has_key {
            builder = builder.header("Idempotency-Key", order::key());
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        let sent = GooseRequest::builder()
            .name(request.name)
            .set_request_builder(builder)
            .build();
        let mut goose = self.user.request(sent).await?;
        let failed = |why: String| format!("{:?} {}: {why}", request.method, request.name);
        let response = match goose.response {
            Ok(response) => response,
            Err(error) => return Err(self.failed(failed(error.to_string()))),
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Err(self.failed(failed(error.to_string()))),
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let problem = body["type"]
            .as_str()
            .and_then(|kind| kind.rsplit('/').next())
            .unwrap_or_default();
        match (status, retry_after) {
            (200..300, _) => Ok(Reply::Done(status, body)),
            _ if request.expected.is_some_and(|expected| expected == problem) => {
                self.user.set_success(&mut goose.request)?;
                Ok(Reply::Expected)
            }
            (429 | 503, Some(pause)) => {
                self.user.set_success(&mut goose.request)?;
                self.world.note(Event::Refused(problem.to_owned()));
                // As the shop asks.
                tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
                Err(Stop::Refused)
            }
            _ => Err(self.failed(failed(format!("{status} {text}")))),
        }
    }

    /// Makes a request that has no other right reply than success; its body.
    pub async fn fetch(&mut self, request: Request<'_>) -> Result<Value, Stop> {
        let name = request.name.to_owned();
        match self.call(request).await? {
            Reply::Done(_, body) => Ok(body),
            Reply::Expected => Err(self.failed(format!("{name}: a problem where none was expected"))),
        }
    }

    /// A text of a reply.
    pub fn text(&self, body: &Value, pointer: &str) -> Result<String, Stop> {
        let text = body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| self.failed(format!("a reply without {pointer}: {body}")))
    }

    /// Counts a failure: a reply that is wrong, or one whose content is.
    pub fn failed(&self, why: String) -> Stop {
        self.world.fail(why.clone());
        Stop::Wrong(why.into())
    }
}
