//! The account service: registration, login, refresh and logout, password reset and e-mail verification.
//!
//! A refusal is the same, and takes the same time, whether or not the account exists: nobody learns who is a customer.

mod change;
mod error;
mod opaque;
mod recovery;
mod types;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

pub use change::{CHANGE_ATTEMPTS, STEP_UP};
pub use error::AccountError;
use error::retry_store;
pub use types::{Device, Identity, Registration, SignedIn};

use super::guests::Guests;
use super::passwords::{PasswordError, Passwords};
use super::revocations::Revocations;
use super::ring::SharedRing;
use super::throttle::{Attempt, Throttle, known_network};
use super::tokens::{Grant, Issuer, TokenError, Verifier};
use crate::clock::Clock;
use crate::config;
use crate::gateways::mail::Mailer;
use crate::stores::codes::CodeStore;
use crate::stores::sessions::{LIST_LIMIT, Rotation, Session, SessionStore};
use crate::stores::users::{Change, Creation, Credential, UserRecord, UserStore};
pub use opaque::Successors;
use opaque::{opaque_token, token_hash};
use souk_domain::account::{Account, EmailKey, Role, email_key};
use souk_domain::{SessionId, Timestamp, UserId};

/// How long a network is remembered from which somebody has signed in.
const NETWORK_MEMORY: Duration = Duration::from_secs(180 * 24 * 3_600);

/// The service.
pub struct Accounts {
    /// The users store.
    pub users: Arc<dyn UserStore>,
    /// The sessions store.
    pub sessions: Arc<dyn SessionStore>,
    /// One-time codes.
    pub codes: Arc<dyn CodeStore>,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Issues access tokens.
    pub issuer: Issuer,
    /// Verifies them.
    pub verifier: Verifier,
    /// The keys that sign them.
    pub ring: SharedRing,
    /// The revoked sessions.
    pub revocations: Revocations,
    /// Throttles failed logins.
    pub throttle: Throttle,
    /// Names guests, whose orders wait for an account.
    pub guests: Guests,
    /// Derives refresh tokens.
    pub successors: Successors,
    /// Sends e-mail.
    pub mailer: Arc<dyn Mailer>,
    /// Lifetimes of sessions and codes.
    pub settings: config::Accounts,
    /// The clock.
    pub clock: Clock,
}

impl Accounts {
    /// Creates an account with its first session. [`Accounts::send_verification`] is the caller's to call: the account
    /// exists whether or not the e-mail can be sent.
    ///
    /// # Errors
    /// [`AccountError::EmailTaken`], [`AccountError::Throttled`], [`AccountError::Busy`], [`AccountError::Store`]
    pub async fn register(
        &self,
        registration: Registration,
        device: &Device,
    ) -> Result<SignedIn, AccountError> {
        let now = (self.clock)();
        if let Some(retry_after) = self.throttle.blocks_registration(device.address, now).await {
            return Err(AccountError::Throttled { retry_after });
        }
        // Nothing is hashed for an address that is taken, which the reply tells anyway.
        if self
            .users
            .by_email(&email_key(&registration.email))
            .await?
            .is_some()
        {
            return Err(AccountError::EmailTaken);
        }
        let credential = Credential::new(self.passwords.hash(&registration.password).await?);
        let now = (self.clock)();
        let account = Account {
            id: UserId::from_suffix(uuid::Uuid::now_v7().simple()),
            email: registration.email,
            name: registration.name,
            phone: None,
            roles: [Role::Customer].into(),
            email_verified: false,
            created_at: now,
            version: 1,
        };
        let record = UserRecord { account, credential };
        if self.users.create(&record).await? == Creation::EmailTaken {
            return Err(AccountError::EmailTaken);
        }
        let now = (self.clock)();
        let (session, token) = self.open_session(&record.account.id, device, now).await?;
        self.pair(record.account, &session, token, now)
    }

