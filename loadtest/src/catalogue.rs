//! What shoppers can buy: read from the shop before the load begins, and stocked up where a merchant is known.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Call, Client, Endpoint};
use crate::demo::Credentials;
use crate::failure::Failure;

/// Most products of a page.
const PAGE: usize = 100;
/// More pieces of each SKU than any run sells.
const PLENTY: u64 = 1_000_000;
/// Shortest word of a title that shoppers search for, in characters.
const WORD: usize = 4;

/// One product, with the SKU that is bought of it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The product.
    pub product: String,
    /// Its first SKU.
    pub sku: String,
    /// A word of its title.
    pub word: String,
}

impl Item {
    /// Reads a product of a page; `None` where it has no SKU.
    fn of(product: &Value) -> Option<Self> {
        let title = product["title"].as_str()?;
        let word = title
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| word.len() >= WORD)
            .unwrap_or("shirt");
        Some(Self {
            product: product["id"].as_str()?.to_owned(),
            sku: product["skus"][0]["sku"].as_str()?.to_owned(),
            word: word.to_owned(),
        })
    }
}

/// Reads the first `most` products that have SKUs.
///
/// # Errors
/// [`Failure`] where the shop does not answer, or has none.
pub async fn read(shop: &Endpoint, most: usize) -> Result<Vec<Item>, Failure> {
    let mut client = Client::new(shop.clone());
    let (mut items, mut cursor) = (Vec::new(), String::new());
    while items.len() < most {
        let path = format!("/v1/products?limit={PAGE}{cursor}");
        let page = client.fetch(Call::new(Method::GET, path)).await?;
        items.extend(
            page["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Item::of),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    items.truncate(most);
    if items.is_empty() {
        return Err(Failure::Plain(format!(
            "{shop} has no products: souk seed makes some"
        )));
    }
    Ok(items)
}

/// A merchant, signed in at one node.
pub struct Merchant {
    client: Client,
    token: String,
}

impl Merchant {
    /// Signs in.
    ///
    /// # Errors
    /// [`Failure`] where the shop refuses the credentials.
    pub async fn sign_in(shop: &Endpoint, credentials: &Credentials) -> Result<Self, Failure> {
        let mut client = Client::new(shop.clone());
        let Credentials { email, password } = credentials;
        let login =
            Call::new(Method::POST, "/v1/auth/login").json(&json!({"email": email, "password": password}));
        let tokens = client.fetch(login).await?;
        match tokens["access_token"].as_str() {
            Some(token) => Ok(Self {
                client,
                token: token.to_owned(),
            }),
            None => Err(Failure::Plain("the login's reply has no access token".into())),
        }
    }

    /// Its access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Receives more of every SKU than a run sells; `reference` counts once.
    ///
    /// # Errors
    /// [`Failure`] where the shop refuses it.
    pub async fn stock_up(&mut self, items: &[Item], reference: &str) -> Result<(), Failure> {
        for item in items {
            self.receive(&item.sku, PLENTY, reference).await?;
        }
        Ok(())
    }

    /// Makes exactly `pieces` of a SKU available.
    ///
    /// # Errors
    /// [`Failure`] where the shop refuses it.
    pub async fn set_available(&mut self, sku: &str, pieces: u64, reference: &str) -> Result<(), Failure> {
        let available = self.available(sku).await?;
        if available < pieces {
            return self.receive(sku, pieces - available, reference).await;
        }
        if available > pieces {
            let delta = -i128::from(available - pieces);
            let body = json!({"delta": i64::try_from(delta).unwrap_or(i64::MIN), "reason": reference});
            let path = format!("/v1/admin/inventory/{sku}/adjustments");
            self.fetch(Call::new(Method::POST, path).json(&body)).await?;
        }
        Ok(())
    }

    /// The pieces of a SKU that can be bought.
    ///
    /// # Errors
    /// [`Failure`] where the shop does not tell.
    pub async fn available(&mut self, sku: &str) -> Result<u64, Failure> {
        let level = self
            .fetch(Call::new(Method::GET, format!("/v1/admin/inventory/{sku}")))
            .await?;
        level["available"]
            .as_u64()
            .ok_or_else(|| Failure::Plain(format!("the stock of {sku} has no available quantity: {level}")))
    }

    async fn receive(&mut self, sku: &str, quantity: u64, reference: &str) -> Result<(), Failure> {
        let body = json!({"quantity": quantity, "reference": reference});
        let path = format!("/v1/admin/inventory/{sku}/receipts");
        self.fetch(Call::new(Method::POST, path).json(&body)).await?;
        Ok(())
    }

    async fn fetch(&mut self, call: Call) -> Result<Value, Failure> {
        let bearer = format!("Bearer {}", self.token);
        self.client.fetch(call.header("Authorization", bearer)).await
    }
}

/// Stocks up where a merchant is known; says so where none is.
///
/// # Errors
/// [`Failure`] where the shop refuses it.
pub async fn stock_up(shop: &Endpoint, admin: Option<&Credentials>, items: &[Item]) -> Result<(), Failure> {
    let Some(admin) = admin else {
        eprintln!("no merchant is known (--admin): what is in stock has to suffice");
        return Ok(());
    };
    let reference = format!("load test {}", uuid::Uuid::new_v4().simple());
    let mut merchant = Merchant::sign_in(shop, admin).await?;
    merchant.stock_up(items, &reference).await
}
