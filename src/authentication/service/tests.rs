//! Logins and refreshes that meet concurrent changes of the account, or an unavailable store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use zeroize::Zeroizing;

use super::*;
use crate::authentication::PasswordSettings;
use crate::http::test_support::{NOW, accounts};
use crate::stores::StoreError;
use crate::stores::TokenHash;
use crate::stores::codes::Purpose;
use crate::stores::sessions::REPEATABLE_FOR;
use crate::stores::users::{AddressChange, SavedAddress};
use souk_domain::account::email_key;
use souk_domain::{AddressId, EmailAddress, OrderId, Preferences, Purchase};

mod guessing;

const PASSWORD: &str = "a long sentence of mine";

/// A users store that can be unavailable, and that runs something else before it answers whoever asks by an address.
struct Users {
    inner: Arc<dyn UserStore>,
    unavailable: AtomicBool,
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Users {
    fn meanwhile(&self, happens: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::pin(happens));
    }
}

#[async_trait]
impl UserStore for Users {
    fn technology(&self) -> &'static str {
        self.inner.technology()
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
    async fn create(&self, record: &UserRecord) -> Result<Creation, StoreError> {
        self.inner.create(record).await
    }
    async fn by_id(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        if self.unavailable.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable {
                store: "users",
                cause: "gone".into(),
            });
        }
        self.inner.by_id(id).await
    }
    async fn by_email(&self, key: &EmailKey) -> Result<Option<UserRecord>, StoreError> {
        let found = self.inner.by_email(key).await;
        let meanwhile = self
            .meanwhile
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(happens) = meanwhile {
            happens.await;
        }
        found
    }
    async fn update(
        &self,
        account: &Account,
        credential: Option<&Credential>,
        expected: u64,
    ) -> Result<Change, StoreError> {
        self.inner.update(account, credential, expected).await
    }
    async fn erase(&self, id: &UserId) -> Result<bool, StoreError> {
        self.inner.erase(id).await
    }
    async fn addresses(&self, user: &UserId) -> Result<Vec<SavedAddress>, StoreError> {
        self.inner.addresses(user).await
    }
    async fn put_address(
        &self,
        _: &UserId,
        _: &SavedAddress,
        _: Option<u64>,
        _: usize,
    ) -> Result<AddressChange, StoreError> {
        unreachable!("sessions need none")
    }
    async fn delete_address(&self, _: &UserId, _: &AddressId) -> Result<bool, StoreError> {
        unreachable!("sessions need none")
    }
    async fn preferences(&self, user: &UserId) -> Result<Option<(Preferences, u64)>, StoreError> {
        self.inner.preferences(user).await
    }
    async fn put_preferences(
        &self,
        _: &UserId,
        _: &Preferences,
        _: Option<u64>,
    ) -> Result<Change, StoreError> {
        unreachable!("sessions need none")
    }
    async fn put_purchase(&self, _: &Purchase) -> Result<(), StoreError> {
        unreachable!("sessions need none")
    }
    async fn put_guest_order(&self, _: &str, _: &OrderId, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("sessions need none")
    }
    async fn guest_orders(&self, _: &str, _: usize) -> Result<Vec<OrderId>, StoreError> {
        unreachable!("sessions need none")
    }
    async fn forget_guest_order(&self, _: &OrderId) -> Result<(), StoreError> {
        unreachable!("sessions need none")
    }
    async fn purchases(
        &self,
        _: &UserId,
        _: Option<(Timestamp, &OrderId)>,
        _: usize,
    ) -> Result<Vec<Purchase>, StoreError> {
        unreachable!("sessions need none")
    }
}

fn device(address: &str) -> Device {
    Device {
        user_agent: "test".to_owned(),
        address: address.parse().unwrap(),
    }
}

fn ada() -> (EmailAddress, EmailKey) {
    let email = EmailAddress::parse("ada@example.org").unwrap();
    let key = email_key(&email);
    (email, key)
}

/// A service with an account that is signed in.
async fn service() -> (Arc<Accounts>, Arc<Users>, SignedIn) {
    let mut accounts = Arc::into_inner(accounts().await).unwrap();
    let users = Arc::new(Users {
        inner: Arc::clone(&accounts.users),
        unavailable: AtomicBool::new(false),
        meanwhile: Mutex::new(None),
    });
    accounts.users = Arc::clone(&users) as Arc<dyn UserStore>;
    let password = Zeroizing::new(PASSWORD.to_owned());
    let registration = Registration::new(ada().0.as_str(), "Ada Example".to_owned(), password).unwrap();
    let signed_in = accounts
        .register(registration, &device("192.0.2.1"))
        .await
        .unwrap();
    (Arc::new(accounts), users, signed_in)
}

