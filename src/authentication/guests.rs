//! Guests' orders wait for whoever proves the address that they were placed with. What stands for the address in the store
//! is a keyed hash: who reads the store learns no address, and can't try addresses out either.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::hexadecimal::Hexadecimal;
use souk_cluster::key::ClusterKey;
use souk_domain::account::EmailKey;

/// What the key is derived for.
const PURPOSE: &str = "souk guest orders 1";

/// Names guests.
#[derive(Clone)]
pub struct Guests(Hmac<Sha256>);

impl Guests {
    /// Names them the same on every node of the cluster.
    pub fn new(cluster: &ClusterKey) -> Self {
        let key = cluster.derive(PURPOSE);
        // HMAC works on keys of 64 bytes; shorter ones are padded with zeros.
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(&key);
        Self(<Hmac<Sha256> as Mac>::new((&block).into()))
    }

    /// What stands for the address.
    pub fn name(&self, email: &EmailKey) -> String {
        let mut mac = self.0.clone();
        mac.update(email.as_str().as_bytes());
        Hexadecimal(&mac.finalize().into_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use souk_domain::EmailAddress;
    use souk_domain::account::email_key;

    #[test]
    fn a_name_tells_guests_apart_and_nothing_else() {
        let guests = |secret: u8| Guests::new(&ClusterKey::new([secret; 32]).unwrap());
        let key = |text: &str| email_key(&EmailAddress::parse(text).unwrap()).unwrap();
        let ada = guests(1).name(&key("ada@example.org"));
        assert_eq!(ada, guests(1).name(&key("Ada@Example.org")));
        assert_ne!(ada, guests(1).name(&key("bob@example.org")));
        assert_ne!(ada, guests(2).name(&key("ada@example.org")));
        assert!(!ada.contains("ada"));
    }
}
