//! Certificates of others and stored trust anchors.
//!
//! Anchors named in the configuration are not here; these are the ones that an operator imported.
//! Judges nothing: `pki` decides what a certificate is good for. The index is in memory, read at
//! opening and after each change. Failure policy: an anchor that cannot be read is an error (mail
//! would be untrusted without a word); another's certificate that cannot be read is left out and logged.

use crate::audit::Audit;
use crate::clock;
use crate::mail::Domain;
use crate::pki::path::AnchorSource;
use crate::pki::{Certificate, Name, RevocationMode, TrustAnchor};
use crate::store::{Store, StoreError};
use change::{Action, Change, Changed};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

mod change;
mod rows;

/// Why an anchor could not be imported, found or read.
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
    #[error("expected at least 8 hex digits of the anchor's SHA-256, found `{0}`")]
    Prefix(String),
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

/// Stored anchors and others' certificates. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    store: Store,
    audit: Audit,
    index: RwLock<Arc<Index>>,
    /// One change at a time, so that an older reading of the store never takes the place of a newer one.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Index {
    anchors: Vec<TrustAnchor>,
    /// SHA-256 of certificates that an operator has blocked.
    blocked: Arc<HashSet<[u8; 32]>>,
    /// CA certificates by subject.
    authorities: Vec<(Name, Vec<Certificate>)>,
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
        let index = RwLock::new(Arc::new(Index::default()));
        let directory = Self(Arc::new(Inner { store, audit, index, changing: tokio::sync::Mutex::new(()) }));
        directory.reload().await?;
        Ok(directory)
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// As [`Directory::open`]; then everything stays as it was.
    pub async fn reload(&self) -> Result<(), DirectoryError> {
        let _one = self.0.changing.lock().await;
        self.read().await
    }

    async fn read(&self) -> Result<(), DirectoryError> {
        let next = Arc::new(rows::load(&self.0.store).await?);
        *self.0.index.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.0.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn change(&self, action: Action) -> Result<Changed, DirectoryError> {
        let _one = self.0.changing.lock().await;
        let change = Change { audit: self.0.audit.clone(), at: clock::now(), action };
        let changed = self.0.store.write(change).await?;
        self.read().await?;
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
        let digits: String = prefix.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
        if digits.len() < 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DirectoryError::Prefix(prefix.to_owned()));
        }
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

    /// SHA-256 of every certificate that an operator has blocked.
    pub fn blocked(&self) -> Arc<HashSet<[u8; 32]>> {
        Arc::clone(&self.index().blocked)
    }

    /// Known CA certificates with this subject (RFC 5280 section 7.1), to build paths with. Not trusted by being here.
    pub fn by_subject(&self, subject: &Name) -> Vec<Certificate> {
        let index = self.index();
        let exact = index.authorities.iter().find(|(name, _)| name == subject);
        let found = exact.or_else(|| index.authorities.iter().find(|(name, _)| name.matches(subject)));
        found.map(|(_, certificates)| certificates.clone()).unwrap_or_default()
    }
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
