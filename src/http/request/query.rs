//! Query parameters, read strictly, and the pages of a list.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Array, Object, Ref, RefOr, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::keys::Keys;
use crate::http::request::parameter::parameter;

/// Items on a page by default.
pub const DEFAULT_PAGE: usize = 20;
/// Most items on a page.
pub const PAGE_LIMIT: usize = 100;
/// Longest value of a parameter, in bytes.
pub const VALUE_LIMIT: usize = 1024;

/// The query parameters of a request. Handlers take those that they know; [`Parameters::finish`] refuses the rest, so
/// that no filter is silently ignored.
#[derive(Debug)]
pub struct Parameters {
    values: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::new(problem::BAD_REQUEST).detail("the query can't be decoded"))?;
        let mut parameters = Self {
            values: BTreeMap::new(),
            errors: Vec::new(),
        };
        for (name, value) in pairs {
            if value.len() > VALUE_LIMIT {
                parameters.refuse(name, format!("holds at most {VALUE_LIMIT} bytes"));
                continue;
            }
            match parameters.values.entry(name) {
                Entry::Vacant(place) => drop(place.insert(value)),
                Entry::Occupied(place) => {
                    let name = place.key().clone();
                    parameters.refuse(name, "duplicate parameter");
                }
            }
        }
        Ok(parameters)
    }
}

impl Parameters {
    /// Records an invalid parameter.
    pub fn refuse(&mut self, name: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) {
        self.errors.push(FieldError::new(name, message));
    }

    /// Refuses the parameters whose names begin with `prefix`: they are part of the contract, and not built yet.
    pub fn refuse_planned(&mut self, prefix: &str) {
        let planned: Vec<_> = self
            .values
            .extract_if(.., |name, _| name.starts_with(prefix))
            .collect();
        for (name, _) in planned {
            self.refuse(name, "is not supported yet");
        }
    }

    /// Takes a string; an empty one counts as absent.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    /// Takes a non-negative amount of minor units.
    pub fn amount(&mut self, name: &'static str) -> Option<i64> {
        let text = self.text(name)?;
        let amount = text.parse().ok().filter(|amount| *amount >= 0);
        if amount.is_none() {
            self.refuse(name, "must be a non-negative integer, in minor units");
        }
        amount
    }

    /// Takes `true` or `false`; absent is `false`.
    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    /// Takes one of the names in `choices`.
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|(choice, _)| *choice == text);
        if chosen.is_none() {
            let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            self.refuse(name, format!("must be one of {}", names.join(", ")));
        }
        chosen.map(|(_, value)| *value)
    }

    /// Takes `limit`: the most items on the page.
    pub fn limit(&mut self) -> usize {
        let Some(text) = self.values.remove("limit") else {
            return DEFAULT_PAGE;
        };
        match text.parse() {
            Ok(limit @ 1..=PAGE_LIMIT) => limit,
            _ => {
                self.refuse("limit", format!("must be an integer between 1 and {PAGE_LIMIT}"));
                DEFAULT_PAGE
            }
        }
    }

    /// Takes `cursor`: where the page starts, in the list that `list` describes. The description has all that defines
    /// the list, its owner included, but not the size of its pages.
    ///
    /// # Errors
    /// 400 `bad-cursor`.
    pub fn cursor(&mut self, keys: &Keys, list: &str) -> Result<Option<String>, Problem> {
        let Some(cursor) = self.values.remove("cursor") else {
            return Ok(None);
        };
        let position = keys.open_cursor(list, &cursor);
        position.map(Some).ok_or(Problem::new(problem::BAD_CURSOR))
    }

    /// Checks that everything was valid and nothing is left over.
    ///
    /// # Errors
    /// 422 with each invalid or unknown parameter.
    pub fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.values).into_keys() {
            self.refuse(name, "is unknown");
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::validation(self.errors))
        }
    }
}

/// The parameters `limit` and `cursor` in the published document.
pub struct Paging;

impl IntoParams for Paging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = Object::builder()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(PAGE_LIMIT))
            .default(Some(DEFAULT_PAGE.into()));
        let cursor = Object::with_type(Type::String);
        vec![
            parameter(
                "limit",
                ParameterIn::Query,
                "Maximum number of items on the page.",
                limit.build(),
            ),
            parameter(
                "cursor",
                ParameterIn::Query,
                "Where the page starts: the `next_cursor` of the page before, of the same list.",
                cursor,
            ),
        ]
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The items on the page.
    pub items: Vec<T>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A list that is never longer than a page.
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

