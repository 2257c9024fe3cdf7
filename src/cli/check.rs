//! `souk check`: validates the configuration and pings every store.

use std::path::Path;
use std::time::Instant;

use clap::Args;

use super::{ConfigArgument, Failure, Outcome, explained, logging, output};
use crate::config::Config;
use crate::http::tls::Certificate;
use crate::operator::peers::OperatorClient;
use crate::stores::{self, StoreError, Stores};

/// Arguments of `souk check`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    let config = arguments.config.load()?;
    logging::start_quiet()?;
    let warnings = config.warnings();
    for warning in &warnings {
        output::line(&format!("weak   {warning}"))?;
    }
    let mut faults = certificates(&config);
    faults.extend(listeners(&config));
    for fault in &faults {
        output::line(&format!("wrong  {fault}"))?;
    }
    let found = match stores::open(&config.cluster, &config.sealing).await {
        Ok(stores) => reach(&stores).await,
        Err(error) => vec![("stores", Err(error))],
    };
    for (store, answer) in found {
        match answer {
            Ok(Reached {
                technology,
                milliseconds,
            }) => output::line(&format!(
                "right  {store} answers ({technology}, {milliseconds:.1} ms)"
            ))?,
            Err(error) => {
                let fault = format!("{store}: {}", explained(&error).replace('\n', ""));
                output::line(&format!("wrong  {fault}"))?;
                faults.push(fault);
            }
        }
    }
    output::line(&format!(
        "{}: {} nodes, {} wrong, {} weak",
        config.file.display(),
        config.nodes.len(),
        faults.len(),
        warnings.len()
    ))?;
    Ok(if faults.is_empty() {
        Outcome::Done
    } else {
        Outcome::Wrong
    })
}

/// Missing certificates of the nodes. A machine has only the private keys of its own nodes, so that a folder with some of
/// them is valid; one without the CA or without any node is not.
fn certificates(config: &Config) -> Vec<String> {
    let folder = &config.cluster.certificates;
    let remedy = format!(
        "make them with `souk certs --out {} --config {}`",
        folder.display(),
        config.file.display()
    );
    let present = |name: &str| Path::is_file(&folder.join(name));
    let mut faults = Vec::new();
    if !present("ca.pem") {
        faults.push(format!(
            "cluster.certificates: {} has no ca.pem; {remedy}",
            folder.display()
        ));
    }
    let whole = |name: &str| present(&format!("{name}.pem")) && present(&format!("{name}.key"));
    if !config.nodes.iter().any(|node| whole(&node.name)) {
        faults.push(format!(
            "cluster.certificates: {} has no node's certificate and key; {remedy}",
            folder.display()
        ));
    }
    faults
}

/// Unusable certificates of the HTTP listeners.
fn listeners(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, files) in [
        ("tls.shop_certificate", &config.tls.shop),
        ("tls.operator_certificate", &config.tls.operator),
    ] {
        if let Some(Err(error)) = files.as_ref().map(Certificate::load) {
            let error = explained(&error).replace('\n', "");
            faults.push(format!(
                "{key}: {error}; put a certificate chain and its key there, both PEM"
            ));
        }
    }
    if let Err(error) = OperatorClient::between_nodes(config) {
        faults.push(format!("tls.authority: {}", explained(&error).replace('\n', "")));
    }
    faults
}

struct Reached {
    technology: &'static str,
    milliseconds: f64,
}

/// Asks every store, each under the key that configures it.
async fn reach(stores: &Stores) -> Vec<(&'static str, Result<Reached, StoreError>)> {
    let mut found = Vec::new();
    for (key, store) in [
        ("stores.carts", &stores.carts),
        ("stores.orders", &stores.orders),
        ("stores.inventory", &stores.inventory),
        ("stores.payments", &stores.payments),
        ("stores.sandbox", &stores.sandbox),
    ] {
        found.push((key, timed(store.technology(), store.ping()).await));
    }
    let catalogue = &stores.catalogue;
    found.push((
        "stores.catalogue",
        timed(catalogue.technology(), catalogue.ping()).await,
    ));
    let users = &stores.users;
    found.push(("stores.users", timed(users.technology(), users.ping()).await));
    found.push((
        "stores.sessions",
        timed(stores.sessions.technology(), stores.ping_sessions()).await,
    ));
    found.push((
        "stores.views",
        timed(stores.views.technology(), stores.ping_views()).await,
    ));
    found
}

async fn timed(
    technology: &'static str,
    answer: impl Future<Output = Result<(), StoreError>>,
) -> Result<Reached, StoreError> {
    let start = Instant::now();
    answer.await?;
    Ok(Reached {
        technology,
        milliseconds: start.elapsed().as_secs_f64() * 1_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_certificates_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.toml");
        std::fs::copy("cluster.toml", &file).unwrap();
        let config = Config::load(&file).unwrap();
        let faults = certificates(&config);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.contains("souk certs --out")));

        std::fs::create_dir(&config.cluster.certificates).unwrap();
        for name in ["ca.pem", "n2.pem"] {
            std::fs::write(config.cluster.certificates.join(name), "").unwrap();
        }
        assert_eq!(certificates(&config).len(), 1);
        std::fs::write(config.cluster.certificates.join("n2.key"), "").unwrap();
        assert!(certificates(&config).is_empty());
    }
}
