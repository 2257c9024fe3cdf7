//! Frames of a lane: batches of items, and the acknowledgements that open the window again.

use std::fmt;

use ractor::BytesConvertable;
use ractor_cluster::RactorClusterMessage;
use serde::{Deserialize, Serialize};

/// Most items in one frame.
pub const FRAME_ITEMS: usize = 256;

/// Most bytes of items in one frame; a single larger item has a frame of its own.
pub const FRAME_BYTES: usize = 1024 * 1024;

/// Largest single item, in bytes; well below what the codec, and ractor's session, accept.
pub const ITEM_BYTES: usize = 8 * 1024 * 1024;

const _: () = assert!(ITEM_BYTES + FRAME_BYTES < souk_wire::DECODE_LIMIT);

/// An encoded request, reply or notice, opaque to the lane.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl fmt::Debug for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Item({} bytes)", self.0.len())
    }
}

/// A message on a lane. The receiver chose the token for this connection, so it identifies the sender.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Frame {
    /// Items, in the order in which they were sent on this lane.
    Items {
        /// The token of the connection.
        token: u64,
        /// Counts the frames of this lane from 1 without gaps.
        sequence: u64,
        /// At least one.
        items: Vec<Item>,
    },
    /// All frames up to this one were received.
    Acknowledge {
        /// The token of the connection.
        token: u64,
        /// The number of the last frame received.
        sequence: u64,
    },
}

/// An encoded frame. Its conversion for ractor copies nothing, whereas that of `Vec<u8>` goes byte by byte.
#[derive(Debug)]
pub struct EncodedFrame(pub(super) Vec<u8>);

impl BytesConvertable for EncodedFrame {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// Messages of a gateway, the only actor messages that cross between nodes.
#[derive(Debug, RactorClusterMessage)]
pub enum LaneMessage {
    /// A frame.
    Frame(EncodedFrame),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn items_round_trip(token: u64, sequence: u64, items: Vec<Vec<u8>>) {
            let items: Vec<Item> = items.into_iter().map(Item).collect();
            let bytes = souk_wire::encode(&Frame::Items { token, sequence, items: items.clone() }).unwrap();
            match souk_wire::decode(&bytes).unwrap() {
                Frame::Items { token: t, sequence: s, items: i } => {
                    prop_assert_eq!((t, s, i), (token, sequence, items));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn garbage_is_an_error(bytes: Vec<u8>) {
            let _ = souk_wire::decode::<Frame>(&bytes);
        }
    }

    #[test]
    fn items_have_little_overhead() {
        let item = vec![7; 1000];
        let frame = Frame::Items {
            token: u64::MAX,
            sequence: 1,
            items: vec![Item(item); 10],
        };
        assert!(souk_wire::encode(&frame).unwrap().len() < 10 * 1004 + 16);
    }
}
