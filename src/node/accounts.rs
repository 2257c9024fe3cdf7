//! The account service of a node: made from its stores and its configuration, kept up by two workers.

use std::sync::Arc;
use std::time::Duration;

use super::NodeError;
use super::service::{Run, until_cancelled};
use crate::authentication::guests::Guests;
use crate::authentication::service::{Accounts, Successors};
use crate::authentication::throttle::Throttle;
use crate::authentication::{
    Issuer, PasswordSettings, Passwords, RevocationSettings, Revocations, SigningKeySettings, SigningKeys,
    TokenSettings, Verifier,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::gateways::mail::MailFolder;
use crate::stores::Stores;
use souk_cluster::key::ClusterKey;

/// The audience of access tokens: the shop.
const AUDIENCE: &str = "souk";

/// How much longer than an access token lives its revocation is kept, for nodes that start.
const REVOCATION_MARGIN: Duration = Duration::from_secs(120);

/// The mail folder, below the data folder.
const MAIL_FOLDER: &str = "mail";

/// The service with its background workers.
#[derive(Clone)]
pub(super) struct AccountParts {
    pub(super) service: Arc<Accounts>,
    pub(super) keys: SigningKeys,
    /// How long a revocation is kept.
    pub(super) keep_revocations: Duration,
}

impl AccountParts {
    /// Reads keys and revocations; creates the first key where there is none.
    pub(super) async fn open(
        config: &Config,
        stores: &Stores,
        key: &ClusterKey,
        clock: &Clock,
    ) -> Result<Self, NodeError> {
        let accounts = &config.accounts;
        let tokens = TokenSettings {
            issuer: format!("souk/{}", config.cluster.name),
            audience: AUDIENCE.to_owned(),
            lifetime: accounts.access_token_seconds.duration(),
        };
        let longest_life = tokens.longest_life();
        let now = clock();
        let keys = SigningKeys::open(
            Arc::clone(&stores.signing_keys),
            key,
            SigningKeySettings::for_tokens(longest_life),
            now,
        )
        .await?;
        let following = RevocationSettings {
            interval: accounts.revocations_ms.duration(),
            longest_life,
        };
        let revocations = Revocations::open(Arc::clone(&stores.revocations), following, now)
            .await
            .map_err(NodeError::Revocations)?;
        let passwords = Passwords::start(PasswordSettings::from(accounts))?;
        let service = Accounts {
            users: Arc::clone(&stores.users),
            sessions: Arc::clone(&stores.sessions),
            codes: Arc::clone(&stores.codes),
            passwords,
            issuer: Issuer::new(keys.ring(), keys.rules(), tokens.clone()),
            verifier: Verifier::new(keys.ring(), revocations.sessions(), &tokens),
            ring: keys.ring(),
            revocations,
            throttle: Throttle {
                counters: Arc::clone(&stores.counters),
            },
            guests: Guests::new(key),
            successors: Successors::new(key),
            mailer: Arc::new(MailFolder(config.cluster.data.join(MAIL_FOLDER))),
            settings: accounts.clone(),
            clock: Arc::clone(clock),
        };
        Ok(Self {
            service: Arc::new(service),
            keys,
            keep_revocations: longest_life + REVOCATION_MARGIN,
        })
    }

    /// Follows the signing keys.
    pub(super) fn follow_keys(&self, clock: &Clock) -> Run {
        let (keys, clock) = (self.keys.clone(), Arc::clone(clock));
        until_cancelled(move |shutdown| keys.clone().follow(Arc::clone(&clock), shutdown))
    }

    /// Follows the revocations.
    pub(super) fn follow_revocations(&self, clock: &Clock) -> Run {
        let (revocations, clock) = (self.service.revocations.clone(), Arc::clone(clock));
        until_cancelled(move |shutdown| revocations.clone().follow(Arc::clone(&clock), shutdown))
    }
}
