//! Whether a certificate may be used for what it is asked for: keyUsage and extKeyUsage (RFC 5280 sections 4.2.1.3 and
//! 4.2.1.12, RFC 8550 section 4.4). An extension that is absent restricts nothing.

use super::certificate::{Certificate, KeyInfo, KeyUsage};

/// What a path is asked to be good for (`--purpose`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// No restriction: path validation alone.
    Any,
    /// Verifying mail.
    EmailSign,
    /// Encrypting mail to the subject.
    EmailEncrypt,
    /// Signing OCSP responses.
    Ocsp,
    /// Signing time stamps.
    Tsa,
    /// A TLS server.
    TlsServer,
    /// A TLS client.
    TlsClient,
}

impl Purpose {
    /// Whether the end entity's own extensions allow this purpose.
    pub fn allows_end_entity(self, certificate: &Certificate) -> bool {
        self.allows_key_usage(certificate) && self.allows_extended(certificate, Position::EndEntity)
    }

    /// Whether a CA above it does. Extended key usage in a CA limits what it issues for: RFC 5280 leaves that open, the
    /// CA/Browser Forum's rules, Mozilla, Microsoft and OpenSSL hold to it, and so does Segel. The anchor is not asked.
    pub(super) fn allows_issuer(self, certificate: &Certificate) -> bool {
        self.allows_extended(certificate, Position::Issuer)
    }

    fn allows_key_usage(self, certificate: &Certificate) -> bool {
        let Some(usage) = certificate.key_usage() else { return true };
        let signing = KeyUsage::DIGITAL_SIGNATURE.or(KeyUsage::NON_REPUDIATION);
        match self {
            Self::Any => true,
            Self::EmailSign | Self::Tsa => usage.has(signing),
            Self::EmailEncrypt => match certificate.key_info() {
                KeyInfo::Rsa { .. } => usage.has(KeyUsage::KEY_ENCIPHERMENT),
                KeyInfo::Ec { .. } => usage.has(KeyUsage::KEY_AGREEMENT),
                // Ed25519 and DSA only sign; an X25519 key would agree.
                KeyInfo::Ed25519 | KeyInfo::Dsa => false,
                KeyInfo::Other => usage.has(KeyUsage::KEY_ENCIPHERMENT.or(KeyUsage::KEY_AGREEMENT)),
            },
            Self::Ocsp | Self::TlsClient => usage.has(KeyUsage::DIGITAL_SIGNATURE),
            Self::TlsServer => {
                usage.has(KeyUsage::DIGITAL_SIGNATURE.or(KeyUsage::KEY_ENCIPHERMENT).or(KeyUsage::KEY_AGREEMENT))
            }
        }
    }

    fn allows_extended(self, certificate: &Certificate, position: Position) -> bool {
        let (wanted, any_counts) = match self {
            Self::Any => return true,
            Self::EmailSign | Self::EmailEncrypt => ("1.3.6.1.5.5.7.3.4", AnyCounts::Yes),
            // RFC 6960 section 4.2.2.2 and RFC 3161 section 2.3 want their own purpose, by name.
            Self::Ocsp => ("1.3.6.1.5.5.7.3.9", AnyCounts::No),
            Self::Tsa => ("1.3.6.1.5.5.7.3.8", AnyCounts::No),
            Self::TlsServer => ("1.3.6.1.5.5.7.3.1", AnyCounts::Yes),
            Self::TlsClient => ("1.3.6.1.5.5.7.3.2", AnyCounts::Yes),
        };
        let Some(purposes) = certificate.extended_key_usage() else {
            return position == Position::Issuer || any_counts == AnyCounts::Yes;
        };
        let any = position == Position::Issuer || any_counts == AnyCounts::Yes;
        purposes.iter().any(|purpose| purpose == wanted || (any && purpose == ANY_EXTENDED_KEY_USAGE))
    }
}

const ANY_EXTENDED_KEY_USAGE: &str = "2.5.29.37.0";

/// Where in the path a certificate stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    EndEntity,
    Issuer,
}

/// Whether anyExtendedKeyUsage, or no extension, is enough for the end entity.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnyCounts {
    Yes,
    No,
}
