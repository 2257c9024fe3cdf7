//! `/v1/me`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Condition, Operation, Tag};
use super::address;
use crate::http::api::account::UserBody;
use crate::http::api::me::{addresses as saved, export as exported, profile as account, purchases as bought};
use souk_domain::{AddressId, Preferences};

pub mod profile {
    use super::*;

    pub fn show() -> Operation {
        Operation::new(Tag::Me, "getMe", "Show the caller's account")
            .condition(Condition::IfNoneMatch)
            .reply::<UserBody<'static>>(StatusCode::OK, "The account.")
            .with(&["ETag"])
    }

    pub fn change() -> Operation {
        Operation::new(Tag::Me, "changeMe", "Change the caller's account")
            .about("What is left out stays.")
            .condition(Condition::IfMatch)
            .body::<account::Change>(json!({"name": "Ada Example", "phone": "+1 217 555 0100"}))
            .reply::<UserBody<'static>>(StatusCode::OK, "The account.")
            .with(&["ETag"])
    }

    pub fn erase() -> Operation {
        Operation::new(Tag::Me, "eraseMe", "Erase the caller's account")
            .about("Orders stay for the books, stripped of what identifies.")
            .condition(Condition::IfMatch)
            .empty(StatusCode::NO_CONTENT, "It is gone.")
    }
}

pub mod export {
    use super::*;

    pub fn show() -> Operation {
        Operation::new(Tag::Me, "exportMe", "Export what the shop keeps about the caller")
            .about("Of orders and purchases the newest 1000; the lists hold the rest.")
            .reply::<exported::Export<'static>>(StatusCode::OK, "All of it.")
    }
}

pub mod addresses {
    use super::*;

    pub fn list() -> Operation {
        Operation::new(Tag::Me, "listAddresses", "List the caller's addresses")
            .reply::<saved::List<'static>>(StatusCode::OK, "All of them, oldest first; there are at most 50.")
    }

    pub fn add() -> Operation {
        Operation::new(Tag::Me, "addAddress", "Save an address")
            .body::<saved::Add>(address())
            .reply::<saved::Body<'static>>(StatusCode::CREATED, "The address.")
            .with(&["ETag"])
            .leading_to(&["changeAddress", "removeAddress"])
    }

    pub fn change() -> Operation {
        Operation::new(Tag::Me, "changeAddress", "Change a saved address")
            .variable::<AddressId>("The address.")
            .condition(Condition::IfMatch)
            .body::<saved::Change>(json!({"city": "Chicago", "phone": null, "default": true}))
            .reply::<saved::Body<'static>>(StatusCode::OK, "The address.")
            .with(&["ETag"])
    }

    pub fn remove() -> Operation {
        Operation::new(Tag::Me, "removeAddress", "Forget a saved address")
            .about("Where the default one goes, the oldest that is left becomes it.")
            .variable::<AddressId>("The address.")
            .condition(Condition::IfMatch)
            .empty(StatusCode::NO_CONTENT, "It is gone.")
    }
}

pub mod purchases {
    use super::*;

    pub fn list() -> Operation {
        Operation::new(
            Tag::Me,
            "listPurchases",
            "List what the caller bought, newest first",
        )
        .about("A purchase shows up a moment after its order.")
        .paged()
        .reply_page::<bought::Body<'static>>("A page of purchases.")
    }
}

pub mod preferences {
    use super::*;

    pub fn show() -> Operation {
        Operation::new(
            Tag::Me,
            "getPreferences",
            "Show what the caller is told about, and how",
        )
        .about("Who never chose stands at version 0.")
        .condition(Condition::IfNoneMatch)
        .reply::<Preferences>(StatusCode::OK, "By topic and channel.")
        .with(&["ETag"])
    }

    pub fn replace() -> Operation {
        Operation::new(Tag::Me, "setPreferences", "Choose what to be told about, and how")
            .about("All of them at once: a topic that is left out has its default, and a channel is off.")
            .condition(Condition::IfMatch)
            .body::<Preferences>(json!({"orders": {"email": true, "in_app": true}, "marketing": {}}))
            .reply::<Preferences>(StatusCode::OK, "By topic and channel.")
            .with(&["ETag"])
    }
}
