//! The document, put together.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problems;
use crate::http::edge::problem::{FieldError, Kind, Rendered};
use crate::http::request::idempotency::KEY_LIMIT;
use crate::http::request::policy::{Policy, Repetition};
use crate::http::request::route::Endpoint;

/// The introduction.
const INTRODUCTION: &str = "The interface of a shop to its clients.

Times are RFC 3339 in UTC. Identifiers are opaque. Money is in minor units, never a float; \
integers are written without a fraction. Bodies are JSON in UTF-8; unknown and duplicate fields are refused, as are bodies above the limit (256 KiB unless configured otherwise) and unknown \
parameters of lists.

Errors are problems (RFC 9457), each with a `type` of its own. A method that a path does not know is `method-not-allowed` \
(405, with `Allow`), and a path that nobody knows is `not-found`.

Every reply has an `X-Request-Id`; a well-formed one of the client's is kept, and so is a W3C `traceparent`. GET answers HEAD \
as well.";

/// The groups of operations, in the order in which they are shown.
const TAGS: [(&str, &str); 7] = [
    ("Catalogue", "Products, categories, pictures."),
    (
        "Cart",
        "The caller's cart: a guest's by its `Cart-Token`, or an account's.",
    ),
    ("Checkout and orders", "From a quote to an order."),
    (
        "Accounts",
        "Opening accounts; starting, continuing and ending sessions.",
    ),
    ("Me", "The caller's own data."),
    ("Inventory", "The stock, for merchants."),
    (
        "Service",
        "The health of a node, and the description of its interface.",
    ),
];

/// The whole document.
pub fn document(endpoints: Vec<Endpoint>) -> Value {
    let mut paths = Map::new();
    let mut schemas = Vec::new();
    let mut shared = Map::new();
    add_schema::<Rendered<'static>>(&mut schemas);
    add_schema::<FieldError>(&mut schemas);
    for endpoint in endpoints {
        let described = describe(&endpoint, &mut shared);
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_ascii_lowercase()] = described;
        schemas.extend(endpoint.schemas);
    }
    let tags = TAGS.map(|(name, description)| json!({"name": name, "description": description}));
    let schemas: Map<_, _> = schemas
        .into_iter()
        .map(|(name, schema)| (name, json!(schema)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Souk",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": shared_headers(),
            "responses": shared,
            "securitySchemes": {
                "accessToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Of `POST /v1/auth/login` or `/register`; it lives for minutes, and is renewed by \
                        `POST /v1/auth/refresh`.",
                },
                "cartToken": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Cart-Token",
                    "description": "Of `POST /v1/carts`: opens a guest's cart, and the orders placed from it. It is not \
                        looked at where there is an access token.",
                },
            },
        },
    })
}

fn add_schema<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(schemas);
    schemas.push((T::name().into_owned(), <T as PartialSchema>::schema()));
}

/// What the handler documents, completed.
fn describe(endpoint: &Endpoint, shared: &mut Map<String, Value>) -> Value {
    let mut operation = json!(endpoint.operation);
    operation["security"] = security(endpoint.policy);
    if endpoint.repetition != Repetition::Plain {
        let key = json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": endpoint.repetition == Repetition::Recorded,
            "description": "Identifies the request, so that it has an effect once however often it is sent: a new key for \
                each request, such as a UUID.",
            "schema": {"type": "string", "pattern": format!("^[!-~]{{1,{KEY_LIMIT}}}$")},
        });
        match &mut operation["parameters"] {
            Value::Array(parameters) => parameters.push(key),
            none => *none = json!([key]),
        }
    }
    if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
        complete_optional_body(schema, &endpoint.schemas);
    }
    complete_replies(endpoint, &mut operation, shared);
    operation
}

/// Refers to the schema of an optional body, which utoipa puts beside `null`: such a body may be absent, but not null.
fn complete_optional_body(schema: &mut Value, schemas: &BTreeMap<String, RefOr<Schema>>) {
    let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else {
        return;
    };
    choices.retain(|choice| choice["type"] != "null");
    let Some(body) = choices.pop() else {
        return;
    };
    let named = schemas.iter().find(|(_, schema)| json!(schema) == body);
    *schema = match named {
        Some((name, _)) => json!({"$ref": format!("#/components/schemas/{name}")}),
        None => body,
    };
}

