//! `souk certs`: a development CA and the nodes' certificates.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Outcome, output};
use crate::config::Config;
use souk_cluster::certificates::generate;

/// Arguments of `souk certs`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder for the files; an existing CA in it is reused.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The nodes that get a certificate.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "n1,n2,n3",
        conflicts_with = "config"
    )]
    nodes: Vec<String>,
    /// Take the nodes of this configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn command(arguments: &Arguments) -> Result<Outcome, Failure> {
    let names: Vec<String> = match &arguments.config {
        Some(file) => Config::load(file)?
            .nodes
            .into_iter()
            .map(|node| node.name)
            .collect(),
        None => arguments.nodes.clone(),
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let written = make(&arguments.out, &names)?;
    for path in &written {
        output::line(&path.display().to_string())?;
    }
    if written.is_empty() {
        eprintln!(
            "nothing to make: {} holds good certificates for {}",
            arguments.out.display(),
            names.join(", ")
        );
    } else {
        eprintln!("each node needs ca.pem and its own two files; keep ca.key off the nodes");
    }
    Ok(Outcome::Done)
}

/// Makes the missing and expiring certificates. Returns the written files.
pub(super) fn make(folder: &Path, names: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    generate(folder, names, jiff::Timestamp::now()).map_err(|error| {
        Failure::failed(
            format!("certificates can't be made in {}", folder.display()),
            error,
        )
    })
}
