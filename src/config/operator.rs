//! `[operator]`: access to the operator's interface.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::reader::Reader;
use super::secret::Secret;
use super::section::{Section, relative, text};

/// Fewest characters of an operator token.
const TOKEN_CHARACTERS: usize = 16;

/// Most characters of an operator token: it must fit into a header.
const TOKEN_LIMIT: usize = 512;

const REMEDY: &str = "write at least 16 random characters, as `openssl rand -hex 24` prints them";

/// `[operator]`: access to the operator's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The bearer token of the operator's interface (`token` or `token_file`).
    pub token: Secret,
    /// The file that holds the token, where the configuration itself does not.
    #[serde(serialize_with = "super::display_option")]
    pub token_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    token: Option<Secret>,
    token_file: Option<PathBuf>,
}

impl Section for Operator {
    fn read(section: &str, reader: &mut Reader) -> Option<Self> {
        let raw: Raw = reader.section(section);
        let token_file = raw.token_file.map(|file| reader.folder.join(file));
        let (key, token) = reader.secret("operator.token", raw.token, token_file.as_deref(), REMEDY)?;
        let length = token.expose().chars().count();
        let fault = if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            "has characters that do not fit into a header".to_owned()
        } else if !(TOKEN_CHARACTERS..=TOKEN_LIMIT).contains(&length) {
            format!("has {length} characters, and must have {TOKEN_CHARACTERS} to {TOKEN_LIMIT}")
        } else {
            return Some(Self { token, token_file });
        };
        reader.problems.add(key, fault, REMEDY);
        None
    }

    fn write(&self, folder: &Path) -> Result<Value, toml::ser::Error> {
        let (key, value) = match &self.token_file {
            Some(file) => ("token_file", relative(file, folder)),
            None => ("token", text(self.token.expose())),
        };
        Ok(Value::Table(Table::from_iter([(key.to_owned(), value)])))
    }
}
