//! A way to a server on which messages get lost or stuck.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens on a port of its own, and passes on what comes in unless it is told otherwise.
pub struct Proxy {
    port: u16,
    /// How many connections there were.
    opened: watch::Receiver<usize>,
    /// Of connections below this number no request is passed on.
    held: Arc<watch::Sender<usize>>,
    /// Connections that a request was kept of, and that have not ended.
    stuck: Arc<watch::Sender<usize>>,
    /// Connections below this number end instead of passing an answer on.
    mute: Arc<watch::Sender<usize>>,
}

/// The settings of a proxy, as one of its connections sees them.
struct Faults {
    number: usize,
    held: watch::Receiver<usize>,
    mute: watch::Receiver<usize>,
    stuck: Arc<watch::Sender<usize>>,
    is_stuck: bool,
}

impl Proxy {
    /// A new one to this server.
    pub async fn start(host: String, server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, opened) = watch::channel(0);
        let [stuck, held, mute] = [(); 3].map(|()| Arc::new(watch::Sender::new(0)));
        let proxy = Self {
            port,
            opened,
            held: Arc::clone(&held),
            stuck: Arc::clone(&stuck),
            mute: Arc::clone(&mute),
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect((host.as_str(), server_port)).await else {
                    continue;
                };
                let faults = Faults {
                    number: *open.borrow(),
                    held: held.subscribe(),
                    mute: mute.subscribe(),
                    stuck: Arc::clone(&stuck),
                    is_stuck: false,
                };
                open.send_modify(|opened| *opened += 1);
                // Either may find its socket closed, which is what a test is about.
                tokio::spawn(async move { drop(pass(client, server, faults).await) });
            }
        });
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Keeps the requests of all connections that there are.
    pub fn hold(&self) {
        self.held.send_replace(*self.opened.borrow());
    }

    /// Passes on what was kept, and waits until the connections that it came from have ended.
    pub async fn release(&self) {
        self.held.send_replace(0);
        let mut stuck = self.stuck.subscribe();
        stuck.wait_for(|stuck| *stuck == 0).await.unwrap();
    }

    /// Loses the answers to all connections that there are.
    pub fn mute(&self) {
        self.mute.send_replace(*self.opened.borrow());
    }
}

impl Faults {
    /// Waits while requests are kept; whether they ever are passed on.
    async fn passes_on(&mut self) -> bool {
        let number = self.number;
        if number < *self.held.borrow() && !self.is_stuck {
            self.is_stuck = true;
            self.stuck.send_modify(|stuck| *stuck += 1);
        }
        self.held.wait_for(|held| number >= *held).await.is_ok()
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
    let (number, mute) = (faults.number, faults.mute.clone());
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = requests.read(&mut bytes).await?;
            if !faults.passes_on().await || count == 0 {
                return to_server.shutdown().await;
            }
            to_server.write_all(&bytes[..count]).await?;
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = answers.read(&mut bytes).await?;
            if count == 0 || number < *mute.borrow() {
                return to_client.shutdown().await;
            }
            // A client that has gone away does not end what it has sent.
            let _ = to_client.write_all(&bytes[..count]).await;
        }
    };
    let (there, back) = tokio::join!(there, back);
    there.and(back)
}
