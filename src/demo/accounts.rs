//! The demo's accounts: one that runs the shop, and two that buy. Their passwords are made up anew each time.

use rand::Rng;
use rand::distr::Alphanumeric;

use crate::authentication::passwords::{PasswordError, PasswordSettings, PasswordSetupError, Passwords};
use crate::clock;
use crate::stores::users::{Credential, UserRecord};
use crate::stores::{StoreError, Stores};
use souk_domain::account::{Account, Role, email_key};
use souk_domain::{EmailAddress, UserId};

/// Characters of a password: some 119 bits.
const PASSWORD_LENGTH: usize = 20;

/// How often an account that changes in the same moment is tried again.
const ATTEMPTS: u32 = 5;

/// An account with its password in clear: for whoever tries the shop out.
#[derive(Clone)]
pub struct DemoAccount {
    /// What it signs in with.
    pub email: &'static str,
    /// Its password.
    pub password: String,
}

/// The accounts of a demo.
#[derive(Clone)]
pub struct DemoAccounts {
    /// Runs the shop: roles `customer`, `merchant` and `admin`.
    pub admin: DemoAccount,
    /// Buys.
    pub shopper: DemoAccount,
    /// Buys as well, to have somebody whose things are not the other's.
    pub second_shopper: DemoAccount,
}

/// Why the accounts could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DemoAccountError {
    /// The users store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No password can be hashed here.
    #[error(transparent)]
    Setup(#[from] PasswordSetupError),
    /// A password was not hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// An address of the demo is none: a defect.
    #[error("the demo's own address {0:?} is none")]
    Address(&'static str),
    /// Somebody else keeps changing it.
    #[error("the account {0} keeps changing")]
    Contended(&'static str),
}

/// Makes the accounts, or gives those that are there new passwords. `settings` are those of the cluster, so that no login
/// has to hash anew.
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
