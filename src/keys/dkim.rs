//! DKIM signatures (RFC 6376, 8463) over finished outgoing mail, by `mail-auth`.
//!
//! Made last: S/MIME changes the body that a signature covers. relaxed/relaxed, the whole body, RSA with SHA-256 and Ed25519.
//! The keys are the operator's (`[[domain.dkim]]`); they never leave this module.

use crate::config::DkimKey;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use rustls::pki_types::PrivateKeyDer;
use std::fmt;

/// Fields that are signed and may not be added later: each is named once more than it occurs (RFC 6376 section 8.15).
const OVERSIGNED: [&str; 13] = [
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "In-Reply-To",
    "References",
];

/// Signs for one domain, once with each of its keys.
pub struct Dkim {
    domain: String,
    signers: Vec<Signer>,
}

enum Signer {
    Rsa(DkimSigner<RsaKey<Sha256>, Done>),
    Ed25519(DkimSigner<Ed25519Key, Done>),
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dkim").field("domain", &self.domain).field("keys", &self.signers.len()).finish()
    }
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum DkimError {
    /// The key is neither RSA nor Ed25519.
    #[error("the DKIM key of selector `{0}` can't be used")]
    Key(String),
    /// The library gave up.
    #[error("no DKIM signature for `{domain}`: {problem}")]
    Signing {
        /// `d=`
        domain: String,
        /// What it said.
        problem: String,
    },
}

impl Dkim {
    /// `domain` in A-labels.
    ///
    /// # Errors
    /// A key that can't be used; the configuration has looked at them already.
    pub fn new(domain: &str, keys: &[DkimKey]) -> Result<Self, DkimError> {
        let signers = keys.iter().map(|key| signer(domain, key)).collect::<Result<_, _>>()?;
        Ok(Self { domain: domain.to_owned(), signers })
    }

    /// Whole `DKIM-Signature` fields with CRLF, to stand on top of `message`, which has CRLF line ends.
    ///
    /// # Errors
    /// [`DkimError::Signing`]
    pub fn sign(&self, message: &[u8]) -> Result<String, DkimError> {
        let mut fields = String::new();
        for signer in &self.signers {
            let signature = match signer {
                Signer::Rsa(signer) => signer.sign(message),
                Signer::Ed25519(signer) => signer.sign(message),
            };
            let failed = |error: mail_auth::Error| DkimError::Signing {
                domain: self.domain.clone(),
                problem: error.to_string(),
            };
            fields.push_str(&signature.map_err(failed)?.to_header());
        }
        Ok(fields)
    }

    /// `d=`
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether there is a key.
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }
}

fn signer(domain: &str, key: &DkimKey) -> Result<Signer, DkimError> {
    let unusable = || DkimError::Key(key.selector.clone());
    let names = || OVERSIGNED.iter().chain(&OVERSIGNED).copied();
    let relaxed = Canonicalization::Relaxed;
    let der = PrivateKeyDer::try_from(key.key.as_slice()).map_err(|_| unusable())?;
    if let PrivateKeyDer::Pkcs8(pkcs8) = &der
        && let Ok(key_pair) = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der())
    {
        let signer = DkimSigner::from_key(key_pair).domain(domain).selector(&key.selector).headers(names());
        return Ok(Signer::Ed25519(signer.header_canonicalization(relaxed).body_canonicalization(relaxed)));
    }
    let key_pair = RsaKey::<Sha256>::from_key_der(der).map_err(|_| unusable())?;
    let signer = DkimSigner::from_key(key_pair).domain(domain).selector(&key.selector).headers(names());
    Ok(Signer::Rsa(signer.header_canonicalization(relaxed).body_canonicalization(relaxed)))
}
