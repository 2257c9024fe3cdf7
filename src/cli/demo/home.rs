//! The folder of a demo:
//!
//! ```text
//! cluster.toml  the configuration, with its secrets
//! certs/        the CA and the nodes' certificates
//! stores/       the embedded stores
//! logs/         one file for each node
//! seeded        exists when the catalogue is complete
//! demo.lock     held by the running demo
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::ports;
use crate::cli::Failure;
use crate::config::{
    Accounts, Cluster, Config, Gateway, Limits, Log, Membership, Node, Operator, Sealing, SealingKey, Secret,
    SecretKey, StoreUrls, Tls, Transport,
};
use souk_cluster::view::Role;

/// Nodes of a demo where nothing else is said.
const NODES: u16 = 3;

/// The shop port of its first node where nothing else is said.
const PORT: u16 = 8_080;

/// Distance of an operator's port from that of the shop.
const OPERATOR_OFFSET: u16 = 1_000;

/// Requests of one caller in a minute: a demo is put under load by few clients.
const REQUESTS_PER_MINUTE: u32 = 600_000;

/// Random bytes of an operator token; twice as many hexadecimal digits.
const TOKEN_BYTES: usize = 24;

/// Lines of a node's log that are shown if it does not start.
const TAIL_LINES: usize = 20;

/// Most bytes of a log that are read for them.
const TAIL_BYTES: u64 = 16 * 1024;

/// Access for this user only.
const PRIVATE_FOLDER: u32 = 0o700;

/// Access for this user only.
const PRIVATE_FILE: u32 = 0o600;

/// See the module's documentation.
pub(super) struct Home {
    path: PathBuf,
    temporary: Option<TempDir>,
    keep: bool,
    /// Held open: the lock ends with it.
    _lock: File,
}

impl Home {
    /// Opens `given`, or makes a temporary folder.
    pub(super) fn open(given: Option<&Path>, keep: bool) -> Result<Self, Failure> {
        let temporary = match given {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("souk-demo-")
                    .disable_cleanup(keep)
                    .permissions(Permissions::from_mode(PRIVATE_FOLDER))
                    .tempdir()
                    .map_err(|error| Failure::failed("no temporary folder can be made", error))?,
            ),
        };
        let path = given.map_or_else(
            || {
                temporary
                    .as_ref()
                    .map(|folder| folder.path().to_owned())
                    .unwrap_or_default()
            },
            Path::to_owned,
        );
        let failed = |error: io::Error| Failure::failed(format!("{} can't be used", path.display()), error);
        private_folder(&path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(path.join("demo.lock"))
            .map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Failure::plain(format!("another demo runs in {}", path.display())))?;
        let home = Self {
            path,
            temporary,
            keep,
            _lock: lock,
        };
        for folder in [home.stores(), home.logs()] {
            private_folder(&folder)
                .map_err(|error| Failure::failed(format!("{} can't be made", folder.display()), error))?;
        }
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.path.join("cluster.toml")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    fn stores(&self) -> PathBuf {
        self.path.join("stores")
    }

    fn seeded_mark(&self) -> PathBuf {
        self.path.join("seeded")
    }

    /// Whether the catalogue is complete.
    pub(super) fn is_seeded(&self) -> bool {
        self.seeded_mark().exists()
    }

    /// Marks the catalogue as complete.
    pub(super) fn set_seeded(&self) -> Result<(), Failure> {
        File::create(self.seeded_mark())
            .map(drop)
            .map_err(|error| Failure::failed("the folder of the demo can't be written", error))
    }

    /// The file that a process logs to, opened for appending.
    pub(super) fn log_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(PRIVATE_FILE)
            .open(self.log_path(name))
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The end of a node's log, for when it does not start.
    pub(super) fn log_tail(&self, name: &str) -> String {
        tail(&self.log_path(name)).unwrap_or_else(|error| format!("(its log can't be read: {error})"))
    }

    /// The configuration of an earlier demo in this folder (and whether there was one), or a new one. Secrets, names and
    /// addresses last as long as the folder, so that a restart continues with the same data.
    ///
    /// # Errors
    /// [`Failure::Usage`] where the folder has other nodes, ports or stores than those that are asked for.
    pub(super) fn configuration(
        &self,
        nodes: Option<u16>,
        port: Option<u16>,
        stores: Option<StoreUrls>,
    ) -> Result<(Config, bool), Failure> {
        let file = self.config_file();
        if file.exists() {
            let config = Config::load(&file)?;
            check_same(&config, nodes, port, stores.as_ref())?;
            return Ok((config, true));
        }
        let mut config = self.new_configuration(nodes.unwrap_or(NODES), port.unwrap_or(PORT))?;
        config.stores = stores.unwrap_or_default();
        let text = config.to_toml()?;
        write_whole(&file, &text)
            .map_err(|error| Failure::failed(format!("{} can't be written", file.display()), error))?;
        Ok((Config::load(&file)?, false))
    }

