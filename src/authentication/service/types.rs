//! What goes into the service and comes out of it.

use std::net::IpAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::Accounts;
use souk_domain::account::{Account, Role};
use souk_domain::{EmailAddress, SessionId, UserId};

/// How long sessions and one-time tokens last.
#[derive(Clone, Copy, Debug)]
pub struct AccountSettings {
    /// A session that is not refreshed for so long has ended.
    pub session: Duration,
    /// How long the token of a forgotten password is good.
    pub reset: Duration,
    /// How long the token that proves an e-mail address is good.
    pub verification: Duration,
}

impl From<&Accounts> for AccountSettings {
    fn from(accounts: &Accounts) -> Self {
        Self {
            session: accounts.session_seconds.duration(),
            reset: accounts.reset_seconds.duration(),
            verification: accounts.verification_seconds.duration(),
        }
    }
}

/// What somebody signs in with, for the list of their devices.
#[derive(Clone, Debug)]
pub struct Device {
    /// What the client calls itself.
    pub user_agent: String,
    /// Where it calls from.
    pub address: IpAddr,
}

/// Who has been proven to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// What the account may do.
    pub roles: Vec<Role>,
}

/// A session's new pair of tokens, with the account that it is of.
pub struct SignedIn {
    /// The account.
    pub account: Account,
    /// The access token.
    pub access_token: String,
    /// How long it is good, in seconds.
    pub expires_in: u64,
    /// The refresh token; good once.
    pub refresh_token: String,
}

/// What a new account is made of, found valid.
pub struct Registration {
    /// Where letters go.
    pub email: EmailAddress,
    /// How the person is called.
    pub name: String,
    /// The password, not yet looked at.
    pub password: Zeroizing<String>,
}
