//! The document, put together.

use axum::http::Method;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::operation::{Condition, Operation, Schemas, Tag};
use super::{operations, problems};
use crate::http::api::health;
use crate::http::edge::conventions::READY;
use crate::http::edge::problem::{FieldError, Kind, Rendered};
use crate::http::request::idempotency::KEY_LIMIT;
use crate::http::request::policy::{Policy, Repetition};
use crate::http::routes;

/// What stands above it all.
const INTRODUCTION: &str = "The interface of a shop to its clients.

Times are RFC 3339 in UTC. Identifiers are opaque. Money is in minor units, never a float; \
whole numbers are written without a fraction. Bodies are JSON in UTF-8; unknown and repeated fields are refused, as are bodies above the limit (256 KiB unless the shop is set up otherwise) and unknown \
parameters of lists.

Errors are problems (RFC 9457), each with a `type` of its own. A method that a path does not know is `method-not-allowed` \
(405, with `Allow`), and a path that nobody knows is `not-found`.

Every reply has an `X-Request-Id`; a well-formed one of the client's is kept, and so is a W3C `traceparent`. GET answers HEAD \
as well.";

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    let mut schemas = Schemas::new();
    let mut shared = Map::new();
    add_schema::<Rendered<'static>>(&mut schemas);
    add_schema::<FieldError>(&mut schemas);

    for route in routes::table() {
        let mut operation = (route.describe)();
        schemas.append(&mut operation.schemas);
        let described = describe(route.path, route.policy, route.repetition, operation, &mut shared);
        add(&mut paths, route.path, &route.method, described);
    }
    for (path, mut operation) in [
        (health::LIVE, operations::health::live()),
        (READY, operations::health::ready()),
    ] {
        schemas.append(&mut operation.schemas);
        let described = describe(path, Policy::Public, Repetition::Plain, operation, &mut shared);
        add(&mut paths, path, &Method::GET, described);
    }

    let tags: Vec<_> = Tag::ALL
        .iter()
        .map(|(_, name, description)| json!({"name": name, "description": description}))
        .collect();
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

fn add_schema<T: ToSchema>(schemas: &mut Schemas) {
    T::schemas(schemas);
    schemas.push((T::name().into_owned(), <T as PartialSchema>::schema()));
}

fn add(paths: &mut Map<String, Value>, path: &str, method: &Method, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| json!({}));
    item[method.as_str().to_ascii_lowercase()] = operation;
}

fn describe(
    path: &str,
    policy: Policy,
    repetition: Repetition,
    operation: Operation,
    shared: &mut Map<String, Value>,
) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag.name()],
        "summary": operation.summary,
        "security": security(policy),
        "responses": responses(policy, repetition, &operation, shared),
    });
    if !operation.description.is_empty() {
        described["description"] = operation.description.into();
    }
    let parameters = parameters(path, repetition, &operation);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        described["requestBody"] = json!({
            "required": body.required,
            "content": {"application/json": {"schema": body.schema, "example": body.example}},
        });
    }
    described
}

fn security(policy: Policy) -> Value {
    match policy {
        Policy::Public => json!([]),
        Policy::Optional => json!([{}, {"accessToken": []}, {"cartToken": []}]),
        Policy::Shopper => json!([{"accessToken": []}, {"cartToken": []}]),
        Policy::Account | Policy::Merchant | Policy::Admin => json!([{"accessToken": []}]),
    }
}

fn parameters(path: &str, repetition: Repetition, operation: &Operation) -> Vec<Value> {
    let mut parameters = Vec::new();
    let name = path
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(name, _)| name);
    if let (Some(name), Some((description, schema))) = (name, &operation.variable) {
        parameters.push(
            json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema}),
        );
    }
    for parameter in &operation.query {
        parameters.push(json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema,
        }));
    }
    let mut header = |name: &str, required: bool, description: &str, schema: Value| {
        parameters.push(json!({
            "name": name, "in": "header", "required": required, "description": description, "schema": schema,
        }));
    };
    // Any text is accepted as a tag: one that is none of ours matches nothing.
    let tags = |example: &str| json!({"type": "string", "examples": [example]});
    match operation.condition {
        Condition::None => {}
        Condition::IfNoneMatch => header(
            "If-None-Match",
            false,
            "Entity tags that the client has: 304 where one of them still stands.",
            tags("\"7\""),
        ),
        Condition::IfMatch => header(
            "If-Match",
            false,
            "Entity tags, or `*`: 412 `version-conflict` where none of them has the version that stands.",
            tags("*"),
        ),
    }
    if repetition != Repetition::Plain {
        header(
            "Idempotency-Key",
            repetition == Repetition::Required,
            "Names the request, so that it happens once however often it is sent: a new one for each, a UUID perhaps.",
            json!({"type": "string", "pattern": format!("^[!-~]{{1,{KEY_LIMIT}}}$")}),
        );
    }
    parameters
}

