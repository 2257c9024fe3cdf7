//! `/v1/me/addresses`: the caller's saved addresses.

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::profile::given;
use crate::authentication::service::CHANGE_ATTEMPTS;
use crate::http::api::call::Call;
use crate::http::api::checkout::example_address;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::etag::IfMatch;
use crate::http::request::idempotency::Identity;
use crate::http::request::json::{self, Json};
use crate::http::request::path::PathParameter;
use crate::http::request::query::Page;
use crate::stores::users::{AddressChange, SavedAddress};
use souk_domain::{Address, AddressId};

/// Most addresses of an account.
pub const ADDRESS_LIMIT: usize = 50;

/// A saved address.
#[derive(Serialize, ToSchema)]
#[schema(as = SavedAddress)]
pub struct Body<'a> {
    id: &'a AddressId,
    name: &'a str,
    line1: &'a str,
    #[schema(required)]
    line2: Option<&'a str>,
    city: &'a str,
    #[schema(required)]
    region: Option<&'a str>,
    #[schema(required)]
    postcode: Option<&'a str>,
    country: &'a str,
    #[schema(required)]
    phone: Option<&'a str>,
    /// Whether it is offered first.
    default: bool,
    /// The entity tag begins with it.
    version: u64,
}

impl<'a> Body<'a> {
    fn new(saved: &'a SavedAddress) -> Self {
        let address = &saved.address;
        Self {
            id: &saved.id,
            name: &address.name,
            line1: &address.line1,
            line2: address.line2.as_deref(),
            city: &address.city,
            region: address.region.as_deref(),
            postcode: address.postcode.as_deref(),
            country: &address.country,
            phone: address.phone.as_deref(),
            default: saved.default,
            version: saved.version,
        }
    }
}

/// All of the caller's addresses.
type Addresses = Page<Body<'static>>;

/// A new address.
#[derive(Deserialize, ToSchema)]
#[schema(as = AddAddress)]
#[serde(deny_unknown_fields)]
pub struct Add {
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Ada Example")]
    name: String,
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "1 Test Street")]
    line1: String,
    #[schema(max_length = 100, example = "Floor 2")]
    line2: Option<String>,
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Springfield")]
    city: String,
    #[schema(max_length = 100, example = "IL")]
    region: Option<String>,
    #[schema(max_length = 16, example = "62701")]
    postcode: Option<String>,
    #[schema(pattern = "^[A-Z]{2}$", example = "US")]
    country: String,
    #[schema(max_length = 32, example = "+1 217 555 0100")]
    phone: Option<String>,
    /// The first address is the default in any case.
    #[serde(default)]
    default: bool,
}

/// Absent fields stay; `null` removes an optional one.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeAddress)]
#[serde(deny_unknown_fields)]
pub struct Change {
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Ada Example")]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "1 Test Street")]
    line1: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 100, example = "Floor 2")]
    line2: Option<Option<String>>,
    #[schema(min_length = 1, max_length = 100, pattern = r"\S", example = "Springfield")]
    city: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 100, example = "IL")]
    region: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 16, example = "62701")]
    postcode: Option<Option<String>>,
    #[schema(pattern = "^[A-Z]{2}$", example = "US")]
    country: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 32, example = "+1 217 555 0100")]
    phone: Option<Option<String>>,
    /// `true` makes it the default; choose another to change that.
    default: Option<bool>,
}

impl Change {
    fn apply(&self, address: &mut Address) {
        fn set<T: Clone>(field: &mut T, given: &Option<T>) {
            if let Some(given) = given {
                field.clone_from(given);
            }
        }
        set(&mut address.name, &self.name);
        set(&mut address.line1, &self.line1);
        set(&mut address.line2, &self.line2);
        set(&mut address.city, &self.city);
        set(&mut address.region, &self.region);
        set(&mut address.postcode, &self.postcode);
        set(&mut address.country, &self.country);
        set(&mut address.phone, &self.phone);
    }
}

/// List the caller's addresses
#[utoipa::path(
    get,
    path = "/v1/me/addresses",
    operation_id = "listAddresses",
    tag = "Me",
    responses((status = 200, description = "All of them, oldest first; there are at most 50.", body = Addresses)),
)]
pub async fn list(call: Call<Signed>) -> Result<Response, Problem> {
    let addresses = call.front.accounts.users.addresses(call.user()).await?;
    let items = addresses.iter().map(Body::new).collect();
    json::reply(StatusCode::OK, &Page::whole(items))
}

