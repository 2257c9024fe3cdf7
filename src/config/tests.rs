//! Reading, overriding, checking and writing the whole file.

use std::path::Path;

use super::*;
use souk_cluster::view::Role;

mod sealing;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SEALING_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn minimal() -> String {
    format!(
        r#"
        [cluster]
        key = "{KEY}"
        [operator]
        token = "{TOKEN}"
        [sealing]
        keys = [{{ id = "k1", key = "{SEALING_KEY}" }}]
        [[nodes]]
        name = "n1"
        shop = "127.0.0.1:8080"
        operator = "127.0.0.1:9080"
        cluster = "127.0.0.1:7080"
        gossip = "127.0.0.1:7180"
        "#
    )
}

fn read(text: &str) -> Result<Config, ConfigError> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(
        text,
        Path::new("/etc/souk/cluster.toml"),
        environment
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    )
}

fn problems(result: Result<Config, ConfigError>) -> Vec<Problem> {
    match result {
        Err(ConfigError::Invalid { problems, .. }) => problems,
        other => panic!("expected problems, got {other:?}"),
    }
}

fn keys(result: Result<Config, ConfigError>) -> Vec<String> {
    let problems = problems(result);
    for problem in &problems {
        assert!(
            !problem.what.is_empty() && !problem.remedy.is_empty(),
            "{problem:?} has no text"
        );
    }
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn missing_settings_have_defaults() {
    let config = read(&minimal()).unwrap();
    assert_eq!(config.cluster.name, "souk");
    assert_eq!(config.cluster.data, Path::new("/etc/souk/data"));
    assert_eq!(config.cluster.certificates, Path::new("/etc/souk/certs"));
    assert_eq!(config.cluster.key.expose(), &[1; 32]);
    assert!(config.operator.token.matches(TOKEN));
    assert_eq!(config.nodes[0].roles, [Role::Front, Role::Entities]);
    assert_eq!(config.node("n1"), Some(&config.nodes[0]));
    assert_eq!(config.node("n2"), None);
    assert_eq!(config.limits, Limits::default());
    assert!(
        config
            .stores
            .all()
            .iter()
            .all(|(_, url)| url.scheme() == Scheme::Sqlite)
    );
}

#[test]
fn an_empty_file_lacks_required_settings() {
    assert_eq!(keys(read("")), ["cluster.key", "operator.token", "nodes"]);
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = read("[cluster\nname = 1").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }));
    assert!(error.to_string().contains("/etc/souk/cluster.toml"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("line 1"), "{cause}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = r#"
        surplus = 1
        [cluster]
        name = "Souk!"
        key = "short"
        colour = "red"
        [operator]
        token = "short"
        [[nodes]]
        name = "n1"
        shop = "localhost"
        operator = "127.0.0.1:9080"
        cluster = "0.0.0.0:7080"
        gossip = "127.0.0.1:0"
        [[nodes]]
        name = "n1"
        operator = "127.0.0.1:9080"
        cluster = "127.0.0.1:7081"
        gossip = "127.0.0.1:7181"
        roles = ["back"]
        [stores]
        carts = "mssql://host"
        wishes = "sqlite:"
        [limits]
        body_bytes = -1
        idle_seconds = 0
        page_limit = "many"
        [membership]
        look_interval_ms = 900
        [log]
        format = "xml"
        filter = "a=b=c"
        "#;
    let mut found = keys(read(text));
    found.sort();
    assert_eq!(
        found,
        [
            "cluster.colour",
            "cluster.key",
            "cluster.name",
            "limits.body_bytes",
            "limits.idle_seconds",
            "limits.page_limit",
            "log.filter",
            "log.format",
            "membership.look_interval_ms",
            "nodes[0].cluster",
            "nodes[0].gossip",
            "nodes[0].shop",
            "nodes[1].name",
            "nodes[1].operator",
            "nodes[1].roles",
            "nodes[1].shop",
            "operator.token",
            "stores.carts",
            "stores.wishes",
            "surplus",
        ]
    );
}

#[test]
fn a_problem_names_file_key_and_remedy() {
    let text = minimal().replace("shop = \"127.0.0.1:8080\"", "shop = \"localhost\"");
    assert_eq!(
        read(&text).unwrap_err().to_string(),
        "/etc/souk/cluster.toml: nodes[0].shop (\"localhost\") is not an IP address with a port; \
         write it as \"127.0.0.1:8080\" or \"[::1]:8080\""
    );
    let text = format!("{}\n[log]\nfromat = \"json\"", minimal());
    assert_eq!(
        read(&text).unwrap_err().to_string(),
        "/etc/souk/cluster.toml: log.fromat is not a setting; remove it, or write one of format, filter, otlp, otlp_one_in"
    );
}

#[test]
fn traces_need_the_feature_and_an_http_address() {
    let with = |address: &str| read(&format!("{}\n[log]\notlp = \"{address}\"", minimal()));
    let good = with("http://127.0.0.1:4318");
    if cfg!(feature = "otlp") {
        assert_eq!(good.unwrap().log.otlp.as_deref(), Some("http://127.0.0.1:4318"));
    } else {
        let found = problems(good);
        assert_eq!(found[0].key, "log.otlp");
        assert!(found[0].remedy.contains("feature otlp"), "{}", found[0]);
    }
    for bad in [
        "127.0.0.1:4318",
        "https://collector.example",
        "http://",
        "grpc://a:4317",
    ] {
        let found = problems(with(bad));
        let last = found.last().unwrap();
        assert_eq!(last.key, "log.otlp", "{bad}");
        assert!(last.what.contains("not the address"), "{bad}: {last}");
    }
}

#[test]
fn sections_must_be_sections() {
    assert_eq!(
        keys(read("nodes = 3\nlimits = 4\n[cluster]\n[operator]")),
        ["cluster.key", "operator.token", "nodes", "nodes", "limits"]
    );
    assert_eq!(
        keys(read(&format!(
            "nodes = [1]\n{}",
            minimal().split("[[nodes]]").next().unwrap()
        )))[0],
        "nodes[0]"
    );
}

#[test]
fn a_cluster_needs_both_roles() {
    let front_only = format!("{}\nroles = [\"front\"]", minimal());
    let found = problems(read(&front_only));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "nodes");
    assert!(found[0].what.contains("entities"));
    assert_eq!(
        keys(read(&format!("{}\nroles = []", minimal())))[0],
        "nodes[0].roles"
    );
}

