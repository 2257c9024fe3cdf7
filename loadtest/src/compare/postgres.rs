//! A plain PostgreSQL that does the least a checkout of three lines needs, durably and in one transaction: three guarded
//! UPDATEs of stock and four INSERTs. The statements are those of `benches/support/postgres`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::failure::Failure;

const SCHEMA: &str = include_str!("../../../benches/support/postgres/schema.sql");
const CHECKOUT: &str = include_str!("../../../benches/support/postgres/checkout.sql");
/// Where Debian keeps the programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Connections: with more of them it does no more on two cores.
pub const CLIENTS: usize = 16;
/// Longest time for a program to do its work, beside what it is told to take.
const LIMIT: Duration = Duration::from_secs(120);

/// A running server in a temporary folder, reached through a socket there.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Starts one; `None` where its programs are not installed.
    ///
    /// # Errors
    /// [`Failure`] where they are, and it does not start.
    pub async fn start() -> Result<Option<Self>, Failure> {
        let Ok(versions) = std::fs::read_dir(VERSIONS) else {
            return Ok(None);
        };
        let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
        let Some(programs) = programs.filter(|folder| folder.join("pgbench").is_file()).max() else {
            return Ok(None);
        };
        let folder =
            tempfile::tempdir().map_err(|error| Failure::failed("no temporary folder can be made", error))?;
        let server = Self { programs, folder };
        let path = server.folder.path();
        let data = path.join("data");
        run(Command::new("chown").arg("postgres").arg(path)).await?;
        run(server
            .as_its_user("initdb")
            .args(["-A", "trust", "-D"])
            .arg(&data))
        .await?;
        let options = format!(
            "-k {} -c listen_addresses= -c shared_buffers=256MB -c max_wal_size=2GB",
            path.display()
        );
        let mut start = server.as_its_user("pg_ctl");
        start.args(["-w", "-o", &options, "-l"]).arg(path.join("log"));
        // The server keeps what it inherits open.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        run(start.arg("-D").arg(&data).arg("start")).await?;
        run(server.client("psql").args(["-q", "-c", SCHEMA])).await?;
        std::fs::write(path.join("checkout.sql"), CHECKOUT)
            .map_err(|error| Failure::failed("the checkout of PostgreSQL can't be written", error))?;
        Ok(Some(server))
    }

    /// Transactions a second over `length`.
    ///
    /// # Errors
    /// [`Failure`] where pgbench fails.
    pub async fn rate(&self, length: Duration) -> Result<f64, Failure> {
        let mut bench = self.client("pgbench");
        bench
            .args(["-n", "-j", "1", "-c", &CLIENTS.to_string(), "-T"])
            .arg(length.as_secs().max(1).to_string())
            .arg("-f")
            .arg(self.folder.path().join("checkout.sql"));
        let report = run(&mut bench).await?;
        let rate = report
            .split("tps = ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        rate.and_then(|rate| rate.parse().ok())
            .ok_or_else(|| Failure::Plain(format!("pgbench tells no rate: {report}")))
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
        let mut stop = self.as_its_user("pg_ctl").into_std();
        stop.args(["-m", "immediate", "-t", "30", "-D"])
            .arg(self.folder.path().join("data"));
        // Nothing can be done about a server that does not stop; its folder goes.
        let _ = stop
            .arg("stop")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Runs a program that must succeed; its output.
async fn run(command: &mut Command) -> Result<String, Failure> {
    let what = format!("{:?}", command.as_std().get_program());
    let failed = |error| Failure::failed(format!("PostgreSQL: {what} does not run"), error);
    let output = timeout(LIMIT, command.stdin(Stdio::null()).kill_on_drop(true).output())
        .await
        .map_err(|_| {
            Failure::Plain(format!(
                "PostgreSQL: {what} did not end within {} s",
                LIMIT.as_secs()
            ))
        })?
        .map_err(failed)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Plain(format!("PostgreSQL: {what}: {}", errors.trim())))
    }
}
