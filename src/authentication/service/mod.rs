//! What the shop's handlers call: accounts are made and proven, sessions begin, go on and end.
//!
//! Refusals are the same, and take the same time, whether or not there is such an account: nobody learns here who is a
//! customer.

mod change;
mod error;
mod opaque;
mod recovery;
mod types;

use std::sync::Arc;

pub use change::CHANGE_ATTEMPTS;
pub use error::AccountError;
use error::retry_store;
pub use types::{AccountSettings, Device, Identity, Registration, SignedIn};

use super::guests::Guests;
use super::passwords::Passwords;
use super::revocations::Revocations;
use super::ring::SharedRing;
use super::throttle::{Attempt, Throttle, is_same_network};
use super::tokens::{Grant, Issuer, TokenError, Verifier};
use crate::clock::Clock;
use crate::gateways::mail::Mailer;
use crate::stores::sessions::{Rotation, Session, SessionStore};
use crate::stores::users::{Change, Creation, Credential, UserRecord, UserStore};
use opaque::{opaque_token, token_hash};
use souk_domain::account::password;
use souk_domain::account::{Account, EmailKey, Role};
use souk_domain::{SessionId, Timestamp, UserId};

/// The service.
pub struct Accounts {
    /// The users store.
    pub users: Arc<dyn UserStore>,
    /// The sessions store.
    pub sessions: Arc<dyn SessionStore>,
    /// Where passwords are hashed.
    pub passwords: Passwords,
    /// Makes access tokens.
    pub issuer: Issuer,
    /// Checks them.
    pub verifier: Verifier,
    /// The public halves of the keys that sign them.
    pub ring: SharedRing,
    /// The sessions that have ended.
    pub revocations: Revocations,
    /// Counts failed attempts.
    pub throttle: Throttle,
    /// Names guests, whose orders wait for their accounts.
    pub guests: Guests,
    /// Carries letters.
    pub mailer: Arc<dyn Mailer>,
    /// How long things last.
    pub settings: AccountSettings,
    /// Tells the time.
    pub clock: Clock,
}

