//! What the shop's handlers call: accounts are made and proven, sessions begin, go on and end.
//!
//! Refusals are the same, and take the same time, whether or not there is such an account: nobody learns here who is a
//! customer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::guests::Guests;
use super::passwords::{PasswordError, Passwords};
use super::revocations::Revocations;
use super::ring::SharedRing;
use super::throttle::{Attempt, Throttle};
use super::tokens::{Grant, IssueError, Issuer, TokenError, Verifier};
use crate::domain::account::password::{self, PasswordRefusal};
use crate::domain::account::{Account, EmailKey, Role, email_key};
use crate::domain::{EmailAddress, OrderId, SessionId, Timestamp, UserId};
use crate::gateways::mail::{Letter, Mailer};
use crate::stores::StoreError;
use crate::stores::sessions::{Purpose, Rotation, Session, SessionStore, TokenHash};
use crate::stores::users::{Change, Creation, Credential, UserRecord, UserStore};

/// Random bytes of a refresh token and of a one-time token: 256 bits can't be guessed, and need no slow hash.
const TOKEN_BYTES: usize = 32;

/// Longest opaque token that is looked at, in characters.
const TOKEN_LIMIT: usize = 64;

/// When to try again where too many passwords wait to be checked.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Orders of a guest that are handed over at once.
const GUEST_ORDERS: usize = 1_000;

/// How often a change that met a concurrent one is tried again.
const CHANGE_ATTEMPTS: u32 = 5;

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

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(30 * 24 * 3600),
            reset: Duration::from_secs(3600),
            verification: Duration::from_secs(3 * 24 * 3600),
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

