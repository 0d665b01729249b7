//! One place that CRLs come from, and what is known of it.

use super::accept::Accepted;
use super::rows::Stored;
use super::timing;
use crate::crypto;
use crate::fetch::Validators;
use crate::pki::{Certificate, Crl, Name};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use tokio::sync::watch;

pub(super) type Sources = BTreeMap<String, Source>;

/// What nobody needed for so long is dropped.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a place that can't be asked counts as wanted.
const LATELY: SignedDuration = SignedDuration::from_hours(24);
/// The least time between two questions that the plan has not foreseen.
const TICK: SignedDuration = SignedDuration::from_mins(1);
/// As long as one mail waits for all its look-ups (`pipeline::gather`).
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// How often it is stored that a CRL was needed.
const TOUCHED: SignedDuration = SignedDuration::from_hours(1);

/// How a place became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A certificate names it.
    Fetched,
    /// `trust.crls` names it.
    Configured,
    /// An operator brought it: there is no place.
    Imported,
}

impl Origin {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Configured => "configured",
            Self::Imported => "imported",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Fetched, Self::Configured, Self::Imported].into_iter().find(|origin| origin.name() == name)
    }
}

/// Whether nobody is asked there, whoever names it.
pub(super) fn is_ldap(location: &str) -> bool {
    location.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("ldap"))
}

/// A URL, or an imported list.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) origin: Origin,
    pub(super) crl: Option<Crl>,
    pub(super) signer: Option<Certificate>,
    pub(super) validators: Validators,
    pub(super) fetched: Option<Timestamp>,
    pub(super) asked: Option<Timestamp>,
    pub(super) needed: Timestamp,
    pub(super) due: Timestamp,
    pub(super) failures: u32,
    pub(super) error: Option<String>,
    /// Says when the one who asks now is done.
    pub(super) running: Option<watch::Receiver<bool>>,
    /// Since when.
    pub(super) began: Timestamp,
    /// When `needed` was stored.
    pub(super) stored: Timestamp,
}

impl Source {
    /// One that was never asked.
    pub(super) fn new(origin: Origin, now: Timestamp) -> Self {
        Self {
            origin,
            crl: None,
            signer: None,
            validators: Validators::default(),
            fetched: None,
            asked: None,
            needed: now,
            due: now,
            failures: 0,
            error: None,
            running: None,
            began: now,
            stored: now,
        }
    }

    /// Who asks now; nobody where the task is gone.
    pub(super) fn running(&self) -> Option<watch::Receiver<bool>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }

    /// Whether who asks now has asked for longer than mail waits.
    pub(super) fn is_slow(&self, now: Timestamp) -> bool {
        now.duration_since(self.began) > PATIENCE
    }

    /// Whether its CRL may still be relied on.
    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        self.crl.as_ref().and_then(Crl::next_update).is_some_and(|next| now <= next)
    }

    /// Whether its last answer was no good, or its CRL's time is over. A place that can't be asked at all (`ldap`) is missed as
    /// long as mail wants its list: somebody may have imported it since.
    pub(super) fn is_missed(&self, location: &str, now: Timestamp) -> bool {
        (!is_ldap(location) || now.duration_since(self.needed) < LATELY) && (self.failures > 0 || !self.is_current(now))
    }

    /// Whether it may be asked: it is time, or it has once given the list of another CA than the one that is wanted.
    pub(super) fn is_due(&self, signers: &[Certificate], now: Timestamp) -> bool {
        let of_another = self.crl.is_some() && signers.first().is_some_and(|signer| !self.is_of(signer.subject()));
        let lately = self.asked.is_some_and(|asked| now.duration_since(asked) < TICK);
        now >= self.due || (of_another && !lately)
    }

    pub(super) fn is_of(&self, issuer: &Name) -> bool {
        self.crl.as_ref().is_some_and(|crl| crl.issuer().matches(issuer))
    }

    /// Whether an operator means it: by its URL, or by its issuer as the status shows it.
    pub(super) fn is_named(&self, location: &str, what: &str) -> bool {
        location == what || self.crl.as_ref().is_some_and(|crl| crl.issuer().to_string() == what)
    }

    pub(super) fn touch(&mut self, now: Timestamp) {
        self.needed = self.needed.max(now);
    }

    /// Whether it must be stored that it was needed.
    pub(super) fn take_dirty(&mut self, now: Timestamp) -> bool {
        let dirty = self.needed > self.stored && now.duration_since(self.stored) >= TOUCHED;
        if dirty {
            self.stored = self.needed;
        }
        dirty
    }

    /// An imported list goes when it is of no use any more, a URL when nobody needed it.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        let since = match self.origin {
            Origin::Configured => return false,
            Origin::Fetched => self.needed,
            // It may still condemn, so it stays as long after its end.
            Origin::Imported => self.crl.as_ref().and_then(Crl::next_update).unwrap_or(self.needed).max(self.needed),
        };
        now.duration_since(since) > FORGOTTEN
    }

    /// What one who asks has to know.
    pub(super) fn held(&self) -> (Option<Crl>, Option<Certificate>, Validators, Origin) {
        // Without the list, "nothing new" would be no answer.
        let validators = if self.crl.is_some() { self.validators.clone() } else { Validators::default() };
        (self.crl.clone(), self.signer.clone(), validators, self.origin)
    }

    /// Takes an answer: a CRL, nothing new, or why not. Whether there is a CRL with news.
    pub(super) fn settle(&mut self, arrived: Result<Option<(Accepted, Validators)>, String>, now: Timestamp) -> bool {
        self.asked = Some(now);
        let mut news = false;
        let failed = match arrived {
            Ok(found) => {
                self.fetched = Some(now);
                if let Some((accepted, validators)) = found {
                    news = self.crl.as_ref().is_none_or(|held| held.der() != accepted.crl.der());
                    // The same list as before: its signatures need not be verified again.
                    if news {
                        self.crl = Some(accepted.crl);
                    }
                    self.signer = accepted.signer.or_else(|| self.signer.take());
                    self.validators = validators;
                }
                (!self.is_current(now)).then(|| "the server has no newer list than one whose time is over".to_owned())
            }
            Err(error) => Some(error),
        };
        let chance = u16::from_be_bytes(crypto::random());
        match (&failed, self.crl.as_ref().and_then(Crl::next_update)) {
            (None, Some(next)) => {
                self.failures = 0;
                self.due = timing::after_success(now, next, chance);
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                self.due = timing::after_failure(now, self.failures, chance);
            }
        }
        self.error = failed;
        news
    }

    /// What is stored; the list itself only where it is new.
    pub(super) fn row(&self, location: &str, with_crl: bool) -> Stored {
        Stored {
            location: location.to_owned(),
            origin: self.origin,
            crl: self.crl.clone().filter(|_| with_crl),
            signer: self.signer.as_ref().map(|signer| signer.der().to_vec()),
            validators: self.validators.clone(),
            fetched: self.fetched,
            asked: self.asked,
            needed: self.needed,
            due: self.due,
            failures: self.failures,
            error: self.error.clone(),
        }
    }
}
