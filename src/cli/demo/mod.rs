//! `souk demo`: a cluster of node processes on this machine, until Ctrl-C.

mod home;
mod nodes;
pub mod ports;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::process::{self, Termination};
use super::{Failure, Outcome, logging, output, seed};
use crate::authentication::PasswordSettings;
use crate::config::Config;
use crate::demo::accounts::{DemoAccount, DemoAccounts};
use crate::operator::peers::OperatorClient;
use crate::stores::Stores;
use home::Home;
use nodes::{NodeProcesses, StoreProcess};

/// Longest time until every node is ready. For the catalogue see [`SEEDING_LIMIT`].
const START_LIMIT: Duration = Duration::from_secs(60);

/// Longest time for the catalogue, from the start.
const SEEDING_LIMIT: Duration = Duration::from_secs(3_600);

/// Interval at which a node is asked whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// Longest time for one such reply.
const READY_REPLY_LIMIT: Duration = Duration::from_secs(1);

/// Most nodes of a demo.
const NODE_LIMIT: i64 = 64;

/// Arguments of `souk demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Number of nodes; default: 3, or those of the folder.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=NODE_LIMIT))]
    nodes: Option<u16>,
    /// Number of products in the catalogue.
    #[arg(long, default_value_t = seed::PRODUCTS)]
    products: u64,
    /// The first node's shop port; the others follow, operators' ports are 1000 higher. 0 chooses free ports. Default: 8080,
    /// or those of the folder.
    #[arg(long)]
    port: Option<u16>,
    /// The folder of the demo, which the next demo can reuse; default: a temporary folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The stores of this configuration's section [stores], such as cluster.full.toml, in place of embedded ones. Servers keep
    /// what the folder of the demo has the keys for, so that it needs one that lasts.
    #[arg(long, value_name = "FILE", requires = "data")]
    stores: Option<PathBuf>,
    /// Do not remove the temporary folder.
    #[arg(long)]
    keep: bool,
}

/// The one line on stdout.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    ready: bool,
    shop: Vec<String>,
    operator: Vec<String>,
    data: String,
    config: String,
    pids: Vec<u32>,
    admin: Account<'a>,
    shopper: Account<'a>,
    operator_token: &'a str,
}

/// An account that was made for the demo.
#[derive(Debug, Serialize)]
struct Account<'a> {
    email: &'a str,
    password: &'a str,
}

pub(super) async fn command(arguments: Arguments) -> Result<Outcome, Failure> {
    logging::start_quiet()?;
    // From here on a signal stops the started processes in order.
    let mut termination = process::termination()?;
    let started_at = Instant::now();
    let home = Home::open(arguments.data.as_deref(), arguments.keep)?;
    let stores = arguments.stores.as_deref().map(Config::load).transpose()?;
    let stores = stores.map(|config| config.stores);
    let (config, found) = home.configuration(arguments.nodes, arguments.port, stores)?;
    if found {
        eprintln!(
            "reusing {} with its nodes and ports",
            home.config_file().display()
        );
    }
    ports::check(&config)?;
    let names: Vec<&str> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    super::certs::make(&config.cluster.certificates, &names)?;

    let store = config.stores.any_embedded();
    let mut store = store.then(|| StoreProcess::start(&config, &home)).transpose()?;
    let mut nodes = NodeProcesses::start(&config, &home)?;
    let result = run(
        &arguments,
        &config,
        &home,
        &mut nodes,
        &mut termination,
        started_at,
    )
    .await;
    // In any case, no started process is left running.
    eprintln!("stopping");
    nodes.stop(&config, &mut termination).await;
    if let Some(store) = &mut store {
        store.stop().await;
    }
    let closed = home.close();
    // The reason why it did not run matters more than a folder that is left.
    result?;
    closed?;
    Ok(Outcome::Done)
}

/// From the start of the processes to the request to stop.
async fn run(
    arguments: &Arguments,
    config: &Config,
    home: &Home,
    nodes: &mut NodeProcesses,
    termination: &mut Termination,
    started_at: Instant,
) -> Result<(), Failure> {
    let pids = nodes.pids();
    let filled = async {
        let stores = crate::stores::open(config)
            .await
            .map_err(|error| Failure::failed("the stores do not open", error))?;
        tokio::try_join!(accounts(config, &stores), seeded(arguments, &stores, home))
    };
    let accounts = tokio::select! {
        () = termination.requested() => return Ok(()),
        exit = nodes.next_exit() => {
            return Err(Failure::plain(format!(
                "node {} ended before it was ready ({}); the end of its log:\n{}",
                exit.name,
                exit.status,
                home.log_tail(&exit.name)
            )));
        }
        result = async { tokio::try_join!(filled, ready(config, home)) } => result?.0.0,
    };
    let addresses = |tls: bool, of: fn(&crate::config::Node) -> SocketAddr| {
        let scheme = if tls { "https" } else { "http" };
        config
            .nodes
            .iter()
            .map(|node| format!("{scheme}://{}", of(node)))
            .collect::<Vec<_>>()
    };
    let ready = Ready {
        ready: true,
        shop: addresses(config.tls.shop.is_some(), |node| node.shop),
        operator: addresses(config.tls.operator.is_some(), |node| node.operator),
        data: home.path().display().to_string(),
        config: home.config_file().display().to_string(),
        pids,
        admin: Account::of(&accounts.admin),
        shopper: Account::of(&accounts.shopper),
        operator_token: config.operator.token.expose(),
    };
    let line = serde_json::to_string(&ready)
        .map_err(|error| Failure::failed("the ready line can't be written as JSON", error))?;
    output::line(&line)?;
    eprintln!("{}", banner(&ready, &accounts, config, started_at.elapsed()));
    loop {
        tokio::select! {
            () = termination.requested() => return Ok(()),
            exit = nodes.next_exit() => eprintln!(
                "node {name} ended ({status}); restart it with: souk node --config {config} --name {name}",
                name = exit.name,
                status = exit.status,
                config = ready.config,
            ),
        }
    }
}

