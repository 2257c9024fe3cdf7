//! `/v1/products`: the catalogue.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{Object, Type};
use utoipa::{IntoParams, ToSchema};

use crate::http::edge::problem::{self, Problem};
use crate::http::request::etag::IfNoneMatch;
use crate::http::request::front::SharedFront;
use crate::http::request::json;
use crate::http::request::parameter::parameter;
use crate::http::request::path::PathParameter;
use crate::http::request::query::{Paging, Parameters, VALUE_LIMIT};
use crate::stores::search::{Position, ProductQuery, Sort};
use souk_domain::catalogue::{Product, Variant};
use souk_domain::{Money, ProductId, Sku};

/// Longest search text, in bytes.
const QUERY_LIMIT: usize = 200;

/// The sort orders by name.
const SORTS: [(&str, Sort); 4] = [
    ("relevance", Sort::Relevance),
    ("price", Sort::Price),
    ("-price", Sort::PriceDescending),
    ("newest", Sort::Newest),
];

/// A product as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub struct ProductBody<'a> {
    id: &'a ProductId,
    title: &'a str,
    description: &'a str,
    /// The slug of its category.
    category: &'a str,
    brand: &'a str,
    attributes: &'a BTreeMap<String, String>,
    /// The URLs of its pictures.
    images: &'a [String],
    /// The lowest price of its SKUs.
    #[schema(required)]
    price: Option<Money>,
    skus: Vec<SkuBody<'a>>,
    rating: Rating,
    /// The entity tag begins with it.
    version: u64,
}

/// A variant of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProductSku)]
pub struct SkuBody<'a> {
    sku: &'a Sku,
    options: &'a BTreeMap<String, String>,
    price: Money,
    weight_grams: u32,
    /// The available quantity, as far as this node knows.
    available: u32,
}

/// Ratings of reviews: none as yet.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Rating {
    #[schema(required)]
    average: Option<f64>,
    count: u64,
}

/// Counts by value: none as yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct Facets {}

/// A page of products.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProductList)]
pub struct Listed<'a> {
    items: Vec<ProductBody<'a>>,
    /// On all pages.
    total: u64,
    facets: Facets,
    /// A spelling suggestion, where nothing was found.
    #[schema(required)]
    suggestion: Option<&'a str>,
    /// Where the next page starts; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Show a product
#[utoipa::path(
    get,
    path = "/v1/products/{id}",
    operation_id = "getProduct",
    tag = "Catalogue",
    params(("id" = ProductId, Path, description = "The product."), IfNoneMatch),
    responses((status = 200, description = "The product.", body = ProductBody<'static>, headers(("ETag")), example = json!({
        "id": "prd_000001",
        "title": "Linen shirt",
        "description": "Light, and cut wide.",
        "category": "shirts",
        "brand": "Fenwick",
        "attributes": {"material": "linen"},
        "images": ["/images/prd_000001.svg"],
        "price": {"amount": 4900, "currency": "USD"},
        "skus": [{
            "sku": "SHIRT-M",
            "options": {"size": "M"},
            "price": {"amount": 4900, "currency": "USD"},
            "weight_grams": 220,
            "available": 12,
        }],
        "rating": {"average": null, "count": 0},
        "version": 3,
    }))),
)]
pub async fn show(
    State(front): State<SharedFront>,
    PathParameter(id): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let not_found = || Problem::new(problem::NOT_FOUND);
    let id = ProductId::parse(&id).map_err(|_| not_found())?;
    let product = front.catalogue_cache.product(&id).await?.ok_or_else(not_found)?;
    let skus: Vec<_> = product.variants.iter().map(|variant| &variant.sku).collect();
    let available = front.catalogue_cache.available(&skus).await?;
    let body = render(&product, &mut available.into_iter());
    json::if_none_match(&condition, product.version, &body)
}

