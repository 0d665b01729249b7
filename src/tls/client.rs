//! How next hops are proven: the system's CAs, named ones, or one certificate by its fingerprint.
//!
//! Where nobody has to be proven any certificate will do: the channel is then safe from who only listens (RFC 7435).
//! Configurations are made when they are first needed, and kept with the sessions that may be resumed.

use crate::config::{Server, ServerSettings, TlsIdentity};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a handshake has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing.
    Nobody,
    /// That the server is the one that was meant.
    Server,
}

/// A server that `[[server]]` speaks of, by its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known(usize);

/// Why TLS can't begin. All of it is the operator's affair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The name that the certificate must bear is none.
    #[error("`{0}` is no name of a server")]
    Name(String),
    /// Nothing to prove servers by.
    #[error("there is no CA that could prove a server: install the system's, or set `tls.ca`")]
    NoAuthorities,
    /// An identity or a CA that rustls does not take.
    #[error("TLS can't be set up: {0}")]
    SetUp(String),
}

/// Configurations for all next hops.
#[derive(Debug)]
pub struct Clients {
    /// DER; empty: the system's.
    authorities: Vec<Vec<u8>>,
    servers: Vec<ServerSettings>,
    made: Mutex<Made>,
}

/// By whom it is for and what it proves.
type Made = HashMap<(Option<Known>, Proof), Arc<ClientConfig>>;

impl Clients {
    /// `authorities` prove whoever has no CAs or fingerprint of his own; empty: the system's do.
    pub fn new(authorities: Vec<Vec<u8>>, servers: Vec<ServerSettings>) -> Self {
        Self { authorities, servers, made: Mutex::new(HashMap::new()) }
    }

    /// Whether something is known of a server of the configuration.
    pub fn find(&self, server: &Server) -> Option<Known> {
        let fits =
            |known: &ServerSettings| known.host == server.host && known.port.is_none_or(|port| port == server.port);
        self.servers.iter().position(fits).map(Known)
    }

    /// What is known.
    pub fn settings(&self, known: Known) -> Option<&ServerSettings> {
        self.servers.get(known.0)
    }

    /// What to begin a handshake with: the configuration, and the name that is asked for and, for [`Proof::Server`], proven.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn handshake(
        &self,
        host: &str,
        known: Option<Known>,
        proof: Proof,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
        let settings = known.and_then(|known| self.settings(known));
        let name = settings.and_then(|settings| settings.name.as_deref()).unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        let key = (known, proof);
        if let Some(made) = self.made().get(&key) {
            return Ok((Arc::clone(made), name));
        }
        let config = Arc::new(self.make(settings, proof)?);
        Ok((Arc::clone(self.made().entry(key).or_insert(config)), name))
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, settings: Option<&ServerSettings>, proof: Proof) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let check = match (proof, settings.and_then(|settings| settings.fingerprint)) {
            (Proof::Nobody, _) => Check::Nothing,
            (Proof::Server, Some(sha256)) => Check::Fingerprint(sha256),
            (Proof::Server, None) => {
                let own = settings.map(|settings| &settings.ca).filter(|ca| !ca.is_empty());
                Check::Path(path(own.unwrap_or(&self.authorities), &provider)?)
            }
        };
        let verifier = Arc::new(Verifier { check, provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(set_up)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match settings.and_then(|settings| settings.identity.as_ref()) {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => {
                let (chain, key) = shown(identity)?;
                builder.with_client_auth_cert(chain, key).map_err(set_up)
            }
        }
    }
}

fn set_up(error: impl std::fmt::Display) -> TlsError {
    TlsError::SetUp(error.to_string())
}

fn shown(identity: &TlsIdentity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(identity.key.as_slice()).map_err(set_up)?.clone_key();
    Ok((chain, key))
}

/// Proves by certification path and name.
fn path(authorities: &[Vec<u8>], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    if authorities.is_empty() {
        // One that can't be read is no reason to do without the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for der in authorities {
        roots.add(CertificateDer::from(der.clone())).map_err(set_up)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().map_err(set_up)
}

#[derive(Debug)]
enum Check {
    Nothing,
    /// SHA-256 of the certificate's DER.
    Fingerprint([u8; 32]),
    Path(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// A certificate that nobody looks at need not fit its signature either: whoever is in between could show his own.
    /// Some old servers have certificates that can't be read, and are still better reached this way than in plain text.
    fn handshake_signature(
        &self,
        verify: impl FnOnce(&WebPkiSupportedAlgorithms) -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.check {
            Check::Nothing => Ok(HandshakeSignatureValid::assertion()),
            Check::Fingerprint(_) | Check::Path(_) => verify(&self.provider.signature_verification_algorithms),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::Fingerprint(sha256) if crate::crypto::sha256(end_entity) == *sha256 => {
                Ok(ServerCertVerified::assertion())
            }
            Check::Fingerprint(_) => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
            Check::Path(path) => path.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake_signature(|algorithms| verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake_signature(|algorithms| verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// `TLSv1.3 TLS_AES_256_GCM_SHA384`, and `verified` where the server was proven.
pub fn describe(connection: &ClientConnection, proof: Proof) -> String {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let proven = if proof == Proof::Server { " verified" } else { "" };
    format!("{version} {}{proven}", suite.replace("TLS13_", "TLS_"))
}
