//! Events: what other parts of the shop learn of an entity's change, written in the same transaction as the change.
//!
//! Each kind of entity has an enum of its events. The name of a variant is its version: a field that is added later has
//! a default, so that what was written before still decodes; a form that no longer fits becomes a new variant with a new
//! name (`stock.sold.v2`). Fields that a reader does not know are ignored, so that nodes of two releases can run together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The events of one kind of entity: an enum, tagged with the event's name as `event` and its particulars as `detail`.
/// The particulars never hold personal data.
pub trait Event:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// The events of an aggregate that emits none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoEvent {}

impl Event for NoEvent {}

/// What identifies an event: the same at every delivery, so that consumers recognise a repetition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The entity that emitted it.
    pub entity: String,
    /// The entity's version after the change.
    pub version: u64,
    /// Its position among the events of that version, from 0.
    pub ordinal: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.entity, self.version, self.ordinal)
    }
}

/// The text is not an event's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is named ENTITY.VERSION.ORDINAL")]
pub struct InvalidEventId;

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        // From the end: an entity's identifier may hold dots.
        let mut parts = text.rsplitn(3, '.');
        let mut next = || parts.next().ok_or(InvalidEventId);
        let (ordinal, version, entity) = (next()?, next()?, next()?);
        Ok(Self {
            entity: entity.to_owned(),
            version: version.parse().map_err(|_| InvalidEventId)?,
            ordinal: ordinal.parse().map_err(|_| InvalidEventId)?,
        })
    }
}

/// An event as it is stored: its name, as in `order.confirmed`, and its particulars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedEvent {
    /// What happened, in dotted lower case.
    #[serde(rename = "event")]
    pub name: String,
    /// The particulars.
    pub detail: serde_json::Value,
}

impl EncodedEvent {
    /// The stored form of `event`.
    ///
    /// # Errors
    /// Where the type is not tagged as [`Event`] demands.
    pub fn encode(event: &impl Event) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(event)?)
    }

    /// The event.
    ///
    /// # Errors
    /// Where this release does not know the name, or the particulars don't fit it.
    pub fn decode<E: Event>(&self) -> Result<E, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(self)?)
    }
}

/// An event with its identity, on its way into a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity.
    pub id: EventId,
    /// What happened.
    pub event: EncodedEvent,
}

impl NewEvent {
    /// Gives the events of one entity, each with the version that emitted it and in order, their identities.
    ///
    /// # Errors
    /// As of [`EncodedEvent::encode`].
    pub fn number<E: Event>(
        entity: &str,
        events: impl IntoIterator<Item = (u64, E)>,
    ) -> Result<Vec<Self>, serde_json::Error> {
        let mut next = (0, 0);
        events
            .into_iter()
            .map(|(version, event)| {
                let ordinal = if next.0 == version { next.1 } else { 0 };
                next = (version, ordinal + 1);
                let id = EventId {
                    entity: entity.to_owned(),
                    version,
                    ordinal,
                };
                let event = EncodedEvent::encode(&event)?;
                Ok(Self { id, event })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stock::{StockEvent, StockFigures};

    fn released(quantity: u32) -> StockEvent {
        StockEvent::Released {
            quantity,
            order: crate::fixtures::order_id(1),
            after: StockFigures {
                on_hand: 9,
                available: 7,
            },
        }
    }

    #[test]
    fn ordinals_count_the_events_of_each_version() {
        let versions = [3, 3, 3, 4, 6, 6];
        let events = NewEvent::number("SKU-1.b", versions.map(|version| (version, released(1)))).unwrap();
        let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
        let expected = ["3.0", "3.1", "3.2", "4.0", "6.0", "6.1"].map(|end| format!("SKU-1.b.{end}"));
        assert_eq!(ids, expected);
        for event in events {
            assert_eq!(event.id.to_string().parse(), Ok(event.id));
        }
        for bad in ["", "a", "a.1", "a.1.x", "a.-1.0"] {
            assert_eq!(bad.parse::<EventId>(), Err(InvalidEventId), "{bad}");
        }
    }

    #[test]
    fn events_of_other_releases_decode_or_fail() {
        let stored = EncodedEvent::encode(&released(2)).unwrap();
        assert_eq!(stored.name, "stock.released");
        assert_eq!(
            stored.detail,
            json!({"quantity": 2, "order": "ord_1", "on_hand": 9, "available": 7})
        );
        let mut newer = stored.clone();
        newer.detail["warehouse"] = "north".into();
        assert_eq!(newer.decode::<StockEvent>().unwrap(), released(2));
        let unknown = EncodedEvent {
            name: "stock.moved".to_owned(),
            ..stored
        };
        assert!(unknown.decode::<StockEvent>().is_err());
        assert!(unknown.decode::<NoEvent>().is_err());
    }
}
