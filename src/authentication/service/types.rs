//! Parameters and results of the account service.

use std::net::IpAddr;

use zeroize::Zeroizing;

use souk_domain::account::{Account, Role, check_name, password};
use souk_domain::{EmailAddress, FieldError, SessionId, UserId};

/// The device that somebody signs in on.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its user agent.
    pub user_agent: String,
    /// Its network address.
    pub address: IpAddr,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The account's roles.
    pub roles: Vec<Role>,
}

/// A session's new pair of tokens.
pub struct SignedIn {
    /// The session's account.
    pub account: Account,
    /// The access token.
    pub access_token: String,
    /// The access token's lifetime in seconds.
    pub expires_in: u64,
    /// The refresh token; valid once.
    pub refresh_token: String,
}

/// A valid request for a new account.
pub struct Registration {
    pub(super) email: EmailAddress,
    pub(super) name: String,
    pub(super) password: Zeroizing<String>,
}

impl Registration {
    /// Checks what somebody submitted.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn new(email: &str, name: String, password: Zeroizing<String>) -> Result<Self, Vec<FieldError>> {
        let email = EmailAddress::parse(email).map_err(|error| FieldError::new("email", error.to_string()));
        let strength = match &email {
            Ok(email) => password::check(&password, email, &name),
            Err(_) => password::check_strength(&password),
        };
        let strength = strength.map_err(|refusal| FieldError::new("password", refusal.to_string()));
        match (email, check_name(&name), strength) {
            (Ok(email), Ok(()), Ok(())) => Ok(Self {
                email,
                name,
                password,
            }),
            (email, name, strength) => {
                let errors = [email.err(), name.err(), strength.err()];
                Err(errors.into_iter().flatten().collect())
            }
        }
    }
}
