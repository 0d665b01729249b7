//! Certificates of others and stored trust anchors.
//!
//! Anchors named in the configuration are not here; these are the ones that an operator imported. Certificates of others
//! were imported too, or learned from validly signed mail; each stands for mailboxes, or serves to build paths.
//! Judges nothing: `pki` decides what a certificate is good for now. The index is in memory, read at opening; a change
//! reads again what it changed. Failure policy: an anchor that cannot be read is an error (mail would be untrusted without
//! a word); another's certificate that cannot be read is left out and logged.

use crate::audit::Audit;
use crate::clock;
use crate::mail::{Address, Domain};
use crate::pki::path::AnchorSource;
use crate::pki::{Certificate, Name, RevocationMode, TrustAnchor};
use crate::smime::Capabilities;
use crate::store::{Store, StoreError};
use anchors::{Action, Change, Changed};
use index::{Digest, Entry, Index};
use jiff::Timestamp;
use recent::Recent;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

mod anchors;
mod correspondent;
mod harvest;
mod import;
mod index;
mod listing;
mod recent;
mod rows;
mod rules;
mod write;

pub use correspondent::note_encrypted;
pub use harvest::Harvested;
pub use listing::Listed;

/// Why an anchor or a certificate could not be imported, found or read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// An end entity's certificate would trust itself.
    #[error("certificate `{0}` is not a CA's: expected basicConstraints with cA")]
    NotAuthority(String),
    /// It is stored already.
    #[error("anchor `{0}` is there already")]
    Exists(String),
    /// No stored anchor's SHA-256 begins so.
    #[error("no stored anchor `{0}`; those of the configuration file are removed there")]
    NotFound(String),
    /// More than one does.
    #[error("more than one stored anchor begins with `{0}`")]
    Ambiguous(String),
    /// Less than 8 hex digits, or other characters.
    #[error("expected at least 8 hex digits of the SHA-256, found `{0}`")]
    Prefix(String),
    /// No certificate's SHA-256 begins so.
    #[error("no certificate `{0}`")]
    UnknownCertificate(String),
    /// More than one does.
    #[error("more than one certificate begins with `{0}`")]
    AmbiguousCertificate(String),
    /// Nobody could ever encrypt to it.
    #[error("nothing can be encrypted to the certificate of {subject}: {why}")]
    Unfit {
        /// RFC 4514.
        subject: String,
        /// What speaks against it.
        why: Unfit,
    },
    /// The certificate names others.
    #[error("the certificate does not name `{address}`; it names {named}")]
    AddressNotNamed {
        /// What it was to be bound to.
        address: String,
        /// What it names.
        named: String,
    },
    /// It names no address, and none was given.
    #[error("the certificate of {0} names no address")]
    NoAddress(String),
    /// It names more addresses than anybody looks at.
    #[error("the certificate of {0} names more than 1,000 addresses, and counts as naming none")]
    TooManyAddresses(String),
    /// An address is for one end entity.
    #[error("expected one end entity's certificate to bind the address to, found {0}")]
    NotOne(usize),
    /// A row does not hold what was once written there.
    #[error("anchor `{sha256}` in the store is damaged: {what}")]
    Damaged {
        /// Which row, hex.
        sha256: String,
        /// Which column.
        what: &'static str,
    },
    /// The database could not be read or written.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for DirectoryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Why a certificate can never be encrypted to (RFC 8550 section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A CA's certificate.
    #[error("it is a CA's")]
    Authority,
    /// Neither RSA nor ECDH on P-256, P-384, P-521 or X25519.
    #[error("expected an RSA key, or one on P-256, P-384, P-521 or X25519")]
    KeyType,
    /// Nothing can be sealed to its very key: a point off its curve, an even modulus, an exponent beyond 33 bits.
    #[error("its public key cannot be used: a point off its curve, an even modulus or too large an exponent")]
    Key,
    /// keyUsage or extKeyUsage allow other things only.
    #[error(
        "expected key usage keyEncipherment (RSA) or keyAgreement (EC), and emailProtection where there is an extended key usage"
    )]
    Usage,
    /// It does not name the mailbox that it was harvested for.
    #[error("it does not name the sender")]
    Address,
}

/// How much a certificate of somebody else is believed. Ordered, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// An operator has taken it in.
    Imported,
    /// Learned from validly signed mail under an anchor with `harvest = "trusted"`.
    Trusted,
    /// Likewise under one with `harvest = "seen"`.
    Seen,
}

