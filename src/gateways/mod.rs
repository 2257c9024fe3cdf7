//! Third parties that the shop talks to. One file a port, one file a provider.

use std::collections::HashMap;
use std::sync::Arc;

use payment::PaymentGateway;

pub mod mail;
pub mod payment;
pub mod sandbox;

/// The payment providers that a shop takes, by name.
#[derive(Clone, Default)]
pub struct Gateways(HashMap<&'static str, Arc<dyn PaymentGateway>>);

impl Gateways {
    /// These and no others.
    pub fn new(gateways: impl IntoIterator<Item = Arc<dyn PaymentGateway>>) -> Self {
        Self(
            gateways
                .into_iter()
                .map(|gateway| (gateway.name(), gateway))
                .collect(),
        )
    }

    /// The provider that orders name so.
    pub fn get(&self, name: &str) -> Option<&dyn PaymentGateway> {
        self.0.get(name).map(|gateway| &**gateway)
    }
}
