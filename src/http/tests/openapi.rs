//! The document against the table of routes, and against the rules of OpenAPI as far as they can be told by looking.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::http::edge::problem;
use crate::http::request::policy::{Policy, Repetition};
use crate::http::request::route::Endpoint;
use crate::http::{openapi, routes};
use souk_domain::{account, address, cart, email, order, phone, stock};

fn document() -> Value {
    openapi::document(routes::endpoints())
}

const METHODS: [&str; 4] = ["get", "post", "put", "patch"];

/// Every operation of the document by method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let items = document["paths"].as_object().unwrap();
    items
        .iter()
        .flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(move |(method, operation)| ((method.clone(), path.clone()), operation))
        })
        .collect()
}

fn of<'a>(document: &'a Value, route: &Endpoint) -> &'a Value {
    &document["paths"][&route.path][route.method.as_str().to_ascii_lowercase()]
}

/// What a reference leads to; what is none, itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => value,
    }
}

/// The names of the problems that an operation may give under a status.
fn problems(document: &Value, operation: &Value, status: u16) -> BTreeSet<String> {
    let response = resolved(document, &operation["responses"][status.to_string()]);
    let schema = &response["content"][problem::MEDIA_TYPE]["schema"];
    let types = schema["properties"]["type"]["enum"].as_array();
    types
        .into_iter()
        .flatten()
        .map(|name| {
            name.as_str()
                .unwrap()
                .trim_start_matches(problem::TYPE_BASE)
                .to_owned()
        })
        .collect()
}

fn parameters<'a>(operation: &'a Value, place: &str) -> Vec<&'a str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters
        .filter(|parameter| parameter["in"] == place)
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect()
}

/// Every value below `value`, with where it stands.
fn walk<'a>(at: &str, value: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(at, value);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(&format!("{at}/{name}"), field, visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{at}/{index}"), item, visit);
            }
        }
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let document = document();
    let described: BTreeSet<_> = operations(&document).into_keys().collect();
    let served: BTreeSet<_> = routes::endpoints()
        .into_iter()
        .map(|route| (route.method.as_str().to_ascii_lowercase(), route.path))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn every_operation_is_complete() {
    let document = document();
    let tags: Vec<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let mut ids = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} twice");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
        assert!(tags.contains(&&operation["tags"][0]), "{id}");

        let variables: Vec<_> = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .collect();
        assert_eq!(parameters(operation, "path"), variables, "{id}");

        let responses = operation["responses"].as_object().unwrap();
        let successes: Vec<_> = responses
            .iter()
            .filter(|(status, _)| status.starts_with('2'))
            .collect();
        assert!(!successes.is_empty(), "{id}");
        for (status, response) in successes {
            let contents = response["content"].as_object();
            let is_described = contents.is_some_and(|contents| {
                !contents.is_empty() && contents.values().all(|content| content["schema"].is_object())
            });
            assert!(
                is_described || status == "204" || status == "202",
                "{id} {status}"
            );
        }
        let has_body = operation["requestBody"].is_object();
        let may_have_body = METHODS[1..].contains(&method.as_str());
        assert!(!has_body || may_have_body, "{id}");
        assert_eq!(
            has_body,
            problems(&document, operation, 400).contains(problem::MALFORMED_JSON.name()),
            "{id}"
        );
    }
}

