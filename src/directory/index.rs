//! What is held in memory: anchors parsed, everybody else's certificates as their octets.
//!
//! A parsed certificate takes several times its DER; with hundreds of thousands of correspondents only the DER stays,
//! once, and the few that a message needs are parsed then.

use super::{Source, Trust};
use crate::crypto;
use crate::pki::{Certificate, Name, TrustAnchor};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// SHA-256 of a certificate's DER.
pub(super) type Digest = [u8; 32];

#[derive(Default)]
pub(super) struct Index {
    pub(super) anchors: Vec<TrustAnchor>,
    /// SHA-256 of the certificates that an operator has blocked, and of what their CAs have signed: another fingerprint of
    /// the same certificate is no way around it.
    pub(super) blocked: Arc<HashSet<Digest>>,
    /// Mailboxes to which encrypted mail has left, by their keys.
    pub(super) correspondents: HashSet<Box<str>>,
    certificates: BTreeMap<Digest, Arc<Entry>>,
    mailboxes: HashMap<Box<str>, Vec<Digest>>,
    /// CA certificates by `Name::key` of their subject.
    authorities: HashMap<Bytes, Vec<Certificate>>,
}

/// A row of `certificate` with its addresses.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) der: Bytes,
    pub(super) trust: Trust,
    pub(super) source: Source,
    pub(super) blocked: bool,
    pub(super) added: Timestamp,
    pub(super) announced: Option<Announced>,
    /// Whom it stands for. None: it is here to build paths with.
    pub(super) bindings: Vec<Binding>,
}

/// What a correspondent's program has announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// DER of SMIMECapabilities.
    pub(super) der: Bytes,
    /// When the mail was signed that said so.
    pub(super) signed: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Binding {
    pub(super) mailbox: Box<str>,
    pub(super) address: Box<str>,
    /// The registration officer has bound it; the certificate names no address.
    pub(super) by_operator: bool,
}

impl Entry {
    pub(super) fn binding(&self, mailbox: &str) -> Option<&Binding> {
        self.bindings.iter().find(|binding| &*binding.mailbox == mailbox)
    }

    /// `None`, with a line in the log: the octets are no certificate.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        match Certificate::from_der(&self.der) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                let sha256 = super::hex(&crypto::sha256(&self.der));
                tracing::warn!(%sha256, %error, "a certificate in the store cannot be read and is left out.");
                None
            }
        }
    }
}

impl Index {
    /// Takes a row in, in place of an older one; `None`: the row is gone.
    pub(super) fn put(&mut self, sha256: Digest, entry: Option<Entry>) {
        let old = self.certificates.remove(&sha256);
        if let Some(old) = &old {
            self.forget(&sha256, old);
        }
        let Some(entry) = entry else { return self.unblock(&sha256, old.as_deref()) };
        match entry.blocked {
            true => self.block(sha256, Some(&entry)),
            false => self.unblock(&sha256, Some(&entry)),
        }
        for binding in &entry.bindings {
            // Nearly all mailboxes have one: no room for more.
            let held = self.mailboxes.entry(binding.mailbox.clone()).or_insert_with(|| Vec::with_capacity(1));
            held.push(sha256);
        }
        if entry.bindings.is_empty()
            && let Some(certificate) = entry.certificate()
            && certificate.is_ca()
        {
            self.authorities.entry(certificate.subject().key().clone()).or_default().push(certificate);
        }
        self.certificates.insert(sha256, Arc::new(entry));
    }

    fn forget(&mut self, sha256: &Digest, old: &Entry) {
        for binding in &old.bindings {
            if let Some(held) = self.mailboxes.get_mut(&binding.mailbox) {
                held.retain(|other| other != sha256);
                if held.is_empty() {
                    self.mailboxes.remove(&binding.mailbox);
                }
            }
        }
        if old.bindings.is_empty()
            && let Some(certificate) = old.certificate()
            && let Some(same) = self.authorities.get_mut(certificate.subject().key())
        {
            same.retain(|other| other.sha256() != *sha256);
        }
    }

    /// Holds by the digest alone, also for a certificate that cannot be read any more.
    pub(super) fn block(&mut self, sha256: Digest, entry: Option<&Entry>) {
        let set = Arc::make_mut(&mut self.blocked);
        set.insert(sha256);
        set.extend(entry.and_then(signed));
    }

    fn unblock(&mut self, sha256: &Digest, entry: Option<&Entry>) {
        if !self.blocked.contains(sha256) {
            return;
        }
        let set = Arc::make_mut(&mut self.blocked);
        set.remove(sha256);
        // It may still be blocked under another fingerprint.
        let mut others = self.certificates.values().filter(|other| other.blocked).filter_map(|other| signed(other));
        if let Some(digest) = entry.and_then(signed)
            && !others.any(|other| other == digest)
        {
            set.remove(&digest);
        }
    }

    pub(super) fn certificate(&self, sha256: &Digest) -> Option<&Arc<Entry>> {
        self.certificates.get(sha256)
    }

    /// Notes a later signing time of what is announced already.
    pub(super) fn announced_again(&mut self, sha256: &Digest, at: Timestamp) {
        if let Some(entry) = self.certificates.get_mut(sha256)
            && let Some(announced) = &mut Arc::make_mut(entry).announced
        {
            announced.signed = Some(at);
        }
    }

    pub(super) fn of_mailbox(&self, mailbox: &str) -> Vec<(Digest, Arc<Entry>)> {
        let digests = self.mailboxes.get(mailbox).into_iter().flatten();
        digests.filter_map(|digest| Some((*digest, Arc::clone(self.certificates.get(digest)?)))).collect()
    }

    /// Those whose digest is `first` or greater, in order.
    pub(super) fn from(&self, first: Digest) -> impl Iterator<Item = (&Digest, &Arc<Entry>)> {
        self.certificates.range(first..)
    }

    /// Known CA certificates with this subject (RFC 5280 section 7.1).
    pub(super) fn by_subject(&self, subject: &Name) -> &[Certificate] {
        self.authorities.get(subject.key()).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many CA certificates are here to build paths with.
    pub(super) fn authorities(&self) -> usize {
        self.authorities.values().map(Vec::len).sum()
    }

    /// Every issuer that may stand above, nearest first; no blocked ones.
    pub(super) fn issuers(&self, certificate: &Certificate) -> Vec<Certificate> {
        let mut chain: Vec<Certificate> = Vec::new();
        let mut names = vec![certificate.issuer().clone()];
        let mut looked = 0;
        while let Some(name) = names.get(looked).cloned() {
            looked += 1;
            for issuer in self.by_subject(&name) {
                let fresh = !chain.iter().any(|seen| seen.sha256() == issuer.sha256());
                if fresh && chain.len() < MOST_ISSUERS && !issuer.is_among(&self.blocked) {
                    names.push(issuer.issuer().clone());
                    chain.push(issuer.clone());
                }
            }
        }
        chain
    }
}

fn signed(entry: &Entry) -> Option<Digest> {
    entry.certificate().map(|certificate| certificate.signed_sha256())
}

/// Issuers that are handed out with one certificate; `Limits::path_candidates` looks at no more.
const MOST_ISSUERS: usize = 32;