/// Save an address
#[utoipa::path(
    post,
    path = "/v1/me/addresses",
    operation_id = "addAddress",
    tag = "Me",
    request_body(content = Add, example = example_address),
    responses((
        status = 201,
        description = "The address.",
        body = Body<'static>,
        headers(("ETag")),
        links(
            ("changeAddress" = (operation_id = "changeAddress", parameters(("id" = "$response.body#/id")))),
            ("removeAddress" = (operation_id = "removeAddress", parameters(("id" = "$response.body#/id")))),
        ),
    )),
)]
pub async fn add(call: Call<Signed>, identity: Identity, Json(body): Json<Add>) -> Result<Response, Problem> {
    let address = Address {
        name: body.name,
        line1: body.line1,
        line2: body.line2,
        city: body.city,
        region: body.region,
        postcode: body.postcode,
        country: body.country,
        phone: body.phone,
    };
    let address = address.normalised().map_err(Problem::validation)?;
    let saved = SavedAddress {
        // Derived from the request: a repetition adds no second address.
        id: AddressId::from_suffix(identity.command.as_str()),
        address,
        default: body.default,
        created_at: (call.front.clock)(),
        version: 1,
    };
    let users = &call.front.accounts.users;
    match users
        .put_address(call.user(), &saved, None, ADDRESS_LIMIT)
        .await?
    {
        // A conflict is an earlier attempt of this request.
        AddressChange::Applied | AddressChange::Conflict => {}
        AddressChange::Full => {
            let message = format!("an account has at most {ADDRESS_LIMIT} addresses");
            return Err(Problem::field("address", message));
        }
        AddressChange::Missing => return Err(Problem::new(problem::BAD_TOKEN)),
    }
    let saved = own(&call, saved.id.as_str()).await?;
    json::versioned(StatusCode::CREATED, saved.version, &Body::new(&saved))
}

/// Change a saved address
#[utoipa::path(
    patch,
    path = "/v1/me/addresses/{id}",
    operation_id = "changeAddress",
    tag = "Me",
    params(("id" = AddressId, Path, description = "The address."), IfMatch),
    request_body(content = Change, example = json!({"city": "Chicago", "phone": null, "default": true})),
    responses((status = 200, description = "The address.", body = Body<'static>, headers(("ETag")))),
)]
pub async fn change(
    call: Call<Signed>,
    PathParameter(id): PathParameter,
    condition: IfMatch,
    Json(body): Json<Change>,
) -> Result<Response, Problem> {
    if body.default == Some(false) {
        return Err(Problem::field(
            "default",
            "passes on: make another address the default one",
        ));
    }
    let users = &call.front.accounts.users;
    for _ in 0..CHANGE_ATTEMPTS {
        let mut saved = own(&call, &id).await?;
        let expected = saved.version;
        body.apply(&mut saved.address);
        saved.address = saved.address.normalised().map_err(Problem::validation)?;
        // An invalid request is refused whatever its condition (RFC 9110, section 13.2.1).
        if !condition.allows(expected) {
            return Err(Problem::version_conflict(expected));
        }
        saved.default |= body.default.unwrap_or(false);
        saved.version = expected + 1;
        match users
            .put_address(call.user(), &saved, Some(expected), ADDRESS_LIMIT)
            .await?
        {
            AddressChange::Applied => {
                return json::versioned(StatusCode::OK, saved.version, &Body::new(&saved));
            }
            AddressChange::Conflict => {}
            AddressChange::Missing | AddressChange::Full => return Err(Problem::new(problem::NOT_FOUND)),
        }
    }
    Err(Problem::busy(problem::RETRY_AFTER))
}

/// Remove a saved address
///
/// When the default address is removed, the oldest one left becomes the default.
#[utoipa::path(
    delete,
    path = "/v1/me/addresses/{id}",
    operation_id = "removeAddress",
    tag = "Me",
    params(("id" = AddressId, Path, description = "The address."), IfMatch),
    responses((status = 204, description = "The address is removed.")),
)]
pub async fn remove(
    call: Call<Signed>,
    PathParameter(id): PathParameter,
    condition: IfMatch,
) -> Result<StatusCode, Problem> {
    let not_found = || Problem::new(problem::NOT_FOUND);
    let id = AddressId::parse(&id).map_err(|_| not_found())?;
    let current = async || Ok(own(&call, id.as_str()).await?.version);
    condition.check(current).await?;
    if call.front.accounts.users.delete_address(call.user(), &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_found())
    }
}

/// An address of this account; another's is not found.
async fn own(call: &Call<Signed>, id: &str) -> Result<SavedAddress, Problem> {
    let addresses = call.front.accounts.users.addresses(call.user()).await?;
    addresses
        .into_iter()
        .find(|saved| saved.id.as_str() == id)
        .ok_or_else(|| Problem::new(problem::NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_stay_and_null_removes() {
        let mut address = crate::http::test_support::guest_address();
        address.phone = Some("+1 217 555 0100".to_owned());
        let change: Change = serde_json::from_str(r#"{"city": "Chicago", "phone": null}"#).unwrap();
        change.apply(&mut address);
        assert_eq!((address.city.as_str(), address.phone), ("Chicago", None));
        assert_eq!(address.region.as_deref(), Some("IL"));
    }
}
