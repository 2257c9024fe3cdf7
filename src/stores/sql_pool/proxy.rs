//! A proxy for tests of lost answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to the server on which messages get lost or stuck.
pub struct Proxy {
    port: u16,
    /// How many connections there were.
    opened: watch::Receiver<usize>,
    /// How many have ended.
    ended: Arc<watch::Sender<usize>>,
    /// These requests are not passed on.
    held: Arc<watch::Sender<Requests>>,
    /// Connections with one of these end instead of passing the answer on.
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

impl Proxy {
    /// A new one to a server.
    pub async fn start(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = (host.to_owned(), port);
        let (open, opened) = watch::channel(0);
        let ended = Arc::new(watch::Sender::new(0));
        let [held, mute] = [(); 2].map(|()| Arc::new(watch::Sender::default()));
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            opened,
            ended: Arc::clone(&ended),
            held: Arc::clone(&held),
            mute: Arc::clone(&mute),
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                let number = *open.borrow();
                open.send_modify(|opened| *opened += 1);
                let (held, mute, ended) = (held.subscribe(), mute.subscribe(), Arc::clone(&ended));
                tokio::spawn(async move {
                    // Either may find its socket closed, which is what a test is about.
                    let _ = pass(client, server, number, held, mute).await;
                    ended.send_modify(|ended| *ended += 1);
                });
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

    /// Passes on what was kept, and waits until these connections have ended.
    pub async fn release(&self) {
        let held = self.held.send_replace(Requests::default());
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended >= held.below).await.unwrap();
    }

    /// Loses the answers to requests with this text of all connections that there are.
    pub fn mute(&self, with: &'static str) {
        self.mute.send_replace(self.of_all(with));
    }
}

/// Passes requests and answers on until one side has ended and what the client had sent is with the server.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    number: usize,
    mut held: watch::Receiver<Requests>,
    mute: watch::Receiver<Requests>,
) -> std::io::Result<()> {
    let (mut requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = server.into_split();
    let is_mute = AtomicBool::new(false);
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = requests.read(&mut bytes).await?;
            let request = &bytes[..count];
            let passed_on = held.wait_for(|held| !held.include(number, request)).await.is_ok();
            if !passed_on || count == 0 {
                return to_server.shutdown().await;
            }
            is_mute.fetch_or(mute.borrow().include(number, request), Ordering::Relaxed);
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
