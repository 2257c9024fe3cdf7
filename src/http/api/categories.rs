//! `/v1/categories`: the tree of categories.

use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::edge::problem::Problem;
use crate::http::request::front::SharedFront;
use crate::http::request::json;
use souk_domain::catalogue::Category;

/// Most levels shown; a deeper tree is cut.
const DEPTH_LIMIT: usize = 16;

/// All categories.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CategoryTree)]
pub struct Tree<'a> {
    items: Vec<Node<'a>>,
}

/// A category with its children.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Category)]
pub struct Node<'a> {
    /// The key in products.
    slug: &'a str,
    name: &'a str,
    #[schema(no_recursion)]
    children: Vec<Node<'a>>,
}

/// Show the tree of categories
#[utoipa::path(
    get,
    path = "/v1/categories",
    operation_id = "listCategories",
    tag = "Catalogue",
    responses((status = 200, description = "The tree.", body = Tree<'static>, example = json!({"items": [{
        "slug": "clothing",
        "name": "Clothing",
        "children": [{"slug": "shirts", "name": "Shirts", "children": []}],
    }]}))),
)]
pub async fn list(State(front): State<SharedFront>) -> Result<Response, Problem> {
    let categories = front.products.categories().await?;
    let items = tree(&categories);
    json::reply(StatusCode::OK, &Tree { items })
}

fn tree(categories: &[Category]) -> Vec<Node<'_>> {
    let slugs: HashSet<_> = categories.iter().map(|category| category.slug.as_str()).collect();
    let mut children: HashMap<Option<&str>, Vec<&Category>> = HashMap::new();
    for category in categories {
        // A category with a missing parent is shown at the root rather than lost.
        let parent = category.parent.as_deref().filter(|parent| slugs.contains(parent));
        children.entry(parent).or_default().push(category);
    }
    below(None, &children, DEPTH_LIMIT)
}

fn below<'a>(
    parent: Option<&'a str>,
    children: &HashMap<Option<&'a str>, Vec<&'a Category>>,
    depth: usize,
) -> Vec<Node<'a>> {
    let Some(remaining) = depth.checked_sub(1) else {
        return Vec::new();
    };
    let categories = children.get(&parent).into_iter().flatten();
    categories
        .map(|category| Node {
            slug: &category.slug,
            name: &category.name,
            children: below(Some(&category.slug), children, remaining),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(slug: &str, parent: Option<&str>) -> Category {
        Category {
            slug: slug.to_owned(),
            name: slug.to_uppercase(),
            parent: parent.map(str::to_owned),
        }
    }

    fn shape(nodes: &[Node<'_>]) -> String {
        nodes
            .iter()
            .map(|node| format!("{}({})", node.slug, shape(&node.children)))
            .collect()
    }

    #[test]
    fn the_tree_keeps_the_order_and_loses_no_orphan() {
        let categories = [
            category("b", None),
            category("a", None),
            category("c", Some("a")),
            category("d", Some("c")),
            category("e", Some("nowhere")),
        ];
        assert_eq!(shape(&tree(&categories)), "b()a(c(d()))e()");
    }

    #[test]
    fn a_circle_and_a_bottomless_tree_come_to_an_end() {
        let circle = [
            category("a", Some("b")),
            category("b", Some("a")),
            category("c", None),
        ];
        assert_eq!(shape(&tree(&circle)), "c()");
        let mut deep = vec![category("0", None)];
        deep.extend((1..100).map(|level| category(&level.to_string(), Some(&(level - 1).to_string()))));
        assert_eq!(shape(&tree(&deep)).matches('(').count(), DEPTH_LIMIT);
    }
}
