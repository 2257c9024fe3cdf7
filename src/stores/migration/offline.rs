//! Makes sure that no node runs on some configurations, whose stores are read or written as a whole.
//!
//! The folder of embedded stores is taken for this process alone, as long as it works: no store process can run there, and no
//! node without one. On servers, nodes write heartbeats beside the cluster's view.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use souk_cluster::membership::HEARTBEAT_WINDOW;
use souk_cluster::views::Views;
use souk_embedded::{OpenError, Writer};
use souk_retry::{RetryPolicy, retry};

use crate::config::Config;
use crate::stores::open::{transfer, views_on_server};
use crate::stores::sqlite::in_process_writer;

/// A store process ends some seconds after the last node.
const ATTEMPTS: RetryPolicy = RetryPolicy {
    attempts: 10,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(1),
};

/// Why the stores are not read or written.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The folder of embedded stores is in use, or can't be used.
    #[error("the embedded stores are in use: stop all nodes")]
    InUse(#[source] OpenError),
    /// There is no such folder.
    #[error("{} has no stores: it does not exist", .0.display())]
    Missing(PathBuf),
    /// The folder can't be used.
    #[error("the embedded stores can't be opened")]
    Folder(#[source] OpenError),
    /// Nodes run.
    #[error("nodes of {configuration} run: stop {}", nodes.join(", "))]
    Running {
        /// The configuration.
        configuration: String,
        /// Their names.
        nodes: Vec<String>,
    },
    /// The heartbeats can't be read.
    #[error("whether nodes of {configuration} run can't be found out")]
    Unknown {
        /// The configuration.
        configuration: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Folders of embedded stores that belong to this process.
pub struct Folders(HashMap<PathBuf, Writer>);

impl Folders {
    /// Where a configuration, which must be one of those that are held, has its stores.
    pub fn places<'a>(&'a self, config: &'a Config) -> transfer::Places<'a> {
        transfer::Places {
            urls: &config.stores,
            directory: &config.cluster.data,
            writer: self.0.get(&canonical(&config.cluster.data)),
        }
    }
}

fn canonical(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// Whether the folder of embedded stores exists: opening would make an empty one.
///
/// # Errors
/// [`OfflineError::Missing`]
pub fn expect_stores(config: &Config) -> Result<(), OfflineError> {
    let data = &config.cluster.data;
    if config.stores.any_embedded() && !data.is_dir() {
        return Err(OfflineError::Missing(data.clone()));
    }
    Ok(())
}

/// Takes the folders in which these configurations have embedded stores.
///
/// # Errors
/// [`OfflineError::InUse`], [`OfflineError::Folder`]
pub async fn hold(configs: &[&Config]) -> Result<Folders, OfflineError> {
    let mut folders = HashMap::new();
    for config in configs {
        let data = &config.cluster.data;
        if !config.stores.any_embedded() || folders.contains_key(&canonical(data)) {
            continue;
        }
        let is_held = |error: &OpenError| matches!(error, OpenError::Held { .. });
        let opened = retry("opening of the embedded stores", ATTEMPTS, is_held, async || {
            in_process_writer(data)
        });
        let writer = opened.await.map_err(|error| {
            if is_held(&error) {
                OfflineError::InUse(error)
            } else {
                OfflineError::Folder(error)
            }
        })?;
        folders.insert(canonical(data), writer);
    }
    Ok(Folders(folders))
}

/// Whether no node of these configurations writes heartbeats. Takes some seconds where there are any, of whatever age.
///
/// # Errors
/// [`OfflineError::Running`], [`OfflineError::Unknown`]
pub async fn check(configs: &[&Config]) -> Result<(), OfflineError> {
    for config in configs {
        let configuration = config.file.display().to_string();
        let checked = async {
            match views_on_server(config).await? {
                Some(views) => running(&*views, HEARTBEAT_WINDOW).await,
                None => Ok(Vec::new()),
            }
        };
        let nodes = checked
            .await
            .map_err(
                |cause: Box<dyn std::error::Error + Send + Sync>| OfflineError::Unknown {
                    configuration: configuration.clone(),
                    cause,
                },
            )?;
        if !nodes.is_empty() {
            return Err(OfflineError::Running { configuration, nodes });
        }
    }
    Ok(())
}

/// The nodes with a heartbeat within `window` from now.
async fn running(
    views: &dyn Views,
    window: Duration,
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let before = views.beats().await?;
    if before.is_empty() {
        return Ok(Vec::new());
    }
    // Counters say that a node lives by growing, and by nothing else.
    tokio::time::sleep(window).await;
    let after = views.beats().await?;
    let grown = after.into_iter().filter(|beat| !before.contains(beat));
    Ok(grown.map(|(name, _, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use souk_cluster::view::View;
    use souk_cluster::views::ViewsError;

    use super::super::tests::config;
    use super::*;
    use crate::config::SecretKey;

    /// Of the nodes `n1`, which is dead, and `n2`, which beats between two looks where it lives.
    struct Beating {
        lives: bool,
        looks: AtomicU64,
    }

    #[async_trait]
    impl Views for Beating {
        fn technology(&self) -> &'static str {
            "test"
        }

        async fn current(&self) -> Result<Option<View>, ViewsError> {
            Ok(None)
        }

        async fn propose(&self, _: &View) -> Result<bool, ViewsError> {
            Ok(false)
        }

        async fn beat(&self, _: &str, _: u64) -> Result<(), ViewsError> {
            Ok(())
        }

        async fn beats(&self) -> Result<Vec<(String, u64, u64)>, ViewsError> {
            let look = self.looks.fetch_add(u64::from(self.lives), Ordering::SeqCst);
            Ok(vec![("n1".to_owned(), 1, 7), ("n2".to_owned(), 1, look)])
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_runs_whose_heartbeat_changes() {
        let look = async |lives| {
            let looks = AtomicU64::new(3);
            running(&Beating { lives, looks }, HEARTBEAT_WINDOW)
                .await
                .unwrap()
        };
        assert_eq!(look(true).await, ["n2"]);
        assert_eq!(look(false).await, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &SecretKey::random(), "");
        let held = hold(&[&config, &config]).await.unwrap();
        assert!(held.places(&config).writer.is_some());
        let again = hold(&[&config]).await.err().unwrap();
        assert!(matches!(again, OfflineError::InUse(_)), "{again}");
    }
}