impl<'a> Account<'a> {
    fn of(account: &'a DemoAccount) -> Self {
        Self {
            email: account.email,
            password: &account.password,
        }
    }
}

async fn accounts(config: &Config, stores: &Stores) -> Result<DemoAccounts, Failure> {
    let (key, settings) = (
        config.cluster.shared_key(),
        PasswordSettings::from(&config.accounts),
    );
    crate::demo::accounts::make(stores, &key, settings)
        .await
        .map_err(|error| Failure::failed("the demo's accounts can't be made", error))
}

/// Waits until every node is ready.
async fn ready(config: &Config, home: &Home) -> Result<(), Failure> {
    let authority = config.operator_tls_authority();
    let client = OperatorClient::new(authority.as_deref(), READY_REPLY_LIMIT, READY_REPLY_LIMIT)
        .map_err(|error| Failure::failed("the HTTP client does not start", error))?;
    let late = futures::future::join_all(config.nodes.iter().map(|node| {
        let client = &client;
        async move {
            // The operator's address, since its authority is known also with TLS.
            let answer = async {
                while !client
                    .request(Method::GET, node.operator, "/readyz")
                    .send()
                    .await
                    .is_ok_and(|reply| reply.status().is_success())
                {
                    sleep(READY_INTERVAL).await;
                }
            };
            timeout(START_LIMIT, answer)
                .await
                .is_err()
                .then_some(node.name.as_str())
        }
    }))
    .await;
    match late.into_iter().flatten().next() {
        None => Ok(()),
        Some(name) => Err(Failure::plain(format!(
            "node {name} is not ready after {} s; the end of its log:\n{}",
            START_LIMIT.as_secs(),
            home.log_tail(name)
        ))),
    }
}

/// Fills the catalogue, once for each folder. Completes the work of an interrupted demo.
async fn seeded(arguments: &Arguments, stores: &Stores, home: &Home) -> Result<(), Failure> {
    if home.is_seeded() {
        return Ok(());
    }
    let progress = seed::progress(arguments.products);
    let seeding = crate::demo::seed::run(stores, arguments.products, seed::SEED, &progress);
    let result = timeout(SEEDING_LIMIT, seeding).await;
    progress.finish_and_clear();
    match result {
        Ok(Ok(_)) => home.set_seeded(),
        Ok(Err(error)) => Err(Failure::failed("the catalogue can't be seeded", error)),
        Err(_) => Err(Failure::plain(format!(
            "the catalogue is not complete after {} s",
            SEEDING_LIMIT.as_secs()
        ))),
    }
}

fn banner(ready: &Ready<'_>, accounts: &DemoAccounts, config: &Config, after: Duration) -> String {
    let mut lines = vec![format!(
        "\n  Souk is open: {} nodes after {:.1} s\n",
        config.nodes.len(),
        after.as_secs_f64()
    )];
    for (index, node) in config.nodes.iter().enumerate() {
        lines.push(format!(
            "  {:<4} pid {:<8} shop {:<24} operator {}",
            node.name, ready.pids[index], ready.shop[index], ready.operator[index]
        ));
    }
    lines.push(String::new());
    for (who, account) in [
        ("Admin", &accounts.admin),
        ("Shopper", &accounts.shopper),
        ("Another shopper", &accounts.second_shopper),
    ] {
        lines.push(format!(
            "  {who:<16} {:<24} password {}",
            account.email, account.password
        ));
    }
    let last = config.nodes.len() - 1;
    lines.push(format!(
        "\n  Operator token   {token}\
         \n  Data and logs    {data}\
         \n\
         \n  Look inside      souk inspect nodes --config {config}\
         \n  Check it         souk audit --config {config}\
         \n  Kill a node      kill -9 {pid}\
         \n  Bring it back    souk node --config {config} --name {name}\
         \n  Stop             Ctrl-C\n",
        token = ready.operator_token,
        data = ready.data,
        config = ready.config,
        pid = ready.pids[last],
        name = config.nodes[last].name,
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_one_line_with_the_fields_of_the_contract() {
        let line = serde_json::to_string(&Ready {
            ready: true,
            shop: vec!["http://127.0.0.1:8080".into()],
            operator: vec!["http://127.0.0.1:9080".into()],
            data: "/tmp/souk".into(),
            config: "/tmp/souk/cluster.toml".into(),
            pids: vec![7],
            admin: Account {
                email: "admin@souk.example",
                password: "p",
            },
            shopper: Account {
                email: "shopper@souk.example",
                password: "q",
            },
            operator_token: "t",
        })
        .unwrap();
        assert_eq!(
            line,
            r#"{"ready":true,"shop":["http://127.0.0.1:8080"],"operator":["http://127.0.0.1:9080"],"data":"/tmp/souk","config":"/tmp/souk/cluster.toml","pids":[7],"admin":{"email":"admin@souk.example","password":"p"},"shopper":{"email":"shopper@souk.example","password":"q"},"operator_token":"t"}"#
        );
    }
}