/// Browse and search products
///
/// Lengths of texts are in bytes of UTF-8. An empty parameter counts as absent; an unknown one is refused.
#[utoipa::path(
    get,
    path = "/v1/products",
    operation_id = "listProducts",
    tag = "Catalogue",
    params(Filters, Paging),
    responses((status = 200, description = "A page of products.", body = Listed<'static>)),
)]
pub async fn list(State(front): State<SharedFront>, mut parameters: Parameters) -> Result<Response, Problem> {
    let mut query = read(&mut parameters);
    let description = describe(&query);
    let cursor = parameters.cursor(&front.keys, &description)?;
    parameters.finish()?;
    // Signed by the shop, so a position unless the format of cursors changed.
    let position = cursor.map(|position| position.parse()).transpose();
    query.after = position.map_err(|_| Problem::new(problem::BAD_CURSOR))?;

    let page = front.search.search(&query).await?;
    let products = front.products.products(&page.ids).await?;
    let variants = products.iter().flat_map(|product| &product.variants);
    let skus: Vec<_> = variants.map(|variant| &variant.sku).collect();
    let mut available = front.catalogue_cache.available(&skus).await?.into_iter();
    let items = products.iter().map(|product| render(product, &mut available));
    let seal = |position: Position| front.keys.seal_cursor(&description, &position.to_string());
    let body = Listed {
        items: items.collect(),
        total: page.total,
        facets: Facets {},
        suggestion: None,
        next_cursor: page.next.map(seal),
    };
    json::reply(StatusCode::OK, &body)
}

/// The parameters of [`list`] in the published document, apart from those of its pages.
pub struct Filters;

impl IntoParams for Filters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = |kind| Object::builder().schema_type(kind);
        let text = |limit| schema(Type::String).max_length(Some(limit));
        let price = || schema(Type::Integer).minimum(Some(0)).maximum(Some(i64::MAX));
        let in_stock = schema(Type::Boolean).default(Some(false.into()));
        let sort = schema(Type::String)
            .enum_values(Some(SORTS.map(|(name, _)| name)))
            .default(Some("relevance".into()));
        [
            (
                "q",
                "Words in the texts of the product; or its identifier, or a SKU.",
                text(QUERY_LIMIT),
            ),
            ("category", "The slug of a category.", text(VALUE_LIMIT)),
            ("brand", "The brand.", text(VALUE_LIMIT)),
            ("min_price", "Lowest price, in minor units.", price()),
            (
                "max_price",
                "Highest price, in minor units; not below `min_price`.",
                price(),
            ),
            ("in_stock", "Only available products.", in_stock),
            ("sort", "The order.", sort),
        ]
        .into_iter()
        .map(|(name, description, schema)| parameter(name, ParameterIn::Query, description, schema.build()))
        .collect()
    }
}

/// Reads the query, without the start of the page.
fn read(parameters: &mut Parameters) -> ProductQuery {
    let text = parameters.text("q");
    if text.as_ref().is_some_and(|text| text.len() > QUERY_LIMIT) {
        parameters.refuse("q", format!("holds at most {QUERY_LIMIT} bytes"));
    }
    let query = ProductQuery {
        text: text.filter(|text| !text.trim().is_empty()),
        category: parameters.text("category"),
        brand: parameters.text("brand"),
        min_price: parameters.amount("min_price"),
        max_price: parameters.amount("max_price"),
        in_stock: parameters.flag("in_stock"),
        sort: parameters.choice("sort", &SORTS).unwrap_or_default(),
        after: None,
        limit: parameters.limit(),
    };
    parameters.refuse_planned("attr.");
    if let (Some(least), Some(most)) = (query.min_price, query.max_price)
        && least > most
    {
        parameters.refuse("min_price", "must not lie above max_price");
    }
    query
}

