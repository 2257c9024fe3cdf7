//! Reads sections from TOML and environment. Every key is decoded on its own, so that all problems are reported at once and
//! an invalid key does not hide the valid ones beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::error::Problems;
use super::secret::{MAKE_KEY, Secret, SecretKey};

/// How the names of overriding variables begin.
const PREFIX: &str = "SOUK_";

/// Separates section and key in the name of an overriding variable.
const SEPARATOR: &str = "__";

/// Keys whose values must not appear in an error.
const SECRET_KEYS: [&str; 2] = ["key", "token"];

/// The list of keys of `[sealing]`.
const SEALING_KEYS: &str = "keys";

/// An environment variable that overrides a key.
struct Override {
    variable: String,
    section: String,
    key: String,
    text: String,
}

/// The file and the environment, as far as they have not been read, and the problems found so far.
pub(super) struct Reader {
    root: Table,
    overrides: Vec<Override>,
    /// Where relative paths start.
    pub(super) folder: PathBuf,
    pub(super) problems: Problems,
}

impl Reader {
    /// Reads these sections from `root`, with overrides from `environment`, and finds what belongs to none of them.
    pub(super) fn new(
        root: Table,
        environment: impl IntoIterator<Item = (String, String)>,
        sections: &[&str],
        folder: &Path,
    ) -> Self {
        let known = sections.join(", ");
        let mut problems = Problems::default();
        for unknown in root.keys().filter(|name| !sections.contains(&name.as_str())) {
            problems.add(
                unknown,
                "is not a section",
                format!("remove it, or write one of {known}"),
            );
        }
        let mut overrides = Vec::new();
        for (variable, text) in environment {
            let Some((section, key)) = variable
                .strip_prefix(PREFIX)
                .and_then(|name| name.split_once(SEPARATOR))
            else {
                continue;
            };
            let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
            if sections.contains(&section.as_str()) {
                overrides.push(Override {
                    variable,
                    section,
                    key,
                    text,
                });
            } else {
                problems.add(
                    variable,
                    format!("overrides nothing: there is no section {section}"),
                    format!("unset it, or name one of {known}"),
                );
            }
        }
        // The environment has no order of its own; reports must have one.
        overrides.sort_by(|left, right| left.variable.cmp(&right.variable));
        Self {
            root,
            overrides,
            folder: folder.to_owned(),
            problems,
        }
    }

