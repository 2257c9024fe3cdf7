//! What travels on a lane: many items in one frame, and the acknowledgements that open the window again.

use std::fmt;

use ractor::BytesConvertable;
use ractor_cluster::RactorClusterMessage;
use serde::{Deserialize, Serialize};

/// Items that are packed into one frame at most.
pub const FRAME_ITEMS: usize = 256;

/// Bytes of items that are packed into one frame at most; a single larger item has a frame of its own.
pub const FRAME_BYTES: usize = 1024 * 1024;

/// Largest single item, in bytes; well below what the codec, and ractor's session, accept.
pub const ITEM_BYTES: usize = 8 * 1024 * 1024;

const _: () = assert!(ITEM_BYTES + FRAME_BYTES < souk_wire::DECODE_LIMIT);

/// An encoded request, reply or notice. What it says is the business of whoever sends and receives it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl fmt::Debug for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Item({} bytes)", self.0.len())
    }
}

/// One message on a lane. The token is the one that the receiver made up for this connection: it tells who sent it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Frame {
    /// Items, in the order in which they were sent on this lane.
    Items {
        /// Of the connection.
        token: u64,
        /// Counts the frames of this lane from 1, without a gap.
        sequence: u64,
        /// At least one.
        items: Vec<Item>,
    },
    /// All frames up to this one were taken.
    Acknowledge {
        /// Of the connection.
        token: u64,
        /// Of the last frame taken.
        sequence: u64,
    },
}

/// A frame behind its codec. Its conversion for ractor copies nothing, where that of `Vec<u8>` goes byte by byte.
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

/// What a gateway understands, and the only message that crosses between nodes.
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
        fn items_come_out_as_they_went_in(token: u64, sequence: u64, items: Vec<Vec<u8>>) {
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
    fn an_item_costs_its_bytes_and_little_more() {
        let item = vec![7; 1000];
        let frame = Frame::Items {
            token: u64::MAX,
            sequence: 1,
            items: vec![Item(item); 10],
        };
        assert!(souk_wire::encode(&frame).unwrap().len() < 10 * 1004 + 16);
    }
}
