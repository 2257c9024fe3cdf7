//! Load tests for a running Souk, over HTTP alone: journeys of shoppers, an open loop, and yardsticks beside it.
//!
//! Exit codes: 0 success, 1 failed requests, violations or a failure, 2 usage. Data goes to stdout, everything else to stderr.

mod audit;
mod catalogue;
mod client;
mod compare;
mod demo;
mod failure;
mod journeys;
mod open;
mod order;
mod statistics;
mod table;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use souk_error_chain::Chain;
use tokio::signal::unix::{SignalKind, signal};

use failure::{Failure, Outcome};

/// Load tests for a running Souk: what it does, how fast, and beside what.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Journeys of shoppers, with goose: are all replies right, and how long do they take.
    Goose(journeys::Arguments),
    /// An open loop: a constant rate of arrivals at 50, 70, 90 and 200 % of the peak, latency from the scheduled start.
    Open(open::Arguments),
    /// Souk beside bare axum, PostgreSQL, Redis and SQLite, taking turns on this machine.
    Compare(compare::Arguments),
    /// The yardstick that only parses and answers; started by compare.
    #[command(hide = true)]
    Bare,
}

async fn run(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Goose(arguments) => journeys::command(arguments).await,
        Command::Open(arguments) => open::command(arguments).await,
        Command::Compare(arguments) => compare::command(arguments).await,
        Command::Bare => compare::bare::serve().await,
    }
}

/// Waits for SIGTERM or Ctrl-C. What the command has started ends when it is dropped.
async fn interrupted() -> Result<Outcome, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed("signals can't be received", error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Err(Failure::Plain("interrupted".into()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    let result = tokio::select! {
        result = run(command) => result,
        result = interrupted() => result,
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("loadtest: {}", Chain(&failure));
            failure.exit_code()
        }
    }
}
