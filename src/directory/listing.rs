//! Certificates as listings show them, and finding one by its first digits.

use super::index::{Digest, Entry};
use super::{Directory, DirectoryError, Source, Trust, hex, hex_digits, id_of};
use crate::mail::Address;
use crate::pki::Certificate;
use crate::smime::Capabilities;
use jiff::Timestamp;

/// A certificate and all that is known of it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// First 16 hex digits of its SHA-256.
    pub id: String,
    /// The certificate.
    pub certificate: Certificate,
    /// Whom it stands for. None: it is here to build paths with.
    pub addresses: Vec<Address>,
    /// The registration officer has bound it to them; it names no address.
    pub bound_by_operator: bool,
    /// How much it is believed.
    pub trust: Trust,
    /// Where it came from.
    pub source: Source,
    /// An operator has blocked it.
    pub blocked: bool,
    /// What the owner's program can read.
    pub capabilities: Option<Capabilities>,
    /// When the newest mail that said so was signed.
    pub announced: Option<Timestamp>,
    /// When it became known.
    pub added: Timestamp,
}

impl Listed {
    fn new(sha256: &Digest, entry: &Entry) -> Option<Self> {
        let announced = entry.announced.as_ref();
        Some(Self {
            id: id_of(sha256),
            certificate: entry.certificate()?,
            addresses: entry.bindings.iter().filter_map(|binding| Address::parse(&binding.address).ok()).collect(),
            bound_by_operator: entry.bindings.iter().any(|binding| binding.by_operator),
            trust: entry.trust,
            source: entry.source,
            blocked: entry.blocked,
            capabilities: announced.and_then(|announced| Capabilities::from_der(&announced.der)),
            announced: announced.and_then(|announced| announced.signed),
            added: entry.added,
        })
    }
}

impl Directory {
    /// SHA-256 of every certificate, oldest first. One is read at a time with [`Directory::listed`]: there may be
    /// hundreds of thousands.
    pub fn digests(&self) -> Vec<[u8; 32]> {
        let mut all: Vec<_> = self.index().from([0; 32]).map(|(sha256, entry)| (entry.added, *sha256)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, sha256)| sha256).collect()
    }

    /// SHA-256 of those that stand for this mailbox.
    pub fn digests_for(&self, address: &Address) -> Vec<[u8; 32]> {
        self.index().of_mailbox(&address.mailbox_key()).into_iter().map(|(sha256, _)| sha256).collect()
    }

    /// What is known of one certificate; `None`: nothing.
    pub fn listed(&self, sha256: &[u8; 32]) -> Option<Listed> {
        let entry = self.index().certificate(sha256).cloned()?;
        Listed::new(sha256, &entry)
    }

    /// The certificate whose SHA-256 begins with `prefix`: at least 8 hex digits; colons and case are ignored.
    ///
    /// # Errors
    /// `Prefix`, `UnknownCertificate`, `AmbiguousCertificate`.
    pub fn find(&self, prefix: &str) -> Result<Listed, DirectoryError> {
        let digits = hex_digits(prefix)?;
        let unknown = || DirectoryError::UnknownCertificate(digits.clone());
        let padded = data_encoding::HEXLOWER.decode(format!("{digits:0<64}").as_bytes()).map_err(|_| unknown())?;
        let first = Digest::try_from(padded.as_slice()).map_err(|_| unknown())?;
        let mut found: Vec<_> = {
            let index = self.index();
            let fitting = index.from(first).take_while(|(sha256, _)| hex(sha256).starts_with(&digits));
            fitting.take(2).map(|(sha256, entry)| (*sha256, entry.clone())).collect()
        };
        match (found.pop(), found.pop()) {
            (Some((sha256, entry)), None) => Listed::new(&sha256, &entry).ok_or_else(unknown),
            (Some(_), Some(_)) => Err(DirectoryError::AmbiguousCertificate(digits)),
            (None, _) => Err(unknown()),
        }
    }
}
