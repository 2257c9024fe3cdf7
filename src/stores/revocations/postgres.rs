//! Revocations in PostgreSQL, in the schema `souk_users`.

pub use super::adapter::SqlRevocations as PostgresRevocations;

#[cfg(test)]
mod tests {
    use super::PostgresRevocations;
    use crate::stores::postgres::testing::TestDatabase;
    use crate::stores::revocations::contract;
    use crate::stores::users::postgres::MIGRATIONS;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let Some(database) = TestDatabase::create().await else {
            return;
        };
        let pool = database.open("users", MIGRATIONS).await;
        contract::suite(std::sync::Arc::new(PostgresRevocations(pool))).await;
    }
}
