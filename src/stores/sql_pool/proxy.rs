//! A proxy for tests of lost answers.

use std::sync::Arc;

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
    /// Of connections below this number no request is passed on.
    held: Arc<watch::Sender<usize>>,
    /// Connections below this number end instead of passing an answer on.
    mute: Arc<watch::Sender<usize>>,
}

impl Proxy {
    /// A new one to a server.
    pub async fn start(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = (host.to_owned(), port);
        let (open, opened) = watch::channel(0);
        let [ended, held, mute] = [(); 3].map(|()| Arc::new(watch::Sender::new(0)));
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

    /// Keeps the requests of all connections that there are.
    pub fn hold(&self) {
        self.held.send_replace(*self.opened.borrow());
    }

    /// Passes on what was kept, and waits until these connections have ended.
    pub async fn release(&self) {
        let held = self.held.send_replace(0);
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended >= held).await.unwrap();
    }

    /// Loses the answers to all connections that there are.
    pub fn mute(&self) {
        self.mute.send_replace(*self.opened.borrow());
    }
}

/// Passes requests and answers on until one side has ended and what the client had sent is with the server.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    number: usize,
    mut held: watch::Receiver<usize>,
    mute: watch::Receiver<usize>,
) -> std::io::Result<()> {
    let (mut requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = server.into_split();
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = requests.read(&mut bytes).await?;
            if held.wait_for(|held| number >= *held).await.is_err() || count == 0 {
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