impl Trust {
    /// The word in the database and in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Trusted => "trusted",
            Self::Seen => "seen",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Imported, Self::Trusted, Self::Seen].into_iter().find(|trust| trust.name() == name)
    }
}

impl From<crate::pki::Harvesting> for Trust {
    fn from(worth: crate::pki::Harvesting) -> Self {
        match worth {
            crate::pki::Harvesting::Trusted => Self::Trusted,
            crate::pki::Harvesting::Seen => Self::Seen,
        }
    }
}

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `cert import`.
    Import,
    /// Validly signed mail.
    Mail,
    /// A word that this version does not know.
    Other,
}

impl Source {
    /// The word in the database and in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Mail => "mail",
            Self::Other => "other",
        }
    }

    fn from_name(name: &str) -> Self {
        [Self::Import, Self::Mail].into_iter().find(|source| source.name() == name).unwrap_or(Self::Other)
    }
}

/// A certificate that stands for a mailbox. Whether it may be used now is for `pki::recipient::check` to say.
#[derive(Clone, Debug)]
pub struct KnownCertificate {
    /// First 16 hex digits of its SHA-256.
    pub id: String,
    /// The certificate.
    pub certificate: Certificate,
    /// How much it is believed.
    pub trust: Trust,
    /// The registration officer has bound it to the mailbox; it names no address.
    pub bound_by_operator: bool,
    /// An operator has blocked it.
    pub blocked: bool,
    /// What the owner's program can read, as far as he has said so in validly signed mail.
    pub capabilities: Option<Capabilities>,
    /// Known issuers, nearest first; to build a path with. No blocked ones.
    pub chain: Vec<Certificate>,
    /// When it became known.
    pub added: Timestamp,
}

/// Stored anchors and others' certificates. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    store: Store,
    audit: Audit,
    index: RwLock<Index>,
    /// Certificates that somebody works with now, so that one that stands for many is parsed once.
    recent: Recent,
    /// Conflicts that were told of since the start: mailbox and certificate.
    conflicts: Mutex<HashSet<(String, Digest)>>,
    /// One change at a time, so that an older reading of the store never takes the place of a newer one.
    changing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("anchors", &self.index().anchors.len()).finish_non_exhaustive()
    }
}

