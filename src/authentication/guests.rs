//! Names for guests, whose orders wait until somebody proves the e-mail address that they were placed with. The name is a
//! keyed hash of the address: whoever reads the store learns no address and can't test guesses either.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use souk_cluster::key::ClusterKey;

use souk_domain::account::EmailKey;

/// The label that the key is derived with.
const PURPOSE: &str = "souk guest orders 1";

/// Names guests.
#[derive(Clone)]
pub struct Guests(Key);

impl Guests {
    /// The names are the same on every node of the cluster.
    pub fn new(cluster: &ClusterKey) -> Self {
        Self(Key::new(HMAC_SHA256, &cluster.derive(PURPOSE)))
    }

    /// The name of the guest with this address.
    pub fn name(&self, email: &EmailKey) -> String {
        hex::encode(sign(&self.0, email.as_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use souk_domain::EmailAddress;
    use souk_domain::account::email_key;

    #[test]
    fn a_name_identifies_a_guest_alone() {
        let guests = |secret: u8| Guests::new(&ClusterKey::new([secret; 32]).unwrap());
        let key = |text: &str| email_key(&EmailAddress::parse(text).unwrap());
        let ada = guests(1).name(&key("ada@example.org"));
        assert_eq!(ada, guests(1).name(&key("Ada@Example.org")));
        assert_ne!(ada, guests(1).name(&key("bob@example.org")));
        assert_ne!(ada, guests(2).name(&key("ada@example.org")));
        assert!(!ada.contains("ada"));
    }

    /// Stored names must stay valid: HMAC-SHA256 of the address under the derived key, in hexadecimal digits.
    #[test]
    fn the_format_of_names_is_stable() {
        let cluster = ClusterKey::new([1; 32]).unwrap();
        let key = email_key(&EmailAddress::parse("ada@example.org").unwrap());
        assert_eq!(
            Guests::new(&cluster).name(&key),
            "00cb55114c25233e09c793301de3cba88b5a1783e379e421444e1ab44dff1662"
        );
    }
}
