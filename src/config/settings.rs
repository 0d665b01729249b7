//! Checked values of the parts that face the network: TLS, logins, limits per client, DNS, fetching, DKIM.
//!
//! Files are read by `check`; here stand their contents. Private keys are zeroised and never printed.

use super::Network;
use crate::mail::{Address, Domain};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A certificate with its chain, and its private key, for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// DER, the end entity first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, PKCS#1 or SEC 1, DER.
    pub key: Arc<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// TLS on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// None.
    Off,
    /// STARTTLS is offered (RFC 3207).
    StartTls,
    /// From the first octet (RFC 8314).
    Implicit,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616
    Plain,
    /// RFC 4422 appendix A: the client certificate.
    External,
}

/// Whose client certificates are accepted on a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificates {
    /// CAs, DER; empty: no client certificate is asked for.
    pub anchors: Vec<Vec<u8>>,
    /// Their CRLs, DER. With one, a certificate of unknown status is refused.
    pub crls: Vec<Vec<u8>>,
}

/// Who may log in by AUTH PLAIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The authentication identity, compared octet by octet.
    pub name: String,
    /// PHC string of Argon2.
    pub hash: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is known about a server named in `deliver_to`, `route` or `[[route]]`: `[[server]]`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Host name in lower case, or an IP address.
    pub host: String,
    /// Port; none: any.
    pub port: Option<u16>,
    /// Only these CAs prove it, DER; empty: the ones of `tls.ca`, else the system's.
    pub ca: Vec<Vec<u8>>,
    /// Only this certificate proves it: SHA-256 of its DER.
    pub fingerprint: Option<[u8; 32]>,
    /// The name that its certificate must bear; none: its host name.
    pub name: Option<String>,
    /// What we show to it.
    pub identity: Option<TlsIdentity>,
    /// AUTH PLAIN; never sent without verified TLS.
    pub login: Option<(String, Arc<Zeroizing<String>>)>,
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A key that signs a domain's mail: `[[domain.dkim]]`.
#[derive(Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// Selector.
    pub selector: String,
    /// PKCS#8 DER: RSA or Ed25519.
    pub key: Arc<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DkimKey").field("selector", &self.selector).finish_non_exhaustive()
    }
}

/// A route of a domain that is not ours: `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// The domain; its subdomains too where it was written with a leading dot.
    pub domain: Domain,
    /// Its subdomains too.
    pub subdomains: bool,
    /// Where its mail goes.
    pub next_hop: super::NextHop,
}

impl Route {
    /// Whether it is for this domain.
    pub fn matches(&self, domain: &Domain) -> bool {
        let below = || domain.ascii().strip_suffix(self.domain.ascii()).is_some_and(|rest| rest.ends_with('.'));
        self.domain.same(domain) || (self.subdomains && below())
    }
}

/// `[fetch]`: what may be asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Nothing is fetched without.
    pub enabled: bool,
    /// Networks that may be asked although they are private.
    pub allow_private: Vec<Network>,
    /// Ports that may be asked.
    pub ports: Vec<u16>,
    /// `http://host:port` of a proxy that is asked instead.
    pub proxy: Option<String>,
}

/// `[dns]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; empty: the system's.
    pub servers: Vec<SocketAddr>,
}

/// What one client, sender or login may do in a minute; 0: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Transactions begun.
    pub mails: u32,
    /// Recipients named.
    pub recipients: u32,
}

/// `[limits.client]`, `[limits.sender]`, `[limits.login]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Connections of one client at a time; 0: any number.
    pub connections: u32,
    /// By address, and by /64 for IPv6.
    pub client: Rate,
    /// Recipients that do not exist, of one client in a minute.
    pub unknown: u32,
    /// Commands that are wrong, of one client in a minute.
    pub errors: u32,
    /// By reverse-path.
    pub sender: Rate,
    /// By AUTH identity.
    pub login: Rate,
    /// Clients without limits.
    pub exempt: Vec<Network>,
}

impl Default for Rates {
    fn default() -> Self {
        let any = Rate::default();
        Self { connections: 100, client: any, unknown: 60, errors: 100, sender: any, login: any, exempt: Vec::new() }
    }
}

/// When SPF, DKIM and DMARC of incoming mail are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authenticate {
    /// Never.
    Never,
    /// For every peer but those on loopback: these are not who sent the mail.
    Remote,
    /// For every peer.
    Always,
}

/// Whom to tell what.
#[derive(Clone, Debug)]
pub struct Notify {
    /// Notices that can go to no sender.
    pub postmaster: Address,
    /// Mail that is held.
    pub security: Vec<Address>,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// `None` (`auto`): text, or `journal` where standard error is systemd's journal.
    pub format: Option<LogFormat>,
    /// The least severe lines that are written.
    pub level: LogLevel,
    /// Whether lines about mail name addresses and Message-IDs, which the audit log seals.
    pub addresses: bool,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, text, `field=value`.
    Text,
    /// One JSON object.
    Json,
    /// As text, without a time of its own and with the priority in front that systemd reads (`<6>`).
    Journal,
}

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// An operator is needed.
    Error,
    /// Something was wrong and was dealt with.
    Warn,
    /// What is done: one line for each decision and each delivery.
    Info,
    /// More, for whoever looks for a fault.
    Debug,
}

/// What `[outbound]` says besides the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Port of servers that MX records name.
    pub port: u16,
    /// Addresses that are this gateway, besides those that its listeners are bound to: an MX list ends there.
    pub own: Vec<IpAddr>,
    /// Networks that MX records may lead to although they are not of the Internet.
    pub allow_private: Vec<Network>,
}

/// Whether a private key can sign for DKIM: RSA of at least 2,048 bits (RFC 8301 asks for that), or Ed25519.
pub(super) fn signs_dkim(der: &[u8]) -> Result<(), String> {
    use aws_lc_rs::signature::Ed25519KeyPair;
    if Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).is_ok() {
        return Ok(());
    }
    let rsa = aws_lc_rs::rsa::KeyPair::from_pkcs8(der).or_else(|_| aws_lc_rs::rsa::KeyPair::from_der(der));
    match rsa.map(|pair| pair.public_modulus_len() * 8) {
        Ok(bits) if bits >= 2048 => Ok(()),
        Ok(bits) => Err(format!("expected an RSA key of at least 2048 bits, found one of {bits}")),
        Err(_) => Err("expected an RSA or Ed25519 key, found another".to_owned()),
    }
}

/// Whether the first certificate is the key's.
pub(super) fn fits(identity: &TlsIdentity) -> Result<(), String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let key =
        PrivateKeyDer::try_from(identity.key.as_slice()).map_err(|_| "expected a private key, found something else")?;
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match rustls::sign::CertifiedKey::from_der(chain, key.clone_key(), &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("expected the private key of the first certificate, found another one's".to_owned())
        }
        Err(error) => Err(format!("expected a certificate and its private key, found: {error}")),
    }
}
