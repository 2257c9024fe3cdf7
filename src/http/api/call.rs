//! What handlers take from a request besides its parameters and body, and the entities that they ask for it.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::actors::region::{Answer, Ask, AskError};
use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::caller::{Caller, Signed};
use crate::http::request::entity;
use crate::http::request::etag::IfMatch;
use crate::http::request::front::SharedFront;
use crate::http::request::idempotency::Identity;
use souk_domain::{Aggregate, Cart, CartCommand, CartId, Order, OrderCommand, OrderId, UserId};

/// A call of a handler: the shared state, the request's context, and the caller as the handler needs to know it.
pub struct Call<C = Caller> {
    /// The state that handlers share.
    pub front: SharedFront,
    /// The request's id and its deadline.
    pub context: Context,
    /// `Caller`, `Signed` or `Option<Caller>`, as the route's policy has it; `()` where anybody may call.
    pub caller: C,
}

impl<C> FromRequestParts<SharedFront> for Call<C>
where
    C: FromRequestParts<SharedFront, Rejection: Into<Problem>>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &SharedFront) -> Result<Self, Problem> {
        let Ok(context) = Context::from_request_parts(parts, front).await;
        let caller = C::from_request_parts(parts, front).await.map_err(Into::into)?;
        Ok(Self {
            front: front.clone(),
            context,
            caller,
        })
    }
}

impl<C> Call<C> {
    /// A read of an entity, or a command that is harmless to repeat.
    pub fn read<A: Aggregate>(&self, command: A::Command) -> Ask<A> {
        entity::read(&self.context, self.front.settings.ask_timeout, command)
    }

    /// Asks a cart with a command that is harmless to repeat.
    pub async fn ask_cart(&self, id: &CartId, command: CartCommand) -> Result<Answer<Cart>, AskError> {
        let carts = &self.front.regions.carts;
        carts.ask(id.as_str(), self.read(command)).await
    }

    /// Asks an order with a command that is harmless to repeat.
    pub async fn ask_order(&self, id: &OrderId, command: OrderCommand) -> Result<Answer<Order>, AskError> {
        let orders = &self.front.regions.orders;
        orders.ask(id.as_str(), self.read(command)).await
    }
}

impl Call<Signed> {
    /// The calling account.
    pub fn user(&self) -> &UserId {
        &self.caller.0.user
    }
}

/// A call that changes an entity: under its identity, and if the client's condition holds.
#[derive(FromRequestParts)]
#[from_request(state(SharedFront))]
pub struct Change {
    /// The call.
    pub call: Call,
    /// By it entities recognise a repetition.
    pub identity: Identity,
    /// Which versions may be changed.
    pub condition: IfMatch,
}

impl Change {
    /// The change of an entity, for which the region waits no longer than `within`. `current` reads the entity's version.
    ///
    /// # Errors
    /// 412 where the condition can't hold, and the errors of `current`.
    pub async fn ask<A: Aggregate>(
        &self,
        within: Duration,
        command: A::Command,
        current: impl AsyncFnOnce() -> Result<u64, Problem>,
    ) -> Result<Ask<A>, Problem> {
        let mut ask = entity::change(&self.call.context, within, &self.identity, command);
        ask.expected_version = entity::expected_version(&self.condition, current).await?;
        Ok(ask)
    }
}
