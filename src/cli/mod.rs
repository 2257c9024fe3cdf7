//! The command line: one file for each subcommand. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 success, 1 failure or a negative finding, 2 usage or configuration.

pub mod audit;
pub mod backup;
pub mod certs;
pub mod check;
pub mod demo;
pub mod export;
pub mod inspect;
pub mod keys;
mod logging;
pub mod migrate;
pub mod node;
mod output;
pub mod process;
pub mod rebuild;
mod seed;
pub mod store;
mod table;

use std::error::Error as StdError;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use souk_error_chain::causes;

/// A storefront engine: every cart, order and SKU is a supervised actor, spread over a cluster of nodes.
#[derive(Debug, Parser)]
#[command(
    name = "souk",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole cluster on this machine, with a catalogue to look at, until Ctrl-C.
    Demo(demo::Arguments),
    /// Run one node in the foreground; SIGTERM drains it.
    Node(node::Arguments),
    /// Fill the stores with the demo catalogue; the same seed gives the same catalogue.
    Seed(seed::Arguments),
    /// Validate the configuration and reach every store.
    Check(check::Arguments),
    /// Check the shop's invariants in its stores, also while it runs.
    Audit(audit::Arguments),
    /// Show the state of a running cluster.
    Inspect(inspect::Arguments),
    /// Make a development CA and the nodes' certificates.
    Certs(certs::Arguments),
    /// Show the keys that personal data is sealed under, or re-seal all of it under the first key.
    Keys(keys::Arguments),
    /// Rebuild a projection from its source.
    Rebuild(rebuild::Arguments),
    /// Copy the embedded stores as they are at one moment, also while the shop runs.
    Backup(backup::BackupArguments),
    /// Put a backup where no stores are.
    Restore(backup::RestoreArguments),
    /// Move all rows from the stores of one configuration to those of another, while no node runs.
    Migrate(migrate::Arguments),
    /// Write all rows into files of JSON lines, the same whatever the stores are on, while no node runs.
    Export(export::Arguments),
    /// The writer of the embedded stores; started on demand.
    #[command(hide = true)]
    Store(store::Arguments),
}

/// The option for the configuration.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgument {
    /// The cluster's configuration.
    #[arg(
        long,
        value_name = "FILE",
        env = "SOUK_CONFIG",
        default_value = "cluster.toml"
    )]
    config: PathBuf,
}

impl ConfigArgument {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.config)
    }
}

/// Result of a command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// A negative finding, which has been printed: exit code 1.
    Wrong,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Invalid arguments: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Invalid configuration: exit code 2.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// A node ended because a newer process runs under its name: exit code 3. Whoever starts it again ends the newer one.
    #[error("{0}")]
    Superseded(String),
    /// Something went wrong: exit code 1.
    #[error("{what}")]
    Failed {
        /// What failed.
        what: String,
        /// The cause, where `what` does not contain it.
        #[source]
        cause: Option<Box<dyn StdError + Send + Sync>>,
    },
}

impl Failure {
    fn failed(what: impl Into<String>, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Failed {
            what: what.into(),
            cause: Some(cause.into()),
        }
    }

    fn plain(what: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            cause: None,
        }
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::Usage(_) | Self::Configuration(_) => 2,
            Self::Superseded(_) => 3,
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors: they go to stdout with code 0. A closed stdout is ignored.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // For libraries that look for a default; our own uses of TLS name their provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // The main thread drives the command itself: children are bound to the thread that started them, and this one lives as
    // long as the process.
    let mut runtime = match cli.command {
        // It only passes frames on: databases have threads of their own, and a second one here would cost more in waking it
        // than it could do.
        Command::Store(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let result = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("the runtime does not start", error))
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("souk: {}", explained(&failure));
            ExitCode::from(failure.code())
        }
    }
}

async fn run(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Demo(arguments) => demo::command(arguments).await,
        Command::Node(arguments) => node::command(arguments).await,
        Command::Seed(arguments) => seed::command(arguments).await,
        Command::Check(arguments) => check::command(arguments).await,
        Command::Audit(arguments) => audit::command(arguments).await,
        Command::Inspect(arguments) => inspect::command(arguments).await,
        Command::Certs(arguments) => certs::command(&arguments),
        Command::Keys(arguments) => keys::command(arguments).await,
        Command::Rebuild(arguments) => rebuild::command(arguments).await,
        Command::Backup(arguments) => backup::back_up(arguments).await,
        Command::Restore(arguments) => backup::restore(arguments).await,
        Command::Migrate(arguments) => migrate::command(arguments).await,
        Command::Export(arguments) => export::command(arguments).await,
        Command::Store(arguments) => store::command(arguments).await,
    }
}

/// An error with all its causes, one on each line.
fn explained(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str("\n  because ");
        text.push_str(cause.to_string().trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_command_parses() {
        for line in [
            "souk demo",
            "souk demo --nodes 5 --products 10 --port 0 --data here --keep",
            "souk node --config cluster.toml --name n1",
            "souk seed --config cluster.toml --products 10 --seed 7",
            "souk check --config cluster.toml",
            "souk audit --config cluster.toml --json",
            "souk inspect nodes",
            "souk inspect shards --json --operator http://127.0.0.1:9080 --token t",
            "souk inspect --json actors",
            "souk inspect actor cart crt_1 --json",
            "souk inspect supervision",
            "souk inspect outbox",
            "souk inspect dead-letters",
            "souk inspect sagas",
            "souk inspect stores",
            "souk inspect config --config cluster.toml",
            "souk certs --out certs",
            "souk keys status --config cluster.toml",
            "souk keys rotate --config cluster.toml --json",
            "souk store --data here",
            "souk backup --config cluster.toml --out backup",
            "souk restore --config cluster.toml --from backup --sessions",
            "souk migrate --from cluster.toml --to cluster.full.toml",
            "souk migrate --from cluster.toml --to cluster.full.toml --state state.json",
            "souk export --config cluster.toml --out export",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn unknown_commands_are_refused() {
        for line in [
            "souk",
            "souk open",
            "souk demo --nodes 0",
            "souk node",
            "souk inspect",
            "souk keys",
            "souk inspect actor cart",
            "souk certs",
            "souk backup",
            "souk restore",
            "souk migrate --to cluster.toml",
            "souk export",
        ] {
            assert!(parse(line).is_err(), "{line} was accepted");
        }
    }

    #[test]
    fn failures_have_causes_and_codes() {
        let failure = Failure::failed("the demo does not start", std::io::Error::other("no space"));
        assert_eq!(explained(&failure), "the demo does not start\n  because no space");
        assert_eq!(failure.code(), 1);
        assert_eq!(Failure::Usage("no such node".into()).code(), 2);
        assert_eq!(Failure::Superseded("a newer process runs as n1".into()).code(), 3);
        let missing = Config::load(std::path::Path::new("/nowhere/cluster.toml")).unwrap_err();
        assert_eq!(Failure::from(missing).code(), 2);
    }
}
