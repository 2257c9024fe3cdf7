//! A real server for the tests of the adapters.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::process::Command;

use super::Server;
use crate::stores::testing::own_server::OwnServer;
use crate::stores::testing::{server_url, with_parameter};

/// Runs a test on the server that `SOUK_TEST_REDIS_URL` names, under a prefix of its own, and removes what it left there. Without a
/// server the test is skipped.
pub(crate) async fn on_server<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let Some(url) = server_url("REDIS") else { return };
    let prefix = format!("souk-test-{}:", uuid::Uuid::new_v4());
    let url = with_parameter(&url, &format!("prefix={prefix}"));
    let server = Server::open(&url).await.unwrap();
    let outcome = AssertUnwindSafe(test(server.clone())).catch_unwind().await;
    remove_all(&server, &prefix).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn remove_all(server: &Server, prefix: &str) {
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}*"))
            .arg("COUNT")
            .arg(1_000);
        let (next, keys): (u64, Vec<Vec<u8>>) = server.read(&scan).await.unwrap();
        if !keys.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(keys);
            let () = server.write(&unlink).await.unwrap();
        }
        if next == 0 {
            return;
        }
        cursor = next;
    }
}

/// A server of the test's own; nothing where it is not installed.
pub(crate) async fn own_server() -> Option<OwnServer> {
    OwnServer::start(|port, folder| {
        let mut server = Command::new("redis-server");
        server
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder);
        server
    })
    .await
}

/// Its address.
pub(crate) fn url(server: &OwnServer) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}
