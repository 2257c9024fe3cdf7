//! What is to say of a route that neither the table nor the types of its bodies say.

use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::edge::problem::{self, Kind};
use crate::http::request::query::{DEFAULT_PAGE, PAGE_LIMIT};

/// A type's name with its schema, and those of everything in it.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// What an operation is about: how the document groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Catalogue,
    Cart,
    Orders,
    Accounts,
    Me,
    Inventory,
    Service,
}

impl Tag {
    /// In the order in which they are shown.
    pub const ALL: [(Self, &str, &str); 7] = [
        (Self::Catalogue, "Catalogue", "Products, categories, pictures."),
        (
            Self::Cart,
            "Cart",
            "The caller's cart: a guest's by its `Cart-Token`, or an account's.",
        ),
        (Self::Orders, "Checkout and orders", "From a quote to an order."),
        (
            Self::Accounts,
            "Accounts",
            "Accounts are opened; sessions begin, go on and end.",
        ),
        (Self::Me, "Me", "What is the caller's own."),
        (Self::Inventory, "Inventory", "The stock, for merchants."),
        (
            Self::Service,
            "Service",
            "How a node is, and what its interface looks like.",
        ),
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(tag, ..)| *tag == self)
            .map_or("", |(_, name, _)| name)
    }
}

/// Whether a client may make a call depend on the resource's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It may not.
    None,
    /// `If-None-Match`: 304 for whoever has it already.
    IfNoneMatch,
    /// `If-Match`: 412 where it has changed.
    IfMatch,
}

/// A parameter of the query.
pub struct Parameter {
    pub name: &'static str,
    pub description: &'static str,
    pub schema: Value,
}

/// What a call takes.
pub struct Body {
    pub schema: Value,
    pub example: Value,
    pub required: bool,
}

/// A reply that is no problem.
pub struct Reply {
    pub status: StatusCode,
    pub description: &'static str,
    /// The media type with the schema and, where one helps, an example.
    pub content: Option<(&'static str, Value, Option<Value>)>,
    /// Headers beyond those of every reply: names of `components.headers`.
    pub headers: Vec<&'static str>,
    /// Operations on what the reply's body names by its `id`.
    pub links: Vec<&'static str>,
}

/// One operation.
pub struct Operation {
    pub id: &'static str,
    pub tag: Tag,
    pub summary: &'static str,
    pub description: &'static str,
    /// The path's variable part: what it is, and its schema.
    pub variable: Option<(&'static str, Value)>,
    pub query: Vec<Parameter>,
    pub condition: Condition,
    pub body: Option<Body>,
    pub replies: Vec<Reply>,
    /// Beyond what follows from the policy, the body and the like.
    pub problems: Vec<Kind>,
    pub schemas: Schemas,
}

impl Operation {
    /// An operation that takes nothing and gives nothing yet.
    pub fn new(tag: Tag, id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: "",
            variable: None,
            query: Vec::new(),
            condition: Condition::None,
            body: None,
            replies: Vec::new(),
            problems: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// More than its summary says.
    pub fn about(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// The path's variable part names a `T`.
    pub fn variable<T: ToSchema>(mut self, description: &'static str) -> Self {
        let schema = self.refer::<T>();
        self.variable = Some((description, schema));
        self
    }

    /// The path's variable part is a text.
    pub fn variable_text(mut self, description: &'static str, schema: Value) -> Self {
        self.variable = Some((description, schema));
        self
    }

    /// Takes a parameter.
    pub fn query(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.query.push(Parameter {
            name,
            description,
            schema,
        });
        self
    }

    /// Gives one page of a list.
    pub fn paged(self) -> Self {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": DEFAULT_PAGE});
        self.query("limit", "Most items on the page.", limit)
            .query(
                "cursor",
                "Where the page starts: the `next_cursor` of the page before, of the same list.",
                json!({"type": "string"}),
            )
            .problem(problem::BAD_CURSOR)
    }

    /// A client may say which version it has or means.
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Takes a `T`.
    pub fn body<T: ToSchema>(mut self, example: Value) -> Self {
        let schema = self.refer::<T>();
        self.body = Some(Body {
            schema,
            example,
            required: true,
        });
        self
    }

    /// Takes a `T`, or no body at all.
    pub fn optional_body<T: ToSchema>(mut self, example: Value) -> Self {
        self = self.body::<T>(example);
        if let Some(body) = &mut self.body {
            body.required = false;
        }
        self
    }

    /// Gives a `T` as JSON.
    pub fn reply<T: ToSchema>(mut self, status: StatusCode, description: &'static str) -> Self {
        let schema = self.refer::<T>();
        self.replies.push(Reply {
            status,
            description,
            content: Some(("application/json", schema, None)),
            headers: Vec::new(),
            links: Vec::new(),
        });
        self
    }

    /// … as in this example.
    pub fn example(mut self, example: Value) -> Self {
        if let Some((_, _, place)) = self.replies.last_mut().and_then(|reply| reply.content.as_mut()) {
            *place = Some(example);
        }
        self
    }

    /// … with these headers.
    pub fn with(mut self, headers: &[&'static str]) -> Self {
        if let Some(reply) = self.replies.last_mut() {
            reply.headers.extend(headers);
        }
        self
    }

    /// … on which these operations can go on: they take its `id`.
    pub fn leading_to(mut self, operations: &[&'static str]) -> Self {
        if let Some(reply) = self.replies.last_mut() {
            reply.links.extend(operations);
        }
        self
    }

    /// Gives a page of `T`s.
    pub fn reply_page<T: ToSchema>(mut self, description: &'static str) -> Self {
        let item = self.refer::<T>();
        let page = json!({
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": item, "maxItems": PAGE_LIMIT},
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "Where the next page starts; null on the last.",
                },
            },
            "required": ["items", "next_cursor"],
        });
        self.reply_as("application/json", description, page)
    }

    /// Gives something that is no type of ours.
    pub fn reply_as(mut self, media_type: &'static str, description: &'static str, schema: Value) -> Self {
        self.replies.push(Reply {
            status: StatusCode::OK,
            description,
            content: Some((media_type, schema, None)),
            headers: Vec::new(),
            links: Vec::new(),
        });
        self
    }

    /// Gives text that is no JSON.
    pub fn reply_text(self, media_type: &'static str, description: &'static str) -> Self {
        self.reply_as(media_type, description, json!({"type": "string"}))
    }

    /// Gives a status and no body.
    pub fn empty(mut self, status: StatusCode, description: &'static str) -> Self {
        self.replies.push(Reply {
            status,
            description,
            content: None,
            headers: Vec::new(),
            links: Vec::new(),
        });
        self
    }

    /// May give this problem.
    pub fn problem(mut self, kind: Kind) -> Self {
        self.problems.push(kind);
        self
    }

    /// May give these problems.
    pub fn problems(mut self, kinds: &[Kind]) -> Self {
        self.problems.extend(kinds);
        self
    }

    /// A reference to the schema of `T`, which is remembered.
    fn refer<T: ToSchema>(&mut self) -> Value {
        let name = T::name().into_owned();
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        T::schemas(&mut self.schemas);
        self.schemas.push((name, <T as PartialSchema>::schema()));
        reference
    }
}