    /// Signs in: begins a session.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`], in the same time whether or not the account exists;
    /// [`AccountError::Throttled`], [`AccountError::Busy`].
    pub async fn login(
        &self,
        email: &EmailKey,
        password: &str,
        device: &Device,
    ) -> Result<SignedIn, AccountError> {
        let attempt = Attempt::new(email, device.address);
        let now = (self.clock)();
        let found = self.users.by_email(email).await?;
        // Read for nobody too, so that a missing account takes as long.
        let nobody = UserId::from_suffix("nobody");
        let user = found.as_ref().map_or(&nobody, |record| &record.account.id);
        let network = known_network(user, device.address);
        let is_known = self.sessions.remembers_network(&network, now).await?;
        self.attempt(&attempt, is_known, found.as_ref(), password).await?;
        let record = found.ok_or(AccountError::BadCredentials)?;
        let user = record.account.id.clone();
        let credential = self.rehashed(record, password).await;
        let now = (self.clock)();
        let (session, token) = self.open_session(&user, device, now).await?;
        match self.recheck(&user, &credential, password).await {
            Ok(account) => self.pair(account, &session, token, now),
            Err(error) => {
                // Its tokens were given to nobody. A failure has been logged.
                let _ = retry_store("end an abandoned session", || self.end_session(&user, &session)).await;
                Err(error)
            }
        }
    }

    /// Checks a password; a wrong one is counted. An account that does not exist has none, which takes as long.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`], [`AccountError::Throttled`], [`AccountError::Busy`].
    async fn attempt(
        &self,
        attempt: &Attempt,
        is_known: bool,
        record: Option<&UserRecord>,
        password: &str,
    ) -> Result<(), AccountError> {
        let now = (self.clock)();
        if let Some(retry_after) = self.throttle.blocks(attempt, is_known, now).await {
            return Err(AccountError::Throttled { retry_after });
        }
        let matches = match record {
            Some(record) => self.matches(&record.credential, password).await?,
            None => {
                self.passwords.verify_nobody(password).await?;
                false
            }
        };
        // Checked again: concurrent attempts that waited while others failed learn nothing either.
        let blocked = if matches {
            self.throttle.blocks(attempt, is_known, now).await
        } else {
            let user = record.map(|record| record.account.id.as_str());
            tracing::info!(target: "souk::audit", user, "a password was wrong");
            self.throttle.failed(attempt, is_known, now).await
        };
        if let Some(retry_after) = blocked {
            return Err(AccountError::Throttled { retry_after });
        }
        if !matches {
            return Err(AccountError::BadCredentials);
        }
        self.throttle.succeeded(attempt).await;
        Ok(())
    }

    /// The account, if the password is still valid for it. A password reset and an erasure end the sessions that exist by
    /// then; a login that they overtook has to end its own.
    async fn recheck(
        &self,
        user: &UserId,
        credential: &Credential,
        password: &str,
    ) -> Result<Account, AccountError> {
        let found = self.users.by_id(user).await?;
        let record = found.ok_or(AccountError::BadCredentials)?;
        // Another login may have rehashed the same password.
        if record.credential == *credential || self.matches(&record.credential, password).await? {
            Ok(record.account)
        } else {
            Err(AccountError::BadCredentials)
        }
    }

    async fn matches(&self, credential: &Credential, password: &str) -> Result<bool, PasswordError> {
        self.passwords.verify(password, credential.expose()).await
    }

