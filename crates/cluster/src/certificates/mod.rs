//! Certificates of nodes: a development CA for `souk certs`, and the TLS configurations that every link uses.
//!
//! TLS 1.3 only. Both sides show a certificate of the cluster's CA, and a certificate contains the name of its node. The
//! dialer verifies the name of the node that it dials; the acceptor verifies the name that the dialer claims
//! ([`verify_node`]), because rustls checks names on the dialing side only.

mod authority;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub use authority::generate;

/// The suffix of a node's name in its certificate, so that it can't collide with a real host.
const NAME_SUFFIX: &str = "node.souk.internal";

/// The application protocol of a link; another version of the handshake gets another number.
const APPLICATION_PROTOCOL: &[u8] = b"souk-link/3";

/// Longest name of a node: one label of a DNS name (RFC 1035, section 2.3.4).
pub const NODE_NAME_LIMIT: usize = 63;

const CA_CERTIFICATE_FILE: &str = "ca.pem";

/// Why certificates can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not a valid node name.
    #[error(
        "`{0}` is not a valid node name: use 1 to {NODE_NAME_LIMIT} of a-z, 0-9 and hyphens, no hyphen at either end, and not `ca`"
    )]
    NodeName(String),
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file holds no PEM of the expected kind.
    #[error("{} holds no usable PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate could not be created.
    #[error("cannot create the certificate")]
    Generate(#[from] rcgen::Error),
    /// The CA in the folder was not created by `souk certs`.
    #[error("{} was not created by `souk certs`, or its key does not match", path.display())]
    ForeignCa {
        /// The CA's certificate.
        path: PathBuf,
        /// Why a new leaf does not verify against it.
        #[source]
        source: rustls::Error,
    },
    /// Certificate, key and CA do not match, or have expired.
    #[error("the certificates cannot be used for TLS")]
    Tls(#[from] rustls::Error),
    /// The CA can't be used for verification.
    #[error("the CA cannot be used for verification")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Both TLS configurations of a node.
#[derive(Clone, Debug)]
pub struct NodeTls {
    /// For links that others open.
    pub server: Arc<ServerConfig>,
    /// For links that this node opens.
    pub client: Arc<ClientConfig>,
}

/// Checks that a node name is one lower-case DNS label.
///
/// # Errors
/// [`CertificateError::NodeName`].
pub fn check_node_name(name: &str) -> Result<(), CertificateError> {
    let well_formed = (1..=NODE_NAME_LIMIT).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        // Its files would overwrite those of the CA.
        && name != "ca";
    if well_formed {
        Ok(())
    } else {
        Err(CertificateError::NodeName(name.to_owned()))
    }
}

/// The name in a node's certificate.
///
/// # Errors
/// [`CertificateError::NodeName`].
pub fn server_name(node: &str) -> Result<ServerName<'static>, CertificateError> {
    check_node_name(node)?;
    ServerName::try_from(format!("{node}.{NAME_SUFFIX}"))
        .map_err(|_| CertificateError::NodeName(node.to_owned()))
}

/// Checks that a peer's certificate belongs to `node`. TLS has already verified that the cluster's CA signed it.
///
/// # Errors
/// [`CertificateError::Tls`] if it belongs to another node, [`CertificateError::NodeName`] if the name is not valid.
pub fn verify_node(certificate: &CertificateDer<'_>, node: &str) -> Result<(), CertificateError> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(rustls::client::verify_server_name(&parsed, &server_name(node)?)?)
}

/// Loads the files of a node from a folder, as created by [`generate`] or by an operator's own CA.
///
/// # Errors
/// [`CertificateError`] if a file is missing or the three do not match.
pub fn load_directory(directory: &Path, node: &str) -> Result<NodeTls, CertificateError> {
    check_node_name(node)?;
    load(
        &directory.join(CA_CERTIFICATE_FILE),
        &directory.join(format!("{node}.pem")),
        &directory.join(format!("{node}.key")),
    )
}

/// Loads the CA's certificate, a node's certificate chain and its key.
///
/// # Errors
/// [`CertificateError`] if a file is missing or the three do not match.
pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<NodeTls, CertificateError> {
    let roots = Arc::new(roots(ca)?);
    let chain = certificates(certificate)?;
    let key = private_key(key)?;
    let versions = &[&rustls::version::TLS13];
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider()).build()?;
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())?;
    // Links live long: resumption would save one handshake and skip a new verification of the certificate.
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
    Ok(NodeTls {
        server: Arc::new(server),
        client: Arc::new(client),
    })
}