/// Adds the headers that every reply has, and the replies that follow from the rest. Problems are shared in `shared`: most
/// operations have most of them.
fn complete_replies(endpoint: &Endpoint, operation: &mut Value, shared: &mut Map<String, Value>) {
    let problems = problems::of(endpoint, operation);
    let is_conditional = problems::has_parameter(operation, "If-None-Match");
    let Some(replies) = operation["responses"].as_object_mut() else {
        return;
    };
    for reply in replies.values_mut() {
        let own = reply["headers"].as_object().into_iter().flat_map(Map::keys);
        let mut names: Vec<_> = EVERYWHERE.into_iter().chain(own.map(String::as_str)).collect();
        if endpoint.repetition != Repetition::Plain {
            names.push("Idempotency-Replayed");
        }
        reply["headers"] = headers(&names);
    }
    if is_conditional {
        let headers = headers(&[&EVERYWHERE[..], &["ETag"]].concat());
        let reply = json!({"description": "The client has the current version.", "headers": headers});
        replies.insert("304".to_owned(), reply);
    }
    for (status, kinds) in problems {
        let response = problems::response(status, &kinds);
        if let Some(reply) = replies.get_mut(&status.to_string()) {
            // Beside a reply of the same status, in another media type.
            let texts = [&reply["description"], &response["description"]];
            reply["description"] = texts
                .map(|text| text.as_str().unwrap_or_default())
                .join("\n\n")
                .into();
            reply["headers"] = response["headers"].clone();
            if let (Some(all), Some(own)) =
                (reply["content"].as_object_mut(), response["content"].as_object())
            {
                all.extend(own.clone());
            }
        } else {
            let name = kinds.iter().map(Kind::name).collect::<Vec<_>>().join(".");
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            replies.insert(status.to_string(), reference);
            shared.insert(name, response);
        }
    }
}

fn security(policy: Policy) -> Value {
    match policy {
        Policy::Public => json!([]),
        Policy::Optional => json!([{}, {"accessToken": []}, {"cartToken": []}]),
        Policy::Shopper => json!([{"accessToken": []}, {"cartToken": []}]),
        Policy::Account | Policy::Merchant | Policy::Admin => json!([{"accessToken": []}]),
    }
}

/// References to shared headers.
pub fn headers(names: &[&str]) -> Value {
    let reference = |name: &&str| {
        let reference = json!({"$ref": format!("#/components/headers/{name}")});
        ((*name).to_owned(), reference)
    };
    names.iter().map(reference).collect::<Map<_, _>>().into()
}

/// The headers of every reply.
pub(super) const EVERYWHERE: [&str; 4] = [
    "X-Request-Id",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
];

fn shared_headers() -> Value {
    let header = |required: bool, description: &str, schema: Value| json!({"required": required, "description": description, "schema": schema});
    let string = || json!({"type": "string"});
    let integer = |minimum: u8| json!({"type": "integer", "minimum": minimum});
    let tag = json!({"type": "string", "pattern": "^\"[0-9]+([.][0-9a-f]{16})?\"$"});
    let replayed = json!({"type": "string", "const": "true"});
    json!({
        "X-Request-Id": header(true, "Names the request.", string()),
        "ETag": header(
            true,
            "The resource's version, and a hash of what is shown where that is more than the version covers.",
            tag,
        ),
        "Location": header(false, "Where the order stands.", string()),
        "Retry-After": header(false, "Seconds after which to try again.", integer(1)),
        "RateLimit-Limit": header(false, "How many requests may be made in a minute.", integer(1)),
        "RateLimit-Remaining": header(false, "How many of them are left.", integer(0)),
        "RateLimit-Reset": header(false, "Seconds until the next minute begins.", integer(0)),
        "WWW-Authenticate": header(true, "How to authenticate.", string()),
        "Idempotency-Replayed": header(
            false,
            "The reply is the one that was given under the key before.",
            replayed,
        ),
    })
}
