//! The URL of a Redis server: `redis[s]://[user][:password@]host[:port][/database][?prefix=PREFIX][&ca=FILE]`.

use std::path::PathBuf;

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// What every key begins with where the URL does not say.
const DEFAULT_PREFIX: &str = "souk:";
/// Longest prefix, in bytes: every key repeats it.
const PREFIX_LIMIT: usize = 64;

/// A server, and what our keys on it begin with.
pub(super) struct Address {
    pub(super) server: ConnectionInfo,
    pub(super) prefix: String,
    /// Whom to trust with TLS: a PEM file, or the system's authorities.
    pub(super) authorities: Option<PathBuf>,
}

impl Address {
    /// Errors don't repeat the URL, which may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let mut url = redis::parse_redis_url(url).ok_or("the URL is malformed")?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err("the URL does not begin with redis:// or rediss://".to_owned());
        }
        // The only one that the crate knows makes TLS accept any certificate.
        if url.fragment().is_some() {
            return Err("the URL has a fragment".to_owned());
        }
        let (mut prefix, mut authorities) = (None, None);
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "prefix" if prefix.is_none() && (1..=PREFIX_LIMIT).contains(&value.len()) => {
                    prefix = Some(value.into_owned());
                }
                "prefix" => return Err(format!("the prefix is not one text of 1 to {PREFIX_LIMIT} bytes")),
                "ca" if url.scheme() == "redis" => return Err("the parameter ca needs rediss://".to_owned()),
                "ca" if authorities.is_none() && !value.is_empty() => {
                    authorities = Some(value.into_owned().into());
                }
                "ca" => return Err("the parameter ca does not name one file".to_owned()),
                _ => {
                    return Err(format!(
                        "the URL has the unknown parameter {name:?}; known are ca and prefix"
                    ));
                }
            }
        }
        url.set_query(None);
        let server = url.into_connection_info().map_err(|error| error.to_string())?;
        // With RESP3, the crate reports the end of a connection that is idle.
        let settings = server
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        Ok(Self {
            server: server.set_redis_settings(settings),
            prefix: prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
            authorities,
        })
    }
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    #[test]
    fn a_url_names_server_database_and_prefix() {
        let address = Address::parse("redis://ann:p%40ss@db.example:7000/3?prefix=shop-1%3A").unwrap();
        assert_eq!(address.prefix, "shop-1:");
        assert_eq!(
            *address.server.addr(),
            ConnectionAddr::Tcp("db.example".into(), 7000)
        );
        let settings = address.server.redis_settings();
        assert_eq!(settings.db(), 3);
        assert_eq!(settings.username(), Some("ann"));
        assert_eq!(settings.password(), Some("p@ss"));

        let address = Address::parse("rediss://db.example").unwrap();
        assert_eq!(address.prefix, DEFAULT_PREFIX);
        let ConnectionAddr::TcpTls {
            host, port, insecure, ..
        } = address.server.addr()
        else {
            panic!("no TLS");
        };
        assert_eq!((host.as_str(), *port, *insecure), ("db.example", 6379, false));
        assert_eq!(address.authorities, None);

        let address = Address::parse("rediss://db.example?ca=%2Fetc%2Fsouk%2Fca.pem&prefix=a").unwrap();
        assert_eq!(address.authorities, Some("/etc/souk/ca.pem".into()));
        assert_eq!(address.prefix, "a");
    }

    #[test]
    fn other_urls_are_refused_without_their_password() {
        let long = format!("redis://:secret@h?prefix={}", "x".repeat(PREFIX_LIMIT + 1));
        for url in [
            "redis://:secret@h?protocol=resp2",
            "redis://:secret@h?prefix=",
            "redis://:secret@h?prefix=a&prefix=b",
            &long,
            "rediss://:secret@h/#insecure",
            "redis://:secret@h?ca=ca.pem",
            "rediss://:secret@h?ca=",
            "rediss://:secret@h?ca=a&ca=b",
            "redis://:secret@h/first",
            "unix:///run/redis.sock?pass=secret",
            "redis://:secret@:6379",
            "secret",
        ] {
            let error = Address::parse(url).err().unwrap();
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }
}