#[test]
fn derived_problems_and_parameters_are_documented() {
    let document = document();
    for route in routes::endpoints() {
        let operation = of(&document, &route);
        let id = operation["operationId"].as_str().unwrap();
        let has = |kind: problem::Kind| {
            problems(&document, operation, kind.status().as_u16()).contains(kind.name())
        };

        let is_open = matches!(route.policy, Policy::Public | Policy::Optional);
        assert_eq!(has(problem::UNAUTHORISED), !is_open, "{id}");
        assert_eq!(has(problem::BAD_TOKEN), route.policy != Policy::Public, "{id}");
        let is_internal = matches!(route.policy, Policy::Merchant | Policy::Admin);
        assert_eq!(has(problem::FORBIDDEN), is_internal, "{id}");
        let security = operation["security"].as_array().unwrap();
        assert_eq!(security.is_empty(), route.policy == Policy::Public, "{id}");
        assert_eq!(
            security.iter().any(|one| one["cartToken"].is_array()),
            matches!(route.policy, Policy::Shopper | Policy::Optional),
            "{id}"
        );

        let has_variable = route.path.contains('{');
        assert!(!has_variable || has(problem::NOT_FOUND), "{id}");
        let takes_key = parameters(operation, "header").contains(&"Idempotency-Key");
        assert_eq!(takes_key, route.repetition != Repetition::Plain, "{id}");
        assert_eq!(takes_key, has(problem::IDEMPOTENCY_KEY_REUSED), "{id}");
        let keeps_reply = route.repetition == Repetition::Honoured;
        assert_eq!(keeps_reply, has(problem::REQUEST_IN_PROGRESS), "{id}");
        assert_eq!(
            has(problem::IDEMPOTENCY_KEY_REQUIRED),
            route.repetition == Repetition::Recorded,
            "{id}"
        );
        let has_body = operation["requestBody"].is_object();
        for kind in [problem::UNSUPPORTED_MEDIA_TYPE, problem::MALFORMED_JSON] {
            assert_eq!(has(kind), has_body, "{id} {}", kind.name());
        }
        assert_eq!(has(problem::BODY_TOO_LARGE), has_body || takes_key, "{id}");
        let is_checked = has_body || !parameters(operation, "query").is_empty();
        assert_eq!(has(problem::VALIDATION), is_checked, "{id}");
        for kind in [problem::INTERNAL, problem::BUSY, problem::UNAVAILABLE] {
            assert!(has(kind), "{id} {}", kind.name());
        }
        let conditional = parameters(operation, "header");
        assert_eq!(
            conditional.contains(&"If-Match"),
            has(problem::VERSION_CONFLICT),
            "{id}"
        );
        assert_eq!(
            conditional.contains(&"If-None-Match"),
            operation["responses"]["304"].is_object(),
            "{id}"
        );
    }
}

#[test]
fn every_kind_of_problem_can_be_met_somewhere() {
    let document = document();
    let mut met = BTreeSet::new();
    for operation in operations(&document).into_values() {
        for status in operation["responses"].as_object().unwrap().keys() {
            met.extend(problems(&document, operation, status.parse().unwrap()));
        }
    }
    // Of a path whatever the operation: the introduction tells of it.
    assert!(met.insert(problem::METHOD_NOT_ALLOWED.name().to_owned()));
    let introduction = document["info"]["description"].as_str().unwrap();
    assert!(introduction.contains(problem::METHOD_NOT_ALLOWED.name()));
    let all: BTreeSet<_> = problem::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    assert_eq!(met, all);
}

#[test]
fn references_resolve_and_components_are_used() {
    let document = document();
    let mut referred = BTreeSet::new();
    walk("", &document, &mut |at, value| {
        if let Some(reference) = value.get("$ref") {
            let reference = reference.as_str().unwrap();
            let target = document.pointer(reference.strip_prefix('#').unwrap());
            assert!(target.is_some(), "{at}: {reference}");
            referred.insert(reference.to_owned());
        }
    });
    for kind in ["schemas", "headers", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(referred.contains(&reference), "{reference}");
        }
    }
}

