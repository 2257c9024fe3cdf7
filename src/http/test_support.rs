//! A small catalogue in memory, and things to put into requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::authentication::guests::Guests;
use crate::authentication::service::{Accounts, Successors};
use crate::authentication::throttle::Throttle;
use crate::authentication::{
    Issuer, PasswordSettings, Passwords, RevocationSettings, Revocations, SigningKeySettings, SigningKeys,
    TokenSettings, Verifier,
};
use crate::gateways::mail::{Email, MailError, MailFolder, Mailer};
use crate::stores::StoreError;
use crate::stores::idempotency::{Attempt, Claim, IdempotencyStore, KeptReply};
use crate::stores::products::{Badge, ProductStore};
use crate::stores::search::{Position, ProductQuery, SearchIndex, SearchPage};
use crate::stores::testing::embedded_stores;
use souk_cluster::key::ClusterKey;
use souk_domain::catalogue::{Category, Product, Variant};
use souk_domain::{
    Address, Aggregate, CartId, Currency, EmailAddress, Money, Order, OrderCommand, OrderId, OrderLine,
    PaymentInstruction, PlacedOrder, Placement, ProductId, Sku, Timestamp,
};

/// 2026-11-22T10:00:00Z.
pub const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

/// A catalogue that counts how often it is read.
#[derive(Default)]
pub struct Fixture {
    products: Vec<Product>,
    badges: Vec<Badge>,
    reads: AtomicUsize,
}

impl Fixture {
    pub fn new(products: impl IntoIterator<Item = Product>) -> Self {
        Self {
            products: products.into_iter().collect(),
            ..Self::default()
        }
    }

