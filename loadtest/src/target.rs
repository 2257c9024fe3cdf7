//! The cluster under load: one that runs already, or a demo for the length of the command.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::audit::audit;
use crate::client::Endpoint;
use crate::demo::{Credentials, Demo, Ready};
use crate::failure::{Failure, Outcome};

/// The arguments that name the cluster.
#[derive(Clone, Debug, Args)]
pub struct TargetArguments {
    /// The shop of each node of a running cluster, separated by commas; without it (and --ready), a demo is started.
    #[arg(long, visible_alias = "hosts", value_name = "URL", value_delimiter = ',')]
    shop: Vec<Endpoint>,
    /// The file with the line that a running `souk demo` printed: it names all that the other options do.
    #[arg(long, value_name = "FILE", conflicts_with = "shop")]
    ready: Option<PathBuf>,
    /// The operator's interface of one node, for the nodes' memory.
    #[arg(long, value_name = "URL", requires = "operator_token")]
    operator: Option<Endpoint>,
    /// The operator's token.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SOUK_OPERATOR_TOKEN",
        hide_env_values = true
    )]
    operator_token: Option<String>,
    /// The cluster's configuration, for the audit at the end.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The e-mail address of a merchant or admin, who receives stock.
    #[arg(long, value_name = "EMAIL", requires = "admin_password")]
    admin: Option<String>,
    /// The merchant's password.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "LOADTEST_ADMIN_PASSWORD",
        hide_env_values = true
    )]
    admin_password: Option<String>,
    /// Nodes of the demo.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Products of the demo.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    products: u64,
    /// The configuration with the stores of the demo, as for `souk demo --stores`; without it they are embedded.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shop", "ready"])]
    stores: Option<PathBuf>,
    /// The binary of Souk, for the demo and for the audit; default: `souk` in the folder of this program.
    #[arg(long, value_name = "PATH")]
    souk: Option<PathBuf>,
}

impl TargetArguments {
    /// The same demo on embedded stores, where this one is on others.
    pub fn embedded(&self) -> Option<Self> {
        self.stores.is_some().then(|| Self {
            stores: None,
            ..self.clone()
        })
    }
}

/// The interface of an operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Its address at one node.
    pub endpoint: Endpoint,
    /// The bearer token.
    pub token: String,
}

/// The cluster under load.
pub struct Target {
    /// The shop of each node.
    pub shops: Vec<Endpoint>,
    /// The operator's interface, where it is known.
    pub operator: Option<Operator>,
    /// A merchant, where one is known.
    pub admin: Option<Credentials>,
    /// The configuration of a demo's stores, where they are not embedded.
    pub stores: Option<PathBuf>,
    config: Option<PathBuf>,
    souk: Option<PathBuf>,
    demo: Option<Demo>,
}

impl Target {
    /// Finds the cluster that the arguments name, or starts a demo.
    ///
    /// # Errors
    /// [`Failure`] where there is none.
    pub async fn open(arguments: TargetArguments) -> Result<Self, Failure> {
        let souk = match arguments.souk {
            Some(souk) if !souk.is_file() => {
                return Err(Failure::Usage(format!(
                    "--souk: there is no file {}",
                    souk.display()
                )));
            }
            Some(souk) => Some(souk),
            None => neighbour(),
        };
        if arguments.config.is_some() && souk.is_none() {
            return Err(Failure::Usage(
                "there is no souk in the folder of this program to audit with: name it with --souk".into(),
            ));
        }
        if !arguments.shop.is_empty() {
            return Ok(Self {
                shops: arguments.shop,
                operator: arguments
                    .operator
                    .zip(arguments.operator_token)
                    .map(|(endpoint, token)| Operator { endpoint, token }),
                admin: arguments
                    .admin
                    .zip(arguments.admin_password)
                    .map(|(email, password)| Credentials { email, password }),
                stores: None,
                config: arguments.config,
                souk,
                demo: None,
            });
        }
        if let Some(file) = arguments.ready {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::failed(format!("{} can't be read", file.display()), error))?;
            let ready = serde_json::from_str(&text).map_err(|error| {
                Failure::failed(
                    format!("{} is not the ready line of a demo", file.display()),
                    error,
                )
            })?;
            return Self::of(&ready, souk);
        }
        let Some(souk) = souk else {
            return Err(Failure::Usage(
                "there is no souk in the folder of this program to start a demo with: build it with the same profile, \
                 or name it with --souk, or name a running cluster with --shop"
                    .into(),
            ));
        };
        eprintln!(
            "starting a demo of {} nodes and {} products",
            arguments.nodes, arguments.products
        );
        let stores = arguments.stores.as_deref();
        let demo = Demo::start(&souk, arguments.nodes, arguments.products, stores).await?;
        let mut target = Self::of(&demo.ready, Some(souk))?;
        (target.demo, target.stores) = (Some(demo), arguments.stores);
        Ok(target)
    }

    fn of(ready: &Ready, souk: Option<PathBuf>) -> Result<Self, Failure> {
        let endpoint = |url: &String| url.parse::<Endpoint>().map_err(Failure::Plain);
        let operator = ready.operator.first().map(endpoint).transpose()?;
        Ok(Self {
            shops: ready.shop.iter().map(endpoint).collect::<Result<_, _>>()?,
            operator: operator.map(|endpoint| Operator {
                endpoint,
                token: ready.operator_token.clone(),
            }),
            admin: Some(ready.admin.clone()),
            stores: None,
            config: Some(ready.config.clone()),
            souk,
            demo: None,
        })
    }

    /// Audits the cluster where its configuration is known, and stops it where it is a demo of this command.
    ///
    /// # Errors
    /// [`Failure`] where it can't be audited or stopped.
    pub async fn close(self) -> Result<Outcome, Failure> {
        let audited = match (&self.config, &self.souk) {
            (Some(config), Some(souk)) => audit(souk, config).await,
            _ => {
                eprintln!(
                    "NOT AUDITED: the cluster's configuration (--config) or souk (--souk) is not known"
                );
                Ok(Outcome::Done)
            }
        };
        let stopped = match self.demo {
            Some(demo) => demo.stop().await,
            None => Ok(()),
        };
        let outcome = audited?;
        stopped?;
        Ok(outcome)
    }
}

/// Runs `work` on the cluster that the arguments name. Whatever comes of it, the cluster is audited, and a demo stopped.
///
/// # Errors
/// [`Failure`] of the work, or of the audit.
pub async fn with_target(
    arguments: TargetArguments,
    work: impl AsyncFnOnce(&Target) -> Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    let target = Target::open(arguments).await?;
    let worked = work(&target).await;
    let closed = target.close().await;
    Ok(match (worked?, closed?) {
        (Outcome::Done, Outcome::Done) => Outcome::Done,
        _ => Outcome::Wrong,
    })
}

/// The souk that was built with this program.
fn neighbour() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let souk = own.parent()?.join("souk");
    Path::is_file(&souk).then_some(souk)
}
