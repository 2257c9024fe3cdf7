//! The URL of SQL Server: `mssql://user:password@host[:port]/database[?ca=FILE][&encrypt=off]`.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use reqwest::Url;

/// The port where the URL names none.
const DEFAULT_PORT: u16 = 1_433;

/// A database on a server. Has a password: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
    pub(super) encryption: Encryption,
}

/// What protects a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// TLS, with the system's authorities.
    System,
    /// TLS, with the authorities of a PEM file beside them.
    Authorities(PathBuf),
    /// Nothing: name and password are as readable as all else.
    Off,
}

impl Address {
    /// Errors don't repeat the URL, which contains a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|_| "the URL is malformed")?;
        if url.scheme() != "mssql" {
            return Err("the URL does not begin with mssql://".to_owned());
        }
        if url.fragment().is_some() {
            return Err("the URL has a fragment".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("the URL names no host")?;
        let (user, password) = (decoded(url.username())?, url.password().map(decoded).transpose()?);
        let (Some(password), false) = (password, user.is_empty()) else {
            return Err("the URL needs a user and a password".to_owned());
        };
        let database = decoded(url.path().trim_start_matches('/'))?;
        if database.is_empty() || database.contains('/') {
            return Err("the URL names no database: mssql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned());
        }
        Ok(Self {
            // The brackets of an IPv6 address belong to the URL.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            user,
            password,
            database,
            encryption: encryption(&url)?,
        })
    }
}

fn encryption(url: &Url) -> Result<Encryption, String> {
    let (mut authorities, mut is_off) = (None, false);
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("ca", file) if authorities.is_none() && !file.is_empty() => authorities = Some(file.into()),
            ("ca", _) => return Err("the parameter ca does not name one file".to_owned()),
            ("encrypt", "on") => is_off = false,
            ("encrypt", "off") => is_off = true,
            ("encrypt", _) => return Err("the parameter encrypt is neither on nor off".to_owned()),
            _ => {
                return Err(format!(
                    "the URL has the unknown parameter {name}; known are ca and encrypt"
                ));
            }
        }
    }
    match (authorities, is_off) {
        (Some(_), true) => Err("the parameter ca needs encrypt=on".to_owned()),
        (Some(file), false) => Ok(Encryption::Authorities(file)),
        (None, true) => Ok(Encryption::Off),
        (None, false) => Ok(Encryption::System),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| "user, password or database is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_user_database_and_authorities() {
        let url = "mssql://souk:p%40ss%C3%BC@db.example:14330/shop%201?ca=%2Fetc%2Fsouk%2Fca.pem";
        let address = Address::parse(url).unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db.example", 14_330));
        assert_eq!(
            (address.user.as_str(), address.password.as_str()),
            ("souk", "p@ssü")
        );
        assert_eq!(address.database, "shop 1");
        assert_eq!(
            address.encryption,
            Encryption::Authorities("/etc/souk/ca.pem".into())
        );

        let address = Address::parse("mssql://sa:x@[::1]/orders").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 1_433));
        assert_eq!(address.encryption, Encryption::System);
        let address = Address::parse("mssql://sa:x@h/orders?encrypt=off").unwrap();
        assert_eq!(address.encryption, Encryption::Off);
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_password() {
        for (url, said) in [
            ("mssql:/", "names no host"),
            ("postgres://sa:secret@h/orders", "mssql://"),
            ("mssql://h/orders", "a user and a password"),
            ("mssql://sa@h/orders", "a user and a password"),
            ("mssql://sa:secret@h", "names no database"),
            ("mssql://sa:secret@h/a/b", "names no database"),
            ("mssql://sa:secret@h/orders#x", "fragment"),
            ("mssql://sa:secret@h/orders?encrypt=no", "neither on nor off"),
            ("mssql://sa:secret@h/orders?trust=all", "unknown parameter trust"),
            ("mssql://sa:secret@h/orders?ca=", "one file"),
            ("mssql://sa:secret@h/orders?ca=a&ca=b", "one file"),
            ("mssql://sa:secret@h/orders?ca=a&encrypt=off", "needs encrypt=on"),
            ("mssql://sa:%FF@h/orders", "not UTF-8"),
        ] {
            let error = Address::parse(url).err().unwrap();
            assert!(error.contains(said), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