    fn new_configuration(&self, count: u16, port: u16) -> Result<Config, Failure> {
        if port != 0 && u32::from(port) + u32::from(OPERATOR_OFFSET) + u32::from(count) > u32::from(u16::MAX)
        {
            return Err(Failure::Usage(format!(
                "--port {port} leaves no room for {count} nodes"
            )));
        }
        // Fixed ports must not be chosen for anything else.
        let fixed = if port == 0 { 0..0 } else { port..port + count };
        let fixed: Vec<u16> = fixed
            .clone()
            .chain(fixed.map(|port| port + OPERATOR_OFFSET))
            .collect();
        let mut free = ports::Free::avoiding(fixed);
        let nodes = (0..count)
            .map(|index| {
                let (shop, operator) = if port == 0 {
                    (free.choose()?, free.choose()?)
                } else {
                    (port + index, port + OPERATOR_OFFSET + index)
                };
                Ok(Node {
                    name: format!("n{}", index + 1),
                    shop: local(shop),
                    operator: local(operator),
                    cluster: local(free.choose()?),
                    gossip: local(free.choose()?),
                    roles: vec![Role::Front, Role::Entities],
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Config {
            file: self.config_file(),
            cluster: Cluster {
                name: "demo".into(),
                key: SecretKey::random(),
                key_file: None,
                certificates: self.path.join("certs"),
                data: self.stores(),
                one_machine: false,
            },
            operator: Operator {
                token: Secret::new(token()),
                token_file: None,
            },
            sealing: Sealing {
                keys: vec![SealingKey {
                    id: "k1".into(),
                    key: Some(SecretKey::random()),
                    key_file: None,
                }],
            },
            nodes,
            stores: StoreUrls::default(),
            limits: Limits::default(),
            membership: Membership::default(),
            transport: Transport::default(),
            accounts: Accounts::default(),
            gateway: Gateway {
                requests_per_minute: REQUESTS_PER_MINUTE,
                ..Gateway::default()
            },
            tls: Tls::default(),
            log: Log::default(),
        })
    }

    /// Removes the folder if it is temporary and not kept.
    pub(super) fn close(self) -> Result<(), Failure> {
        match self.temporary {
            None => Ok(()),
            Some(_) if self.keep => {
                eprintln!("kept: {}", self.path.display());
                Ok(())
            }
            Some(folder) => folder
                .close()
                .map_err(|error| Failure::failed(format!("{} can't be removed", self.path.display()), error)),
        }
    }
}

/// Whether the nodes, ports and stores of an earlier demo are those that are asked for.
fn check_same(
    config: &Config,
    nodes: Option<u16>,
    port: Option<u16>,
    stores: Option<&StoreUrls>,
) -> Result<(), Failure> {
    let file = config.file.display();
    let found = config.nodes.len();
    if let Some(nodes) = nodes.filter(|nodes| usize::from(*nodes) != found) {
        return Err(Failure::Usage(format!(
            "{file} has {found} nodes, not {nodes}: leave out --nodes, or choose another folder"
        )));
    }
    if stores.is_some_and(|stores| *stores != config.stores) {
        return Err(Failure::Usage(format!(
            "{file} has other stores: leave out --stores, or choose another folder"
        )));
    }
    let found = config.nodes.first().map_or(0, |node| node.shop.port());
    match port {
        Some(port) if port != 0 && port != found => Err(Failure::Usage(format!(
            "{file} has the shop port {found}, not {port}: leave out --port, or choose another folder"
        ))),
        _ => Ok(()),
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn token() -> String {
    let bytes: [u8; TOKEN_BYTES] = rand::random();
    hex::encode(bytes)
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
}

/// Writes a file atomically.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(PRIVATE_FILE)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, path)
}

fn tail(path: &Path) -> io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo");
        let first = {
            let home = Home::open(Some(&path), false).unwrap();
            let (config, found) = home.configuration(None, Some(0), None).unwrap();
            assert!(!found && !home.is_seeded());
            home.set_seeded().unwrap();
            home.close().unwrap();
            config
        };
        let home = Home::open(Some(&path), false).unwrap();
        let port = first.nodes[0].shop.port();
        for (nodes, port) in [(None, None), (Some(3), Some(0)), (None, Some(port))] {
            let (again, found) = home.configuration(nodes, port, None).unwrap();
            assert!(found && home.is_seeded());
            assert_eq!(first, again);
        }
        // What it can't be is refused, and not ignored.
        for (nodes, port) in [(Some(5), None), (None, Some(port + 1))] {
            let refused = home.configuration(nodes, port, None);
            assert!(matches!(refused, Err(Failure::Usage(_))), "{refused:?}");
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.config_file()), 0o600);
        assert_eq!(mode(home.path()), 0o700);
        assert_eq!(first.warnings(), []);
    }

    #[test]
    fn two_demos_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Home::open(Some(folder.path()), false).unwrap();
        assert!(Home::open(Some(folder.path()), false).is_err());
        drop(first);
        assert!(Home::open(Some(folder.path()), false).is_ok());
    }

    #[test]
    fn ports_are_where_they_were_asked_for() {
        let home = Home::open(None, false).unwrap();
        let (config, _) = home.configuration(Some(3), Some(18_080), None).unwrap();
        let shops: Vec<u16> = config.nodes.iter().map(|node| node.shop.port()).collect();
        let operators: Vec<u16> = config.nodes.iter().map(|node| node.operator.port()).collect();
        assert_eq!(shops, [18_080, 18_081, 18_082]);
        assert_eq!(operators, [19_080, 19_081, 19_082]);
        assert!(matches!(
            home.new_configuration(3, 64_600),
            Err(Failure::Usage(_))
        ));
    }

    #[test]
    fn a_temporary_folder_is_removed_unless_kept() {
        let home = Home::open(None, false).unwrap();
        let path = home.path().to_owned();
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            PRIVATE_FOLDER
        );
        home.close().unwrap();
        assert!(!path.exists());

        let home = Home::open(None, true).unwrap();
        let path = home.path().to_owned();
        home.close().unwrap();
        assert!(path.exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let home = Home::open(None, false).unwrap();
        let mut log = home.log_file("n1").unwrap();
        for number in 0..5_000 {
            writeln!(log, "line {number}").unwrap();
        }
        let tail = home.log_tail("n1");
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 4999"));
        assert!(home.log_tail("n9").contains("can't be read"));
    }
}
