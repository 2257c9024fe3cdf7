//! Signing keys in SQLite, in the database `users`.

pub use super::adapter::SqlSigningKeys as SqliteSigningKeys;

#[cfg(test)]
mod tests {
    use super::SqliteSigningKeys;
    use crate::stores::signing_keys::contract;
    use crate::stores::testing::open_database;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("users").await;
        contract::suite(std::sync::Arc::new(SqliteSigningKeys(database))).await;
    }
}
