//! The address of the client that sent a request.
//!
//! A client may write any address into a header; a trusted proxy writes the address of its peer. So a header is trusted
//! only where the peer is a trusted proxy, and it is read from the right: each trusted proxy vouches for the entry that
//! it added, and for no other.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, header};

use crate::config::{Network, counted};

/// The de-facto header of proxies: each appends the address of its peer.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address. Absent where there is no peer: in a router without a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address that rate limits count: an IPv4 address, or the /64 network of an IPv6 address, since the owner of
    /// one address of it owns all.
    pub fn counted(self) -> IpAddr {
        counted(self.0)
    }

    /// The address of a request, set by [`wrap`](crate::http::edge::conventions::wrap).
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    /// The unspecified address where there is no peer: all such requests count as one client.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions).unwrap_or(Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED))))
    }
}

/// The proxies whose forwarding headers are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// The proxies in these networks.
    pub fn new(networks: &[Network]) -> Self {
        Self(Arc::from(networks))
    }

    /// Whether the address belongs to a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether a request through `peer` was made by a proxy itself: it has no forwarding header.
    pub fn speaks_for_itself(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        self.contains(peer.to_canonical())
            && !headers.contains_key(X_FORWARDED_FOR)
            && !headers.contains_key(header::FORWARDED)
    }

    /// The address of the client that sent a request with these headers through `peer`.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        self.named(headers).unwrap_or(peer)
    }

    /// The right-most address that is no trusted proxy; the left-most where all are. `None` where there is none, or an
    /// invalid entry comes first.
    fn named(&self, headers: &HeaderMap) -> Option<IpAddr> {
        // Only one of the two headers: where a proxy writes one, the other comes from the client.
        if headers.contains_key(X_FORWARDED_FOR) {
            let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
            self.walk(values.flat_map(|value| {
                let entries = value.as_bytes().rsplit(|byte| *byte == b',');
                entries.map(|entry| address(std::str::from_utf8(entry).ok()?.trim()))
            }))
        } else {
            let values = headers.get_all(header::FORWARDED).iter().rev();
            self.walk(
                values.flat_map(|value| forwarded(value.to_str().unwrap_or_default()).into_iter().rev()),
            )
        }
    }

    fn walk(&self, entries: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut last = None;
        for entry in entries {
            let entry = entry?;
            if !self.contains(entry) {
                return Some(entry);
            }
            last = Some(entry);
        }
        last
    }

    /// Puts a request's [`ClientAddress`] into its extensions.
    pub(crate) fn mark(&self, extensions: &mut Extensions, headers: &HeaderMap) -> Option<ClientAddress> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let client = ClientAddress(self.client(peer.ip(), headers));
        extensions.insert(client);
        Some(client)
    }
}

/// An address as proxies write it: alone, or with a port; IPv6 in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match in_brackets {
        Some(address) => address.parse().map(IpAddr::V6),
        None => text
            .parse::<IpAddr>()
            .or_else(|_| text.parse().map(|address: SocketAddr| address.ip())),
    };
    Some(address.ok()?.to_canonical())
}

/// The `for` of each element of a `Forwarded` header (RFC 7239); `None` for an element without one, or with a name in
/// place of an address. A header with an unterminated quoted string is ignored: it could make the entry that a proxy
/// appends a part of the string.
fn forwarded(value: &str) -> Vec<Option<IpAddr>> {
    let Some(elements) = outside_of_quotes(value, ',') else {
        return vec![None];
    };
    elements
        .into_iter()
        .map(|element| {
            let pairs = outside_of_quotes(element, ';')?;
            let mut found = pairs.into_iter().filter_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
            });
            let node = found.next().filter(|_| found.next().is_none())?;
            let unquoted = node.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            address(unquoted.unwrap_or(node))
        })
        .collect()
}

