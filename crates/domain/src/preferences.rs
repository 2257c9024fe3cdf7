//! Notification preferences: topics and channels.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The topic of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Changes of an order, from confirmation to refund.
    Orders,
    /// Changes of a shipment.
    Shipping,
    /// A watched product has become cheaper.
    PriceDrops,
    /// A watched product is available again.
    BackInStock,
    /// Advertising.
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

    /// Its name in JSON.
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

/// The channel of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// An e-mail to the account's address.
    Email,
    /// A text message to the account's phone.
    Sms,
    /// In the shop itself.
    InApp,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::InApp];

    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::InApp => "in_app",
        }
    }
}

/// The channels of one topic. An omitted channel is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// An e-mail to the account's address.
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

/// The channels of every topic. An omitted topic has its default, so that stored preferences stay valid when a topic is
/// added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// Changes of an order, from confirmation to refund.
    pub orders: Channels,
    /// Changes of a shipment.
    pub shipping: Channels,
    /// A watched product has become cheaper.
    pub price_drops: Channels,
    /// A watched product is available again.
    pub back_in_stock: Channels,
    /// Advertising.
    pub marketing: Channels,
}

impl Default for Preferences {
    /// Orders and shipments also by e-mail; no advertising, no text messages.
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
    fn advertising_and_sms_are_off_by_default() {
        let unasked = Preferences::default();
        for topic in Topic::ALL {
            assert!(!unasked.wants(topic, Channel::Sms));
            assert_eq!(unasked.wants(topic, Channel::InApp), topic != Topic::Marketing);
            let awaited = matches!(topic, Topic::Orders | Topic::Shipping);
            assert_eq!(unasked.wants(topic, Channel::Email), awaited);
        }
    }

    #[test]
    fn omitted_topics_have_their_default() {
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
        /// JSON and `wants` agree.
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