async fn reset(accounts: &Accounts, user: &UserId) {
    let hash = TokenHash::of("code");
    let expires_at = NOW.plus(Duration::from_secs(60));
    let issued = accounts
        .codes
        .issue(Purpose::PasswordReset, &hash, user, expires_at);
    issued.await.unwrap();
    accounts
        .reset_password("code", "another long sentence", &device("192.0.2.1"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_or_erasure_ends_a_login_in_progress() {
    for erased in [false, true] {
        let (accounts, users, signed_in) = service().await;
        let user = signed_in.account.id;
        let (service, whose) = (Arc::clone(&accounts), user.clone());
        users.meanwhile(async move {
            if erased {
                service.erase(&whose).await.unwrap();
            } else {
                reset(&service, &whose).await;
            }
        });
        let late = accounts.login(&ada().1, PASSWORD, &device("192.0.2.2")).await;
        assert!(matches!(late, Err(AccountError::BadCredentials)), "{erased}");
        // A reset begins one of its own.
        let sessions = accounts.sessions.list(&user, NOW).await.unwrap();
        assert_eq!(sessions.len(), usize::from(!erased));
        assert!(sessions.iter().all(|session| session.address == "192.0.2.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_tolerates_a_concurrent_rehash() {
    let (accounts, users, signed_in) = service().await;
    let former = Passwords::start(PasswordSettings {
        passes: 1,
        ..PasswordSettings::default()
    })
    .unwrap();
    let credential = Credential::new(former.hash(PASSWORD).await.unwrap());
    let account = Account {
        version: 2,
        ..signed_in.account
    };
    users.update(&account, Some(&credential), 1).await.unwrap();
    // One login renews the hash while another is under way.
    let service = Arc::clone(&accounts);
    users.meanwhile(async move {
        let renewed = service.login(&ada().1, PASSWORD, &device("192.0.2.3")).await;
        assert_eq!(
            renewed.unwrap().account.version,
            3,
            "as it stands, renewed hash included"
        );
    });
    let slower = accounts.login(&ada().1, PASSWORD, &device("192.0.2.2")).await;
    assert_eq!(slower.unwrap().account.version, 3);
    assert_eq!(accounts.sessions.list(&account.id, NOW).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_can_be_retried_after_an_outage() {
    let (accounts, users, signed_in) = service().await;
    users.unavailable.store(true, Ordering::Relaxed);
    let failed = accounts.refresh(&signed_in.refresh_token).await;
    assert!(matches!(failed, Err(AccountError::Store(_))));
    users.unavailable.store(false, Ordering::Relaxed);
    accounts.refresh(&signed_in.refresh_token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_exchanged_twice_has_one_successor_for_a_while() {
    let (accounts, _, signed_in) = service().await;
    let mut accounts = Arc::into_inner(accounts).unwrap();
    let token = signed_in.refresh_token;
    let first = accounts.refresh(&token).await.unwrap().refresh_token;
    assert_eq!(accounts.refresh(&token).await.unwrap().refresh_token, first);
    let second = accounts.refresh(&first).await.unwrap().refresh_token;
    // The slower of two tabs, when the other has gone on already.
    assert_eq!(accounts.refresh(&token).await.unwrap().refresh_token, first);
    accounts.clock = Arc::new(|| NOW.plus(REPEATABLE_FOR));
    for token in [token, first, second] {
        let reused = accounts.refresh(&token).await;
        assert!(matches!(reused, Err(AccountError::BadToken)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_guesses_are_throttled() {
    let (accounts, _, _) = service().await;
    let guess = |password: &'static str| {
        let accounts = Arc::clone(&accounts);
        tokio::spawn(async move { accounts.login(&ada().1, password, &device("198.51.100.1")).await })
    };
    let wrong: Vec<_> = (0..12).map(|_| guess("not this one, either")).collect();
    // Behind the others in the queue of passwords.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let right = guess(PASSWORD).await.unwrap();
    assert!(matches!(right, Err(AccountError::Throttled { .. })));
    join_all(wrong).await;
    // Its owner, from where they are signed in, is not held back by that.
    assert!(
        accounts
            .login(&ada().1, PASSWORD, &device("192.0.2.1"))
            .await
            .is_ok()
    );
}
