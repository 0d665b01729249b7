//! https: the server proves itself by the system's CAs, or by those of `tls.ca`. The CAs are read when first needed.

use super::connection::Stream;
use super::{CONNECT, FetchError};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub(super) struct Tls {
    ca: Vec<Vec<u8>>,
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("ca", &self.ca.len()).finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn new(ca: Vec<Vec<u8>>) -> Self {
        Self { ca, config: OnceLock::new() }
    }

    pub(super) async fn wrap(&self, stream: TcpStream, host: &str) -> Result<Stream, FetchError> {
        let failed = |problem: String| FetchError::Tls { host: host.to_owned(), problem };
        let config = self.config.get_or_init(|| client(&self.ca)).clone().map_err(failed)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| failed(error.to_string()))?;
        let shaken = timeout(CONNECT, TlsConnector::from(config).connect(name, stream)).await;
        let stream = shaken.map_err(|_| FetchError::Slow(CONNECT))?.map_err(|error| failed(error.to_string()))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn client(ca: &[Vec<u8>]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if ca.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        roots.add_parsable_certificates(ca.iter().map(|der| CertificateDer::from(der.clone())));
    }
    if roots.is_empty() {
        return Err("there is no CA that could prove the server; name one in tls.ca".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
