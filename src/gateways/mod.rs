//! Third parties: one port per kind, one file per provider.

use std::collections::HashMap;
use std::sync::Arc;

use payment::PaymentGateway;

pub mod mail;
pub mod payment;
pub mod sandbox;

/// The configured payment providers by name.
#[derive(Clone, Default)]
pub struct Gateways(HashMap<&'static str, Arc<dyn PaymentGateway>>);

impl Gateways {
    /// These providers.
    pub fn new(gateways: impl IntoIterator<Item = Arc<dyn PaymentGateway>>) -> Self {
        Self(
            gateways
                .into_iter()
                .map(|gateway| (gateway.name(), gateway))
                .collect(),
        )
    }

    /// The provider with this name.
    pub fn get(&self, name: &str) -> Option<&dyn PaymentGateway> {
        self.0.get(name).map(|gateway| &**gateway)
    }
}
