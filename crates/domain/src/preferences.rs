//! Notification preferences: topics and channels.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Every topic.
    const TOPICS: [&str; 5] = ["orders", "shipping", "price_drops", "back_in_stock", "marketing"];
    /// Every channel.
    const CHANNELS: [&str; 3] = ["email", "sms", "in_app"];

    #[test]
    fn advertising_and_sms_are_off_by_default() {
        let unasked = serde_json::to_value(Preferences::default()).unwrap();
        for topic in TOPICS {
            assert_eq!(unasked[topic]["sms"], false);
            assert_eq!(unasked[topic]["in_app"], topic != "marketing");
            let awaited = matches!(topic, "orders" | "shipping");
            assert_eq!(unasked[topic]["email"], awaited);
        }
    }

    #[test]
    fn omitted_topics_have_their_default() {
        let read: Preferences =
            serde_json::from_value(json!({ "orders": { "sms": true }, "marketing": { "email": true } }))
                .unwrap();
        assert!(read.orders.sms && !read.orders.email);
        assert!(read.marketing.email);
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
        /// JSON and the fields agree.
        #[test]
        fn what_is_written_is_what_is_wanted(bits in any::<u16>()) {
            let mut written = json!({});
            let mut wanted = Vec::new();
            for (number, (topic, channel)) in TOPICS
                .into_iter()
                .flat_map(|topic| CHANNELS.map(|channel| (topic, channel)))
                .enumerate()
            {
                let on = bits >> number & 1 == 1;
                written[topic][channel] = Value::Bool(on);
                wanted.push(on);
            }
            let read: Preferences = serde_json::from_value(written.clone()).unwrap();
            let Preferences { orders, shipping, price_drops, back_in_stock, marketing } = read;
            let fields = [orders, shipping, price_drops, back_in_stock, marketing]
                .map(|channels| [channels.email, channels.sms, channels.in_app]);
            prop_assert_eq!(fields.as_flattened(), wanted);
            prop_assert_eq!(serde_json::to_value(read).unwrap(), written);
        }
    }
}
