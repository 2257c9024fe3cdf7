//! Erasure of an account: its sessions end, its personal data and e-mails are deleted, its orders are anonymised.

use std::time::{Duration, Instant};

use crate::authentication::service::AccountError;
use crate::http::api::call::Call;
use crate::http::edge::problem::Problem;
use crate::http::request::background::Background;
use crate::http::request::caller::Signed;
use crate::stores::documents::row_id;
use souk_domain::account::email_key;
use souk_domain::{CartCommand, EmailAddress, OrderCommand, OrderId, OrderReply};

/// Orders anonymised per page.
const PAGE: usize = 100;
/// Kept replies removed in one transaction.
const REPLIES: usize = 1_000;
/// How long placing an order of an ended session may take, beyond the time until every node knows that the session has
/// ended.
const PLACING: Duration = Duration::from_secs(1);
/// How often late orders and e-mails are looked for; the pause is doubled each time. Together longer than a payment may take.
const LOOKS: u32 = 5;

/// Erases the account. Each step is repeatable: where one fails, the caller still has the account and tries again.
///
/// # Errors
/// Errors of stores and entities.
pub async fn erase(call: Call<Signed>, background: Background) -> Result<(), Problem> {
    strip_all(&call).await?;
    call.ask_cart(&call.caller.0.cart, CartCommand::Empty).await?;
    forget(&call).await?;
    // Last: until here the caller can try again.
    let address = call.front.accounts.erase(call.user()).await?;
    background.spawn(strip_late(call, address));
    Ok(())
}

/// Anonymises orders placed meanwhile by another device, and removes the replies to it: its access token was valid until its node
/// knew that the session has ended. Removes e-mails that were being sent.
async fn strip_late(mut call: Call<Signed>, address: EmailAddress) {
    let mut pause = call.front.accounts.revocations.interval() + PLACING;
    for look in 1..=LOOKS {
        tokio::time::sleep(pause).await;
        pause *= 2;
        call.context.deadline = Instant::now() + call.front.settings.request_timeout;
        match strip_once_more(&call, &address).await {
            Ok(()) => return,
            Err(problem) if look == LOOKS => tracing::error!(
                problem = problem.kind().name(),
                user = %call.user(),
                "an order of an account that is gone, a reply to it or an e-mail still holds what identifies"
            ),
            // A checkout in progress ends by itself.
            Err(_) => {}
        }
    }
}

async fn strip_once_more(call: &Call<Signed>, address: &EmailAddress) -> Result<(), Problem> {
    forget_emails(call, address).await?;
    strip_all(call).await?;
    forget(call).await
}

/// Removes the replies that are kept for the account under its idempotency keys.
async fn forget(call: &Call<Signed>) -> Result<(), Problem> {
    let owner = call.front.keys.owner(call.user().as_str());
    while call.front.idempotency.forget(&owner, REPLIES).await? == REPLIES as u64 {}
    Ok(())
}

/// Removes e-mails to the address, unless it has an account anew, whose e-mails they may be.
async fn forget_emails(call: &Call<Signed>, address: &EmailAddress) -> Result<(), Problem> {
    let accounts = &call.front.accounts;
    if accounts.users.by_email(&email_key(address)).await?.is_none() {
        accounts
            .mailer
            .forget(address)
            .await
            .map_err(AccountError::from)?;
    }
    Ok(())
}

async fn strip_all(call: &Call<Signed>) -> Result<(), Problem> {
    let (orders, user) = (&call.front.orders, call.user().as_str());
    let mut before: Option<String> = None;
    loop {
        let page = orders.by_owner(user, before.as_deref(), PAGE).await?;
        for row in &page {
            // The key of a row is the identifier of its order.
            if let Ok(id) = OrderId::parse(row_id(row))
                && let OrderReply::Refused(refusal) = call.ask_order(&id, OrderCommand::Erase).await?.reply
            {
                // Its checkout is in progress: the account stays until it has ended.
                return Err(refusal.into());
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(row_id(last).to_owned()),
            _ => return Ok(()),
        }
    }
}