/// Describes the list, so that a cursor is valid for no other one. The size of its pages does not matter.
fn describe(query: &ProductQuery) -> String {
    let ProductQuery {
        text,
        category,
        brand,
        min_price,
        max_price,
        in_stock,
        sort,
        after: _,
        limit: _,
    } = query;
    // Debug output quotes and escapes strings, so that descriptions are unambiguous.
    format!("products {text:?} {category:?} {brand:?} {min_price:?} {max_price:?} {in_stock} {sort:?}")
}

/// Takes as many of `available` as the product has SKUs.
fn render<'a>(product: &'a Product, available: &mut impl Iterator<Item = u32>) -> ProductBody<'a> {
    let sku = |variant: &'a Variant| SkuBody {
        sku: &variant.sku,
        options: &variant.options,
        price: variant.price,
        weight_grams: variant.weight_grams,
        available: available.next().unwrap_or_default(),
    };
    ProductBody {
        id: &product.id,
        title: &product.title,
        description: &product.description,
        category: &product.category,
        brand: &product.brand,
        attributes: &product.attributes,
        images: &product.images,
        price: product.price(),
        skus: product.variants.iter().map(sku).collect(),
        rating: Rating::default(),
        version: product.version,
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::FromRequestParts;
    use axum::http::Request;

    use super::*;

    async fn read_query(query: &str) -> Result<ProductQuery, Vec<String>> {
        let request = Request::builder()
            .uri(format!("/v1/products?{query}"))
            .body(())
            .unwrap();
        let mut parameters = Parameters::from_request_parts(&mut request.into_parts().0, &())
            .await
            .unwrap();
        let read = read(&mut parameters);
        match parameters.finish() {
            Ok(()) => Ok(read),
            Err(problem) => Err(problem
                .field_errors()
                .iter()
                .map(|error| error.field.to_string())
                .collect()),
        }
    }

    #[tokio::test]
    async fn a_query_is_read_whole() {
        let query = read_query(
            "q=linen%20shirt&category=shirts&brand=Fenwick&min_price=0&max_price=900&in_stock=true&sort=-price&limit=5",
        )
        .await
        .unwrap();
        assert_eq!(query.text.as_deref(), Some("linen shirt"));
        assert_eq!(query.category.as_deref(), Some("shirts"));
        assert_eq!(query.brand.as_deref(), Some("Fenwick"));
        assert_eq!((query.min_price, query.max_price), (Some(0), Some(900)));
        assert!(query.in_stock);
        assert_eq!((query.sort, query.limit), (Sort::PriceDescending, 5));
        let empty = read_query("q=&category=").await.unwrap();
        assert_eq!(
            (empty.text, empty.category, empty.sort),
            (None, None, Sort::Relevance)
        );
    }

    #[tokio::test]
    async fn what_would_be_ignored_is_refused() {
        for (query, blamed) in [
            ("sort=rating", "sort"),
            ("in_stock=1", "in_stock"),
            ("min_price=1.5", "min_price"),
            ("max_price=-1", "max_price"),
            ("min_price=2&max_price=1", "min_price"),
            ("attr.colour=red", "attr.colour"),
            ("page=2", "page"),
        ] {
            assert_eq!(read_query(query).await.unwrap_err(), [blamed], "{query}");
        }
        let long = format!("q={}", "x".repeat(QUERY_LIMIT + 1));
        assert_eq!(read_query(&long).await.unwrap_err(), ["q"]);
    }

    #[tokio::test]
    async fn lists_that_differ_are_described_differently() {
        let mut descriptions = std::collections::BTreeSet::new();
        let queries = [
            "",
            "q=a",
            "category=a",
            "brand=a",
            "min_price=1",
            "max_price=1",
            "in_stock=true",
            "sort=price",
        ];
        for query in queries {
            descriptions.insert(describe(&read_query(query).await.unwrap()));
        }
        descriptions.insert(describe(&read_query("q=a%22%20None").await.unwrap()));
        assert_eq!(descriptions.len(), queries.len() + 1);
        let small = describe(&read_query("limit=1").await.unwrap());
        assert_eq!(small, describe(&read_query("limit=2").await.unwrap()));
    }
}