    /// Decodes the section `[name]`.
    pub(super) fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let table = match self.root.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.problems.add(
                    name,
                    "is not a section",
                    format!("write it as a section, [{name}]"),
                );
                Table::new()
            }
        };
        let overrides = self.overrides.extract_if(.., |one| one.section == name).collect();
        self.keys(table, name, overrides)
    }

    /// Decodes the sections `[[name]]`, each with the variables that have its `name` before the key.
    pub(super) fn list<T: DeserializeOwned + Default>(&mut self, name: &str) -> Vec<T> {
        let remedy = format!("write each entry as a section, [[{name}]]");
        let entries = match self.root.remove(name) {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                self.problems.add(name, "is not a list", &remedy);
                Vec::new()
            }
        };
        let mut decoded = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{name}[{index}]");
            let Value::Table(table) = entry else {
                self.problems.add(path, "is not a section", &remedy);
                decoded.push(T::default());
                continue;
            };
            let mut overrides = Vec::new();
            if let Some(entry_name) = table.get("name").and_then(Value::as_str) {
                let prefix = entry_name.to_ascii_lowercase().replace('-', "_") + SEPARATOR;
                let is_of_entry = |one: &mut Override| one.section == name && one.key.starts_with(&prefix);
                overrides.extend(self.overrides.extract_if(.., is_of_entry));
                for one in &mut overrides {
                    one.key.drain(..prefix.len());
                }
            }
            decoded.push(self.keys(table, &path, overrides));
        }
        for unmatched in self.overrides.extract_if(.., |one| one.section == name) {
            self.problems.add(
                unmatched.variable,
                format!("overrides nothing: it names no entry of {name}"),
                format!(
                    "unset it, or write SOUK_{}__<NAME>__<KEY> with the name of an entry",
                    name.to_ascii_uppercase()
                ),
            );
        }
        decoded
    }

    /// Decodes a section key by key.
    fn keys<T: DeserializeOwned + Default>(
        &mut self,
        table: Table,
        path: &str,
        overrides: Vec<Override>,
    ) -> T {
        let mut valid = Table::new();
        for (key, value) in table {
            if overrides.iter().any(|one| one.key == key) {
                continue;
            }
            match fits::<T>(&key, &value) {
                Ok(()) => {
                    valid.insert(key, value);
                }
                Err(message) => self.misfit(format!("{path}.{key}"), &key, &message),
            }
        }
        for Override {
            variable, key, text, ..
        } in overrides
        {
            let as_toml = format!("value = {text}")
                .parse::<Table>()
                .ok()
                .and_then(|mut table| table.remove("value"));
            let as_text = Value::String(text);
            match first_fit::<T>(&key, as_toml.iter().chain([&as_text])) {
                Ok(value) => {
                    valid.insert(key, value);
                }
                Err(message) => self.misfit(variable, &key, &message),
            }
        }
        T::deserialize(Value::Table(valid)).unwrap_or_else(|error| {
            self.problems
                .add(path, format!("is invalid: {}", error.message()), "correct it");
            T::default()
        })
    }

    fn misfit(&mut self, path: String, key: &str, message: &str) {
        let unknown = message
            .strip_prefix("unknown field")
            .and_then(|rest| rest.split_once("expected "));
        if key == SEALING_KEYS {
            // serde's message would quote a key that is written in the wrong place.
            self.problems.add(
                path,
                "is not a list of keys, each with an id and with a key or a key_file",
                "write it as in keys = [{ id = \"k1\", key_file = \"k1.key\" }]",
            );
        } else if let Some((_, known)) = unknown {
            let known = known.trim_start_matches("one of ").replace('`', "");
            self.problems.add(
                path,
                "is not a setting",
                format!("remove it, or write one of {known}"),
            );
        } else if SECRET_KEYS.contains(&key) {
            self.problems.add(path, "is not a string", "put it in quotes");
        } else {
            self.problems.add(
                path,
                format!("is invalid: {message}"),
                "write a value of the expected type",
            );
        }
    }

    /// A secret from the file itself or from the file that it names, with the key that holds it.
    pub(super) fn secret(
        &mut self,
        key: &str,
        inline: Option<Secret>,
        file: Option<&Path>,
        remedy: &str,
    ) -> Option<(String, Secret)> {
        let problems = &mut self.problems;
        match (inline, file) {
            (Some(secret), None) => return Some((key.to_owned(), secret)),
            (None, Some(path)) => {
                let file_key = format!("{key}_file");
                match fs::read_to_string(path) {
                    Ok(text) => return Some((file_key, Secret::new(text.trim()))),
                    Err(error) => problems.add(
                        file_key,
                        format!("({}) can't be read: {error}", path.display()),
                        "name a file that this user may read",
                    ),
                }
            }
            (Some(_), Some(_)) => problems.add(
                key,
                format!("is given twice, here and by {key}_file"),
                "remove one of the two",
            ),
            (None, None) => problems.add(
                key,
                "is missing",
                format!("{remedy}, or name a file that holds it with {key}_file"),
            ),
        }
        None
    }

    /// A key of 32 bytes, from the file itself or from the file that it names.
    pub(super) fn secret_key(
        &mut self,
        key: &str,
        inline: Option<Secret>,
        file: Option<&Path>,
    ) -> Option<SecretKey> {
        let (key, secret) = self.secret(key, inline, file, MAKE_KEY)?;
        let decoded = SecretKey::from_base64(secret.expose());
        if decoded.is_none() {
            self.problems.add(key, "is not the base64 of 32 bytes", MAKE_KEY);
        }
        decoded
    }
}

/// The first candidate that `T` accepts under `key`, else what is wrong with the first.
fn first_fit<'a, T: DeserializeOwned>(
    key: &str,
    candidates: impl Iterator<Item = &'a Value>,
) -> Result<Value, String> {
    let mut message = None;
    for candidate in candidates {
        match fits::<T>(key, candidate) {
            Ok(()) => return Ok(candidate.clone()),
            Err(error) => {
                message.get_or_insert(error);
            }
        }
    }
    Err(message.unwrap_or_default())
}

/// Whether `T`, all of whose fields have defaults, accepts this value under this key.
fn fits<T: DeserializeOwned>(key: &str, value: &Value) -> Result<(), String> {
    let alone = Table::from_iter([(key.to_owned(), value.clone())]);
    T::deserialize(Value::Table(alone))
        .map(drop)
        .map_err(|error| error.message().trim().to_owned())
}
