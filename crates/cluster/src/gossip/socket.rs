//! The UDP socket of chitchat, with sealed datagrams. Neither a datagram nor an error of the system stops gossip.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use metrics::counter;
use tokio::net::UdpSocket;

use super::seal::{Rejection, Seal};
use crate::key::ClusterKey;

/// Largest UDP payload there is over IPv4.
const DATAGRAM_LIMIT: usize = 65_507;

/// The pause after a failed receive, so that a persistent error does not spin.
const RECEIVE_PAUSE: Duration = Duration::from_millis(20);

/// Gives chitchat a socket that was bound before, so that a port in use is an error at startup.
pub(super) struct SealedTransport {
    key: ClusterKey,
    socket: Mutex<Option<UdpSocket>>,
}

impl SealedTransport {
    pub(super) fn new(key: ClusterKey, socket: UdpSocket) -> Self {
        Self {
            key,
            socket: Mutex::new(Some(socket)),
        }
    }
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self
            .socket
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
            .ok_or_else(|| anyhow::anyhow!("the gossip socket is already in use"))?;
        Ok(Box::new(SealedSocket {
            socket,
            seal: Seal::new(&self.key)?,
            buffer: vec![0; DATAGRAM_LIMIT],
        }))
    }
}

struct SealedSocket {
    socket: UdpSocket,
    seal: Seal,
    buffer: Vec<u8>,
}

impl SealedSocket {
    /// Opens and decodes the datagram of this length in the buffer.
    fn message(&mut self, length: usize) -> Result<ChitchatMessage, &'static str> {
        let mut plain = self
            .seal
            .open(&mut self.buffer[..length])
            .map_err(Rejection::kind)?;
        ChitchatMessage::deserialize(&mut plain).map_err(|_| "undecodable")
    }
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let sent = match self.seal.seal(&message.serialize_to_vec()) {
            Ok(datagram) => self.socket.send_to(&datagram, to).await,
            Err(error) => Err(io::Error::other(error)),
        };
        // Gossip repeats itself. A persistent failure shows as a member that is considered dead.
        if let Err(error) = sent {
            counter!("souk_gossip_send_failures_total").increment(1);
            tracing::debug!(%to, %error, "gossip datagram not sent");
        }
        Ok(())
    }

    /// Cancel safe: a datagram is either still in the system's queue or returned.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            match self.socket.recv_from(&mut self.buffer).await {
                Ok((length, from)) => match self.message(length) {
                    Ok(message) => return Ok((from, message)),
                    Err(kind) => {
                        counter!("souk_gossip_rejected_total", "kind" => kind).increment(1);
                        tracing::debug!(%from, kind, "gossip datagram rejected");
                    }
                },
                Err(error) => {
                    counter!("souk_gossip_receive_failures_total").increment(1);
                    tracing::debug!(%error, "gossip receive failed");
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                }
            }
        }
    }
}
