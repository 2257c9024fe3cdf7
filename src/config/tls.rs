//! `[tls]`: certificates of the HTTP listeners.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::reader::Reader;
use super::section::{Section, relative};

/// `[tls]`: certificates of the HTTP listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The shop's listener (`shop_certificate`, `shop_key`); plain HTTP without.
    pub shop: Option<CertificateFiles>,
    /// The operator's listener (`operator_certificate`, `operator_key`); plain HTTP without.
    pub operator: Option<CertificateFiles>,
    /// The authority that signed the operator's certificates (PEM, one or many); without it, `ca.pem` of
    /// `cluster.certificates`.
    #[serde(serialize_with = "super::display_option")]
    pub authority: Option<PathBuf>,
}

/// The two PEM files of a listener with TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateFiles {
    /// The certificate, followed by its chain to the authority.
    #[serde(serialize_with = "super::display")]
    pub certificate: PathBuf,
    /// Its private key.
    #[serde(serialize_with = "super::display")]
    pub key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    shop_certificate: Option<PathBuf>,
    shop_key: Option<PathBuf>,
    operator_certificate: Option<PathBuf>,
    operator_key: Option<PathBuf>,
    authority: Option<PathBuf>,
}

impl Section for Tls {
    fn read(section: &str, reader: &mut Reader) -> Option<Self> {
        let raw: Raw = reader.section(section);
        Some(Self {
            shop: pair("shop", raw.shop_certificate, raw.shop_key, reader),
            operator: pair("operator", raw.operator_certificate, raw.operator_key, reader),
            authority: raw.authority.map(|file| readable("tls.authority", &file, reader)),
        })
    }

    fn write(&self, folder: &Path) -> Result<Value, toml::ser::Error> {
        let mut table = Table::new();
        for (listener, files) in [("shop", &self.shop), ("operator", &self.operator)] {
            if let Some(CertificateFiles { certificate, key }) = files {
                table.insert(format!("{listener}_certificate"), relative(certificate, folder));
                table.insert(format!("{listener}_key"), relative(key, folder));
            }
        }
        if let Some(authority) = &self.authority {
            table.insert("authority".into(), relative(authority, folder));
        }
        Ok(Value::Table(table))
    }
}

fn pair(
    listener: &str,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    reader: &mut Reader,
) -> Option<CertificateFiles> {
    let certificate_key = format!("tls.{listener}_certificate");
    let key_key = format!("tls.{listener}_key");
    let (missing, present) = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => {
            return Some(CertificateFiles {
                certificate: readable(&certificate_key, &certificate, reader),
                key: readable(&key_key, &key, reader),
            });
        }
        (None, Some(_)) => (certificate_key, key_key),
        (Some(_), None) => (key_key, certificate_key),
    };
    reader.problems.add(
        missing,
        format!("is missing, but {present} is given"),
        "name both files for TLS, neither for plain HTTP",
    );
    None
}

/// The path of a file that this user may read.
fn readable(key: &str, file: &Path, reader: &mut Reader) -> PathBuf {
    let path = reader.folder.join(file);
    if let Err(error) = File::open(&path) {
        reader.problems.add(
            key,
            format!("({}) can't be read: {error}", path.display()),
            "name a PEM file that this user may read",
        );
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_needs_both_files_readable() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.pem", "a.key"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let read = |text: &str| {
            let table = format!("[tls]\n{text}").parse().unwrap();
            let mut reader = Reader::new(table, [], &["tls"], folder.path());
            let tls = Tls::read("tls", &mut reader).unwrap();
            let keys: Vec<_> = reader.problems.0.into_iter().map(|problem| problem.key).collect();
            (tls, keys)
        };
        let (tls, problems) = read("shop_certificate = \"a.pem\"\nshop_key = \"a.key\"");
        assert_eq!(problems, [""; 0]);
        assert_eq!(tls.shop.unwrap().key, folder.path().join("a.key"));
        assert_eq!(tls.operator, None);
        assert_eq!(read("shop_certificate = \"a.pem\"").1, ["tls.shop_key"]);
        assert_eq!(read("operator_key = \"a.key\"").1, ["tls.operator_certificate"]);
        assert_eq!(read("authority = \"none.pem\"").1, ["tls.authority"]);
    }
}
