//! Creates the demo's accounts, an administrator and two shoppers, with new random passwords each time.

use rand::Rng;
use rand::distr::Alphanumeric;

use crate::authentication::passwords::{PasswordError, PasswordSettings, PasswordSetupError, Passwords};
use crate::clock;
use crate::stores::users::{Credential, UserRecord};
use crate::stores::{StoreError, Stores};
use souk_domain::account::{Account, Role, email_key};
use souk_domain::{EmailAddress, UserId};

/// Characters of a password: about 119 bits.
const PASSWORD_LENGTH: usize = 20;

/// Attempts to write an account that changes concurrently.
const ATTEMPTS: u32 = 5;

/// An account with its password in clear, to be printed.
#[derive(Clone)]
pub struct DemoAccount {
    /// Its address.
    pub email: &'static str,
    /// Its password.
    pub password: String,
}

/// The accounts of a demo.
#[derive(Clone)]
pub struct DemoAccounts {
    /// Has the roles `customer`, `merchant` and `admin`.
    pub admin: DemoAccount,
    /// A customer.
    pub shopper: DemoAccount,
    /// Another customer, to try what one may see of the other.
    pub second_shopper: DemoAccount,
}

/// Why the accounts could not be created.
#[derive(Debug, thiserror::Error)]
pub enum DemoAccountError {
    /// The users store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Password hashing is not available.
    #[error(transparent)]
    Setup(#[from] PasswordSetupError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// An address of the demo is invalid: a defect.
    #[error("the demo address {0:?} is invalid")]
    Address(&'static str),
    /// The account changed concurrently at each attempt.
    #[error("the account {0} was changed concurrently several times")]
    Contended(&'static str),
}

/// Creates the accounts, or gives existing ones new passwords. `settings` are those of the cluster, so that no login has
/// to rehash.
///
/// # Errors
/// [`DemoAccountError`]
pub async fn make(stores: &Stores, settings: PasswordSettings) -> Result<DemoAccounts, DemoAccountError> {
    let passwords = Passwords::start(settings)?;
    let make = async |email, name, roles: &[Role]| make_one(stores, &passwords, email, name, roles).await;
    Ok(DemoAccounts {
        admin: make(
            "admin@souk.example",
            "Amina Keeper",
            &[Role::Customer, Role::Merchant, Role::Admin],
        )
        .await?,
        shopper: make("shopper@souk.example", "Sam Shopper", &[Role::Customer]).await?,
        second_shopper: make("second@souk.example", "Sara Shopper", &[Role::Customer]).await?,
    })
}

async fn make_one(
    stores: &Stores,
    passwords: &Passwords,
    email: &'static str,
    name: &str,
    roles: &[Role],
) -> Result<DemoAccount, DemoAccountError> {
    let defect = DemoAccountError::Address(email);
    let address = EmailAddress::parse(email).map_err(|_| DemoAccountError::Address(email))?;
    let key = email_key(&address).map_err(|_| defect)?;
    let password: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(PASSWORD_LENGTH)
        .map(char::from)
        .collect();
    let credential = Credential::new(passwords.hash(&password).await?);
    for _ in 0..ATTEMPTS {
        let done = match stores.users.by_email(&key).await? {
            Some(UserRecord { mut account, .. }) => {
                let expected = account.version;
                account.version += 1;
                let change = stores.users.update(&account, Some(&credential), expected).await?;
                change == crate::stores::users::Change::Applied
            }
            None => {
                let account = Account {
                    id: UserId::from_suffix(uuid::Uuid::now_v7().simple()),
                    email: address.clone(),
                    name: name.to_owned(),
                    phone: None,
                    roles: roles.iter().copied().collect(),
                    email_verified: true,
                    created_at: (clock::system())(),
                    version: 1,
                };
                let record = UserRecord {
                    account,
                    credential: credential.clone(),
                };
                stores.users.create(&record).await? == crate::stores::users::Creation::Created
            }
        };
        if done {
            return Ok(DemoAccount { email, password });
        }
    }
    Err(DemoAccountError::Contended(email))
}
