//! Which problems a route can give: what follows from its policy, its body and the like, and how each is described.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::edge::problem::{self, Kind};
use crate::http::request::policy::{Policy, Repetition};
use crate::http::request::route::Endpoint;

/// The extension by which a handler names its own problems.
const NAMED: &str = "x-problems";

/// Around every route: a long address, too much load, a defect.
const EVERYWHERE: [Kind; 5] = [
    problem::URI_TOO_LONG,
    problem::TOO_MANY_REQUESTS,
    problem::INTERNAL,
    problem::BUSY,
    problem::UNAVAILABLE,
];
/// Where a body is read.
const OF_READING: [Kind; 3] = [
    problem::BAD_REQUEST,
    problem::REQUEST_TIMEOUT,
    problem::BODY_TOO_LARGE,
];
/// Where a body is understood.
const OF_PARSING: [Kind; 3] = [
    problem::MALFORMED_JSON,
    problem::UNSUPPORTED_MEDIA_TYPE,
    problem::VALIDATION,
];
/// Where an idempotency key counts.
const OF_KEYS: [Kind; 2] = [problem::BAD_IDEMPOTENCY_KEY, problem::IDEMPOTENCY_KEY_REUSED];
/// Where it is looked at who calls.
const OF_CALLERS: [Kind; 2] = [problem::BAD_TOKEN, problem::BAD_CART_TOKEN];

/// Every problem of an endpoint, by status. Takes those that its handler names out of the extension [`NAMED`].
pub fn of(endpoint: &Endpoint, operation: &mut Value) -> BTreeMap<u16, Vec<Kind>> {
    let (policy, repetition) = (endpoint.policy, endpoint.repetition);
    let has_place = |place: &str| has_parameter_where(operation, |parameter| parameter["in"] == place);
    let takes = |name: &str| has_parameter(operation, name);
    let has_key = repetition != Repetition::Plain;
    let has_body = operation["requestBody"].is_object();
    let needs_caller = !matches!(policy, Policy::Public | Policy::Optional);
    let needs_role = matches!(policy, Policy::Merchant | Policy::Admin);
    let causes: [(bool, &[Kind]); 14] = [
        (true, &EVERYWHERE),
        (policy != Policy::Public, &OF_CALLERS),
        (needs_caller, &[problem::UNAUTHORISED]),
        (needs_role, &[problem::FORBIDDEN]),
        (has_key, &OF_READING),
        (has_key, &OF_KEYS),
        (
            repetition == Repetition::Recorded,
            &[problem::IDEMPOTENCY_KEY_REQUIRED],
        ),
        (
            repetition == Repetition::Honoured,
            &[problem::REQUEST_IN_PROGRESS],
        ),
        (has_body, &OF_READING),
        (has_body, &OF_PARSING),
        (has_place("query"), &[problem::BAD_REQUEST, problem::VALIDATION]),
        (takes("cursor"), &[problem::BAD_CURSOR]),
        (has_place("path"), &[problem::NOT_FOUND]),
        (takes("If-Match"), &[problem::VERSION_CONFLICT]),
    ];
    let causes = causes.into_iter().filter(|(applies, _)| *applies);
    let mut kinds: Vec<Kind> = causes.flat_map(|(_, kinds)| kinds).copied().collect();
    let named = operation
        .as_object_mut()
        .and_then(|operation| operation.remove(NAMED));
    let named = named.as_ref().and_then(Value::as_array).into_iter().flatten();
    kinds.extend(named.filter_map(|name| problem::ALL.iter().find(|kind| name == kind.name())));

    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in kinds {
        let of_status = by_status.entry(kind.status().as_u16()).or_default();
        if !of_status.contains(&kind) {
            of_status.push(kind);
        }
    }
    by_status
}

/// Whether the operation has a parameter of this name.
pub fn has_parameter(operation: &Value, name: &str) -> bool {
    has_parameter_where(operation, |parameter| parameter["name"] == name)
}

fn has_parameter_where(operation: &Value, is_it: impl Fn(&Value) -> bool) -> bool {
    operation["parameters"]
        .as_array()
        .is_some_and(|parameters| parameters.iter().any(is_it))
}

/// The response for the problems that share a status.
pub fn response(status: u16, kinds: &[Kind]) -> Value {
    let description: Vec<_> = kinds
        .iter()
        .map(|kind| format!("`{}`: {}.", kind.name(), kind.title()))
        .collect();
    let types: Vec<_> = kinds.iter().map(Kind::uri).collect();
    let examples: Map<_, _> = kinds
        .iter()
        .map(|kind| (kind.name().to_owned(), json!({"value": example(kind)})))
        .collect();
    json!({
        "description": description.join("\n\n"),
        "headers": headers(status, kinds),
        "content": {problem::MEDIA_TYPE: {
            "schema": {
                "allOf": [{"$ref": "#/components/schemas/Problem"}],
                "properties": {"type": {"enum": types}, "status": {"const": status}},
            },
            "examples": examples,
        }},
    })
}

fn headers(status: u16, kinds: &[Kind]) -> Value {
    let mut names = super::document::EVERYWHERE.to_vec();
    if status == 401 {
        names.push("WWW-Authenticate");
    }
    if matches!(status, 429 | 503) || kinds.contains(&problem::REQUEST_IN_PROGRESS) {
        names.push("Retry-After");
    }
    if kinds.contains(&problem::ORDER_CANCELLED) || kinds.contains(&problem::PAYMENT_DECLINED) {
        names.push("Location");
    }
    super::document::headers(&names)
}

fn example(kind: &Kind) -> Value {
    let mut example = json!({
        "type": kind.uri(),
        "title": kind.title(),
        "status": kind.status().as_u16(),
        "instance": "01890a5d-ac96-774b-bcce-b302099a8057",
    });
    let blamed = match *kind {
        problem::VALIDATION => Some(("quantity", "must be an integer between 1 and 999")),
        problem::OUT_OF_STOCK => Some(("P-000001-1", "only 3 available")),
        _ => None,
    };
    if *kind == problem::CHECKOUT_IN_PROGRESS {
        example["order_id"] = json!("ord_000001");
    }
    if let Some((field, message)) = blamed {
        example["errors"] = json!([{"field": field, "message": message}]);
    }
    example
}
