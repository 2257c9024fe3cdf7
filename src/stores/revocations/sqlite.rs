//! Revocations in SQLite, in the database `users`.

pub use super::adapter::SqlRevocations as SqliteRevocations;

#[cfg(test)]
mod tests {
    use super::SqliteRevocations;
    use crate::stores::revocations::adapter::{SINCE, SWEEP};
    use crate::stores::revocations::contract;
    use crate::stores::testing::{assert_indexed, open_database};

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("users").await;
        contract::suite(std::sync::Arc::new(SqliteRevocations(database))).await;
    }

    #[tokio::test]
    async fn queries_use_indexes() {
        assert_indexed("users", &[SINCE, SWEEP]).await;
    }
}
