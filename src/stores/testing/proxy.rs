//! A way to a server on which messages get lost or stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens on a port of its own, and passes on what comes in, where no fault is set.
pub struct Proxy {
    port: u16,
    /// How many connections there were.
    opened: Arc<watch::Sender<usize>>,
    /// These requests are not passed on.
    held: Arc<watch::Sender<Requests>>,
    /// Connections that a request was kept of, and that have not ended.
    stuck: Arc<watch::Sender<usize>>,
    /// Connections with one of these requests end instead of passing the answer on.
    mute: Arc<watch::Sender<Requests>>,
}

/// Some of the requests.
#[derive(Clone, Copy, Default)]
struct Requests {
    /// Of connections below this number.
    below: usize,
    /// Those with this text.
    with: &'static str,
}

impl Requests {
    fn include(&self, number: usize, request: &[u8]) -> bool {
        let text = self.with.as_bytes();
        number < self.below && (text.is_empty() || request.windows(text.len()).any(|window| window == text))
    }
}

/// The settings of a proxy, as one of its connections sees them.
struct Faults {
    number: usize,
    held: watch::Receiver<Requests>,
    mute: watch::Receiver<Requests>,
    stuck: Arc<watch::Sender<usize>>,
    is_stuck: bool,
}

impl Proxy {
    /// A new one to this server.
    pub async fn start(host: &str, server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = host.to_owned();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            opened: Arc::new(watch::Sender::new(0)),
            held: Arc::default(),
            stuck: Arc::new(watch::Sender::new(0)),
            mute: Arc::default(),
        };
        let [opened, stuck] = [&proxy.opened, &proxy.stuck].map(Arc::clone);
        let [held, mute] = [&proxy.held, &proxy.mute].map(Arc::clone);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect((host.as_str(), server_port)).await else {
                    continue;
                };
                let faults = Faults {
                    number: *opened.borrow(),
                    held: held.subscribe(),
                    mute: mute.subscribe(),
                    stuck: Arc::clone(&stuck),
                    is_stuck: false,
                };
                opened.send_modify(|opened| *opened += 1);
                // Either may find its socket closed, which is what a test is about.
                tokio::spawn(async move { drop(pass(client, server, faults).await) });
            }
        });
        proxy
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn of_all(&self, with: &'static str) -> Requests {
        let below = *self.opened.borrow();
        Requests { below, with }
    }

    /// Keeps the requests with this text of all connections that there are.
    pub fn hold(&self, with: &'static str) {
        self.held.send_replace(self.of_all(with));
    }

    /// Keeps the requests with this text of all connections, also of those to come.
    #[cfg(feature = "elasticsearch")]
    pub fn hold_all(&self, with: &'static str) {
        let below = usize::MAX;
        self.held.send_replace(Requests { below, with });
    }

    /// Waits until a request is kept.
    #[cfg(feature = "elasticsearch")]
    pub async fn holds_one(&self) {
        let mut stuck = self.stuck.subscribe();
        stuck.wait_for(|stuck| *stuck > 0).await.unwrap();
    }

    /// Passes on what was kept.
    pub fn pass_on(&self) {
        self.held.send_replace(Requests::default());
    }

    /// Passes on what was kept, and waits until the connections that it came from have ended.
    pub async fn release(&self) {
        self.pass_on();
        let mut stuck = self.stuck.subscribe();
        stuck.wait_for(|stuck| *stuck == 0).await.unwrap();
    }

    /// Loses the answers to requests with this text of all connections that there are.
    pub fn mute(&self, with: &'static str) {
        self.mute.send_replace(self.of_all(with));
    }
}

impl Faults {
    /// Waits while the request is kept; whether it ever is passed on.
    async fn passes_on(&mut self, request: &[u8]) -> bool {
        let number = self.number;
        if self.held.borrow().include(number, request) && !self.is_stuck {
            self.is_stuck = true;
            self.stuck.send_modify(|stuck| *stuck += 1);
        }
        let is_free = |held: &Requests| !held.include(number, request);
        self.held.wait_for(is_free).await.is_ok()
    }

    fn loses_answer_to(&self, request: &[u8]) -> bool {
        self.mute.borrow().include(self.number, request)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        if self.is_stuck {
            self.stuck.send_modify(|stuck| *stuck -= 1);
        }
    }
}

/// Passes requests and answers on until one side has ended and what the client had sent is with the server.
async fn pass(client: TcpStream, server: TcpStream, mut faults: Faults) -> std::io::Result<()> {
    let (mut requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = server.into_split();
    let is_mute = AtomicBool::new(false);
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = requests.read(&mut bytes).await?;
            let request = &bytes[..count];
            if !faults.passes_on(request).await || count == 0 {
                return to_server.shutdown().await;
            }
            is_mute.fetch_or(faults.loses_answer_to(request), Ordering::Relaxed);
            to_server.write_all(request).await?;
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = answers.read(&mut bytes).await?;
            if count == 0 || is_mute.load(Ordering::Relaxed) {
                return to_client.shutdown().await;
            }
            // A client that has gone away does not end what it has sent.
            let _ = to_client.write_all(&bytes[..count]).await;
        }
    };
    let (there, back) = tokio::join!(there, back);
    there.and(back)
}
