//! The shared cluster, and its users.

use std::fs;
use std::panic;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::client::{Client, Reply};
use crate::support::cluster::{Cluster, Options, is_notable};
use crate::support::full;
use crate::support::waiting::eventually;

/// Nodes of the shared cluster.
pub const NODES: usize = 2;

/// Longest time for the head of a request to arrive: the default.
pub const HEAD_SECONDS: u64 = 10;

/// Longest time for its body: shorter than the default, so that slow clients are disconnected soon.
pub const BODY_SECONDS: u64 = 10;

/// Longest time for an awaited event: an e-mail, a projection.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Longest time for a logout to take effect on every node: as promised at full size, generous otherwise.
pub fn revocation_limit() -> Duration {
    Duration::from_secs(if full() { 5 } else { 60 })
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let options = Options {
        nodes: u16::try_from(NODES).expect("few"),
        products: 240,
        settings: vec![
            ("limits.header_seconds", HEAD_SECONDS.to_string()),
            ("limits.body_seconds", BODY_SECONDS.to_string()),
        ],
        environment: vec![("RUST_LOG", "info,souk=debug".to_owned())],
    };
    let cluster = Cluster::start_for_process(options.patient());
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        if let Some(cluster) = LazyLock::get(&CLUSTER) {
            eprintln!("{}", cluster.logs(is_notable));
        }
    }));
    cluster
});

/// The shared cluster.
pub fn cluster() -> &'static Cluster {
    &CLUSTER
}

/// Values that must not be found in any log: passwords, tokens, personal data.
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records a value that no log may contain.
pub fn secret(text: &str) {
    SECRETS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(text.to_owned());
}

/// All recorded values.
pub fn secrets() -> Vec<String> {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A unique client address, since failures are counted by address.
pub fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // The range for tests of networks (RFC 2544).
    format!("198.18.{}.{}", number / 250, 1 + number % 250)
}

/// A client of a node at an address of its own.
pub fn stranger(node: usize) -> Client {
    cluster().client(node).calling_from(&address())
}

/// A user with an account.
#[derive(Clone, Debug)]
pub struct Person {
    pub email: String,
    pub password: String,
    pub name: String,
    /// The account's identifier.
    pub id: String,
    /// The refresh token of the session of [`Person::client`].
    pub refresh_token: String,
    /// A client with the session's access token, at the user's own address.
    pub client: Client,
}

impl Person {
    /// Registers an account at a node.
    pub async fn register(node: usize) -> Self {
        Self::register_with(&stranger(node), &fresh_email(), &fresh_password()).await
    }

    /// Registers an account with this address and password.
    pub async fn register_with(client: &Client, email: &str, password: &str) -> Self {
        let name = "Petra Example".to_owned();
        let body = json!({"email": email, "password": password, "name": name});
        let opened = unhurried(client, "/v1/auth/register", &body).await.expect(201);
        secret(email);
        secret(password);
        note_tokens(&opened);
        Self {
            email: email.to_owned(),
            password: password.to_owned(),
            name,
            id: opened.str("/user/id").to_owned(),
            refresh_token: opened.str("/refresh_token").to_owned(),
            client: client.with_token(Some(opened.str("/access_token"))),
        }
    }

    /// Another session of the same account, at the same address.
    pub async fn sign_in(&self, node: usize) -> Self {
        let client = self.client.at(cluster().shop(node)).with_token(None);
        let opened = login(&client, &self.email, &self.password).await.expect(200);
        Self {
            refresh_token: opened.str("/refresh_token").to_owned(),
            client: client.with_token(Some(opened.str("/access_token"))),
            ..self.clone()
        }
    }

    /// Confirms the password in this session.
    pub async fn step_up(&self) {
        let body = json!({"password": self.password});
        unhurried(&self.client, "/v1/auth/step-up", &body)
            .await
            .expect(200);
    }

    /// The same user at another node.
    pub fn at(&self, node: usize) -> Client {
        self.client.at(cluster().shop(node))
    }

    /// The session of the client.
    pub fn session(&self) -> String {
        let claims = crate::forge::claims(self.client.access_token().expect("a person has a token"));
        claims["sid"]
            .as_str()
            .expect("a token names its session")
            .to_owned()
    }

    /// Waits until every node refuses the session, at most for the promised time.
    pub async fn is_out(&self) {
        for node in 0..cluster().len() {
            signed_out(&self.at(node), revocation_limit()).await;
        }
    }
}

/// Waits until a node refuses the client's token.
pub async fn signed_out(client: &Client, limit: Duration) {
    let what = format!("the session is over at {}", client.base());
    eventually(&what, limit, async || {
        let reply = client.get("/v1/me").await;
        if reply.status == 401 { Ok(()) } else { Err(reply) }
    })
    .await;
}

