//! TLS for clients: certificates that are reloaded while the listener runs, and handshakes within limits.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::CertificateFiles;
use crate::digest;
use souk_cluster::certificates::{CertificateError, file_error, pem_error, provider};

/// How often the files are read again.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The one application protocol supported.
const HTTP_1_1: &[u8] = b"http/1.1";

/// A digest of the content of both files: independent of file times.
type Fingerprint = String;

/// The certificate of a listener: the last usable one of its files.
pub struct Certificate {
    files: CertificateFiles,
    current: ArcSwap<Current>,
}

struct Current {
    /// Of the files when they were last read, usable or not.
    seen: Option<Fingerprint>,
    key: Arc<CertifiedKey>,
}

/// The result of reading the files again.
#[derive(Debug)]
pub enum Look {
    /// Unchanged.
    Same,
    /// A new certificate, for new connections.
    Replaced,
    /// The files changed and are unusable; the old certificate stays. Reported once per change.
    Broken(CertificateError),
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CertificateError`] where they can't be read or don't fit together.
    pub fn load(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let content = Content::read(files)?;
        let key = Arc::new(content.certified(files)?);
        Ok(Self {
            files: files.clone(),
            current: ArcSwap::from_pointee(Current {
                seen: Some(content.fingerprint()),
                key,
            }),
        })
    }

    /// Reads the files again, and uses a new certificate. Blocking: not for the threads of a runtime.
    pub fn look(&self) -> Look {
        let current = self.current.load_full();
        let (seen, key) = match Content::read(&self.files) {
            Ok(content) => {
                let fingerprint = content.fingerprint();
                if current.seen.as_ref() == Some(&fingerprint) {
                    return Look::Same;
                }
                (Some(fingerprint), content.certified(&self.files))
            }
            // Missing files are one state, however often it is met.
            Err(_) if current.seen.is_none() => return Look::Same,
            Err(error) => (None, Err(error)),
        };
        let (key, found) = match key {
            Ok(key) => (Arc::new(key), Look::Replaced),
            Err(error) => (Arc::clone(&current.key), Look::Broken(error)),
        };
        self.current.store(Arc::new(Current { seen, key }));
        found
    }

    /// Reads the files again periodically.
    pub async fn keep_up(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let certificate = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || certificate.look());
            let file = self.files.certificate.display();
            match look.await {
                Ok(Look::Same) => {}
                Ok(Look::Replaced) => tracing::info!(%file, "a new certificate is in use"),
                Ok(Look::Broken(error)) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    %file,
                    key = %self.files.key.display(),
                    "the new certificate can't be used, the old one stays; put a certificate chain and its key there, both PEM"
                ),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a look at the certificates failed; they are looked at again"
                ),
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate")
            .field(&self.files.certificate)
            .finish()
    }
}

/// The content of both files. No `Debug`: it includes a private key.
struct Content {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Content {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let read = |path| std::fs::read(path).map_err(|error| file_error("read", path, error));
        Ok(Self {
            chain: read(&files.certificate)?,
            key: read(&files.key)?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        digest::of_parts(&[&self.chain, &self.key])
    }

    fn certified(&self, files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<_, _>>()
            .map_err(|error| pem_error(&files.certificate, error))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| pem_error(&files.key, error))?;
        Ok(CertifiedKey::from_der(chain, key, &provider())?)
    }
}

/// TLS of one listener.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    handshakes: Arc<Semaphore>,
    limit: Duration,
}

/// Why a connection failed before HTTP.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long: a slow client, or too many at once.
    #[error("the handshake was not done in time")]
    TooSlow,
    /// The client hung up, or supports no TLS version of this listener.
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

impl ServerTls {
    /// TLS 1.2 and 1.3 with this certificate; at most `handshakes` at once, each within `limit`.
    ///
    /// # Errors
    /// [`CertificateError::Tls`] where the provider lacks a protocol version, which this one does not.
    pub fn new(
        certificate: Arc<Certificate>,
        handshakes: usize,
        limit: Duration,
    ) -> Result<Self, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            handshakes: Arc::new(Semaphore::new(handshakes.clamp(1, Semaphore::MAX_PERMITS))),
            limit,
        })
    }

    /// The handshake of a new connection.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = async {
            // A client that has sent nothing takes no permit from those that have.
            let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            // The semaphore is never closed; if it were, handshakes would be uncounted rather than refused.
            let _place = self.handshakes.acquire().await.ok();
            begun.into_stream(Arc::clone(&self.config)).await
        };
        let done = tokio::time::timeout(self.limit, handshake).await;
        done.map_err(|_| HandshakeError::TooSlow)?
            .map_err(HandshakeError::Failed)
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
