//! `[sealing]`: reading, checking, writing, warning.

use super::*;

/// The minimal file with another `[sealing]`.
fn sealing(keys: &str) -> Result<Config, ConfigError> {
    let key = format!("keys = [{{ id = \"k1\", key = \"{SEALING_KEY}\" }}]");
    assert!(minimal().contains(&key));
    read(&minimal().replace(&key, keys))
}

#[test]
fn keys_from_file_and_environment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k2.key"), format!("{SEALING_KEY}\n")).unwrap();
    let file = folder.path().join("cluster.toml");
    let text = minimal().replace(
        &format!("keys = [{{ id = \"k1\", key = \"{SEALING_KEY}\" }}]"),
        &format!("keys = [{{ id = \"k2\", key_file = \"k2.key\" }}, {{ id = \"cluster\" }}, {{ id = \"k1\", key = \"{KEY}\" }}]"),
    );
    let config = Config::parse(&text, &file, []).unwrap();
    let keys = &config.sealing.keys;
    assert_eq!(
        keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(),
        ["k2", "cluster", "k1"]
    );
    assert_eq!(keys[0].key.as_ref().unwrap().expose(), &[2; 32]);
    assert_eq!(
        (&keys[1].key, keys[2].key.as_ref().unwrap().expose()),
        (&None, &[1; 32])
    );
    assert_eq!(config.redacted()["sealing"]["keys"][2]["key"], REDACTED);
    let again = Config::parse(&config.to_toml().unwrap(), &file, []).unwrap();
    assert_eq!(again, config);

    let variable = format!("[{{ id = \"k9\", key = \"{KEY}\" }}]");
    let config = read_with(&minimal(), &[("SOUK_SEALING__KEYS", &variable)]).unwrap();
    assert_eq!(config.sealing.keys[0].id, "k9");
}

#[test]
fn invalid_keys_are_reported() {
    let key = |text: &str| format!("key = \"{text}\"");
    let (one, two) = (key(SEALING_KEY), key(KEY));
    for (keys_said, blamed) in [
        ("keys = []".to_owned(), vec!["sealing.keys"]),
        ("keys = \"k1\"".to_owned(), vec!["sealing.keys"]),
        (
            format!("keys = [{{ id = \"k1\", {one}, colour = 1 }}]"),
            vec!["sealing.keys"],
        ),
        (format!("keys = [{{ {one} }}]"), vec!["sealing.keys[0].id"]),
        (
            format!("keys = [{{ id = \"K:1\", {one} }}]"),
            vec!["sealing.keys[0].id"],
        ),
        ("keys = [{ id = \"k1\" }]".to_owned(), vec!["sealing.keys[0].key"]),
        (
            "keys = [{ id = \"k1\", key = \"short\" }]".to_owned(),
            vec!["sealing.keys[0].key"],
        ),
        (
            "keys = [{ id = \"k1\", key_file = \"gone\" }]".to_owned(),
            vec!["sealing.keys[0].key_file"],
        ),
        (
            format!("keys = [{{ id = \"k1\", {one}, key_file = \"gone\" }}]"),
            vec!["sealing.keys[0].key"],
        ),
        (
            format!("keys = [{{ id = \"cluster\", {one} }}]"),
            vec!["sealing.keys[0].id"],
        ),
        (
            format!("keys = [{{ id = \"k1\", {one} }}, {{ id = \"k1\", {two} }}]"),
            vec!["sealing.keys[1].id"],
        ),
        (
            format!("keys = [{{ id = \"k1\", {one} }}, {{ id = \"k2\", {one} }}]"),
            vec!["sealing.keys[1].key"],
        ),
    ] {
        let result = sealing(&keys_said);
        let shown = result
            .as_ref()
            .map_or_else(ToString::to_string, |_| String::new());
        assert!(!shown.contains(SEALING_KEY), "{shown}");
        assert_eq!(keys(result), blamed, "{keys_said}");
    }
}

#[test]
fn a_derived_key_is_warned_of() {
    for keys_said in ["", "keys = [{ id = \"cluster\" }]"] {
        let config = sealing(keys_said).unwrap();
        let warned: Vec<_> = config.warnings().into_iter().map(|warning| warning.key).collect();
        assert_eq!(warned, ["sealing.keys"]);
    }
}
