//! What the server must be set to, so that it keeps what it acknowledged.

use std::collections::HashMap;

use redis::cmd;

use super::{Server, StoreError};

/// Logs a warning for each setting by which the server may lose what it acknowledged.
///
/// # Errors
/// [`StoreError::Refused`] where it is a Redis Cluster, and [`StoreError`] where it does not answer.
pub(super) async fn check(server: &Server) -> Result<(), StoreError> {
    let info: String = match server.read(&cmd("INFO")).await {
        Err(StoreError::Refused { cause, .. }) => {
            tracing::debug!(
                error = &*cause as &dyn std::error::Error,
                "the Redis server does not tell its settings"
            );
            return Ok(());
        }
        info => info?,
    };
    if value(&info, "redis_mode") == Some("cluster") {
        return Err(server.refused("it is a Redis Cluster, which is not supported"));
    }
    let flush = match server
        .read::<HashMap<String, String>>(&*cmd("CONFIG").arg("GET").arg("appendfsync"))
        .await
    {
        Ok(mut settings) => settings.remove("appendfsync"),
        Err(StoreError::Refused { cause, .. }) => {
            tracing::debug!(
                error = &*cause as &dyn std::error::Error,
                "the Redis server does not tell its appendfsync"
            );
            None
        }
        Err(error) => return Err(error),
    };
    for warning in warnings(&info, flush.as_deref()) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// The value of a line `name:value` of INFO.
fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim_end)
}

fn warnings(info: &str, flush: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    match value(info, "maxmemory_policy") {
        None | Some("noeviction") => {}
        Some(policy) => warnings.push(format!(
            "Redis evicts keys when its memory is full (maxmemory-policy {policy}): sign-ins, failed-login counters and kept \
             replies may vanish, so that a repeated checkout is executed again; set maxmemory-policy noeviction"
        )),
    }
    if value(info, "aof_enabled") == Some("0") {
        warnings.push(
            "Redis keeps no log of its writes (appendonly no): a crash loses all sign-ins and kept replies since its last \
             snapshot, so that a repeated checkout is executed again; set appendonly yes and appendfsync always"
                .to_owned(),
        );
    } else if let Some(flush @ ("everysec" | "no")) = flush {
        warnings.push(format!(
            "Redis acknowledges writes before they are on disk (appendfsync {flush}): a crash of its machine loses the last \
             seconds of sign-ins, revoked refresh tokens and kept replies; set appendfsync always"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: &str = "# Server\r\nredis_mode:standalone\r\n\r\n# Memory\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";

    #[test]
    fn settings_that_lose_writes_are_named() {
        assert!(warnings(SAFE, Some("always")).is_empty());
        assert!(warnings(SAFE, None).is_empty());
        // A managed server may tell nothing.
        assert!(warnings("", None).is_empty());
        for (info, flush, named) in [
            (
                SAFE.replace("noeviction", "volatile-lru"),
                "always",
                "volatile-lru",
            ),
            (
                SAFE.replace("aof_enabled:1", "aof_enabled:0"),
                "always",
                "appendonly no",
            ),
            (SAFE.to_owned(), "everysec", "appendfsync everysec"),
            (SAFE.to_owned(), "no", "appendfsync no"),
        ] {
            let warnings = warnings(&info, Some(flush));
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].contains(named), "{warnings:?}");
        }
    }
}