#[test]
fn schemas_are_such_by_json_schema_2020_12() {
    const TYPES: [&str; 7] = [
        "null", "boolean", "integer", "number", "string", "array", "object",
    ];
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    walk("", &document, &mut |at, value| {
        let Some(object) = value.as_object() else { return };
        if at.contains("/example") {
            return;
        }
        // Not links of rustdoc.
        let description = object.get("description").and_then(Value::as_str);
        assert!(!description.is_some_and(|text| text.contains("[`")), "{at}");
        // A leftover of 3.0.
        assert!(
            !object.contains_key("nullable") || at.ends_with("/properties"),
            "{at}"
        );
        if let (Some(named), false) = (object.get("type"), at.ends_with("/properties")) {
            let names: Vec<_> = match named {
                Value::Array(several) => several.iter().collect(),
                one => vec![one],
            };
            let is_scheme = at.starts_with("/components/securitySchemes");
            assert!(
                is_scheme || names.iter().all(|name| TYPES.contains(&name.as_str().unwrap())),
                "{at}: {named}"
            );
        }
        if let (Some(required), Some(properties)) = (object.get("required"), object.get("properties")) {
            for name in required.as_array().unwrap() {
                assert!(properties[name.as_str().unwrap()].is_object(), "{at}: {name}");
            }
        }
    });
}

#[test]
fn documented_bodies_refuse_unknown_fields() {
    let document = document();
    for operation in operations(&document).into_values() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        if let Some(reference) = schema.as_str() {
            let schema = document.pointer(&reference[1..]).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{reference}");
        }
    }
}

#[test]
fn the_limits_in_the_document_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (at, limit) in [
        ("/Address/properties/name/maxLength", address::TEXT_LIMIT),
        ("/Address/properties/line2/maxLength", address::TEXT_LIMIT),
        ("/Address/properties/postcode/maxLength", address::POSTCODE_LIMIT),
        ("/Address/properties/phone/maxLength", phone::PHONE_LIMIT),
        ("/AddAddress/properties/line1/maxLength", address::TEXT_LIMIT),
        ("/AddAddress/properties/phone/maxLength", phone::PHONE_LIMIT),
        ("/ChangeAddress/properties/city/maxLength", address::TEXT_LIMIT),
        (
            "/ChangeAddress/properties/postcode/maxLength",
            address::POSTCODE_LIMIT,
        ),
        ("/ChangeUser/properties/name/maxLength", account::NAME_LIMIT),
        ("/ChangeUser/properties/phone/maxLength", phone::PHONE_LIMIT),
        ("/Register/properties/name/maxLength", account::NAME_LIMIT),
        ("/Register/properties/email/maxLength", email::EMAIL_LIMIT),
        ("/PlaceOrder/properties/email/maxLength", email::EMAIL_LIMIT),
        (
            "/Register/properties/password/minLength",
            account::password::SHORTEST,
        ),
        ("/Reset/properties/password/maxLength", account::password::LONGEST),
        ("/CancelOrder/properties/reason/maxLength", order::REASON_LIMIT),
        ("/Receipt/properties/reference/maxLength", stock::REFERENCE_LIMIT),
        ("/Adjustment/properties/reason/maxLength", stock::REASON_LIMIT),
        (
            "/AddItem/properties/quantity/maximum",
            cart::QUANTITY_LIMIT as usize,
        ),
        (
            "/SetItem/properties/quantity/maximum",
            cart::QUANTITY_LIMIT as usize,
        ),
        (
            "/Receipt/properties/quantity/maximum",
            stock::ON_HAND_LIMIT as usize,
        ),
        (
            "/Adjustment/properties/delta/maximum",
            stock::ON_HAND_LIMIT as usize,
        ),
    ] {
        let told = schemas.pointer(at).and_then(Value::as_f64);
        assert_eq!(told, Some(limit as f64), "{at}");
    }
}

#[test]
fn links_lead_to_operations_that_take_an_id() {
    let document = document();
    let takes_id: BTreeSet<_> = operations(&document)
        .into_iter()
        .filter(|((_, path), _)| path.contains("{id}"))
        .map(|(_, operation)| &operation["operationId"])
        .map(Value::to_string)
        .collect();
    let mut links = 0;
    walk("", &document, &mut |at, value| {
        for link in value
            .get("links")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            assert!(takes_id.contains(&link.1["operationId"].to_string()), "{at}");
            links += 1;
        }
    });
    assert!(links > 0);
}
