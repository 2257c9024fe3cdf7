//! Parameters in the published document.

use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{Object, Required};

/// A parameter that may be absent.
pub fn parameter(name: &str, place: ParameterIn, description: &str, schema: Object) -> Parameter {
    Parameter::builder()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}
