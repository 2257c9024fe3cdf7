//! The variable parameter of a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::http::edge::problem::{self, Problem};

/// The parameter of a path. An undecodable one is not found: 404.
#[derive(Debug)]
pub struct PathParameter(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathParameter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(segment) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(problem::NOT_FOUND))?;
        Ok(Self(segment))
    }
}
