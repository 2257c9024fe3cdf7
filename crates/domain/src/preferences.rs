//! What somebody wants to be told about, and how.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// An order's way, from its confirmation to a refund.
    Orders,
    /// A parcel's way.
    Shipping,
    /// Something that is watched has become cheaper.
    PriceDrops,
    /// Something that is watched can be bought again.
    BackInStock,
    /// Whatever the shop would like to sell.
    Marketing,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 5] = [
        Self::Orders,
        Self::Shipping,
        Self::PriceDrops,
        Self::BackInStock,
        Self::Marketing,
    ];

    /// As in JSON and on the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Shipping => "shipping",
            Self::PriceDrops => "price_drops",
            Self::BackInStock => "back_in_stock",
            Self::Marketing => "marketing",
        }
    }
}

/// How a message gets to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A letter to the account's e-mail address.
    Email,
    /// A text message to the account's phone.
    Sms,
    /// In the shop itself.
    InApp,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::InApp];

    /// As in JSON and on the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::InApp => "in_app",
        }
    }
}

/// The channels of one topic. One that is left out is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// A letter to the account's e-mail address.
    pub email: bool,
    /// A text message to the account's phone.
    pub sms: bool,
    /// In the shop itself.
    pub in_app: bool,
}

impl Channels {
    const NONE: Self = Self {
        email: false,
        sms: false,
        in_app: false,
    };
    const IN_APP: Self = Self {
        in_app: true,
        ..Self::NONE
    };
    const EMAIL_AND_IN_APP: Self = Self {
        email: true,
        ..Self::IN_APP
    };

    /// Whether the channel is on.
    pub const fn has(self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email,
            Channel::Sms => self.sms,
            Channel::InApp => self.in_app,
        }
    }
}

/// Which topics go through which channels. A topic that is left out has its default: so preferences that were written
/// down before there was that topic still mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// An order's way, from its confirmation to a refund.
    pub orders: Channels,
    /// A parcel's way.
    pub shipping: Channels,
    /// Something that is watched has become cheaper.
    pub price_drops: Channels,
    /// Something that is watched can be bought again.
    pub back_in_stock: Channels,
    /// Whatever the shop would like to sell.
    pub marketing: Channels,
}

impl Default for Preferences {
    /// What somebody who never chose is told: what they wait for, by letter too; nothing that they did not ask for.
    fn default() -> Self {
        Self {
            orders: Channels::EMAIL_AND_IN_APP,
            shipping: Channels::EMAIL_AND_IN_APP,
            price_drops: Channels::IN_APP,
            back_in_stock: Channels::IN_APP,
            marketing: Channels::NONE,
        }
    }
}

impl Preferences {
    /// The channels of a topic.
    pub const fn channels(&self, topic: Topic) -> Channels {
        match topic {
            Topic::Orders => self.orders,
            Topic::Shipping => self.shipping,
            Topic::PriceDrops => self.price_drops,
            Topic::BackInStock => self.back_in_stock,
            Topic::Marketing => self.marketing,
        }
    }

    /// Whether messages about `topic` go through `channel`.
    pub const fn wants(&self, topic: Topic, channel: Channel) -> bool {
        self.channels(topic).has(channel)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nobody_gets_advertising_or_text_messages_unasked() {
        let unasked = Preferences::default();
        for topic in Topic::ALL {
            assert!(!unasked.wants(topic, Channel::Sms));
            assert_eq!(unasked.wants(topic, Channel::InApp), topic != Topic::Marketing);
            let awaited = matches!(topic, Topic::Orders | Topic::Shipping);
            assert_eq!(unasked.wants(topic, Channel::Email), awaited);
        }
    }

    #[test]
    fn a_topic_left_out_has_its_default_and_a_channel_left_out_is_off() {
        let read: Preferences =
            serde_json::from_value(json!({ "orders": { "sms": true }, "marketing": { "email": true } }))
                .unwrap();
        assert!(read.wants(Topic::Orders, Channel::Sms) && !read.wants(Topic::Orders, Channel::Email));
        assert!(read.wants(Topic::Marketing, Channel::Email));
        assert_eq!(read.shipping, Preferences::default().shipping);
    }

    #[test]
    fn unknown_topics_and_channels_are_refused() {
        for wrong in [
            json!({ "gossip": {} }),
            json!({ "orders": { "pigeon": true } }),
            json!({ "orders": { "email": "yes" } }),
            json!({ "orders": null }),
        ] {
            assert!(
                serde_json::from_value::<Preferences>(wrong.clone()).is_err(),
                "{wrong}"
            );
        }
    }

    proptest! {
        /// The JSON says under the names of topic and channel what `wants` says.
        #[test]
        fn what_is_written_is_what_is_wanted(bits in any::<u16>()) {
            let mut written = json!({});
            let mut wanted = Vec::new();
            for (number, (topic, channel)) in Topic::ALL
                .into_iter()
                .flat_map(|topic| Channel::ALL.map(|channel| (topic, channel)))
                .enumerate()
            {
                let on = bits >> number & 1 == 1;
                written[topic.as_str()][channel.as_str()] = Value::Bool(on);
                wanted.push((topic, channel, on));
            }
            let read: Preferences = serde_json::from_value(written.clone()).unwrap();
            for (topic, channel, on) in wanted {
                prop_assert_eq!(read.wants(topic, channel), on);
            }
            prop_assert_eq!(serde_json::to_value(read).unwrap(), written);
        }
    }
}
