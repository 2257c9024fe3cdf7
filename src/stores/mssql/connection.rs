//! Opens connections.

use tiberius::error::Error;
use tiberius::{AuthMethod, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

use super::address::{Address, Encryption};
use super::values::Query;
use super::{Mssql, Session};
use crate::stores::StoreError;
use crate::stores::sql::Columns;
use crate::stores::sql_pool::{CONNECT_LIMIT, Connection, refused, unavailable};
use souk_embedded::Rows;

/// The oldest server with all that is used: SQL Server 2019, which brought UTF-8.
const OLDEST_SERVER: i64 = 15;
/// Editions in the cloud, which are always of the newest version, whatever they say: Azure SQL Database, and Managed Instance.
const CLOUD_EDITIONS: [i64; 2] = [5, 8];

/// Settings of a session: those that filtered indexes need, an error that ends the whole transaction, and how long a statement waits
/// for a lock before it is repeated.
const SETTINGS: &str = "SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON; \
     SET NUMERIC_ROUNDABORT OFF; SET IMPLICIT_TRANSACTIONS OFF; SET XACT_ABORT ON; SET NOCOUNT ON; SET LOCK_TIMEOUT 2000; \
     SET TRANSACTION ISOLATION LEVEL READ COMMITTED;";

/// The session's named lock, and what must be known of the server.
const CHECK: &str = "DECLARE @lock int; \
     EXEC @lock = sp_getapplock @Resource = @P1, @LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = 0; \
     SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS bigint), CAST(SERVERPROPERTY('EngineEdition') AS bigint), \
         CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(60)), @lock";

const DATABASE: &str = "SELECT CAST(is_read_committed_snapshot_on AS bigint), delayed_durability_desc \
     FROM sys.databases WHERE database_id = DB_ID()";

/// Where a store is kept. Has a password: no `Debug`.
pub struct Server {
    pub(super) store: &'static str,
    address: Address,
    authorities: Option<Vec<u8>>,
}

/// A session, by the named lock that it holds as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend(pub(super) String);

impl Server {
    /// The server of a URL.
    pub(super) async fn parse(store: &'static str, url: &str) -> Result<Self, StoreError> {
        let address = Address::parse(url).map_err(|error| refused(store, error))?;
        let authorities = match &address.encryption {
            Encryption::Authorities(file) => {
                let read = tokio::fs::read(file).await;
                let read = read.map_err(|error| refused(store, format!("{}: {error}", file.display())));
                Some(read?)
            }
            Encryption::System | Encryption::Off => None,
        };
        Ok(Self {
            store,
            address,
            authorities,
        })
    }

    fn config(&self) -> Config {
        let address = &self.address;
        let mut config = Config::new();
        config.host(&address.host);
        config.port(address.port);
        config.database(&address.database);
        config.application_name(format!("souk {}", self.store));
        config.authentication(AuthMethod::sql_server(&address.user, &address.password));
        config.encryption(match address.encryption {
            Encryption::Off => EncryptionLevel::NotSupported,
            Encryption::System | Encryption::Authorities(_) => EncryptionLevel::Required,
        });
        if let Some(authorities) = &self.authorities {
            config.trust_cert_ca_bundle(authorities.clone());
        }
        config
    }

    /// A session that has signed in. A gateway may send it on to another address, once.
    pub(super) async fn sign_in(&self) -> Result<Session, Error> {
        let mut config = self.config();
        match Self::sign_in_at(config.clone(), &self.address.host, self.address.port).await {
            Err(Error::Routing { host, port }) => {
                config.host(&host);
                config.port(port);
                Self::sign_in_at(config, &host, port).await
            }
            signed_in => signed_in,
        }
    }

    async fn sign_in_at(config: Config, host: &str, port: u16) -> Result<Session, Error> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Session::connect(config, stream.compat_write()).await
    }
}

/// Opens a connection to a server that fits.
pub(super) async fn connect(server: &Server) -> Result<Connection<Mssql>, StoreError> {
    let store = server.store;
    let name = format!("souk {}", uuid::Uuid::new_v4().simple());
    let opened = timeout(CONNECT_LIMIT, async {
        let mut session = server.sign_in().await?;
        Query::new(SETTINGS).rows(&mut session).await?;
        let rows = Query::new(CHECK).bind(name.as_str()).rows(&mut session).await?;
        Ok::<_, Error>((session, rows))
    })
    .await
    .map_err(|error| unavailable(store, error))?;
    let (session, rows) = opened.map_err(|error| unavailable(store, error))?;
    check(store, rows)?;
    Ok(Connection {
        session,
        backend: Backend(name),
    })
}

/// Whether a server fits that answers this to [`CHECK`].
fn check(store: &'static str, mut rows: Rows) -> Result<(), StoreError> {
    let mut row = Columns::new(store, rows.pop().unwrap_or_default());
    let version: i64 = row.integer("ProductMajorVersion")?;
    let edition: i64 = row.integer("EngineEdition")?;
    if version < OLDEST_SERVER && !CLOUD_EDITIONS.contains(&edition) {
        return Err(refused(
            store,
            format!(
                "the server's version is {version}; it must be {OLDEST_SERVER} (SQL Server 2019) or later"
            ),
        ));
    }
    let updateability = row.text("Updateability")?;
    if updateability != "READ_WRITE" {
        return Err(unavailable(
            store,
            format!("the database is {updateability}; the URL must lead to the primary"),
        ));
    }
    if row.integer::<i64>("the session's lock")? < 0 {
        return Err(unavailable(store, "the server gave the session no named lock"));
    }
    Ok(())
}

/// Warns of settings with which the database loses what it has acknowledged, or lets readers wait for writers.
pub(super) async fn warn_of_settings(
    connection: &mut Connection<Mssql>,
    store: &'static str,
) -> Result<(), StoreError> {
    let rows = timeout(CONNECT_LIMIT, Query::new(DATABASE).rows(&mut connection.session)).await;
    let rows = rows.map_err(|error| unavailable(store, error))?;
    let row = rows.map_err(|error| unavailable(store, error))?.pop();
    let mut row = Columns::new(store, row.unwrap_or_default());
    if row.integer::<i64>("is_read_committed_snapshot_on")? == 0 {
        tracing::warn!(
            store,
            "READ_COMMITTED_SNAPSHOT of the database is OFF: reads wait for writes; set it to ON"
        );
    }
    let durability = row.text("delayed_durability_desc")?;
    if durability == "FORCED" {
        tracing::warn!(
            store,
            "DELAYED_DURABILITY of the database is FORCED: acknowledged writes are lost when the server fails; set it to DISABLED"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_can_not_keep_rows_are_refused() {
        let checked = |version: i64, edition: i64, updateability: &str, lock: i64| {
            check(
                "orders",
                vec![vec![
                    version.into(),
                    edition.into(),
                    updateability.into(),
                    lock.into(),
                ]],
            )
        };
        checked(15, 3, "READ_WRITE", 0).unwrap();
        checked(12, 5, "READ_WRITE", 1).unwrap();
        let old = checked(14, 3, "READ_WRITE", 0);
        assert!(matches!(old, Err(StoreError::Refused { .. })), "{old:?}");
        for (updateability, lock) in [("READ_ONLY", 0), ("READ_WRITE", -1), ("READ_WRITE", -999)] {
            let passing = checked(16, 3, updateability, lock);
            assert!(
                matches!(passing, Err(StoreError::Unavailable { .. })),
                "{passing:?}"
            );
        }
    }
}
