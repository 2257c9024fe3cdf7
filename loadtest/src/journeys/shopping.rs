//! The journeys of shoppers.

use rand::Rng;
use serde_json::{Value, json};

use super::scenario::Journey;
use super::shopper::{Account, Caller, LeftCart, Reply, Request, Shopper, Stop};
use super::world::Event;
use crate::order;

/// Carts that a shopper leaves and remembers.
const LEFT_CARTS: usize = 20;
/// Most lines of a cart.
const LINES: usize = 3;
/// Most pieces of a line.
const PIECES: u64 = 2;
/// A shopper signs in again after so long; access tokens live for 15 min by default.
const SESSION: std::time::Duration = std::time::Duration::from_secs(600);
/// One of so many journeys of an account begins with a new login.
const LOGIN_ONE_IN: u32 = 5;
/// The password of all accounts.
const PASSWORD: &str = "a long sentence of a load test";

/// How an order ended.
#[derive(Debug, PartialEq, Eq)]
enum Ordered {
    /// It is confirmed: its identifier.
    Confirmed(String),
    /// It is still pending.
    Pending,
    /// It was not placed, for the reason that was expected.
    Expected,
}

impl Shopper<'_> {
    /// Makes a journey of a shopper.
    pub async fn shop(&mut self, journey: Journey) -> Result<(), Stop> {
        match journey {
            Journey::Browse => self.browse().await,
            Journey::Search => self.search().await,
            Journey::FillCart => self.fill_cart().await,
            Journey::ComeBack => self.come_back().await,
            Journey::GuestCheckout => self.guest_checkout().await.map(drop),
            Journey::AccountCheckout => self.account_checkout().await,
            Journey::OrderHistory => self.order_history().await,
            Journey::DeclinedPayment => self.declined_payment().await,
            Journey::CancelOrder => self.cancel_order().await,
            Journey::BuyTheOne => self.buy_the_one().await,
            Journey::ReceiveStock => self.receive_stock().await,
            Journey::AdjustStock => self.adjust_stock().await,
            Journey::StockDashboard => self.stock_dashboard().await,
        }
    }

    async fn browse(&mut self) -> Result<(), Stop> {
        self.fetch(Request::get("/v1/categories", "/v1/categories", Caller::Anyone))
            .await?;
        let path = "/v1/products?limit=20&sort=newest";
        self.fetch(Request::get(path, "/v1/products", Caller::Anyone))
            .await?;
        self.look_at_one().await
    }

    async fn search(&mut self) -> Result<(), Stop> {
        let path = format!("/v1/products?q={}&limit=20", self.world.item().word);
        let page = self
            .fetch(Request::get(&path, "/v1/products?q=", Caller::Anyone))
            .await?;
        if let Some(cursor) = page["next_cursor"].as_str() {
            let next = format!("{path}&cursor={cursor}");
            self.fetch(Request::get(&next, "/v1/products?q=&cursor=", Caller::Anyone))
                .await?;
        }
        self.look_at_one().await
    }

    async fn look_at_one(&mut self) -> Result<(), Stop> {
        let path = format!("/v1/products/{}", self.world.item().product);
        self.fetch(Request::get(&path, "/v1/products/{id}", Caller::Anyone))
            .await
            .map(drop)
    }

    async fn open_cart(&mut self) -> Result<String, Stop> {
        let opened = self
            .fetch(Request::post("/v1/carts", "/v1/carts", Caller::Anyone))
            .await?;
        self.text(&opened, "/cart_token")
    }

    /// Adds some lines to the caller's cart; the pieces that were added.
    async fn add_lines(&mut self, caller: Caller<'_>) -> Result<u64, Stop> {
        let (lines, mut pieces) = (rand::rng().random_range(1..=LINES), 0);
        for _ in 0..lines {
            let quantity = rand::rng().random_range(1..=PIECES);
            let sku = self.world.item().sku.clone();
            self.add(caller, &sku, quantity).await?;
            pieces += quantity;
        }
        Ok(pieces)
    }

    async fn add(&mut self, caller: Caller<'_>, sku: &str, quantity: u64) -> Result<(), Stop> {
        let added = Request::post("/v1/cart/items", "/v1/cart/items", caller);
        self.fetch(added.json(json!({"sku": sku, "quantity": quantity})))
            .await
            .map(drop)
    }

    async fn filled_cart(&mut self) -> Result<LeftCart, Stop> {
        let token = self.open_cart().await?;
        let pieces = self.add_lines(Caller::Guest(&token)).await?;
        Ok(LeftCart { token, pieces })
    }

    async fn fill_cart(&mut self) -> Result<(), Stop> {
        let cart = self.filled_cart().await?;
        self.session.left.push_back(cart);
        if self.session.left.len() > LEFT_CARTS {
            self.session.left.pop_front();
        }
        Ok(())
    }

    async fn come_back(&mut self) -> Result<(), Stop> {
        if self.session.left.is_empty() {
            self.fill_cart().await?;
            self.change_node()?;
        }
        let Some(cart) = self.session.left.pop_front() else {
            return Ok(());
        };
        self.check_cart(&cart).await?;
        self.order_as_guest(&cart.token, "tok_ok", None).await.map(drop)
    }

    /// The cart holds what was put into it, whichever node is asked.
    async fn check_cart(&mut self, cart: &LeftCart) -> Result<(), Stop> {
        let caller = Caller::Guest(&cart.token);
        let found = self.fetch(Request::get("/v1/cart", "/v1/cart", caller)).await?;
        if found["item_count"].as_u64() == Some(cart.pieces) {
            Ok(())
        } else {
            Err(self.failed(format!("a cart of {} pieces came back as {found}", cart.pieces)))
        }
    }

    /// The identifier of the order, where it was confirmed.
    async fn guest_checkout(&mut self) -> Result<Option<(String, String)>, Stop> {
        let cart = self.filled_cart().await?;
        self.check_cart(&cart).await?;
        let Ordered::Confirmed(id) = self.order_as_guest(&cart.token, "tok_ok", None).await? else {
            return Ok(None);
        };
        let path = format!("/v1/orders/{id}");
        let order = self
            .fetch(Request::get(&path, "/v1/orders/{id}", Caller::Guest(&cart.token)))
            .await?;
        match order["status"].as_str() {
            Some("confirmed" | "completed") => Ok(Some((id, cart.token))),
            _ => Err(self.failed(format!("an order that was confirmed is shown as {order}"))),
        }
    }

    async fn order_as_guest(
        &mut self,
        cart: &str,
        payment: &str,
        expected: Option<&'static str>,
    ) -> Result<Ordered, Stop> {
        let email = format!("guest-{}@example.com", self.world.run);
        self.order(Caller::Guest(cart), payment, Some(&email), expected)
            .await
    }

    /// Asks for a quote, and places the order.
    async fn order(
        &mut self,
        caller: Caller<'_>,
        payment: &str,
        email: Option<&str>,
        expected: Option<&'static str>,
    ) -> Result<Ordered, Stop> {
        let quote = Request::post("/v1/checkout/quote", "/v1/checkout/quote", caller);
        let quote = self
            .fetch(quote.json(json!({"address": order::address()})))
            .await?;
        let option = self.text(&quote, "/shipping_options/0/id")?;
        let placed = Request::post("/v1/orders", "/v1/orders", caller)
            .json(order::body(payment, &option, email))
            .with_key()
            .expecting(expected);
        match self.call(placed).await? {
            Reply::Expected => Ok(Ordered::Expected),
            Reply::Done(202, _) => {
                self.world.note(Event::Pending);
                Ok(Ordered::Pending)
            }
            Reply::Done(_, order) if order["status"] == "confirmed" => {
                self.world.note(Event::Confirmed);
                Ok(Ordered::Confirmed(self.text(&order, "/id")?))
            }
            Reply::Done(status, order) => {
                Err(self.failed(format!("an order was answered with {status} {order}")))
            }
        }
    }

    async fn declined_payment(&mut self) -> Result<(), Stop> {
        let cart = self.filled_cart().await?;
        match self
            .order_as_guest(&cart.token, "tok_declined", Some("payment-declined"))
            .await?
        {
            Ordered::Expected => self.world.note(Event::Declined),
            // It ends behind the reply.
            Ordered::Pending => {}
            Ordered::Confirmed(id) => {
                return Err(self.failed(format!(
                    "order {id} was confirmed with a payment that is declined"
                )));
            }
        }
        Ok(())
    }

    async fn cancel_order(&mut self) -> Result<(), Stop> {
        let Some((id, cart)) = self.guest_checkout().await? else {
            return Ok(());
        };
        let path = format!("/v1/orders/{id}/cancel");
        let order = self
            .fetch(Request::post(
                &path,
                "/v1/orders/{id}/cancel",
                Caller::Guest(&cart),
            ))
            .await?;
        match order["status"].as_str() {
            Some("cancelled") => Ok(()),
            _ => Err(self.failed(format!("an order that was cancelled is shown as {order}"))),
        }
    }

    async fn buy_the_one(&mut self) -> Result<(), Stop> {
        let token = self.open_cart().await?;
        let sku = self.world.the_one().sku.clone();
        self.add(Caller::Guest(&token), &sku, 1).await?;
        if self
            .order_as_guest(&token, "tok_ok", Some("out-of-stock"))
            .await?
            == Ordered::Expected
        {
            self.world.note(Event::SoldOut);
        }
        Ok(())
    }

    /// The access token of the shopper's account: registers at first, and signs in again now and then.
    async fn signed_in(&mut self) -> Result<String, Stop> {
        let (path, email) = match &self.session.account {
            Some(account)
                if account.since.elapsed() < SESSION && !rand::rng().random_ratio(1, LOGIN_ONE_IN) =>
            {
                return Ok(account.token.clone());
            }
            Some(account) => ("/v1/auth/login", account.email.clone()),
            None => {
                let email = format!(
                    "shopper-{}-{}@example.com",
                    self.world.run, self.user.weighted_users_index
                );
                ("/v1/auth/register", email)
            }
        };
        let mut body = json!({"email": email, "password": PASSWORD});
        if self.session.account.is_none() {
            body["name"] = "A Shopper".into();
        }
        let tokens = self
            .fetch(Request::post(path, path, Caller::Anyone).json(body))
            .await?;
        let token = self.text(&tokens, "/access_token")?;
        self.session.account = Some(Account {
            email,
            token: token.clone(),
            since: std::time::Instant::now(),
        });
        Ok(token)
    }

    async fn account_checkout(&mut self) -> Result<(), Stop> {
        let token = self.signed_in().await?;
        let caller = Caller::Account(&token);
        self.add_lines(caller).await?;
        self.fetch(Request::get("/v1/cart", "/v1/cart", caller)).await?;
        let Ordered::Confirmed(id) = self.order(caller, "tok_ok", None, None).await? else {
            return Ok(());
        };
        let orders = self.orders(caller).await?;
        let listed = orders["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if listed.iter().any(|order| order["id"] == id.as_str()) {
            Ok(())
        } else {
            Err(self.failed(format!("order {id} is not in the history: {orders}")))
        }
    }

    async fn orders(&mut self, caller: Caller<'_>) -> Result<Value, Stop> {
        self.fetch(Request::get("/v1/orders", "/v1/orders", caller)).await
    }

    async fn order_history(&mut self) -> Result<(), Stop> {
        let token = self.signed_in().await?;
        let caller = Caller::Account(&token);
        self.orders(caller).await?;
        // Filled by a projection, which may lag behind: only the reply is checked.
        self.fetch(Request::get("/v1/me/purchases", "/v1/me/purchases", caller))
            .await
            .map(drop)
    }
}
