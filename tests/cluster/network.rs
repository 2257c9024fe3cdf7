//! A network with faults between a cluster and a server.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::stores::Servers;

/// What happens to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They are passed on.
    None,
    /// They arrive this much later, each way.
    Latency(Duration),
    /// Every connection is reset, and so is every new one.
    Reset,
    /// They are kept, and arrive when the fault is over.
    BlackHole,
}

/// Passes on what comes in to a server, with the fault of the moment.
pub struct Proxy {
    address: String,
    fault: watch::Sender<Fault>,
}

impl Proxy {
    /// One in front of this server.
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (fault, faults) = watch::channel(Fault::None);
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            fault,
        };
        let server = server.to_owned();
        tokio::spawn(async move {
            // Until the proxy is dropped.
            while faults.has_changed().is_ok() {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(client, server.clone(), faults.clone()));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

/// The same servers, each behind a network with faults.
pub async fn behind_proxies(mut servers: Servers) -> (Servers, BTreeMap<&'static str, Proxy>) {
    let mut proxies = BTreeMap::new();
    for (name, url) in &mut servers.0 {
        let (start, rest) = url.split_once("://").unwrap();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (format!("{user}@"), host),
            None => (String::new(), authority),
        };
        let proxy = Proxy::start(host).await;
        *url = format!("{start}://{user}{}{path}", proxy.address());
        proxies.insert(*name, proxy);
    }
    (servers, proxies)
}

async fn connect(client: TcpStream, server: String, mut faults: watch::Receiver<Fault>) {
    // A connection that is closed with bytes unread or none to linger is reset.
    client.set_zero_linger().unwrap();
    if *faults.borrow_and_update() == Fault::Reset {
        return;
    }
    let Ok(server) = TcpStream::connect(&server).await else {
        return;
    };
    let (client, server) = (client.into_split(), server.into_split());
    let there = pass(client.0, server.1, faults.clone());
    let back = pass(server.0, client.1, faults.clone());
    tokio::select! {
        // One side closes: the other has all that was sent, and hears of it.
        () = async { tokio::join!(there, back); } => {}
        _ = faults.wait_for(|fault| *fault == Fault::Reset) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut faults: watch::Receiver<Fault>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        // An error is the end of a connection.
        let count = from.read(&mut bytes).await.unwrap_or(0);
        let fault = *faults.borrow_and_update();
        if let Fault::Latency(latency) = fault {
            sleep(latency).await;
        }
        let is_passed_on = faults.wait_for(|fault| *fault != Fault::BlackHole).await.is_ok();
        let written = to.write_all(&bytes[..count]).await;
        if count == 0 || written.is_err() || !is_passed_on {
            // The other end may be closed already.
            let _ = to.shutdown().await;
            return;
        }
    }
}
