//! From a [`Config`] back to TOML.

use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

use super::{Accounts, CertificateFiles, Config, ConfigError, Gateway, Limits, Log, Membership, Transport};

/// See [`Config::to_toml`].
pub(super) fn to_toml(config: &Config) -> Result<String, ConfigError> {
    let base = config.file.parent().unwrap_or_else(|| Path::new("."));
    let relative = |path: &Path| text(path.strip_prefix(base).unwrap_or(path).display());

    let mut cluster = Table::new();
    cluster.insert("name".into(), text(&config.cluster.name));
    match &config.cluster.key_file {
        Some(file) => cluster.insert("key_file".into(), relative(file)),
        None => cluster.insert("key".into(), text(config.cluster.key.to_base64())),
    };
    cluster.insert("certificates".into(), relative(&config.cluster.certificates));
    cluster.insert("data".into(), relative(&config.cluster.data));

    let mut operator = Table::new();
    match &config.operator.token_file {
        Some(file) => operator.insert("token_file".into(), relative(file)),
        None => operator.insert("token".into(), text(config.operator.token.expose())),
    };

    let mut tls = Table::new();
    for (listener, files) in [("shop", &config.tls.shop), ("operator", &config.tls.operator)] {
        if let Some(CertificateFiles { certificate, key }) = files {
            tls.insert(format!("{listener}_certificate"), relative(certificate));
            tls.insert(format!("{listener}_key"), relative(key));
        }
    }
    if let Some(authority) = &config.tls.authority {
        tls.insert("authority".into(), relative(authority));
    }
    let keys: Vec<Value> = config
        .sealing
        .keys
        .iter()
        .map(|entry| {
            let mut key = Table::new();
            key.insert("id".into(), text(&entry.id));
            match (&entry.key_file, &entry.key) {
                (Some(file), _) => key.insert("key_file".into(), relative(file)),
                (None, Some(secret)) => key.insert("key".into(), text(secret.to_base64())),
                (None, None) => None,
            };
            Value::Table(key)
        })
        .collect();

    let mut root = Table::new();
    root.insert("cluster".into(), Value::Table(cluster));
    root.insert("operator".into(), Value::Table(operator));
    if !keys.is_empty() {
        let sealing = Table::from_iter([("keys".to_owned(), Value::Array(keys))]);
        root.insert("sealing".into(), Value::Table(sealing));
    }
    root.insert("nodes".into(), Value::try_from(&config.nodes)?);
    let mut stores = Table::new();
    for (name, url) in config.stores.all() {
        stores.insert(name.into(), text(url.expose()));
    }
    root.insert("stores".into(), Value::Table(stores));
    for (name, section) in [
        ("limits", changed(&config.limits, &Limits::default())?),
        ("membership", changed(&config.membership, &Membership::default())?),
        ("transport", changed(&config.transport, &Transport::default())?),
        ("accounts", changed(&config.accounts, &Accounts::default())?),
        ("gateway", changed(&config.gateway, &Gateway::default())?),
        ("tls", tls),
        ("log", changed(&config.log, &Log::default())?),
    ] {
        if !section.is_empty() {
            root.insert(name.into(), Value::Table(section));
        }
    }
    Ok(toml::to_string(&root)?)
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

/// The settings that differ from the defaults.
fn changed<T: Serialize>(section: &T, defaults: &T) -> Result<Table, ConfigError> {
    let defaults = Table::try_from(defaults)?;
    let mut table = Table::try_from(section)?;
    table.retain(|key, value| defaults.get(key) != Some(value));
    Ok(table)
}
