//! `souk check`: validates the configuration and pings every store.

use std::path::Path;

use clap::Args;

use super::{ConfigArgument, Failure, Outcome, explained, logging, output};
use crate::config::Config;
use crate::http::edge::tls::Certificate;
use crate::operator::peers::OperatorClient;
use crate::stores;

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
    match stores::open(&config).await {
        Ok(stores) => {
            for ping in stores.pings() {
                let (store, technology) = (ping.store, ping.technology);
                match ping.send().await {
                    Ok(took) => output::line(&format!(
                        "right  stores.{store} answers ({technology}, {:.1} ms)",
                        took.as_secs_f64() * 1_000.0
                    ))?,
                    Err(error) => faults.push(format!("stores.{store}: {}", in_one_line(&error))),
                }
            }
        }
        Err(error) => faults.push(format!("stores: {}", in_one_line(&error))),
    }
    for fault in &faults {
        output::line(&format!("wrong  {fault}"))?;
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
            faults.push(format!(
                "{key}: {}; put a certificate chain and its key there, both PEM",
                in_one_line(&error)
            ));
        }
    }
    if let Err(error) = OperatorClient::between_nodes(config.operator_tls_authority().as_deref()) {
        faults.push(format!("tls.authority: {}", in_one_line(&error)));
    }
    faults
}

fn in_one_line(error: &dyn std::error::Error) -> String {
    explained(error).replace('\n', "")
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