/// Written out because a derived schema of a generic type includes that of its parameter instead of referring to it.
impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = Array::builder()
            .items(Ref::from_schema_name(T::name()))
            .max_items(Some(PAGE_LIMIT));
        let next_cursor = Object::builder()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Where the next page starts; null on the last."));
        let page = Object::builder()
            .property("items", items.build())
            .required("items")
            .property("next_cursor", next_cursor.build())
            .required("next_cursor")
            .description(Some("A page of a list."));
        RefOr::T(page.build().into())
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}List", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// Which page of a list is asked for.
pub struct PageRequest<P> {
    /// Most items on the page.
    pub limit: usize,
    /// The position of the last item of the page before.
    pub after: Option<P>,
    /// Describes the list, so that its cursors are valid for no other.
    list: String,
}

impl<P: FromStr + Display> PageRequest<P> {
    /// Reads `limit` and `cursor`, and refuses all other parameters.
    ///
    /// # Errors
    /// 422 for an invalid parameter, 400 `bad-cursor`.
    pub fn read(mut parameters: Parameters, keys: &Keys, list: String) -> Result<Self, Problem> {
        let limit = parameters.limit();
        let cursor = parameters.cursor(keys, &list)?;
        parameters.finish()?;
        // Signed by the shop, so a position unless the format of cursors changed.
        let after = cursor.map(|cursor| cursor.parse()).transpose();
        let after = after.map_err(|_| Problem::new(problem::BAD_CURSOR))?;
        Ok(Self { limit, after, list })
    }

    /// The cursor of the next page. `rows` are those of this page and one more, where there is another; that one is removed.
    pub fn next_cursor<R>(
        &self,
        rows: &mut Vec<R>,
        keys: &Keys,
        position: impl Fn(&R) -> P,
    ) -> Option<String> {
        if rows.len() <= self.limit {
            return None;
        }
        rows.truncate(self.limit);
        let last = position(rows.last()?);
        Some(keys.seal_cursor(&self.list, &last.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::http::request::keys::SECRET_LENGTH;

    async fn parameters(query: &str) -> Parameters {
        let request = Request::builder().uri(format!("/list?{query}")).body(()).unwrap();
        Parameters::from_request_parts(&mut request.into_parts().0, &())
            .await
            .unwrap()
    }

    async fn refused(query: &str, read: impl FnOnce(&mut Parameters)) -> Vec<String> {
        let mut parameters = parameters(query).await;
        read(&mut parameters);
        match parameters.finish() {
            Ok(()) => Vec::new(),
            Err(problem) => problem
                .field_errors()
                .iter()
                .map(|error| error.field.to_string())
                .collect(),
        }
    }

    #[tokio::test]
    async fn limits_outside_their_range_are_refused() {
        for (query, expected) in [("", 20), ("limit=1", 1), ("limit=100", 100)] {
            let mut parameters = parameters(query).await;
            assert_eq!(parameters.limit(), expected);
            assert!(parameters.finish().is_ok());
        }
        for query in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1.5",
            "limit=1&limit=2",
        ] {
            let names = refused(query, |parameters| {
                parameters.limit();
            })
            .await;
            assert_eq!(names, ["limit"], "{query}");
        }
    }

    #[tokio::test]
    async fn wrong_values_and_unknown_names_are_all_named() {
        let names = refused("min=-1&stock=maybe&sort=up&other=1&q=%20fine", |parameters| {
            assert_eq!(parameters.text("q").as_deref(), Some(" fine"));
            assert_eq!(parameters.amount("min"), None);
            assert!(!parameters.flag("stock"));
            assert_eq!(parameters.choice("sort", &[("price", 1)]), None);
        })
        .await;
        assert_eq!(names, ["min", "stock", "sort", "other"]);
    }

    #[tokio::test]
    async fn a_cursor_of_another_list_is_refused() {
        let keys = Keys::derive(&[1; SECRET_LENGTH]);
        let cursor = keys.seal_cursor("orders of a", "ord_1");
        let read = parameters(&format!("cursor={cursor}"))
            .await
            .cursor(&keys, "orders of a")
            .unwrap();
        assert_eq!(read.as_deref(), Some("ord_1"));
        for (query, list) in [
            (format!("cursor={cursor}"), "orders of b"),
            ("cursor=x".to_owned(), "orders of a"),
        ] {
            let problem = parameters(&query).await.cursor(&keys, list).unwrap_err();
            assert_eq!(problem.kind(), problem::BAD_CURSOR);
        }
    }
}