    pub fn with_badge(mut self, text: &str, available: u32) -> Self {
        self.badges.push(Badge {
            sku: sku(text),
            available,
            version: 1,
        });
        self
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl ProductStore for Fixture {
    fn technology(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn products(&self, ids: &[ProductId]) -> Result<Vec<Product>, StoreError> {
        self.read();
        let product = |id: &ProductId| self.products.iter().find(|product| product.id == *id);
        Ok(ids.iter().filter_map(product).cloned().collect())
    }

    async fn products_of(&self, skus: &[Sku]) -> Result<Vec<Product>, StoreError> {
        self.read();
        let has_one = |product: &&Product| skus.iter().any(|sku| product.variant(sku).is_some());
        Ok(self.products.iter().filter(has_one).cloned().collect())
    }

    async fn categories(&self) -> Result<Vec<Category>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_products(&self, _: &[Product]) -> Result<(), StoreError> {
        unreachable!("the front does not write products")
    }

    async fn put_categories(&self, _: &[Category]) -> Result<(), StoreError> {
        unreachable!("the front does not write categories")
    }

    async fn put_badges(&self, _: &[Badge]) -> Result<(), StoreError> {
        unreachable!("the front does not write badges")
    }

    async fn badges(&self, skus: &[Sku]) -> Result<Vec<Badge>, StoreError> {
        self.read();
        Ok(self
            .badges
            .iter()
            .filter(|badge| skus.contains(&badge.sku))
            .cloned()
            .collect())
    }
}

#[async_trait]
impl SearchIndex for Fixture {
    async fn refresh(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn search(&self, query: &ProductQuery) -> Result<SearchPage, StoreError> {
        let shown = query.after.map_or(0, |position| position.number);
        let next = shown + i64::try_from(query.limit).unwrap();
        let count = i64::try_from(self.products.len()).unwrap();
        let page = self
            .products
            .iter()
            .skip(usize::try_from(shown).unwrap())
            .take(query.limit);
        Ok(SearchPage {
            ids: page.map(|product| product.id.clone()).collect(),
            total: self.products.len() as u64,
            next: (next < count).then_some(Position { key: 0, number: next }),
        })
    }
}

/// Kept replies in memory.
#[derive(Default)]
pub struct MemoryIdempotency {
    entries: Mutex<HashMap<String, Entry>>,
    /// How many claims there were.
    pub claims: tokio::sync::watch::Sender<u32>,
}

struct Entry {
    fingerprint: String,
    holder: String,
    owner: Option<String>,
    first: Timestamp,
    leased_until: Timestamp,
    reply: Option<KeptReply>,
}

impl MemoryIdempotency {
    /// What the bodies of its requests are kept as.
    pub fn fingerprints(&self) -> Vec<String> {
        let entries = self.entries.lock().unwrap();
        entries.values().map(|entry| entry.fingerprint.clone()).collect()
    }
}

#[async_trait]
impl IdempotencyStore for MemoryIdempotency {
    fn technology(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn claim(
        &self,
        attempt: &Attempt<'_>,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let Attempt {
            key,
            fingerprint,
            holder,
            owner,
            ..
        } = *attempt;
        let mut entries = self.entries.lock().unwrap();
        let claim = match entries.get(key).filter(|entry| now.since(entry.first) < keep) {
            Some(entry) if entry.fingerprint != fingerprint => Claim::OtherBody,
            Some(Entry {
                reply: Some(reply), ..
            }) => Claim::Answered(reply.clone()),
            Some(entry) if now < entry.leased_until && entry.holder != holder => Claim::Running,
            None if owner.is_some() && {
                let kept = entries.values().filter(|entry| entry.owner.as_deref() == owner);
                let bytes = kept.map(|entry| entry.reply.as_ref().map_or(0, |reply| reply.body.len() as u64));
                bytes.sum::<u64>() >= attempt.quota.per_owner
            } =>
            {
                Claim::OverQuota
            }
            _ => Claim::Ours,
        };
        if claim == Claim::Ours {
            let entry = Entry {
                fingerprint: fingerprint.to_owned(),
                holder: holder.to_owned(),
                owner: owner.map(str::to_owned),
                first: now,
                leased_until: now.plus(lease),
                reply: None,
            };
            entries.insert(key.to_owned(), entry);
        }
        self.claims.send_modify(|claims| *claims += 1);
        Ok(claim)
    }

    async fn answer(
        &self,
        key: &str,
        holder: &str,
        owner: Option<&str>,
        reply: &KeptReply,
    ) -> Result<(), StoreError> {
        if let Some(entry) = self
            .entries
            .lock()
            .unwrap()
            .get_mut(key)
            .filter(|entry| entry.holder == holder)
        {
            entry.reply = Some(reply.clone());
            entry.owner = owner.map(str::to_owned).or(entry.owner.take());
        }
        Ok(())
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        self.entries
            .lock()
            .unwrap()
            .retain(|name, entry| name != key || entry.holder != holder);
        Ok(())
    }

    async fn forget(&self, owner: &str, _: usize) -> Result<u64, StoreError> {
        let mut entries = self.entries.lock().unwrap();
        let before = entries.len();
        entries.retain(|_, entry| entry.owner.as_deref() != Some(owner));
        Ok((before - entries.len()) as u64)
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// A mail folder that is removed with the mailer.
struct TemporaryMail {
    folder: MailFolder,
    _directory: tempfile::TempDir,
}

#[async_trait]
impl Mailer for TemporaryMail {
    async fn send(&self, email: &Email) -> Result<(), MailError> {
        self.folder.send(email).await
    }

    async fn forget(&self, address: &EmailAddress) -> Result<(), MailError> {
        self.folder.forget(address).await
    }
}

/// Accounts over stores in a folder that goes with them.
pub async fn accounts() -> Arc<Accounts> {
    let (stores, folder) = embedded_stores().await;
    let cluster = ClusterKey::new([9; 32].to_vec()).unwrap();
    let tokens = TokenSettings {
        issuer: "souk/test".to_owned(),
        audience: "souk".to_owned(),
        lifetime: Duration::from_secs(900),
    };
    let longest_life = tokens.longest_life();
    let keys = SigningKeys::open(
        Arc::clone(&stores.signing_keys),
        &cluster,
        SigningKeySettings::for_tokens(longest_life),
        NOW,
    )
    .await
    .unwrap();
    let following = RevocationSettings {
        interval: Duration::from_secs(1),
        longest_life,
    };
    let revocations = Revocations::open(stores.revocations, following, NOW)
        .await
        .unwrap();
    Arc::new(Accounts {
        users: stores.users,
        passwords: Passwords::start(PasswordSettings::default()).unwrap(),
        issuer: Issuer::new(keys.ring(), keys.rules(), tokens.clone()),
        verifier: Verifier::new(keys.ring(), revocations.sessions(), &tokens),
        ring: keys.ring(),
        revocations,
        throttle: Throttle {
            counters: stores.counters,
        },
        sessions: stores.sessions,
        codes: stores.codes,
        guests: Guests::new(&cluster),
        successors: Successors::new(&cluster),
        mailer: Arc::new(TemporaryMail {
            folder: MailFolder(folder.path().join("mail")),
            _directory: folder,
        }),
        settings: crate::config::Accounts::default(),
        clock: Arc::new(|| NOW),
    })
}

pub fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

/// A product with these SKUs, at these prices in cents, 100 g each.
pub fn product(name: &str, skus: &[(&str, i64)]) -> Product {
    let variant = |(text, price): &(&str, i64)| Variant {
        sku: sku(text),
        options: BTreeMap::from([("size".to_owned(), (*text).to_owned())]),
        price: Money::new(*price, Currency::USD),
        weight_grams: 100,
    };
    Product {
        id: ProductId::from_suffix(name),
        title: format!("Product {name}"),
        description: "Something to buy.".to_owned(),
        category: "things".to_owned(),
        brand: "Fenwick".to_owned(),
        attributes: BTreeMap::new(),
        images: vec![format!("/images/prd_{name}.svg")],
        variants: skus.iter().map(variant).collect(),
        version: 3,
    }
}

pub fn guest_address() -> Address {
    Address {
        name: "Ada Example".to_owned(),
        line1: "1 Test Street".to_owned(),
        line2: None,
        city: "Springfield".to_owned(),
        region: Some("IL".to_owned()),
        postcode: Some("62701".to_owned()),
        country: "US".to_owned(),
        phone: None,
    }
}

/// An order of two pieces at 10 dollars, just placed.
pub fn order() -> PlacedOrder {
    placed("ord_4f07a1b2c3", "crt_1").view().unwrap()
}

/// The state of such an order.
pub fn placed(id: &str, buyer: &str) -> Order {
    let money = |amount| Money::new(amount, Currency::USD);
    let id = OrderId::parse(id).unwrap();
    let placement = Placement {
        id: id.clone(),
        number: "S-20261122-4F07A1".to_owned(),
        buyer: buyer.to_owned(),
        cart: CartId::parse(buyer).unwrap(),
        cart_version: 1,
        email: EmailAddress::parse("ada@example.org").unwrap(),
        fingerprint: "fingerprint".to_owned(),
        lines: vec![OrderLine {
            sku: sku("A-1"),
            product_id: ProductId::parse("prd_a").unwrap(),
            title: "Product a".to_owned(),
            options: BTreeMap::new(),
            quantity: 2,
            unit_price: money(1_000),
            weight_grams: 100,
        }],
        subtotal: money(2_000),
        tax: money(0),
        shipping: money(499),
        total: money(2_499),
        address: guest_address(),
        shipping_option: "standard".to_owned(),
        payment: PaymentInstruction {
            gateway: "sandbox".to_owned(),
            token: "tok_secret".to_owned(),
        },
        deadline: NOW.plus(Duration::from_secs(900)),
    };
    let decision = Order::initial(id.as_str()).decide(&OrderCommand::Place(Box::new(placement)), NOW);
    decision.change.unwrap().state
}
