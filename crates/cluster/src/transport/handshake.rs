//! The handshake of a link, before ractor's own: both ends state their identity, and each gives the other a token for its
//! frames.
//!
//! ractor's handshake names a node but proves only that it knows the cookie, and a frame on a lane does not tell over which
//! session it came. So names are bound to certificates here, and every frame carries the token that its receiver chose for
//! this connection: it can come neither from another node nor from an older connection.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::view::NodeIdentity;
use souk_wire::WireError;

/// Longest message of the handshake, in bytes.
const MESSAGE_LIMIT: u32 = 1024;

/// The first message, from the dialer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub from: NodeIdentity,
    /// Which node it wants to reach. A restarted node is another one.
    pub to: NodeIdentity,
    /// Marks the frames that the acceptor sends.
    pub token: u64,
}

/// The reply of the acceptor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The link is accepted.
    Welcome {
        /// Marks the frames that the dialer sends.
        token: u64,
    },
    /// The link is refused.
    Refused(Refusal),
}

/// Why an acceptor refuses a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The dialer wanted another node or another incarnation of this one.
    #[error("it is another node or another incarnation")]
    OtherNode,
    /// The dialer is not in the acceptor's view.
    #[error("it wants no link to this incarnation")]
    NotWanted,
    /// Of two nodes the one whose name sorts last dials.
    #[error("it is the node that dials")]
    Direction,
    /// The limit of sessions is reached.
    #[error("its limit of sessions is reached")]
    Full,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The stream failed.
    #[error("the stream failed")]
    Stream(#[from] io::Error),
    /// The peer announced a message that is too long.
    #[error("a message of {0} bytes is too long for a handshake")]
    TooLong(u32),
    /// The message does not decode.
    #[error("the message does not decode")]
    Wire(#[from] WireError),
}

pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), HandshakeError> {
    let bytes = souk_wire::encode(message)?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if length > MESSAGE_LIMIT {
        return Err(HandshakeError::TooLong(length));
    }
    stream.write_u32(length).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

pub(super) async fn read<Message: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Message, HandshakeError> {
    let length = stream.read_u32().await?;
    if length > MESSAGE_LIMIT {
        return Err(HandshakeError::TooLong(length));
    }
    // A u32 below the limit of 1024 fits any usize.
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(souk_wire::decode(&bytes)?)
}

/// Which nodes may open links: read by every handshake, replaced whenever the view changes.
#[derive(Debug)]
pub struct Admission {
    own: NodeIdentity,
    wanted: ArcSwap<HashMap<String, u64>>,
}

impl Admission {
    /// Admits no node yet.
    pub fn new(own: NodeIdentity) -> Self {
        Self {
            own,
            wanted: ArcSwap::default(),
        }
    }

    /// This node.
    pub fn own(&self) -> &NodeIdentity {
        &self.own
    }

    /// Admits exactly these nodes.
    pub fn replace(&self, wanted: impl IntoIterator<Item = NodeIdentity>) {
        let wanted = wanted
            .into_iter()
            .map(|identity| (identity.name, identity.incarnation));
        self.wanted.store(Arc::new(wanted.collect()));
    }

    /// Whether this node dials `name`. If both did, ractor would close one of the two connections, which shows as a link
    /// that went down. As in Erlang, the node whose name sorts last dials.
    pub fn dials(&self, name: &str) -> bool {
        self.own.name.as_str() > name
    }

    pub(super) fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        if hello.to != self.own {
            return Err(Refusal::OtherNode);
        }
        if self.dials(&hello.from.name) || hello.from.name == self.own.name {
            return Err(Refusal::Direction);
        }
        match self.wanted.load().get(&hello.from.name) {
            Some(&incarnation) if incarnation == hello.from.incarnation => Ok(()),
            _ => Err(Refusal::NotWanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(name: &str, incarnation: u64) -> NodeIdentity {
        NodeIdentity {
            name: name.to_owned(),
            incarnation,
        }
    }

    fn hello(from: NodeIdentity, to: NodeIdentity) -> Hello {
        Hello { from, to, token: 1 }
    }

    #[test]
    fn only_a_wanted_dialer_is_admitted() {
        let admission = Admission::new(identity("n2", 7));
        let own = || identity("n2", 7);
        assert_eq!(
            admission.check(&hello(identity("n3", 1), own())),
            Err(Refusal::NotWanted)
        );
        admission.replace([identity("n3", 1), identity("n1", 1)]);
        assert_eq!(admission.check(&hello(identity("n3", 1), own())), Ok(()));
        assert_eq!(
            admission.check(&hello(identity("n3", 2), own())),
            Err(Refusal::NotWanted)
        );
        assert_eq!(
            admission.check(&hello(identity("n1", 1), own())),
            Err(Refusal::Direction)
        );
        assert_eq!(admission.check(&hello(own(), own())), Err(Refusal::Direction));
        assert_eq!(
            admission.check(&hello(identity("n3", 1), identity("n2", 6))),
            Err(Refusal::OtherNode)
        );
        admission.replace([]);
        assert_eq!(
            admission.check(&hello(identity("n3", 1), own())),
            Err(Refusal::NotWanted)
        );
    }

    proptest! {
        #[test]
        fn exactly_one_of_two_dials(one in "[a-z0-9]{1,8}", other in "[a-z0-9]{1,8}") {
            prop_assume!(one != other);
            let first = Admission::new(identity(&one, 1)).dials(&other);
            let second = Admission::new(identity(&other, 1)).dials(&one);
            prop_assert!(first ^ second);
        }
    }

    #[tokio::test]
    async fn long_messages_are_refused() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        write(&mut near, &hello(identity("n2", 1), identity("n1", 1)))
            .await
            .unwrap();
        let arrived: Hello = read(&mut far).await.unwrap();
        assert_eq!(arrived.from, identity("n2", 1));
        let long = hello(identity(&"n".repeat(2000), 1), identity("n1", 1));
        assert!(matches!(
            write(&mut near, &long).await,
            Err(HandshakeError::TooLong(_))
        ));
        near.write_u32(u32::MAX).await.unwrap();
        assert!(matches!(
            read::<Hello>(&mut far).await,
            Err(HandshakeError::TooLong(u32::MAX))
        ));
        near.write_all(&[0, 0, 0, 2, 1, 0xff]).await.unwrap();
        assert!(matches!(
            read::<Hello>(&mut far).await,
            Err(HandshakeError::Wire(_))
        ));
    }
}
