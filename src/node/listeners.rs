//! The HTTP listeners of a node: sockets, certificates, servers.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::assembly::Assembly;
use super::root::ChildSpec;
use super::service::{Run, endless};
use crate::config::{CertificateFiles, Limits};
use crate::http::edge::settings::ServerSettings;
use crate::http::edge::tls::{Certificate, LOOK_INTERVAL, ServerTls};

/// Binds a listener whose clones survive a restart of the actor that serves it.
pub(super) fn bind(address: SocketAddr, what: &'static str) -> Result<Arc<TcpListener>, NodeError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Arc::new(listener))
    };
    bind().map_err(|cause| NodeError::Bind { address, what, cause })
}

/// TLS of a listener, and its certificate, which is reloaded when it changes.
#[derive(Clone)]
pub(super) struct ListenerTls {
    certificate: Arc<Certificate>,
    server: ServerTls,
}

impl ListenerTls {
    /// TLS with these files; `None` without files. `what` says whom the listener is for.
    pub(super) fn load(
        files: Option<&CertificateFiles>,
        limits: &Limits,
        what: &'static str,
    ) -> Result<Option<Self>, NodeError> {
        let load = |files| {
            let certificate = Arc::new(Certificate::load(files)?);
            let server = ServerTls::new(
                Arc::clone(&certificate),
                limits.tls_handshakes,
                limits.tls_handshake_ms.duration(),
            )?;
            Ok(Self { certificate, server })
        };
        files
            .map(load)
            .transpose()
            .map_err(|cause| NodeError::ListenerCertificate { what, cause })
    }

    /// Reloads the certificate when its files change.
    pub(super) fn reload(&self) -> Run {
        let certificate = Arc::clone(&self.certificate);
        endless(move || Arc::clone(&certificate).keep_up(LOOK_INTERVAL))
    }
}

impl Assembly {
    pub(super) fn listener(
        &self,
        name: &'static str,
        listener: &Arc<TcpListener>,
        tls: Option<&ListenerTls>,
        router: Router,
        ended: CancellationToken,
    ) -> ChildSpec {
        let server = ServerSettings::new(
            &self.config.limits,
            &self.config.gateway,
            tls.map(|tls| tls.server.clone()),
        );
        let ending = self.shutdown.clone();
        let listener = Arc::clone(listener);
        let run: Run = Arc::new(move |shutdown| {
            let (router, server, ending) = (router.clone(), server.clone(), ending.clone());
            let listener = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
            async move {
                crate::http::edge::server::serve(listener?, router, server, shutdown, ending).await;
                Ok(())
            }
            .boxed()
        });
        self.service(name, "listener", run, ended)
    }
}
