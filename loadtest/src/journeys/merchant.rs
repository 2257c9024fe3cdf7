//! The journeys of merchants, as far as the shop has their calls.

use serde_json::json;
use souk_error_chain::Chain;

use super::shopper::{Caller, Request, Shopper, Stop};

/// Pieces of a delivery.
const DELIVERY: u64 = 10;
/// SKUs that the dashboard shows.
const SHOWN: usize = 5;

impl Shopper<'_> {
    async fn merchant(&self) -> Result<String, Stop> {
        let token = self.world.merchant_token().await;
        token.map_err(|failure| self.failed(format!("no merchant: {}", Chain(&failure))))
    }

    /// A delivery of a SKU arrives.
    pub async fn receive_stock(&mut self) -> Result<(), Stop> {
        let token = self.merchant().await?;
        let path = format!("/v1/admin/inventory/{}/receipts", self.world.item().sku);
        let receipt = json!({"quantity": DELIVERY, "reference": uuid::Uuid::new_v4().to_string()});
        let request = Request::post(
            &path,
            "/v1/admin/inventory/{sku}/receipts",
            Caller::Account(&token),
        );
        self.fetch(request.json(receipt)).await.map(drop)
    }

    /// A count finds one piece more.
    pub async fn adjust_stock(&mut self) -> Result<(), Stop> {
        let token = self.merchant().await?;
        let path = format!("/v1/admin/inventory/{}/adjustments", self.world.item().sku);
        let request = Request::post(
            &path,
            "/v1/admin/inventory/{sku}/adjustments",
            Caller::Account(&token),
        );
        self.fetch(request.json(json!({"delta": 1, "reason": "found by a count"})))
            .await
            .map(drop)
    }

    /// Looks at the levels of some SKUs, and at their ledgers.
    pub async fn stock_dashboard(&mut self) -> Result<(), Stop> {
        let token = self.merchant().await?;
        for _ in 0..SHOWN {
            let level = format!("/v1/admin/inventory/{}", self.world.item().sku);
            let ledger = format!("{level}/movements");
            let caller = Caller::Account(&token);
            self.fetch(Request::get(&level, "/v1/admin/inventory/{sku}", caller))
                .await?;
            self.fetch(Request::get(
                &ledger,
                "/v1/admin/inventory/{sku}/movements",
                caller,
            ))
            .await?;
        }
        Ok(())
    }
}