/// A configuration without a certificate, so that every handshake fails. For a listener that a library requires and nobody
/// may use.
///
/// # Errors
/// [`CertificateError::Tls`] if the provider has no TLS 1.3, which this one has.
pub fn refusing_server() -> Result<ServerConfig, CertificateError> {
    Ok(ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new())))
}

/// The configuration of an HTTP client that trusts the CAs of a file; without a file it trusts none.
///
/// # Errors
/// [`CertificateError`] if the file can't be read or contains no certificate.
pub fn http_client(authority: Option<&Path>) -> Result<ClientConfig, CertificateError> {
    let trusted = authority.map_or_else(|| Ok(RootCertStore::empty()), roots)?;
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth())
}

/// The implementation of cryptography, given to rustls explicitly everywhere.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The text of a file of CAs in PEM.
///
/// # Errors
/// [`CertificateError`] if the file can't be read or contains no certificate of a CA.
pub fn authorities(ca: &Path) -> Result<String, CertificateError> {
    roots(ca)?;
    read(ca)
}

fn roots(ca: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    if roots.is_empty() {
        return Err(pem_error(ca, rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(read(path)?.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| pem_error(path, source))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(read(path)?.as_bytes()).map_err(|source| pem_error(path, source))
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path).map_err(|source| file_error("read", path, source))
}

/// The error of an operation on a file.
pub fn file_error(action: &'static str, path: &Path, source: io::Error) -> CertificateError {
    CertificateError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// The error of a file without usable PEM.
pub fn pem_error(path: &Path, source: rustls::pki_types::pem::Error) -> CertificateError {
    CertificateError::Pem {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> jiff::Timestamp {
        // TLS verifies against the system's clock.
        jiff::Timestamp::now()
    }

    #[test]
    fn a_certificate_is_valid_for_its_node_only() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), &["n1"], now()).unwrap();
        let leaf = certificates(&folder.path().join("n1.pem")).unwrap().remove(0);
        verify_node(&leaf, "n1").unwrap();
        assert!(matches!(verify_node(&leaf, "n2"), Err(CertificateError::Tls(_))));
    }

    #[test]
    fn the_key_of_another_node_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), &["n1", "n2"], now()).unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(
            load(&path("ca.pem"), &path("n1.pem"), &path("n2.key")),
            Err(CertificateError::Tls(_))
        ));
        assert!(matches!(
            load(&path("ca.pem"), &path("n1.pem"), &path("none.key")),
            Err(CertificateError::File { .. })
        ));
        assert!(matches!(
            load(&path("ca.pem"), &path("n1.pem"), &path("ca.pem")),
            Err(CertificateError::Pem { .. })
        ));
        assert_eq!(
            authorities(&path("ca.pem")).unwrap(),
            read(&path("ca.pem")).unwrap()
        );
        // A key is no authority, and one that trusts nobody would fail at every connection only.
        assert!(matches!(
            authorities(&path("n1.key")),
            Err(CertificateError::Pem { .. })
        ));
    }

    #[test]
    fn node_names_are_dns_labels() {
        for good in ["n1", "a", "east-2", "9"] {
            check_node_name(good).unwrap();
        }
        for bad in ["", "N1", "a.b", "-a", "a-", "a/b", "..", "ca", &"x".repeat(64)] {
            assert!(
                matches!(check_node_name(bad), Err(CertificateError::NodeName(_))),
                "{bad}"
            );
        }
    }
}