/// Problems are shared in `shared`: most routes have most of them.
fn responses(
    policy: Policy,
    repetition: Repetition,
    operation: &Operation,
    shared: &mut Map<String, Value>,
) -> Value {
    let mut responses = Map::new();
    for (status, kinds) in problems::of(policy, repetition, operation) {
        let response = problems::response(status, &kinds);
        let is_mixed = operation.replies.iter().any(|reply| reply.status == status);
        let response = if is_mixed {
            response
        } else {
            let name = kinds.iter().map(Kind::name).collect::<Vec<_>>().join(".");
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            shared.insert(name, response);
            reference
        };
        responses.insert(status.to_string(), response);
    }
    if operation.condition == Condition::IfNoneMatch {
        let not_modified = json!({
            "description": "The client has it already.",
            "headers": headers(&[&["X-Request-Id", "ETag"], RATE_LIMITS.as_slice()].concat()),
        });
        responses.insert("304".to_owned(), not_modified);
    }
    for reply in &operation.replies {
        let mut names = vec!["X-Request-Id"];
        names.extend(RATE_LIMITS);
        names.extend(&reply.headers);
        if repetition != Repetition::Plain {
            names.push("Idempotency-Replayed");
        }
        let mut response = json!({"description": reply.description, "headers": headers(&names)});
        if !reply.links.is_empty() {
            let link = |id: &&str| {
                (
                    (*id).to_owned(),
                    json!({"operationId": id, "parameters": {"id": "$response.body#/id"}}),
                )
            };
            response["links"] = reply.links.iter().map(link).collect::<Map<_, _>>().into();
        }
        if let Some((media_type, schema, example)) = &reply.content {
            let mut content = json!({"schema": schema});
            if let Some(example) = example {
                content["example"] = example.clone();
            }
            response["content"] = json!({*media_type: content});
        }
        match responses.get_mut(reply.status.as_str()) {
            // Beside others of the same status, in another media type.
            Some(others) => {
                let told = others["description"].as_str().unwrap_or_default();
                if !told.contains(reply.description) {
                    others["description"] = format!("{}\n\n{told}", reply.description).into();
                }
                if let (Some(all), Some(own)) =
                    (others["content"].as_object_mut(), response["content"].as_object())
                {
                    all.extend(own.clone());
                }
            }
            None => {
                responses.insert(reply.status.as_str().to_owned(), response);
            }
        }
    }
    responses.into()
}

/// References to shared headers.
pub fn headers(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            )
        })
        .collect::<Map<_, _>>()
        .into()
}

/// What every reply says that counts for a rate limit.
pub const RATE_LIMITS: [&str; 3] = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];

fn shared_headers() -> Value {
    let header = |required: bool, description: &str, schema: Value| json!({"required": required, "description": description, "schema": schema});
    json!({
        "X-Request-Id": header(true, "Names the request.", json!({"type": "string"})),
        "ETag": header(
            true,
            "The resource's version, and a hash of what is shown where that is more than the version covers.",
            json!({"type": "string", "pattern": "^\"[0-9]+([.][0-9a-f]{16})?\"$"}),
        ),
        "Location": header(false, "Where the order stands.", json!({"type": "string"})),
        "Retry-After": header(
            false,
            "Seconds after which to try again.",
            json!({"type": "integer", "minimum": 1}),
        ),
        "RateLimit-Limit": header(
            false,
            "How many requests may be made in a minute.",
            json!({"type": "integer", "minimum": 1}),
        ),
        "RateLimit-Remaining": header(
            false,
            "How many of them are left.",
            json!({"type": "integer", "minimum": 0}),
        ),
        "RateLimit-Reset": header(
            false,
            "Seconds until the next minute begins.",
            json!({"type": "integer", "minimum": 0}),
        ),
        "WWW-Authenticate": header(true, "How to authenticate.", json!({"type": "string"})),
        "Idempotency-Replayed": header(
            false,
            "The reply is the one that was given under the key before.",
            json!({"type": "string", "const": "true"}),
        ),
    })
}

#[cfg(test)]
mod tests {
    use crate::http::edge::headers::CART_TOKEN;

    #[test]
    fn the_cart_token_is_called_what_callers_are_asked_for() {
        assert!(CART_TOKEN.as_str().eq_ignore_ascii_case("Cart-Token"));
    }
}
