//! The account service of a node: made from its stores and its configuration, kept up by two workers.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::NodeError;
use super::service::Run;
use crate::authentication::guests::Guests;
use crate::authentication::kept::Kept;
use crate::authentication::service::{AccountSettings, Accounts};
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

/// Who may read the access tokens of a shop: the shop.
const AUDIENCE: &str = "souk";

/// How much longer than an access token lives the news of a revocation is kept: a node that starts must still read it.
const REVOCATION_MARGIN: Duration = Duration::from_secs(120);

/// The folder of letters, below the data folder.
const MAIL_FOLDER: &str = "mail";

/// The service with what keeps it up.
#[derive(Clone)]
pub(super) struct AccountParts {
    pub(super) service: Arc<Accounts>,
    pub(super) keys: SigningKeys,
    /// How long the news of a revocation is kept.
    pub(super) keep_revocations: Duration,
}

impl AccountParts {
    /// Reads keys and revocations; makes the first key where there is none.
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
        let kept = Arc::new(Kept(Arc::clone(&stores.sessions)));
        let now = clock();
        let keys = SigningKeys::open(
            Arc::clone(&kept) as Arc<_>,
            key,
            SigningKeySettings::for_tokens(longest_life),
            now,
        )
        .await?;
        let following = RevocationSettings {
            interval: accounts.revocations_ms.duration(),
            longest_life,
        };
        let revocations = Revocations::open(kept, following, now).await?;
        let passwords = Passwords::start(PasswordSettings::from(accounts))?;
        let service = Accounts {
            users: Arc::clone(&stores.users),
            sessions: Arc::clone(&stores.sessions),
            passwords,
            issuer: Issuer::new(keys.ring(), keys.rules(), tokens.clone()),
            verifier: Verifier::new(keys.ring(), revocations.sessions(), &tokens),
            ring: keys.ring(),
            revocations,
            throttle: Throttle::new(Arc::clone(&stores.sessions)),
            guests: Guests::new(key),
            mailer: Arc::new(MailFolder::new(config.cluster.data.join(MAIL_FOLDER))),
            settings: AccountSettings::from(accounts),
            clock: Arc::clone(clock),
        };
        Ok(Self {
            service: Arc::new(service),
            keys,
            keep_revocations: longest_life + REVOCATION_MARGIN,
        })
    }

    /// Keeps the signing keys as the store has them.
    pub(super) fn follow_keys(&self, clock: &Clock) -> Run {
        let (keys, clock) = (self.keys.clone(), Arc::clone(clock));
        Arc::new(move |shutdown| {
            let (keys, clock) = (keys.clone(), Arc::clone(&clock));
            async move {
                keys.follow(clock, shutdown).await;
                Ok(())
            }
            .boxed()
        })
    }

    /// Learns of the sessions that end on other nodes.
    pub(super) fn follow_revocations(&self, clock: &Clock) -> Run {
        let (revocations, clock) = (self.service.revocations.clone(), Arc::clone(clock));
        Arc::new(move |shutdown| {
            let (revocations, clock) = (revocations.clone(), Arc::clone(&clock));
            async move {
                revocations.follow(clock, shutdown).await;
                Ok(())
            }
            .boxed()
        })
    }
}
