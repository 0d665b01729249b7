//! What a listener shows: certificates chosen by SNI; and whose client certificates it takes.
//!
//! Everything is made from one configuration, or nothing is: a certificate or list that can't be used stops a start or a
//! reload. ALPN is neither offered nor looked at.

use crate::config::{ClientCertificates, Config, ListenerTls, TlsIdentity};
use crate::mail::Address;
use der::Decode;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What is wrong with certificates, keys or lists.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate of `[tls]` and its key.
    #[error("`tls`: a certificate and its key cannot be used: {0}")]
    Identity(String),
    /// A listener's `client_ca` or `client_crls`.
    #[error("listener `{0}`: `client_ca` or `client_crls` cannot be used: {1}")]
    ClientCa(String, String),
}

/// The TLS of each listener, in the order of the configuration; none where there is no TLS.
#[derive(Clone, Debug, Default)]
pub struct Listeners(Vec<Option<Arc<ServerConfig>>>);

impl Listeners {
    /// Makes all of them.
    ///
    /// # Errors
    /// The first thing that can't be used.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let keys = config.tls.iter().map(|identity| certified(identity, &provider)).collect::<Result<Vec<_>, _>>()?;
        let identities = Arc::new(Identities(keys));
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            if listener.tls == ListenerTls::Off {
                listeners.push(None);
                continue;
            }
            let clients = clients(&listener.client_certificates, &provider)
                .map_err(|why| TlsError::ClientCa(listener.name.clone(), why))?;
            let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
                .map_err(|error| TlsError::Identity(error.to_string()))?;
            let resolver = Arc::clone(&identities);
            listeners.push(Some(Arc::new(versions.with_client_cert_verifier(clients).with_cert_resolver(resolver))));
        }
        Ok(Self(listeners))
    }

    /// Of the listener at this place in the configuration.
    pub fn of(&self, index: usize) -> Option<&Arc<ServerConfig>> {
        self.0.get(index).and_then(Option::as_ref)
    }
}

fn certified(identity: &TlsIdentity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let failed = |error: &dyn std::fmt::Display| TlsError::Identity(error.to_string());
    let key = PrivateKeyDer::try_from(identity.key.as_slice()).map_err(|error| failed(&error))?;
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    CertifiedKey::from_der(chain, key.clone_key(), provider).map(Arc::new).map_err(|error| failed(&error))
}

/// Without CAs nobody is asked for a certificate. With a CRL, a status that is unknown, or known from a list that is too old,
/// is no status; who shows no certificate is not refused here.
fn clients(
    settings: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if settings.anchors.is_empty() {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    for anchor in &settings.anchors {
        roots.add(CertificateDer::from(anchor.clone())).map_err(|error| error.to_string())?;
    }
    let crls = settings.crls.iter().map(|crl| CertificateRevocationListDer::from(crl.clone()));
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(crls)
        .enforce_revocation_expiration()
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())
}

/// The certificates of `[tls]`.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Identities {
    /// The first certificate that bears the name that the client wants (RFC 6125) and whose key signs as it can read; the
    /// first of all for who names nothing that we are: to break off would help nobody who sends mail.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let readable = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = name.and_then(|name| self.0.iter().filter(readable).find(|one| bears(one, &name)));
        named.or_else(|| self.0.iter().find(readable)).or(self.0.first()).cloned()
    }
}

fn bears(one: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = one.end_entity_cert().ok().and_then(|certificate| ParsedCertificate::try_from(certificate).ok());
    parsed.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// Protocol and cipher suite, as in `Received`: `TLSv1.3 TLS_AES_256_GCM_SHA384`.
pub fn describe(connection: &ServerConnection) -> String {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    format!("{version} {}", suite.replace("TLS13_", "TLS_"))
}

/// The name in the certificate that the client has shown and the handshake has verified.
pub fn client(connection: &ServerConnection) -> Option<String> {
    connection.peer_certificates()?.first().and_then(|certificate| identity(certificate))
}

/// The first rfc822Name of a certificate, else its first dNSName, in lower case; none that could be read as another's.
fn identity(certificate: &[u8]) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let (_, names) = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()??;
    let mail = |name: &GeneralName| match name {
        GeneralName::Rfc822Name(text) => Address::parse(text.as_str()).ok().map(|address| address.as_str().to_owned()),
        _ => None,
    };
    let host = |name: &GeneralName| match name {
        GeneralName::DnsName(text) if crate::config::value::is_host_name(text.as_str()) => {
            Some(text.as_str().to_ascii_lowercase())
        }
        _ => None,
    };
    names.0.iter().find_map(mail).or_else(|| names.0.iter().find_map(host))
}

#[cfg(test)]
mod tests;
