//! Creates the demo's accounts, an administrator and two shoppers. Their passwords follow from the cluster's key, so that
//! they last as long as the demo's folder.

use crate::authentication::passwords::{PasswordError, PasswordSettings, PasswordSetupError, Passwords};
use crate::clock;
use crate::stores::users::{Credential, UserRecord};
use crate::stores::{StoreError, Stores};
use souk_cluster::key::ClusterKey;
use souk_domain::account::{Account, Role, email_key};
use souk_domain::{EmailAddress, UserId};

/// Bytes of a password; twice as many hexadecimal digits.
const PASSWORD_BYTES: usize = 12;

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

/// Creates the accounts; existing ones get their passwords back where somebody has changed them. `settings` are those of the
/// cluster, so that no login has to rehash.
///
/// # Errors
/// [`DemoAccountError`]
pub async fn make(
    stores: &Stores,
    key: &ClusterKey,
    settings: PasswordSettings,
) -> Result<DemoAccounts, DemoAccountError> {
    let passwords = Passwords::start(settings)?;
    let make = async |email, name, roles: &[Role]| {
        let derived = key.derive(&format!("souk demo password {email}"));
        let account = DemoAccount {
            email,
            password: hex::encode(&derived[..PASSWORD_BYTES]),
        };
        make_one(stores, &passwords, account, name, roles).await
    };
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
    demo: DemoAccount,
    name: &str,
    roles: &[Role],
) -> Result<DemoAccount, DemoAccountError> {
    let email = demo.email;
    let address = EmailAddress::parse(email).map_err(|_| DemoAccountError::Address(email))?;
    let key = email_key(&address);
    let credential = Credential::new(passwords.hash(&demo.password).await?);
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
            return Ok(demo);
        }
    }
    Err(DemoAccountError::Contended(email))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::testing::embedded_stores;

    /// Fast hashes.
    fn settings() -> PasswordSettings {
        PasswordSettings {
            memory_kib: 8,
            passes: 1,
            ..PasswordSettings::default()
        }
    }

    #[tokio::test]
    async fn passwords_last_as_long_as_the_key() {
        let (stores, _folder) = embedded_stores().await;
        let key = ClusterKey::new("the cluster's secret").unwrap();
        let first = make(&stores, &key, settings()).await.unwrap();
        let again = make(&stores, &key, settings()).await.unwrap();
        assert_eq!(first.admin.password, again.admin.password);
        assert_ne!(first.admin.password, first.shopper.password);
        let other = ClusterKey::new("the secret of another").unwrap();
        let other = make(&stores, &other, settings()).await.unwrap();
        assert_ne!(first.admin.password, other.admin.password);

        let address = EmailAddress::parse(other.admin.email).unwrap();
        let kept = stores.users.by_email(&email_key(&address)).await.unwrap();
        let credential = kept.unwrap().credential;
        let passwords = Passwords::start(settings()).unwrap();
        let verified = passwords.verify(&other.admin.password, credential.expose());
        assert!(verified.await.unwrap());
    }
}
