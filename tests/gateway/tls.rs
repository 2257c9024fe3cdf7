//! Nodes with TLS for shoppers and operators, whose certificates change while they run.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use reqwest::Certificate;
use souk::cli::demo::ports::Free;

use crate::support::command::{self, text};
use crate::support::guard::Guarded;
use crate::support::waiting::eventually;

/// Longest time for two nodes to be ready, and for a new certificate to be in use.
const LIMIT: Duration = Duration::from_secs(120);

/// Idle limit of connections: one from before the new certificate must outlive the change.
const IDLE: (&str, &str) = ("SOUK_LIMITS__KEEP_ALIVE_SECONDS", "300");

/// Two nodes with one certificate, separate from that of their links.
fn configuration(folder: &Path) -> (String, u16) {
    let mut free = Free::avoiding([]);
    let ports: Vec<u16> = (0..8).map(|_| free.choose().unwrap()).collect();
    let mut config = String::from(
        "[cluster]\nname = \"tls\"\nkey = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\n\
         [operator]\ntoken = \"0123456789abcdef0123456789abcdef\"\n\
         [tls]\nshop_certificate = \"tls/n1.pem\"\nshop_key = \"tls/n1.key\"\n\
         operator_certificate = \"tls/n1.pem\"\noperator_key = \"tls/n1.key\"\nauthority = \"tls/ca.pem\"\n",
    );
    for node in 0..2 {
        let [shop, operator, cluster, gossip] = [0, 1, 2, 3].map(|which| ports[node * 4 + which]);
        config.push_str(&format!(
            "[[nodes]]\nname = \"n{}\"\nshop = \"127.0.0.1:{shop}\"\noperator = \"127.0.0.1:{operator}\"\n\
             cluster = \"127.0.0.1:{cluster}\"\ngossip = \"127.0.0.1:{gossip}\"\n",
            node + 1,
        ));
    }
    let path = folder.join("cluster.toml");
    fs::write(&path, config).unwrap();
    (text(&path).to_owned(), ports[0])
}

async fn make_certificates(folder: &Path) {
    command::run(
        &["certs", "--out", text(&folder.join("tls")), "--nodes", "n1"],
        &[],
    )
    .await
    .expect(0);
    command::run(
        &["certs", "--out", text(&folder.join("certs")), "--nodes", "n1,n2"],
        &[],
    )
    .await
    .expect(0);
}

/// A client that trusts the current certificate's issuer and resumes no session.
fn client(folder: &Path) -> reqwest::Client {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = fs::read(folder.join("tls/ca.pem")).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .add_root_certificate(Certificate::from_pem(&authority).unwrap())
        .build()
        .unwrap()
}

#[tokio::test]
async fn operator_calls_use_tls_and_reload_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (config, shop) = configuration(folder.path());
    make_certificates(folder.path()).await;
    let checked = command::run(&["check", "--config", &config], &[]).await.expect(0);
    assert!(checked.stdout.contains(" 0 wrong"), "{}", checked.stdout);

    let settings = [(IDLE.0.to_owned(), IDLE.1.to_owned())];
    let nodes = ["n1", "n2"].map(|name| {
        let log = File::create(folder.path().join(format!("{name}.log"))).unwrap();
        let node = command::souk(&["node", "--config", &config, "--name", name], &settings);
        Guarded::start(&node, log, None)
    });
    let seen = eventually("both nodes are ready as one of them tells", LIMIT, async || {
        let shown = command::run(&["inspect", "nodes", "--json", "--config", &config], &[]).await;
        if shown.code != Some(0) {
            let log = fs::read_to_string(folder.path().join("n1.log")).unwrap();
            return Err(format!("{}; n1 says: {log}", shown.stderr));
        }
        let states: Vec<_> = shown.json()["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|node| (node["state"].clone(), node["rss_bytes"].is_u64()))
            .collect();
        // Only a node that was asked tells how much memory it has.
        let all = states.len() == 2 && states.iter().all(|(state, told)| state == "ready" && *told);
        if all { Ok(shown) } else { Err(shown.stdout) }
    })
    .await;
    assert_eq!(seen.code, Some(0));

    let url = format!("https://127.0.0.1:{shop}/livez");
    let old = client(folder.path());
    let reply = old.get(&url).send().await.expect("a reply over TLS");
    assert_eq!(reply.status(), 200);
    assert!(reply.headers().contains_key("strict-transport-security"));
    reply.bytes().await.unwrap();

    // Another authority's certificate is put in the place of the first, as a renewal does.
    let another = folder.path().join("another");
    command::run(&["certs", "--out", text(&another), "--nodes", "n1"], &[])
        .await
        .expect(0);
    for name in ["n1.key", "n1.pem", "ca.pem"] {
        fs::rename(another.join(name), folder.path().join("tls").join(name)).unwrap();
    }
    let new = client(folder.path());
    eventually("the new certificate is in use", LIMIT, async || {
        new.get(&url)
            .send()
            .await
            .map(drop)
            .map_err(|error| format!("{error:?}"))
    })
    .await;
    // The connection from before is still good; one that has to be made anew is not.
    assert_eq!(
        old.get(&url).send().await.expect("the old connection").status(),
        200
    );
    drop(nodes);
}