/// Why an account's command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another account has the address.
    #[error("the e-mail address has an account already")]
    EmailTaken,
    /// The password is too weak.
    #[error(transparent)]
    WeakPassword(#[from] PasswordRefusal),
    /// No account has this address and password.
    #[error("no account has this e-mail address and password")]
    BadCredentials,
    /// The token is unknown, spent, or too old.
    #[error("the token is not valid")]
    BadToken,
    /// Too many attempts have failed.
    #[error("too many attempts have failed")]
    Throttled {
        /// When the next one is looked at.
        retry_after: Duration,
    },
    /// Too many wait for their passwords to be checked.
    #[error("too many passwords wait to be checked")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The account stands at another version than the caller expected.
    #[error("the account stands at version {current}")]
    VersionConflict {
        /// Where it stands.
        current: u64,
    },
    /// Somebody else changed the account in the same moment, again and again.
    #[error("the account keeps changing")]
    Contended,
    /// The account is gone.
    #[error("the account is gone")]
    Gone,
    /// A password could not be hashed or compared: a defect.
    #[error("a password could not be processed")]
    Password(#[source] PasswordError),
    /// No token could be made: a defect, or no signing key has been loaded yet.
    #[error("no access token could be made")]
    Token(#[source] IssueError),
    /// A store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PasswordError> for AccountError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy | PasswordError::TooLate => Self::Busy {
                retry_after: RETRY_AFTER,
            },
            // No account has such a password.
            PasswordError::TooLong => Self::BadCredentials,
            other => Self::Password(other),
        }
    }
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

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
    /// Makes an account with its first session, and sends the letter that proves its address.
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
        self.send_verification(&record.account).await;
        self.sign_in(record.account, device).await
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
        let is_known = match &found {
            Some(record) => self.is_known_device(&record.account.id, device, now).await?,
            None => false,
        };
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
        let (Some(record), true) = (found, matches) else {
            self.throttle.failed(&attempt, now).await;
            return Err(AccountError::BadCredentials);
        };
        self.throttle.succeeded(&attempt).await;
        if self.passwords.needs_rehash(record.credential.expose()) {
            self.rehash(&record, password).await;
        }
        self.sign_in(record.account, device).await
    }

    /// Whether a live session of the account was begun from the same address: strangers' failed attempts must not keep
    /// its owner out.
    async fn is_known_device(
        &self,
        user: &UserId,
        device: &Device,
        now: Timestamp,
    ) -> Result<bool, AccountError> {
        let address = device.address.to_string();
        let sessions = self.sessions.list(user, now).await?;
        Ok(sessions.iter().any(|session| session.address == address))
    }

    /// Keeps the password under today's parameters. Where that fails now, the next login does it.
    async fn rehash(&self, record: &UserRecord, password: &str) {
        let outcome = async {
            let credential = Credential::new(self.passwords.hash(password).await?);
            let account = Account {
                version: record.account.version + 1,
                ..record.account.clone()
            };
            self.users
                .update(&account, Some(&credential), record.account.version)
                .await?;
            Ok::<_, AccountError>(())
        };
        if let Err(error) = outcome.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a password could not be hashed anew"
            );
        }
    }

    async fn sign_in(&self, account: Account, device: &Device) -> Result<SignedIn, AccountError> {
        let now = (self.clock)();
        let session = Session {
            id: SessionId::from_suffix(uuid::Uuid::now_v7().simple()),
            user: account.id.clone(),
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(self.settings.session),
            user_agent: device.user_agent.clone(),
            address: device.address.to_string(),
        };
        let (token, hash) = opaque_token();
        self.sessions.open(&session, &hash).await?;
        self.pair(account, &session.id, token, now)
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
        let (fresh, new) = opaque_token();
        let session = match self
            .sessions
            .rotate(&old, &new, now, now.plus(self.settings.session))
            .await?
        {
            Rotation::Rotated(session) => session,
            Rotation::Reused(session) => {
                metrics::counter!("souk_refresh_tokens_reused_total").increment(1);
                tracing::warn!(target: "souk::audit", user = %session.user, session = %session.id,
                    "a refresh token was used twice: its session is over");
                return Err(AccountError::BadToken);
            }
            Rotation::Unknown => return Err(AccountError::BadToken),
        };
        let record = self
            .users
            .by_id(&session.user)
            .await?
            .ok_or(AccountError::BadToken)?;
        self.pair(record.account, &session.id, fresh, now)
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

    /// Sends the letter with which a forgotten password can be replaced; nothing where there is no such account, and
    /// nobody is told which.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn forgot_password(&self, email: &EmailKey) -> Result<(), AccountError> {
        let now = (self.clock)();
        let Some(record) = self.users.by_email(email).await? else {
            return Ok(());
        };
        let (token, hash) = opaque_token();
        let expires_at = now.plus(self.settings.reset);
        self.sessions
            .issue(Purpose::PasswordReset, &hash, &record.account.id, expires_at)
            .await?;
        self.post(Letter::password_reset(&record.account.email, &token))
            .await;
        Ok(())
    }

    /// Replaces a forgotten password, and ends every session of the account.
    ///
    /// # Errors
    /// [`AccountError::BadToken`], [`AccountError::WeakPassword`]
    pub async fn reset_password(&self, token: &str, password: &str) -> Result<Account, AccountError> {
        password::check_strength(password)?;
        let hash = token_hash(token).ok_or(AccountError::BadToken)?;
        // Before the token is spent: a full queue must not cost the shopper their letter.
        let credential = Credential::new(self.passwords.hash(password).await?);
        let now = (self.clock)();
        let user = self
            .sessions
            .redeem(Purpose::PasswordReset, &hash, now)
            .await?
            .ok_or(AccountError::BadToken)?;
        // Whoever reads the letters at that address has proven it.
        let account = self
            .change(&user, Some(&credential), |account| account.email_verified = true)
            .await?;
        self.sessions.revoke_all(&user, None, now).await?;
        tracing::info!(target: "souk::audit", %user, "a password was replaced");
        Ok(account)
    }

    /// Proves an e-mail address.
    ///
    /// # Errors
    /// [`AccountError::BadToken`]
    pub async fn verify_email(&self, token: &str) -> Result<Account, AccountError> {
        let hash = token_hash(token).ok_or(AccountError::BadToken)?;
        let user = self
            .sessions
            .redeem(Purpose::EmailVerification, &hash, (self.clock)())
            .await?
            .ok_or(AccountError::BadToken)?;
        self.change(&user, None, |account| account.email_verified = true)
            .await
    }

    /// The orders that were placed by a guest with the account's address, which it has proven.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn guest_orders(&self, account: &Account) -> Result<Vec<OrderId>, AccountError> {
        match email_key(&account.email) {
            Ok(key) if account.email_verified => Ok(self
                .users
                .guest_orders(&self.guests.name(&key), GUEST_ORDERS)
                .await?),
            _ => Ok(Vec::new()),
        }
    }

    /// The account.
    ///
    /// # Errors
    /// [`AccountError::Gone`]
    pub async fn account(&self, user: &UserId) -> Result<Account, AccountError> {
        let record = self.users.by_id(user).await?.ok_or(AccountError::Gone)?;
        Ok(record.account)
    }

    /// Changes the account as it stands; decided again where another change came first.
    ///
    /// # Errors
    /// [`AccountError::Gone`], [`AccountError::Contended`]
    pub async fn change(
        &self,
        user: &UserId,
        credential: Option<&Credential>,
        change: impl Fn(&mut Account),
    ) -> Result<Account, AccountError> {
        self.change_if(user, |_| true, credential, change).await
    }

    /// [`Accounts::change`], where `allows` says that the version which stands there may be changed.
    ///
    /// # Errors
    /// [`AccountError::VersionConflict`], and as of [`Accounts::change`].
    pub async fn change_if(
        &self,
        user: &UserId,
        allows: impl Fn(u64) -> bool,
        credential: Option<&Credential>,
        change: impl Fn(&mut Account),
    ) -> Result<Account, AccountError> {
        for _ in 0..CHANGE_ATTEMPTS {
            let mut account = self.account(user).await?;
            let expected = account.version;
            if !allows(expected) {
                return Err(AccountError::VersionConflict { current: expected });
            }
            change(&mut account);
            account.version = expected + 1;
            match self.users.update(&account, credential, expected).await? {
                Change::Applied => return Ok(account),
                Change::Conflict => {}
                Change::Missing => return Err(AccountError::Gone),
            }
        }
        Err(AccountError::Contended)
    }

    /// Erases the account and ends its sessions. Its orders are stripped of what identifies by whoever calls this.
    ///
    /// # Errors
    /// [`AccountError::Gone`]
    pub async fn erase(&self, user: &UserId) -> Result<(), AccountError> {
        self.sessions.revoke_all(user, None, (self.clock)()).await?;
        if self.users.erase(user).await? {
            tracing::info!(target: "souk::audit", %user, "an account was erased");
            Ok(())
        } else {
            Err(AccountError::Gone)
        }
    }

    async fn send_verification(&self, account: &Account) {
        let (token, hash) = opaque_token();
        let expires_at = (self.clock)().plus(self.settings.verification);
        let issued = self
            .sessions
            .issue(Purpose::EmailVerification, &hash, &account.id, expires_at)
            .await;
        match issued {
            Ok(()) => self.post(Letter::verification(&account.email, &token)).await,
            // The account stands all the same.
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no letter could be sent to prove an e-mail address"
            ),
        }
    }

    async fn post(&self, letter: Letter) {
        if let Err(error) = self.mailer.send(&letter).await {
            metrics::counter!("souk_letters_failed_total").increment(1);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a letter could not be sent"
            );
        }
    }
}

/// A new opaque token and the hash under which it is kept.
fn opaque_token() -> (String, TokenHash) {
    let mut bytes = [0; TOKEN_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = TokenHash(Sha256::digest(token.as_bytes()).into());
    (token, hash)
}

/// The hash of a token that a client sent; `None` for what can't be one.
fn token_hash(token: &str) -> Option<TokenHash> {
    let plausible =
        !token.is_empty() && token.len() <= TOKEN_LIMIT && token.bytes().all(|byte| byte.is_ascii_graphic());
    plausible.then(|| TokenHash(Sha256::digest(token.as_bytes()).into()))
}
