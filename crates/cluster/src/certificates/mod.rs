//! Certificates of nodes: a development CA for `souk certs`, and the TLS configurations that every link uses.
//!
//! TLS 1.3 only, both sides show a certificate of the cluster's CA, and a certificate carries the name of its node. The
//! dialer verifies the name of the node it dials; the acceptor verifies the name that the dialer claims
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

/// What follows a node's name in its certificate, so that a node may be called as any real host.
const NAME_SUFFIX: &str = "node.souk.internal";

/// The application protocol of a link; another version of the prelude gets another number.
const APPLICATION_PROTOCOL: &[u8] = b"souk-link/2";

/// Longest name of a node: one label of a DNS name (RFC 1035, section 2.3.4).
pub const NODE_NAME_LIMIT: usize = 63;

const CA_CERTIFICATE_FILE: &str = "ca.pem";

/// Why there are no usable certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The name cannot stand in a certificate.
    #[error(
        "`{0}` is no name for a node: use 1 to {NODE_NAME_LIMIT} of a-z, 0-9 and hyphens, with no hyphen at either end, but not `ca`"
    )]
    NodeName(String),
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file holds no PEM of the expected kind.
    #[error("{} holds no usable PEM", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate could not be made.
    #[error("the certificate could not be made")]
    Generate(#[from] rcgen::Error),
    /// The CA in the folder is not one that `souk certs` made.
    #[error("{} is not a CA that `souk certs` made, or its key is another's", path.display())]
    ForeignCa {
        /// The CA's certificate.
        path: PathBuf,
        /// Why a new leaf does not verify against it.
        #[source]
        source: rustls::Error,
    },
    /// Certificate, key and CA do not fit together, or are no longer valid.
    #[error("the certificates cannot be used for TLS")]
    Tls(#[from] rustls::Error),
    /// The CA is of no use for verifying others.
    #[error("the CA cannot be used to verify others")]
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

/// Whether a node may be called so: one lower-case DNS label.
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
        // Its files would be those of the CA.
        && name != "ca";
    if well_formed {
        Ok(())
    } else {
        Err(CertificateError::NodeName(name.to_owned()))
    }
}

/// The name that a node's certificate carries.
///
/// # Errors
/// [`CertificateError::NodeName`].
pub fn server_name(node: &str) -> Result<ServerName<'static>, CertificateError> {
    check_node_name(node)?;
    ServerName::try_from(format!("{node}.{NAME_SUFFIX}"))
        .map_err(|_| CertificateError::NodeName(node.to_owned()))
}

/// Whether the certificate that a peer showed is that of `node`. The handshake has already verified that the cluster's CA
/// signed it.
///
/// # Errors
/// [`CertificateError::Tls`] where it is another's, [`CertificateError::NodeName`] where no certificate can be that node's.
pub fn verify_node(certificate: &CertificateDer<'_>, node: &str) -> Result<(), CertificateError> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(rustls::client::verify_server_name(&parsed, &server_name(node)?)?)
}

/// Loads the files that [`generate`] made (or that an operator's own CA did) for one node of a folder.
///
/// # Errors
/// [`CertificateError`] where a file is missing or the three do not fit together.
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
/// [`CertificateError`] where a file is missing or the three do not fit together.
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
    // Links live long: a resumed session would save one handshake and keep an older verification of the certificate.
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

/// A configuration under which no handshake ever succeeds: it has no certificate to show. For listeners that a library
/// insists on and nobody may use.
///
/// # Errors
/// [`CertificateError::Tls`] where the provider has no TLS 1.3, which this one has.
pub fn refusing_server() -> Result<ServerConfig, CertificateError> {
    Ok(ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new())))
}

/// The configuration of an HTTP client that trusts the authorities of a file, and nobody without one.
///
/// # Errors
/// [`CertificateError`] where the file can't be read or holds no certificate.
pub fn http_client(authority: Option<&Path>) -> Result<ClientConfig, CertificateError> {
    let trusted = authority.map_or_else(|| Ok(RootCertStore::empty()), roots)?;
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth())
}

/// The one implementation of cryptography: rustls is told of it everywhere, and looks for none by itself.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
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
        // The handshake verifies with the machine's clock, so what it verifies has to be made by the same.
        jiff::Timestamp::now()
    }

    #[test]
    fn a_certificate_is_good_for_its_own_node_only() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), &["n1"], now()).unwrap();
        let leaf = certificates(&folder.path().join("n1.pem")).unwrap().remove(0);
        verify_node(&leaf, "n1").unwrap();
        assert!(matches!(verify_node(&leaf, "n2"), Err(CertificateError::Tls(_))));
    }

    #[test]
    fn a_key_of_another_node_is_refused_at_loading() {
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
    }

    #[test]
    fn names_of_nodes_are_single_dns_labels() {
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