/// An e-mail address without an account.
pub fn fresh_email() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("petra{}@accounts.example", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A unique password.
pub fn fresh_password() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("Quartz-Otter-{}-Lantern", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `POST` of a request that hashes a password: repeated while the queue of hashes is full.
pub async fn unhurried(client: &Client, path: &str, body: &Value) -> Reply {
    eventually(&format!("{path} is not busy"), LIMIT, async || {
        let reply = client.post(path, body).await;
        if reply.status == 503 {
            Err(reply)
        } else {
            Ok(reply)
        }
    })
    .await
}

/// `POST /v1/auth/login`.
pub async fn login(client: &Client, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    let reply = unhurried(client, "/v1/auth/login", &body).await;
    note_tokens(&reply);
    reply
}

/// `POST /v1/auth/refresh`.
pub async fn refresh(client: &Client, token: &str) -> Reply {
    let body = json!({"refresh_token": token});
    let reply = client.with_token(None).post("/v1/auth/refresh", &body).await;
    note_tokens(&reply);
    reply
}

fn note_tokens(reply: &Reply) {
    for field in ["access_token", "refresh_token"] {
        if let Some(token) = reply.body[field].as_str() {
            secret(token);
        }
    }
}

/// The admin.
pub async fn admin(node: usize) -> Client {
    let admin = &cluster().ready().admin;
    let text = |field: &str| admin[field].as_str().expect("the admin's account").to_owned();
    let client = stranger(node);
    let opened = login(&client, &text("email"), &text("password"))
        .await
        .expect(200);
    client.with_token(Some(opened.str("/access_token")))
}

/// The subject of an e-mail.
#[derive(Clone, Copy)]
pub enum About {
    Verification,
    Reset,
}

/// The code in the newest e-mail on this subject to the address, once it differs from `last`.
pub async fn code(email: &str, about: About, last: Option<&str>) -> String {
    let found = eventually(&format!("a message to {email}"), LIMIT, async || {
        match emails(email, about).pop() {
            Some(code) if Some(&*code) != last => Ok(code),
            Some(_) => Err("the last message is the old one"),
            None => Err("there is none"),
        }
    })
    .await;
    secret(&found);
    found
}

/// The codes in all e-mails on this subject to the address, oldest first.
pub fn emails(email: &str, about: About) -> Vec<String> {
    let subject = match about {
        About::Verification => "\r\nSubject: Please confirm your e-mail address\r\n",
        About::Reset => "\r\nSubject: Your new password\r\n",
    };
    let mut files: Vec<_> = fs::read_dir(cluster().data().join("stores").join("mail"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    // Their names begin with the time.
    files.sort();
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter(|message| message.starts_with(&format!("To: <{email}>\r\n")) && message.contains(subject))
        .map(|message| {
            let code = message
                .lines()
                .find(|line| line.len() == 43 && !line.contains(' '))
                .unwrap_or_else(|| panic!("there is no code in: {message}"));
            code.to_owned()
        })
        .collect()
}

/// A SKU with plenty of stock, and its product; no other call returns the same.
pub async fn stocked(client: &Client) -> (String, String) {
    static PLENTY: OnceCell<Vec<(String, String)>> = OnceCell::const_new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Read once: what is bought meanwhile must not move the others.
    let plenty = PLENTY.get_or_init(|| plentiful(client)).await;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    plenty
        .get(number)
        .unwrap_or_else(|| panic!("only {} SKUs have plenty in stock", plenty.len()))
        .clone()
}

/// SKUs with plenty of stock, one per product.
async fn plentiful(client: &Client) -> Vec<(String, String)> {
    let mut plenty = Vec::new();
    let mut path = "/v1/products?limit=100&sort=price".to_owned();
    loop {
        let page = client.get(&path).await.expect(200);
        for product in page.items() {
            let skus = product["skus"].as_array().into_iter().flatten();
            // More than any test buys of it.
            let enough = |sku: &&Value| sku["available"].as_u64().is_some_and(|available| available >= 30);
            if let (Some(sku), Some(id)) = (skus.into_iter().find(enough), product["id"].as_str()) {
                plenty.push((sku["sku"].as_str().unwrap_or_default().to_owned(), id.to_owned()));
            }
        }
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/products?limit=100&sort=price&cursor={cursor}"),
            None => return plenty,
        }
    }
}

/// A postal address with recognisable lines.
pub fn postal(mark: &str) -> Value {
    let line1 = format!("1 {mark} Lane");
    secret(&line1);
    json!({
        "name": format!("{mark} Person"),
        "line1": line1,
        "line2": null,
        "city": format!("{mark}ville"),
        "region": "IL",
        "postcode": "62701",
        "country": "US",
        "phone": null,
    })
}

/// `POST /v1/me/addresses`; returns the id.
pub async fn add_address(client: &Client, mark: &str) -> String {
    let added = client.post("/v1/me/addresses", &postal(mark)).await.expect(201);
    added.str("/id").to_owned()
}

/// Orders the cart's SKU with the account's saved address and e-mail address.
pub fn order_to(address_id: &str) -> Value {
    json!({
        "address_id": address_id,
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": "tok_ok"},
    })
}

/// The names of an object's members, sorted.
pub fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names
}
