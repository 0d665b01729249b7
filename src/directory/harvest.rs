//! Learning from validly signed mail how to encrypt to its sender (O33, P10, P11).
//!
//! Runs for every such mail: what is known already costs a look at the index and no write.

use super::index::{Announced, Digest, Entry, Index};
use super::rules::{self, Admission, Announcement};
use super::write::Step;
use super::{Directory, DirectoryError, Source, Trust, id_of};
use crate::audit::Event;
use crate::clock;
use crate::pki::Certificate;
use crate::smime::inspect::Harvest;
use crate::store::Urgency;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harvested {
    /// The first certificate for this mailbox.
    New,
    /// Another one of the same CA, or more is known of one that was there: capabilities, trust, issuers.
    Renewed,
    /// Nothing new; nothing was written.
    Known,
    /// Another CA's certificate stands for this mailbox: this one is not used until an operator imports it.
    Conflict,
    /// Nobody could ever encrypt to it, or it does not name the mailbox: not kept.
    Unfit,
}

impl Directory {
    /// Learns the signer's encryption certificate for the mailbox in `From` (for no other address that it names), the CA
    /// certificates above it to build paths with, and his capabilities. The signature is valid and the certificate's
    /// path was checked; `trust` is what the anchor's `harvest` says.
    ///
    /// # Errors
    /// The store.
    pub async fn harvest(&self, harvest: &Harvest, trust: Trust) -> Result<Harvested, DirectoryError> {
        // Only operators import.
        let trust = trust.max(Trust::Trusted);
        let lesson = Lesson::new(harvest, trust, clock::now());
        if self.nothing_new(&lesson) {
            return Ok(Harvested::Known);
        }
        if !harvest.encryption.names_address(&harvest.address) || rules::receives(&harvest.encryption).is_err() {
            return Ok(Harvested::Unfit);
        }
        let _one = self.0.changing.lock().await;
        let known = self.index().of_mailbox(&lesson.mailbox);
        match known.iter().find(|(sha256, _)| *sha256 == lesson.sha256) {
            Some((_, entry)) => self.learn_more(&lesson, entry).await,
            None => self.learn(&lesson, &known).await,
        }
    }

    /// The usual case, without waiting.
    fn nothing_new(&self, lesson: &Lesson<'_>) -> bool {
        let index = self.index();
        if lesson.harvest.encryption.is_among(&index.blocked) {
            return true;
        }
        let Some(entry) = index.certificate(&lesson.sha256) else { return false };
        if entry.binding(&lesson.mailbox).is_none() || lesson.trust < entry.trust {
            return false;
        }
        if !lesson.new_issuers(&index).is_empty() {
            return false;
        }
        match (lesson.announcement(entry), lesson.harvest.signing_time) {
            (Announcement::Ignored, _) => true,
            (Announcement::Taken, _) | (Announcement::Again, None) => false,
            (Announcement::Again, Some(at)) => {
                let before = entry.announced.as_ref().and_then(|announced| announced.signed);
                if before.is_none_or(|before| at.duration_since(before) > WRITTEN_AGAIN) {
                    return false;
                }
                drop(index);
                self.index_mut().announced_again(&lesson.sha256, at);
                true
            }
        }
    }

    /// The certificate stands for the mailbox already.
    async fn learn_more(&self, lesson: &Lesson<'_>, entry: &Entry) -> Result<Harvested, DirectoryError> {
        let mut steps = lesson.issuer_steps(&self.index());
        let mut events = Vec::new();
        if lesson.trust < entry.trust {
            steps.push(lesson.put(lesson.trust, Source::Mail));
            events.push(lesson.event());
        }
        let again = lesson.announcement(entry) == Announcement::Again;
        steps.extend(lesson.announce(Some(entry)));
        if steps.is_empty() {
            // Another mail of the same sender has told it meanwhile.
            return Ok(Harvested::Known);
        }
        let only_later = again && steps.len() == 1;
        self.write(steps, events, Urgency::Soon).await?;
        Ok(if only_later { Harvested::Known } else { Harvested::Renewed })
    }

    /// A certificate that does not stand for the mailbox yet, beside those that do.
    async fn learn(&self, lesson: &Lesson<'_>, known: &[(Digest, Arc<Entry>)]) -> Result<Harvested, DirectoryError> {
        let there = self.index().certificate(&lesson.sha256).cloned();
        if lesson.harvest.encryption.is_among(&self.index().blocked) {
            return Ok(Harvested::Known);
        }
        let active: Vec<_> = known
            .iter()
            .filter(|(_, entry)| !entry.blocked)
            .filter_map(|(sha256, entry)| Some((sha256, entry, entry.certificate()?)))
            .collect();
        let standings: Vec<_> = active
            .iter()
            .map(|(_, entry, certificate)| rules::Standing { issuer: certificate.issuer().clone(), trust: entry.trust })
            .collect();
        let admission = rules::admit(&standings, lesson.harvest.encryption.issuer(), lesson.trust);
        if let Admission::Conflict(holder) = &admission {
            self.conflict(lesson, &holder.to_string()).await?;
            return Ok(Harvested::Conflict);
        }
        let mut steps = Vec::new();
        let learned = active.iter().filter(|(_, entry, _)| entry.trust != Trust::Imported);
        if learned.clone().count() >= MOST_LEARNED
            && let Some((sha256, _, oldest)) = learned.min_by_key(|(_, _, certificate)| certificate.not_before())
        {
            if lesson.harvest.encryption.not_before() <= oldest.not_before() {
                return Ok(Harvested::Known);
            }
            steps.push(Step::Unbind { sha256: **sha256, mailbox: lesson.mailbox.clone() });
        }
        let better = there.as_ref().is_none_or(|entry| lesson.trust < entry.trust);
        if better {
            steps.push(lesson.put(lesson.trust, Source::Mail));
        }
        let address = lesson.harvest.address.clone();
        steps.push(Step::Bind { sha256: lesson.sha256, address, by_operator: false });
        steps.extend(lesson.announce(there.as_deref()));
        steps.extend(lesson.issuer_steps(&self.index()));
        self.write(steps, vec![lesson.event()], Urgency::Soon).await?;
        tracing::info!(certificate = %id_of(&lesson.sha256), trust = lesson.trust.name(), "certificate learned from mail.");
        Ok(if admission == Admission::First { Harvested::New } else { Harvested::Renewed })
    }

