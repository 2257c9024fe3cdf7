//! The URL of an Elasticsearch server: `elasticsearch[+https]://[user:password@]host[:port][/prefix][?ca=FILE]`.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use reqwest::Url;

/// The port where the URL names none.
const DEFAULT_PORT: u16 = 9_200;
/// What the names of indexes begin with where the URL does not say.
const DEFAULT_PREFIX: &str = "souk";
/// Longest prefix, in bytes: names of indexes are limited to 255.
const PREFIX_LIMIT: usize = 64;

/// A server, and what our indexes on it begin with.
pub(super) struct Address {
    /// Without credentials; ends with a slash.
    pub(super) base: Url,
    /// Name and password.
    pub(super) user: Option<(String, String)>,
    pub(super) prefix: String,
    /// Whom to trust beside TLS: a PEM file, or the system's authorities.
    pub(super) authorities: Option<PathBuf>,
}

impl Address {
    /// Errors don't repeat the URL, which may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("the URL is malformed")?;
        let scheme = match scheme {
            "elasticsearch" => "http",
            "elasticsearch+https" => "https",
            _ => {
                return Err(
                    "the URL does not begin with elasticsearch:// or elasticsearch+https://".to_owned(),
                );
            }
        };
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| "the URL is malformed")?;
        let host = url.host_str().ok_or("the URL names no host")?;
        if url.fragment().is_some() {
            return Err("the URL has a fragment".to_owned());
        }
        let mut authorities = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "ca" if scheme == "http" => {
                    return Err("the parameter ca needs elasticsearch+https://".to_owned());
                }
                "ca" if authorities.is_none() && !value.is_empty() => {
                    authorities = Some(PathBuf::from(value.into_owned()));
                }
                "ca" => return Err("the parameter ca does not name one file".to_owned()),
                _ => return Err(format!("the URL has the unknown parameter {name:?}")),
            }
        }
        let user = match (url.username(), url.password()) {
            ("", None) => None,
            (name, Some(password)) if !name.is_empty() => Some((decoded(name)?, decoded(password)?)),
            _ => return Err("the URL has a user or a password alone".to_owned()),
        };
        // Plain 80 and 443 are ports that the parser leaves out.
        let is_named = rest
            .split(['/', '?'])
            .next()
            .and_then(|authority| authority.rsplit('@').next())
            .is_some_and(|place| place.rsplit(']').next().unwrap_or(place).contains(':'));
        let port = match url.port_or_known_default() {
            Some(port) if is_named => port,
            _ => DEFAULT_PORT,
        };
        let base = Url::parse(&format!("{scheme}://{host}:{port}/")).map_err(|_| "the URL is malformed")?;
        Ok(Self {
            base,
            user,
            prefix: prefix(url.path())?,
            authorities,
        })
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| "the user or the password is not UTF-8".to_owned())
}

/// What names of indexes may begin with: Elasticsearch wants them in lower case.
fn prefix(path: &str) -> Result<String, String> {
    let prefix = path.trim_matches('/');
    if prefix.is_empty() {
        return Ok(DEFAULT_PREFIX.to_owned());
    }
    let is_fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let starts_well = prefix.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if starts_well && prefix.len() <= PREFIX_LIMIT && prefix.bytes().all(is_fine) {
        return Ok(prefix.to_owned());
    }
    Err(format!(
        "the path, which names of indexes begin with, is not made of 1 to {PREFIX_LIMIT} of a-z, 0-9, - and _, the first a letter or digit"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_user_prefix_and_authorities() {
        let url =
            "elasticsearch+https://ann:p%40ss%C3%BC@search.example:9243/shop-1?ca=%2Fetc%2Fsouk%2Fca.pem";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.base.as_str(), "https://search.example:9243/");
        assert_eq!(address.user, Some(("ann".into(), "p@ssü".into())));
        assert_eq!(address.prefix, "shop-1");
        assert_eq!(address.authorities, Some("/etc/souk/ca.pem".into()));
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        for (url, base) in [
            ("elasticsearch://host", "http://host:9200/"),
            ("elasticsearch://[::1]/", "http://[::1]:9200/"),
            ("elasticsearch://[::1]:19200/", "http://[::1]:19200/"),
            ("elasticsearch+https://host", "https://host:9200/"),
            // The ports of HTTP, where they are named.
            ("elasticsearch+https://ann:a%3Ab@host:443", "https://host/"),
            ("elasticsearch://host:80/", "http://host/"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.base.as_str(), base, "{url}");
            assert_eq!(address.prefix, DEFAULT_PREFIX, "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_without_their_password() {
        let long = format!("elasticsearch://ann:secret@host/{}", "x".repeat(PREFIX_LIMIT + 1));
        for url in [
            "http://ann:secret@host",
            "elasticsearch://ann:secret@",
            "elasticsearch://ann:secret@host:port",
            "elasticsearch://ann@host/secret",
            "elasticsearch://:secret@host",
            "elasticsearch://ann:secret@host/Shop",
            "elasticsearch://ann:secret@host/_shop",
            "elasticsearch://ann:secret@host/a/b",
            "elasticsearch://ann:secret@host/a*",
            "elasticsearch://ann:secret@host/#a",
            "elasticsearch://ann:secret@host?ca=ca.pem",
            "elasticsearch+https://ann:secret@host?ca=",
            "elasticsearch+https://ann:secret@host?ca=a&ca=b",
            "elasticsearch+https://ann:secret@host?insecure=true",
            "elasticsearch+https://ann:%ffsecret@host",
            "secret",
            &long,
        ] {
            let error = Address::parse(url).err().unwrap();
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }
}