#[test]
fn each_listener_needs_its_own_port() {
    assert!(read(&minimal().replace(":7180", ":7080")).is_ok());
    let found = problems(read(&minimal().replace(":9080", ":8080")));
    assert_eq!(found[0].key, "nodes[0].operator");
    assert!(found[0].what.contains("nodes[0].shop"));
}

#[test]
fn errors_do_not_repeat_secrets() {
    let text = minimal()
        .replace(&format!("\"{KEY}\""), "918273645")
        .replace(&format!("\"{TOKEN}\""), "\"tok-en\"");
    let error = read(&text).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("cluster.key is not a string"), "{shown}");
    assert!(
        !shown.contains("918273645") && !shown.contains("tok-en"),
        "{shown}"
    );
}

#[test]
fn secrets_can_be_in_separate_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    let text = minimal().replace(&format!("key = \"{KEY}\""), "key_file = \"key\"");
    let file = folder.path().join("cluster.toml");
    let config = Config::parse(&text, &file, []).unwrap();
    assert_eq!(config.cluster.key.expose(), &[1; 32]);
    assert_eq!(config.cluster.key_file, Some(folder.path().join("key")));

    std::fs::write(folder.path().join("key"), "nonsense").unwrap();
    assert_eq!(keys(Config::parse(&text, &file, [])), ["cluster.key_file"]);
    std::fs::remove_file(folder.path().join("key")).unwrap();
    assert_eq!(keys(Config::parse(&text, &file, [])), ["cluster.key_file"]);
    let both = minimal().replace("[operator]", "key_file = \"key\"\n[operator]");
    assert_eq!(keys(Config::parse(&both, &file, [])), ["cluster.key"]);
}

