//! A plain PostgreSQL that does the least a checkout of three lines needs, durably and in one transaction: three guarded
//! UPDATEs of stock and four INSERTs. The yardstick for checkouts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SCHEMA: &str = include_str!("postgres/schema.sql");

/// In pgbench's form: `\set` draws the SKUs.
const CHECKOUT: &str = include_str!("postgres/checkout.sql");

/// A running server in a temporary folder, reached through a socket there.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Starts one; `None` where its programs or the user `postgres` are missing.
    pub fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .max()?;
        let server = Self {
            programs,
            folder: tempfile::tempdir().expect("a folder"),
        };
        let folder = server.folder.path();
        run(Command::new("chown").arg("postgres").arg(folder)).then_some(())?;
        let data = folder.join("data");
        run(server
            .as_its_user("initdb")
            .args(["-A", "trust", "-D"])
            .arg(&data))
        .then_some(())?;
        let options = format!(
            "-k {} -c listen_addresses= -c shared_buffers=256MB -c max_wal_size=2GB",
            folder.display()
        );
        let mut start = server.as_its_user("pg_ctl");
        start.args(["-w", "-o", &options, "-l"]).arg(folder.join("log"));
        run(start.arg("-D").arg(&data).arg("start")).then_some(())?;
        let mut schema = server.client("psql");
        run(schema.args(["-q", "-c", SCHEMA])).then_some(())?;
        std::fs::write(folder.join("checkout.sql"), CHECKOUT).expect("written");
        Some(server)
    }

    /// Transactions a second of `clients` over `length`.
    pub fn rate(&self, clients: usize, length: Duration) -> f64 {
        let script = self.folder.path().join("checkout.sql");
        let output = self
            .client("pgbench")
            .args(["-n", "-j", "1", "-c", &clients.to_string(), "-T"])
            .arg(length.as_secs().max(1).to_string())
            .arg("-f")
            .arg(script)
            .stdout(Stdio::piped())
            .output()
            .expect("pgbench");
        let report = String::from_utf8(output.stdout).expect("UTF-8");
        let rate = report.split("tps = ").nth(1).expect("a rate");
        let rate = rate.split_whitespace().next().expect("a word");
        rate.parse().expect("a number")
    }

    /// A program that refuses to run as root.
    fn as_its_user(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(self.programs.join(program));
        command
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres"]);
        // pgbench takes the name of the database as its last argument, and both take it from here.
        command.env("PGDATABASE", "postgres");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data: PathBuf = Path::new(self.folder.path()).join("data");
        run(self
            .as_its_user("pg_ctl")
            .args(["-m", "fast", "-D"])
            .arg(data)
            .arg("stop"));
    }
}

fn run(command: &mut Command) -> bool {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