    /// The credential, rehashed and stored where the hashing parameters have changed. Where that fails, the next login does
    /// it.
    async fn rehashed(&self, record: UserRecord, password: &str) -> Credential {
        let (account, stored) = (record.account, record.credential);
        if !self.passwords.needs_rehash(stored.expose()) {
            return stored;
        }
        let expected = account.version;
        let outcome = async {
            let credential = Credential::new(self.passwords.hash(password).await?);
            let version = expected + 1;
            let account = Account { version, ..account };
            let change = self.users.update(&account, Some(&credential), expected).await?;
            Ok::<_, AccountError>((change == Change::Applied).then_some(credential))
        };
        match outcome.await {
            Ok(credential) => credential.unwrap_or(stored),
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "a password could not be rehashed");
                stored
            }
        }
    }

    /// A new session, with its refresh token. An account with [`LIST_LIMIT`] sessions loses the one that was not used for
    /// longest. The device's network is remembered.
    async fn open_session(
        &self,
        user: &UserId,
        device: &Device,
        now: Timestamp,
    ) -> Result<(SessionId, String), AccountError> {
        let others = self.sessions.list(user, now).await?;
        if let Some(last) = others.last().filter(|_| others.len() >= LIST_LIMIT) {
            self.end_sessions(user, std::slice::from_ref(&last.id)).await?;
        }
        let session = Session {
            id: SessionId::from_suffix(uuid::Uuid::now_v7().simple()),
            user: user.clone(),
            created_at: now,
            last_used_at: now,
            expires_at: self.session_end(now, now),
            user_agent: device.user_agent.clone(),
            address: device.address.to_string(),
        };
        let (token, hash) = opaque_token();
        self.sessions.open(&session, &hash).await?;
        let network = known_network(user, device.address);
        self.sessions
            .remember_network(&network, now.plus(NETWORK_MEMORY))
            .await?;
        tracing::info!(target: "souk::audit", %user, session = %session.id, "signed in");
        Ok((session.id, token))
    }

    /// When a session ends that began at `created_at` and is used now.
    fn session_end(&self, created_at: Timestamp, now: Timestamp) -> Timestamp {
        let unused = now.plus(self.settings.session_seconds.duration());
        unused.min(created_at.plus(self.settings.session_total_seconds.duration()))
    }

    fn pair(
        &self,
        account: Account,
        session: &SessionId,
        refresh_token: String,
        now: Timestamp,
    ) -> Result<SignedIn, AccountError> {
        let roles: Vec<&str> = account.roles.iter().map(|role| role.as_str()).collect();
        let grant = Grant {
            user: account.id.as_str(),
            session: session.as_str(),
            roles: &roles,
        };
        let issued = self.issuer.issue(grant, now).map_err(AccountError::Token)?;
        Ok(SignedIn {
            account,
            access_token: issued.token,
            expires_in: issued.lifetime.as_secs(),
            refresh_token,
        })
    }

    /// Exchanges a refresh token for a new pair. Again within [`REPEATABLE_FOR`](crate::stores::sessions::REPEATABLE_FOR) it
    /// gets the same refresh token; one that was spent longer ago ends its session: one of its two holders is a thief.
    ///
    /// # Errors
    /// [`AccountError::BadToken`]
    pub async fn refresh(&self, token: &str) -> Result<SignedIn, AccountError> {
        let old = token_hash(token).ok_or(AccountError::BadToken)?;
        let now = (self.clock)();
        // The token is spent last, so that it can be shown again after an earlier failure.
        let session = self.sessions.session_of(&old, now).await?;
        let session = session.ok_or(AccountError::BadToken)?;
        let record = self.users.by_id(&session.user).await?;
        let account = record.ok_or(AccountError::BadToken)?.account;
        let (fresh, new) = self.successors.of(token);
        let pair = self.pair(account, &session.id, fresh, now)?;
        let expires_at = self.session_end(session.created_at, now);
        match self.sessions.rotate(&old, &new, now, expires_at).await? {
            Rotation::Rotated(_) => Ok(pair),
            Rotation::Reused(session) => {
                metrics::counter!("souk_refresh_tokens_reused_total").increment(1);
                tracing::warn!(target: "souk::audit", user = %session.user, session = %session.id,
                    "a refresh token was used twice; its session has ended");
                // Where that fails, the same token shown again leads here again.
                self.revocations.revoke(&[session.id], now).await?;
                Err(AccountError::BadToken)
            }
            Rotation::Unknown => Err(AccountError::BadToken),
        }
    }

    /// The caller that an access token identifies.
    ///
    /// # Errors
    /// [`TokenError`], also for a revoked session.
    pub fn identify(&self, token: &str) -> Result<Identity, TokenError> {
        let claims = self.verifier.verify(token, (self.clock)())?;
        let malformed = |_| TokenError::Malformed;
        Ok(Identity {
            user: UserId::parse(&claims.sub).map_err(malformed)?,
            session: SessionId::parse(&claims.sid).map_err(malformed)?,
            // An unknown role allows nothing.
            roles: claims.roles.iter().filter_map(|role| Role::parse(role)).collect(),
        })
    }

    /// Ends a session of the account. False where it has no such live session.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn end_session(&self, user: &UserId, session: &SessionId) -> Result<bool, AccountError> {
        // Revoked is only what belongs to the caller: anybody may name a session.
        let session = self.sessions.find(user, session, (self.clock)()).await?;
        let Some(session) = session else {
            return Ok(false);
        };
        self.end_sessions(user, &[session.id]).await?;
        Ok(true)
    }

    /// Ends sessions of the account. The first write keeps their access tokens from being accepted; where the second fails,
    /// the sessions are still live, and the caller can repeat the call.
    async fn end_sessions(&self, user: &UserId, sessions: &[SessionId]) -> Result<(), AccountError> {
        let now = (self.clock)();
        self.revocations.revoke(sessions, now).await?;
        self.sessions.end(user, sessions, now).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