#[test]
fn the_environment_overrides_the_file() {
    let config = read_with(
        &minimal(),
        &[
            ("SOUK_LIMITS__BODY_BYTES", "65536"),
            ("SOUK_LOG__FORMAT", "json"),
            ("SOUK_CLUSTER__NAME", "\"bazaar\""),
            ("SOUK_OPERATOR__TOKEN", "12345678901234567"),
            ("SOUK_NODES__N1__SHOP", "10.0.0.1:80"),
            ("SOUK_NODES__N1__ROLES", "[\"front\", \"entities\"]"),
            ("SOUK_OPERATOR_TOKEN", "belongs to the operator's client"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.limits.body_bytes, 65_536);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.cluster.name, "bazaar");
    assert!(config.operator.token.matches("12345678901234567"));
    assert_eq!(config.nodes[0].shop, "10.0.0.1:80".parse().unwrap());
}

#[test]
fn a_variable_replaces_an_invalid_value() {
    let text = minimal().replace(KEY, "nonsense");
    assert!(read_with(&text, &[("SOUK_CLUSTER__KEY", KEY)]).is_ok());
}

#[test]
fn invalid_overrides_name_the_variable() {
    assert_eq!(
        keys(read_with(
            &minimal(),
            &[
                ("SOUK_LIMITS__BODY_BYTES", "many"),
                ("SOUK_LIMITS__BODY", "1"),
                ("SOUK_NODES__N2__SHOP", "10.0.0.1:80"),
                ("SOUK_SURPLUS__KEY", "1"),
            ]
        )),
        [
            "SOUK_SURPLUS__KEY",
            "SOUK_NODES__N2__SHOP",
            "SOUK_LIMITS__BODY",
            "SOUK_LIMITS__BODY_BYTES"
        ]
    );
}

#[test]
fn a_written_configuration_reads_the_same() {
    let mut config = read(&minimal()).unwrap();
    assert_eq!(read(&config.to_toml().unwrap()).unwrap(), config);
    assert!(!config.to_toml().unwrap().contains("[limits]"));

    config.limits.body_bytes = 4_096;
    config.membership.verified_ms = Milliseconds(2_000);
    config.transport.idle_ms = Milliseconds(20_000);
    config.log.format = LogFormat::Json;
    config.gateway.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    config.gateway.cors_origins = vec!["https://shop.example".into()];
    config.cluster.data = "/var/lib/souk".into();
    config.operator.token = Secret::new("quotes\"and\\backslashes'");
    let mut second = config.nodes[0].clone();
    second.name = "n2".into();
    for address in [
        &mut second.shop,
        &mut second.operator,
        &mut second.cluster,
        &mut second.gossip,
    ] {
        address.set_port(address.port() + 1);
    }
    second.roles = vec![Role::Entities];
    config.nodes.push(second);
    let text = config.to_toml().unwrap();
    assert_eq!(read(&text).unwrap(), config);
    assert!(text.contains("certificates = \"certs\""), "{text}");
}

#[test]
fn the_redacted_form_has_no_secrets() {
    let config = read(&minimal()).unwrap();
    let shown = config.redacted();
    assert_eq!(shown["cluster"]["key"], REDACTED);
    assert_eq!(shown["operator"]["token"], REDACTED);
    assert_eq!(shown["nodes"][0]["shop"], "127.0.0.1:8080");
    assert_eq!(shown["limits"]["body_bytes"], 262_144);
    let text = format!("{shown} {config:?}");
    assert!(!text.contains(KEY) && !text.contains(TOKEN));
}

#[test]
fn the_example_is_valid_and_warned_of() {
    let text = include_str!("../../cluster.toml");
    let config = read(text).unwrap();
    assert_eq!(config.nodes.len(), 3);
    assert_eq!(config.nodes[2].shop.port(), 8_082);
    let warned: Vec<_> = config.warnings().into_iter().map(|warning| warning.key).collect();
    assert_eq!(warned, ["cluster.key", "operator.token", "sealing.keys"]);
}

#[test]
fn the_example_lists_every_default() {
    // The example shows settings as comments. Without the comment marks they must be valid, complete and change nothing.
    let text: String = include_str!("../../cluster.toml")
        .lines()
        .map(|line| line.strip_prefix("#= ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let config = read(&text).unwrap();
    assert_eq!(config, read(include_str!("../../cluster.toml")).unwrap());
    let table: toml::Table = text.parse().unwrap();
    for (section, defaults) in [
        ("limits", toml::Table::try_from(Limits::default())),
        ("membership", toml::Table::try_from(Membership::default())),
        ("transport", toml::Table::try_from(Transport::default())),
        ("accounts", toml::Table::try_from(Accounts::default())),
        ("gateway", toml::Table::try_from(Gateway::default())),
        // `log.otlp` has no default.
        ("log", toml::Table::try_from(Log::default())),
    ] {
        for key in defaults.unwrap().keys() {
            assert!(
                table[section].get(key).is_some(),
                "{section}.{key} is not in the example"
            );
        }
    }
    for (store, _) in config.stores.all() {
        assert!(
            table["stores"].get(store).is_some(),
            "stores.{store} is not in the example"
        );
    }
}

#[test]
fn the_documentation_lists_every_setting() {
    let documentation = include_str!("../../docs/configuration.md");
    for (section, rows) in [
        ("limits", Limits::rows()),
        ("membership", Membership::rows()),
        ("transport", Transport::rows()),
        ("accounts", Accounts::rows()),
    ] {
        let heading = format!("## `[{section}]`\n");
        let (_, text) = documentation.split_once(&heading).unwrap();
        let text = text.split("\n## ").next().unwrap();
        let documented: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(documented, rows, "docs/configuration.md, [{section}]");
    }
}

#[test]
fn weak_settings_are_warned_of() {
    let text = minimal()
        .replace("127.0.0.1:9080", "10.0.0.1:9080")
        .replace(TOKEN, "0123456789abcdef");
    let warned: Vec<_> = read(&text)
        .unwrap()
        .warnings()
        .into_iter()
        .map(|warning| warning.key)
        .collect();
    assert_eq!(warned, ["operator.token", "nodes[0].operator"]);
    assert_eq!(read(&minimal()).unwrap().warnings(), []);
}

#[test]
fn public_listeners_without_tls_are_warned_of() {
    let warned = |shop: &str, operator: &str, tls: bool| {
        let mut config = read(&minimal()).unwrap();
        config.nodes[0].shop = shop.parse().unwrap();
        config.nodes[0].operator = operator.parse().unwrap();
        if tls {
            let files = CertificateFiles {
                certificate: "a.pem".into(),
                key: "a.key".into(),
            };
            (config.tls.shop, config.tls.operator) = (Some(files.clone()), Some(files));
        }
        config
            .warnings()
            .into_iter()
            .map(|warning| (warning.key, warning.message))
            .collect::<Vec<_>>()
    };
    for private in [
        "127.0.0.1:80",
        "10.1.2.3:80",
        "192.168.1.1:80",
        "[::1]:80",
        "[fd00::1]:80",
    ] {
        assert_eq!(warned(private, "127.0.0.1:90", false), [], "{private}");
    }
    for public in ["0.0.0.0:80", "[::]:80", "203.0.113.7:80", "[2001:db8::1]:80"] {
        let found = warned(public, "127.0.0.1:90", false);
        assert_eq!(found.len(), 1, "{public}: {found:?}");
        assert_eq!(found[0].0, "nodes[0].shop");
        assert_eq!(warned(public, "127.0.0.1:90", true), []);
    }
    for (operator, word) in [
        ("0.0.0.0:90", "every interface"),
        ("[::]:90", "every interface"),
        ("10.1.2.3:90", "other machines"),
    ] {
        let found = warned("127.0.0.1:80", operator, false);
        assert_eq!(found.len(), 1, "{operator}: {found:?}");
        assert_eq!(found[0].0, "nodes[0].operator");
        assert!(found[0].1.contains(word), "{found:?}");
        assert_eq!(warned("127.0.0.1:80", operator, true), []);
    }
}

#[test]
fn tls_files_are_relative_to_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    for name in ["shop.pem", "shop.key", "authority.pem"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let text = format!(
        "{}\n[tls]\nshop_certificate = \"shop.pem\"\nshop_key = \"shop.key\"\nauthority = \"authority.pem\"",
        minimal()
    );
    let config = Config::parse(&text, &file, []).unwrap();
    assert_eq!(
        config.tls.shop.as_ref().unwrap().certificate,
        folder.path().join("shop.pem")
    );
    assert_eq!(config.operator_authority(), folder.path().join("authority.pem"));
    let written = config.to_toml().unwrap();
    assert!(written.contains("shop_key = \"shop.key\""), "{written}");
    assert_eq!(Config::parse(&written, &file, []).unwrap(), config);
}

#[test]
fn a_trusted_proxy_must_be_a_network() {
    let text = format!("{}\n[gateway]\ntrusted_proxies = [\"10.0.0.0/99\"]", minimal());
    let found = problems(read(&text));
    assert_eq!(found[0].key, "gateway.trusted_proxies");
    assert!(found[0].what.contains("10.0.0.0/99"), "{found:?}");
}

#[test]
fn readable_secrets_are_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    std::fs::write(&file, minimal()).unwrap();
    let keys = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config::parse(&minimal(), &file, []).unwrap();
        config
            .warnings()
            .into_iter()
            .map(|warning| warning.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(0o644), ["cluster.key", "operator.token", "sealing.keys[0]"]);
    assert!(keys(0o600).is_empty());
}