impl Directory {
    /// Reads the stored anchors and certificates.
    ///
    /// # Errors
    /// The store cannot be read, or an anchor in it is damaged.
    pub async fn open(store: Store, audit: Audit) -> Result<Self, DirectoryError> {
        let directory = Self(Arc::new(Inner {
            store,
            audit,
            index: RwLock::default(),
            recent: Recent::default(),
            conflicts: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
        }));
        directory.reload().await?;
        Ok(directory)
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// As [`Directory::open`]; then everything stays as it was.
    pub async fn reload(&self) -> Result<(), DirectoryError> {
        let _one = self.0.changing.lock().await;
        let mut next = rows::load(&self.0.store).await?;
        let mut index = self.index_mut();
        // Mail may have left while this was read.
        next.correspondents.extend(std::mem::take(&mut index.correspondents));
        *index = next;
        Ok(())
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn change(&self, action: Action) -> Result<Changed, DirectoryError> {
        let _one = self.0.changing.lock().await;
        let change = Change { audit: self.0.audit.clone(), at: clock::now(), action };
        let changed = self.0.store.write(change).await?;
        let mut tx = self.0.store.readers().begin().await?;
        let anchors = rows::anchors(&mut tx).await?;
        tx.rollback().await?;
        self.index_mut().anchors = anchors;
        Ok(changed)
    }

    /// The stored anchors, oldest import first. Those of the configuration are added by whoever asks.
    pub fn anchors(&self) -> Vec<TrustAnchor> {
        self.index().anchors.clone()
    }

    /// Stores a CA certificate as an anchor for mail. It need not be self-signed. The operator has compared the
    /// fingerprint before. `domains` are the sender domains that it may speak for; empty: any.
    ///
    /// # Errors
    /// `NotAuthority`, `Exists`, the store.
    pub async fn import_anchor(
        &self,
        certificate: Certificate,
        revocation: RevocationMode,
        domains: Vec<Domain>,
    ) -> Result<TrustAnchor, DirectoryError> {
        if !certificate.is_ca() {
            return Err(DirectoryError::NotAuthority(certificate.serial_hex()));
        }
        let sha256 = certificate.sha256();
        match self.change(Action::Import { certificate, revocation, domains }).await? {
            Changed::Nothing => Err(DirectoryError::Exists(hex(&sha256))),
            Changed::Done => self.anchor(&hex(&sha256)),
        }
    }

    /// Removes the stored anchor whose SHA-256 begins with `prefix`: at least 8 hex digits; colons and case are ignored.
    ///
    /// # Errors
    /// `Prefix`, `NotFound`, `Ambiguous`, the store.
    pub async fn remove_anchor(&self, prefix: &str) -> Result<TrustAnchor, DirectoryError> {
        let digits = hex_digits(prefix)?;
        let anchor = self.anchor(&digits)?;
        match self.change(Action::Remove { sha256: anchor.certificate.sha256() }).await? {
            Changed::Done => Ok(anchor),
            Changed::Nothing => Err(DirectoryError::NotFound(digits)),
        }
    }

    fn anchor(&self, prefix: &str) -> Result<TrustAnchor, DirectoryError> {
        let index = self.index();
        let mut found = index.anchors.iter().filter(|anchor| hex(&anchor.certificate.sha256()).starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(anchor), None) => Ok(anchor.clone()),
            (Some(_), Some(_)) => Err(DirectoryError::Ambiguous(prefix.to_owned())),
            (None, _) => Err(DirectoryError::NotFound(prefix.to_owned())),
        }
    }

    /// Every certificate that an operator has blocked, for [`Certificate::is_among`].
    pub fn blocked(&self) -> Arc<HashSet<[u8; 32]>> {
        Arc::clone(&self.index().blocked)
    }

    /// Known CA certificates with this subject (RFC 5280 section 7.1), to build paths with. Not trusted by being here.
    pub fn by_subject(&self, subject: &Name) -> Vec<Certificate> {
        self.index().by_subject(subject).to_vec()
    }

    /// Known CA certificates that may stand above this one, nearest first; no blocked ones.
    pub fn issuers(&self, certificate: &Certificate) -> Vec<Certificate> {
        self.index().issuers(certificate)
    }

    /// The certificates that stand for this very mailbox (`Address::same_mailbox`), best first: not blocked before
    /// blocked, imported before trusted before seen, the one that began last first.
    pub fn for_mailbox(&self, address: &Address) -> Vec<KnownCertificate> {
        let mailbox = address.mailbox_key();
        // Parsing is done without the lock.
        let held = self.index().of_mailbox(&mailbox);
        let mut known: Vec<_> = held.iter().filter_map(|(sha256, entry)| self.known(sha256, entry, &mailbox)).collect();
        known.sort_by_cached_key(|known| {
            (known.blocked, known.trust, Reverse(known.certificate.not_before()), known.id.clone())
        });
        known
    }

    /// Whether [`Directory::for_mailbox`] has any, without parsing them.
    pub fn knows(&self, address: &Address) -> bool {
        !self.index().of_mailbox(&address.mailbox_key()).is_empty()
    }

    fn known(&self, sha256: &Digest, entry: &Entry, mailbox: &str) -> Option<KnownCertificate> {
        let certificate = self.0.recent.parsed(sha256, entry)?;
        Some(KnownCertificate {
            id: id_of(sha256),
            trust: entry.trust,
            bound_by_operator: entry.binding(mailbox)?.by_operator,
            blocked: entry.blocked,
            capabilities: entry.announced.as_ref().and_then(|announced| Capabilities::from_der(&announced.der)),
            chain: self.issuers(&certificate),
            added: entry.added,
            certificate,
        })
    }
}

/// First 16 hex digits.
fn id_of(sha256: &Digest) -> String {
    hex(sha256).chars().take(16).collect()
}

/// At least 8 and at most 64 hex digits; colons and case are ignored.
fn hex_digits(prefix: &str) -> Result<String, DirectoryError> {
    let digits: String = prefix.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    if !(8..=64).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(DirectoryError::Prefix(prefix.to_owned()));
    }
    Ok(digits)
}

fn hex(sha256: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(sha256)
}

/// The word in the database.
const fn mode_name(mode: RevocationMode) -> &'static str {
    match mode {
        RevocationMode::HardFail => "hard-fail",
        RevocationMode::SoftFail => "soft-fail",
        RevocationMode::None => "none",
    }
}

fn mode_from_name(name: &str) -> Option<RevocationMode> {
    [RevocationMode::HardFail, RevocationMode::SoftFail, RevocationMode::None]
        .into_iter()
        .find(|mode| mode_name(*mode) == name)
}

/// Where an imported anchor comes from, for listings.
fn source(imported: jiff::Timestamp) -> AnchorSource {
    AnchorSource::Imported(imported.to_string())
}

#[cfg(test)]
mod tests;
