//! What the two ends say before ractor does: who they are, which incarnation, and the token that marks the other's frames.
//!
//! ractor's own handshake names a node but proves only that it knows the cookie, and a frame on a lane does not say over
//! which session it came. So names are bound to certificates here, and every frame carries the token that its receiver
//! made up for this one connection: it can be neither another node's nor an older connection's.

use std::collections::HashMap;
use std::fmt;
use std::io;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use souk_wire::WireError;

/// Longest message of the prelude, in bytes.
const MESSAGE_LIMIT: u32 = 1024;

/// One life of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// Its name in the configuration.
    pub name: String,
    /// Grows at each start.
    pub incarnation: u64,
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.incarnation)
    }
}

/// What the dialer says first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub from: NodeIdentity,
    /// Whom it means to reach: a node that was restarted since is somebody else.
    pub to: NodeIdentity,
    /// Marks the frames that the acceptor sends.
    pub token: u64,
}

/// What the acceptor answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Go on.
    Welcome {
        /// Marks the frames that the dialer sends.
        token: u64,
    },
    /// Not now.
    Refused(Refusal),
}

/// Why an acceptor lets no link come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The dialer meant another node or another incarnation of this one.
    #[error("it is another node, or another incarnation of it")]
    OtherNode,
    /// The acceptor's view has not, or no longer, the dialer in it.
    #[error("it does not want a link to this incarnation")]
    NotWanted,
    /// Of two nodes the one whose name sorts last dials.
    #[error("it is the one that dials")]
    Direction,
    /// It has as many sessions as it may have.
    #[error("it has no room for another session")]
    Full,
}

/// What went wrong in the prelude.
#[derive(Debug, thiserror::Error)]
pub enum PreludeError {
    /// The stream failed.
    #[error("the stream failed")]
    Stream(#[from] io::Error),
    /// The peer announced a message that is too long.
    #[error("a message of {0} bytes is too long for a prelude")]
    TooLong(u32),
    /// The message does not decode.
    #[error("the message does not decode")]
    Wire(#[from] WireError),
}

pub(super) async fn write<Stream, Message>(stream: &mut Stream, message: &Message) -> Result<(), PreludeError>
where
    Stream: AsyncWrite + Unpin,
    Message: Serialize,
{
    let bytes = souk_wire::encode(message)?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if length > MESSAGE_LIMIT {
        return Err(PreludeError::TooLong(length));
    }
    stream.write_u32(length).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

pub(super) async fn read<Stream, Message>(stream: &mut Stream) -> Result<Message, PreludeError>
where
    Stream: AsyncRead + Unpin,
    Message: DeserializeOwned,
{
    let length = stream.read_u32().await?;
    if length > MESSAGE_LIMIT {
        return Err(PreludeError::TooLong(length));
    }
    // A u32 below the limit of 1024 fits any usize.
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(souk_wire::decode(&bytes)?)
}

/// Whom a node lets in: read by every handshake, replaced whenever the view changes.
#[derive(Debug)]
pub struct Admission {
    own: NodeIdentity,
    wanted: ArcSwap<HashMap<String, u64>>,
}

impl Admission {
    /// Lets nobody in yet.
    pub fn new(own: NodeIdentity) -> Self {
        Self {
            own,
            wanted: ArcSwap::default(),
        }
    }

    /// Who this node is.
    pub fn own(&self) -> &NodeIdentity {
        &self.own
    }

    /// From now on exactly these are let in.
    pub fn replace(&self, wanted: impl IntoIterator<Item = NodeIdentity>) {
        let wanted = wanted
            .into_iter()
            .map(|identity| (identity.name, identity.incarnation));
        self.wanted.store(std::sync::Arc::new(wanted.collect()));
    }

    /// Whether this node is the one that dials `name`. One of two has to, or they would make two connections and lose one
    /// in ractor's election, which shows as a link that went down; the name that sorts last does, as in Erlang.
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
    fn only_the_wanted_incarnation_that_has_to_dial_is_let_in() {
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
    async fn messages_arrive_whole_and_long_ones_are_refused() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        write(&mut near, &hello(identity("n2", 1), identity("n1", 1)))
            .await
            .unwrap();
        let arrived: Hello = read(&mut far).await.unwrap();
        assert_eq!(arrived.from, identity("n2", 1));
        let long = hello(identity(&"n".repeat(2000), 1), identity("n1", 1));
        assert!(matches!(
            write(&mut near, &long).await,
            Err(PreludeError::TooLong(_))
        ));
        near.write_u32(u32::MAX).await.unwrap();
        assert!(matches!(
            read::<_, Hello>(&mut far).await,
            Err(PreludeError::TooLong(u32::MAX))
        ));
        near.write_all(&[0, 0, 0, 2, 1, 0xff]).await.unwrap();
        assert!(matches!(
            read::<_, Hello>(&mut far).await,
            Err(PreludeError::Wire(_))
        ));
    }
}