impl Accounts {
    /// Makes an account with its first session. The letter that proves its address is another matter
    /// ([`Accounts::send_verification`]): the account stands whether or not it can be sent.
    ///
    /// # Errors
    /// [`AccountError::EmailTaken`], [`AccountError::WeakPassword`], and what stores and passwords may say.
    pub async fn register(
        &self,
        registration: Registration,
        device: &Device,
    ) -> Result<SignedIn, AccountError> {
        let Registration {
            email,
            name,
            password,
        } = registration;
        password::check(&password, &email, &name)?;
        // Hashed first: whoever asks for a taken address shall not be answered sooner.
        let credential = Credential::new(self.passwords.hash(&password).await?);
        let now = (self.clock)();
        let account = Account {
            id: UserId::from_suffix(uuid::Uuid::now_v7().simple()),
            email,
            name,
            phone: None,
            roles: [Role::Customer].into(),
            email_verified: false,
            created_at: now,
            version: 1,
        };
        let record = UserRecord { account, credential };
        match self.users.create(&record).await? {
            Creation::EmailTaken => return Err(AccountError::EmailTaken),
            Creation::Created => {}
        }
        let now = (self.clock)();
        let (session, token) = self.open_session(&record.account.id, device, now).await?;
        self.pair(record.account, &session, token, now)
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`] in the same time whether or not there is the account;
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
        // Asked for nobody too: an account that does not exist shall not be answered sooner.
        let nobody = UserId::from_suffix("nobody");
        let user = found.as_ref().map_or(&nobody, |record| &record.account.id);
        let is_known = self.is_known_device(user, device, now).await?;
        if let Some(retry_after) = self.throttle.blocks(&attempt, is_known, now).await {
            return Err(AccountError::Throttled { retry_after });
        }
        let matches = match &found {
            Some(record) => {
                self.passwords
                    .verify(password, record.credential.expose())
                    .await?
            }
            None => {
                self.passwords.verify_nobody(password).await?;
                false
            }
        };
        // Asked again: of many attempts at once, those that waited while others failed are told nothing either.
        let blocked = self.throttle.blocks(&attempt, is_known, now).await;
        if !matches {
            self.throttle.failed(&attempt, now).await;
        }
        if let Some(retry_after) = blocked {
            return Err(AccountError::Throttled { retry_after });
        }
        let (Some(record), true) = (found, matches) else {
            return Err(AccountError::BadCredentials);
        };
        self.throttle.succeeded(&attempt).await;
        let user = record.account.id.clone();
        let credential = self.kept_anew(record, password).await;
        let now = (self.clock)();
        let (session, token) = self.open_session(&user, device, now).await?;
        match self.still_opened(&user, &credential, password).await {
            Ok(account) => self.pair(account, &session, token, now),
            Err(error) => {
                self.abandon(&user, &session).await;
                Err(error)
            }
        }
    }

    /// The account as it stands, where the password that was checked still opens it. Whoever replaces a password, or erases
    /// an account, ends the sessions that there are by then; one that began meanwhile ends itself.
    async fn still_opened(
        &self,
        user: &UserId,
        credential: &Credential,
        password: &str,
    ) -> Result<Account, AccountError> {
        let record = self
            .users
            .by_id(user)
            .await?
            .ok_or(AccountError::BadCredentials)?;
        // Another login may have kept the same password anew.
        let is_open = record.credential == *credential
            || self
                .passwords
                .verify(password, record.credential.expose())
                .await?;
        is_open
            .then_some(record.account)
            .ok_or(AccountError::BadCredentials)
    }

    /// Ends a session whose tokens nobody was given.
    async fn abandon(&self, user: &UserId, session: &SessionId) {
        // A failure has been logged.
        let _ = retry_store("end an abandoned session", || self.end_session(user, session)).await;
    }

    /// Whether a live session of the account was begun from the same address: strangers' failed attempts must not keep
    /// its owner out.
    async fn is_known_device(
        &self,
        user: &UserId,
        device: &Device,
        now: Timestamp,
    ) -> Result<bool, AccountError> {
        let sessions = self.sessions.list(user, now).await?;
        Ok(sessions
            .iter()
            .any(|session| is_same_network(&session.address, device.address)))
    }

    /// The credential under today's parameters, which it is kept under from now on. Where that fails, the next login does
    /// it.
    async fn kept_anew(&self, record: UserRecord, password: &str) -> Credential {
        let UserRecord {
            account,
            credential: kept,
        } = record;
        if !self.passwords.needs_rehash(kept.expose()) {
            return kept;
        }
        let expected = account.version;
        let outcome = async {
            let credential = Credential::new(self.passwords.hash(password).await?);
            let account = Account {
                version: expected + 1,
                ..account
            };
            let change = self.users.update(&account, Some(&credential), expected).await?;
            Ok::<_, AccountError>((change == Change::Applied).then_some(credential))
        };
        match outcome.await {
            Ok(credential) => credential.unwrap_or(kept),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a password could not be hashed anew"
                );
                kept
            }
        }
    }

    /// A new session, with its refresh token.
    async fn open_session(
        &self,
        user: &UserId,
        device: &Device,
        now: Timestamp,
    ) -> Result<(SessionId, String), AccountError> {
        let session = Session {
            id: SessionId::from_suffix(uuid::Uuid::now_v7().simple()),
            user: user.clone(),
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(self.settings.session),
            user_agent: device.user_agent.clone(),
            address: device.address.to_string(),
        };
        let (token, hash) = opaque_token();
        self.sessions.open(&session, &hash).await?;
        Ok((session.id, token))
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

    /// Exchanges a refresh token for a new pair. A spent one ends its session: one of the two who hold it is a thief.
    ///
    /// # Errors
    /// [`AccountError::BadToken`]
    pub async fn refresh(&self, token: &str) -> Result<SignedIn, AccountError> {
        let old = token_hash(token).ok_or(AccountError::BadToken)?;
        let now = (self.clock)();
        // The token is spent last: whoever shows it again because something failed before is no thief.
        let session = self.sessions.session_of(&old, now).await?;
        let session = session.ok_or(AccountError::BadToken)?;
        let record = self.users.by_id(&session.user).await?;
        let account = record.ok_or(AccountError::BadToken)?.account;
        let (fresh, new) = opaque_token();
        let pair = self.pair(account, &session.id, fresh, now)?;
        let expires_at = now.plus(self.settings.session);
        match self.sessions.rotate(&old, &new, now, expires_at).await? {
            Rotation::Rotated(_) => Ok(pair),
            Rotation::Reused(session) => {
                metrics::counter!("souk_refresh_tokens_reused_total").increment(1);
                tracing::warn!(target: "souk::audit", user = %session.user, session = %session.id,
                    "a refresh token was used twice: its session is over");
                Err(AccountError::BadToken)
            }
            Rotation::Unknown => Err(AccountError::BadToken),
        }
    }

    /// Who an access token says calls.
    ///
    /// # Errors
    /// [`TokenError`] for whatever is wrong with it, a session that has ended included.
    pub fn identify(&self, token: &str) -> Result<Identity, TokenError> {
        let claims = self.verifier.verify(token, (self.clock)())?;
        let malformed = |_| TokenError::Malformed;
        Ok(Identity {
            user: UserId::parse(&claims.sub).map_err(malformed)?,
            session: SessionId::parse(&claims.sid).map_err(malformed)?,
            // A role that this version does not know allows nothing.
            roles: claims.roles.iter().filter_map(|role| Role::parse(role)).collect(),
        })
    }

    /// Ends a session of the account. False where there is none that lives.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn end_session(&self, user: &UserId, session: &SessionId) -> Result<bool, AccountError> {
        let ended = self.sessions.revoke(user, session, (self.clock)()).await?;
        if ended {
            // This node need not wait for its next look; the others learn of it there. Only of what was the caller's to end:
            // anybody may name a session.
            self.revocations.note(session.as_str(), (self.clock)());
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests;