/// Splits at a separator outside of quoted strings; `None` where one is unterminated.
fn outside_of_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(&text[start..index]);
                start = index + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        let networks: Vec<Network> = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        TrustedProxies::new(&networks)
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn client(peer: &str, pairs: &[(HeaderName, &str)]) -> String {
        trusted()
            .client(peer.parse().unwrap(), &headers(pairs))
            .to_string()
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let of = |value| client("127.0.0.1", &[(X_FORWARDED_FOR, value)]);
        assert_eq!(of("203.0.113.9"), "203.0.113.9");
        assert_eq!(of("1.2.3.4, 203.0.113.9"), "203.0.113.9");
        assert_eq!(of("1.2.3.4, 203.0.113.9, 10.0.0.1,10.0.0.2"), "203.0.113.9");
        assert_eq!(of("203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(of("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(of("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
        // All of it is ours: the first is as far as it goes back.
        assert_eq!(of("10.0.0.7, 10.0.0.1"), "10.0.0.7");
        let lines = [
            (X_FORWARDED_FOR, "1.2.3.4"),
            (X_FORWARDED_FOR, "203.0.113.9, 10.0.0.1"),
        ];
        assert_eq!(client("10.9.9.9", &lines), "203.0.113.9");
    }

    #[test]
    fn what_is_no_address_leaves_the_peer() {
        for garbage in [
            "",
            ",",
            "unknown",
            "1.2.3.4, unknown",
            "1.2.3.4,",
            "999.1.1.1",
            "1.2.3.4, é",
            "a, 10.0.0.1",
        ] {
            assert_eq!(
                client("10.0.0.5", &[(X_FORWARDED_FOR, garbage)]),
                "10.0.0.5",
                "{garbage}"
            );
        }
        assert_eq!(client("10.0.0.5", &[]), "10.0.0.5");
    }

    #[test]
    fn forwarded_is_used_without_x_forwarded_for() {
        let of = |value| client("127.0.0.1", &[(header::FORWARDED, value)]);
        assert_eq!(of("for=203.0.113.9;proto=https;by=10.0.0.1"), "203.0.113.9");
        assert_eq!(
            of("for=1.2.3.4, For=\"[2001:db8::1]:4711\", for=10.0.0.1"),
            "2001:db8::1"
        );
        assert_eq!(of("for=\"1.2.3.4, 10.0.0.3\""), "127.0.0.1");
        for garbage in [
            "for=_hidden",
            "for=unknown",
            "proto=http",
            "for=1.2.3.4;for=5.6.7.8",
            "for=\"1.2.3.4",
            "for=6.6.6.6;a=\", for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(of(garbage), "127.0.0.1", "{garbage}");
        }
        let both = [
            (header::FORWARDED, "for=6.6.6.6"),
            (X_FORWARDED_FOR, "203.0.113.9"),
        ];
        assert_eq!(client("127.0.0.1", &both), "203.0.113.9");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let of = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("203.0.113.9"), "203.0.113.9");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
        ]
    }

    fn stranger() -> impl Strategy<Value = IpAddr> {
        any_address()
            .prop_map(|address| address.to_canonical())
            .prop_filter("no proxy", |address| !trusted().contains(*address))
    }

    fn proxy() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
            any::<u64>().prop_map(|bits| IpAddr::V6((0xfd00_u128 << 112 | u128::from(bits)).into())),
        ]
    }

    proptest! {
        #[test]
        fn a_stranger_never_chooses_its_address(
            peer in stranger(),
            said in prop::collection::vec("[ -~]{0,40}", 0..4),
            addresses in prop::collection::vec(any_address(), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            let addresses = addresses.iter().map(ToString::to_string);
            for value in said.into_iter().chain(addresses) {
                let value = HeaderValue::from_str(&value).unwrap();
                headers.append(X_FORWARDED_FOR, value.clone());
                headers.append(header::FORWARDED, value);
            }
            prop_assert_eq!(trusted().client(peer, &headers), peer);
        }

        /// Whatever a client says: behind a chain of proxies that each add whom they saw, it is known by its own address.
        #[test]
        fn clients_can_not_spoof_their_address(
            said in prop::collection::vec("(for=6\\.6\\.6\\.6|[;,=\"\\\\]|[ -~]){0,12}", 0..3),
            client in stranger(),
            chain in prop::collection::vec(proxy(), 1..5),
            in_one_line in any::<bool>(),
            standard in any::<bool>(),
        ) {
            // A proxy that writes Forwarded removes the other; see docs/operations.md.
            let name = if standard { header::FORWARDED } else { X_FORWARDED_FOR };
            let mut lines: Vec<String> = said;
            // Each proxy but the last, which is the peer, is seen by the next.
            for seen in std::iter::once(&client).chain(&chain[..chain.len() - 1]) {
                let entry = match (standard, seen) {
                    (true, IpAddr::V6(address)) => format!("for=\"[{address}]\""),
                    (true, IpAddr::V4(address)) => format!("for={address}"),
                    (false, address) => address.to_string(),
                };
                match lines.last_mut() {
                    Some(line) if in_one_line => { line.push_str(", "); line.push_str(&entry); }
                    _ => lines.push(entry),
                }
            }
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, HeaderValue::from_str(&line).unwrap());
            }
            let peer = *chain.last().unwrap();
            let found = trusted().client(peer, &headers);
            // A quote that the client leaves open spoils its own line, and the peer is what is left.
            prop_assert!(found == client || (standard && in_one_line && found == peer.to_canonical()), "{found}");
        }

        #[test]
        fn any_header_gives_some_address(value in "\\PC{0,60}", peer in any_address()) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                let headers = HeaderMap::from_iter([(header::FORWARDED, value)]);
                let found = trusted().client(peer, &headers);
                prop_assert_eq!(found, found.to_canonical());
            }
        }
    }
}