    /// Told once per start, not with each mail.
    async fn conflict(&self, lesson: &Lesson<'_>, holder: &str) -> Result<(), DirectoryError> {
        let told = (lesson.mailbox.clone(), lesson.sha256);
        if self.told().contains(&told) {
            return Ok(());
        }
        let (certificate, issuer) = (id_of(&lesson.sha256), lesson.harvest.encryption.issuer().to_string());
        tracing::warn!(
            %certificate,
            %issuer,
            holder,
            "a certificate of another CA came for a mailbox that has one; it is not used until an operator imports it."
        );
        let event = Event::CertificateConflict {
            certificate,
            issuer,
            holder: holder.to_owned(),
            address: lesson.harvest.address.clone(),
        };
        self.write(Vec::new(), vec![event], Urgency::Soon).await?;
        let mut all = self.told();
        if all.len() >= MOST_CONFLICTS {
            all.clear();
        }
        all.insert(told);
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, HashSet<(String, Digest)>> {
        self.0.conflicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one mail teaches.
struct Lesson<'a> {
    harvest: &'a Harvest,
    trust: Trust,
    mailbox: String,
    sha256: Digest,
    now: Timestamp,
}

impl<'a> Lesson<'a> {
    fn new(harvest: &'a Harvest, trust: Trust, now: Timestamp) -> Self {
        let (mailbox, sha256) = (harvest.address.mailbox_key(), harvest.encryption.sha256());
        Self { harvest, trust, mailbox, sha256, now }
    }

    fn announcement(&self, entry: &Entry) -> Announcement {
        self.announcement_beside(entry.announced.as_ref())
    }

    fn announcement_beside(&self, known: Option<&Announced>) -> Announcement {
        match &self.harvest.capabilities {
            Some(der) => rules::announce(known, der, self.harvest.signing_time, self.now),
            None => Announcement::Ignored,
        }
    }

    fn announce(&self, entry: Option<&Entry>) -> Option<Step> {
        if self.announcement_beside(entry.and_then(|entry| entry.announced.as_ref())) == Announcement::Ignored {
            return None;
        }
        let der = Bytes::from(self.harvest.capabilities.clone()?);
        let announced = Announced { der, signed: self.harvest.signing_time };
        Some(Step::Announce { sha256: self.sha256, announced })
    }

    fn put(&self, trust: Trust, source: Source) -> Step {
        Step::Put { certificate: self.harvest.encryption.clone(), trust, source }
    }

    fn event(&self) -> Event {
        Event::CertificateHarvested {
            certificate: id_of(&self.sha256),
            trust: self.trust.name().to_owned(),
            issuer: self.harvest.encryption.issuer().to_string(),
            address: self.harvest.address.clone(),
        }
    }

    fn issuer_steps(&self, index: &Index) -> Vec<Step> {
        let put = |certificate| Step::Put { certificate, trust: self.trust, source: Source::Mail };
        self.new_issuers(index).into_iter().map(put).collect()
    }

    /// CA certificates of the mail that really stand above the certificate and are not known yet. Anybody can put others
    /// into a mail; they stay out. Roots say nothing here: whom to trust is not learned from mail.
    fn new_issuers(&self, index: &Index) -> Vec<Certificate> {
        let mut found = Vec::new();
        for start in [&self.harvest.encryption, &self.harvest.signer] {
            let mut below = start.clone();
            for _ in 0..DEPTH {
                let above = self.harvest.certificates.iter().take(CANDIDATES).filter(|candidate| {
                    candidate.is_ca()
                        && candidate.subject().matches(below.issuer())
                        && !candidate.subject().matches(candidate.issuer())
                });
                let known = |candidate: &Certificate| index.certificate(&candidate.sha256()).is_some();
                let Some(next) =
                    above.clone().find(|candidate| known(candidate) || found.contains(*candidate)).or_else(|| {
                        let full = index.authorities() + found.len() >= MOST_AUTHORITIES
                            || index.by_subject(below.issuer()).len() >= MOST_OF_ONE_NAME;
                        above.clone().find(|candidate| !full && below.verify_signed_by(candidate).is_ok())
                    })
                else {
                    break;
                };
                if !known(next) && !found.contains(next) {
                    found.push(next.clone());
                }
                below = next.clone();
            }
        }
        found
    }
}

/// How much later the same announcement has to be for its time to be written; until then it is in memory.
const WRITTEN_AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// Certificates for one mailbox that were learned: two kinds of use, a few devices, some years. Then the oldest goes.
const MOST_LEARNED: usize = 16;
/// Conflicts that are remembered as told.
const MOST_CONFLICTS: usize = 10_000;
/// CAs above a certificate; `Limits::path_depth`.
const DEPTH: usize = 10;
/// Certificates of one mail that are looked at; `Limits::certificates`.
const CANDIDATES: usize = 100;
/// CA certificates that mail may bring in altogether. The public ones for mail are about 1,000.
const MOST_AUTHORITIES: usize = 10_000;
/// CA certificates of one name: renewals and cross-certificates.
const MOST_OF_ONE_NAME: usize = 16;
