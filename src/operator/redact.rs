//! Redaction of entities for operators: hides personal data and payment tokens.

use serde_json::Value;

use crate::config::REDACTED;

/// The names of hidden fields, in lower case.
const HIDDEN: &[&str] = &[
    "address",
    "addresses",
    "card",
    "city",
    "email",
    "fingerprint",
    "line1",
    "line2",
    "name",
    "password",
    "phone",
    "postcode",
    "region",
    "secret",
    "token",
];

/// Events on a timeline whose details are the words of a person.
const FREE_TEXT_EVENTS: &[&str] = &["cancelling"];

/// The value with [`REDACTED`] in place of personal data and payment tokens.
///
/// Fields are recognised by name, at any depth. Absent values stay visible: that an order has no phone number reveals
/// nothing.
#[must_use]
pub fn redacted(mut value: Value) -> Value {
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            let speaks_freely = fields
                .get("event")
                .and_then(Value::as_str)
                .is_some_and(|event| FREE_TEXT_EVENTS.contains(&event));
            for (name, field) in fields.iter_mut() {
                let is_hidden = is_hidden(name) || (speaks_freely && name == "detail");
                match field {
                    Value::Null => {}
                    _ if is_hidden => *field = REDACTED.into(),
                    _ => redact(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The values of all hidden fields, without absent ones: these must be sealed in stores too.
#[cfg(test)]
pub(crate) fn hidden(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(hidden).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, field)| !field.is_null() && *field != "")
            .flat_map(|(name, field)| {
                if is_hidden(name) {
                    vec![field]
                } else {
                    hidden(field)
                }
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn is_hidden(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HIDDEN.iter().any(|hidden| {
        name.strip_suffix(hidden)
            .is_some_and(|before| before.is_empty() || before.ends_with('_'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use souk_domain::fixtures::{at, placement, run};
    use souk_domain::{Aggregate, Order, OrderCommand};

    #[test]
    fn an_order_shows_no_personal_data() {
        let mut order = Order::initial("ord_1");
        let placement = placement(1, &[2]);
        let submitted = serde_json::to_value(&placement).unwrap();
        run(&mut order, &OrderCommand::Place(Box::new(placement)), at(0));
        let reason = "it is for Ada".to_owned();
        run(&mut order, &OrderCommand::Cancel { reason }, at(1));
        let shown = redacted(serde_json::to_value(&order).unwrap());

        let text = shown.to_string();
        for hidden in [
            "ada@",
            "Ada",
            "Hidden Lane",
            "Springfield",
            "62701",
            "tok_secret",
            "\"fingerprint\":\"fingerprint\"",
        ] {
            assert!(!text.contains(hidden), "{hidden} is shown: {text}");
        }
        let order = &shown["placed"]["placement"];
        let timeline = &shown["placed"]["progress"]["timeline"];
        assert_eq!(order["address"], REDACTED);
        assert_eq!(order["lines"], submitted["lines"]);
        assert_eq!(
            order["payment"],
            json!({ "gateway": "sandbox", "token": REDACTED })
        );
        assert_eq!(timeline[0]["event"], "placed");
        assert_eq!(
            timeline[1],
            json!({ "at": at(1), "event": "cancelling", "detail": REDACTED })
        );
    }

    #[test]
    fn only_whole_names_are_hidden() {
        let shown = redacted(json!({
            "Email": "a", "cart_token": "b", "phone": null, "tokens": 3, "unnamed": "c", "payment": [{ "token": ["d"] }]
        }));
        assert_eq!(
            shown,
            json!({
                "Email": REDACTED, "cart_token": REDACTED, "phone": null, "tokens": 3, "unnamed": "c",
                "payment": [{ "token": REDACTED }]
            })
        );
    }

    fn nested() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!("personal")), Just(json!(1)), Just(Value::Null)];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("(a|b|email|x_token)", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn reveals(value: &Value, hidden: bool) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| reveals(item, hidden)),
            Value::Object(fields) => fields
                .iter()
                .any(|(name, field)| reveals(field, hidden || name == "email" || name == "x_token")),
            Value::String(text) => hidden && text == "personal",
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn nothing_below_a_hidden_field_is_shown(value in nested()) {
            let shown = redacted(value);
            prop_assert!(!reveals(&shown, false), "{}", shown);
            prop_assert_eq!(redacted(shown.clone()), shown);
        }
    }
}
