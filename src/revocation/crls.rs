//! The CRLs at hand, by issuer: what verdicts look at.

use crate::pki::{Crl, Name};
use std::cmp::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

/// The CRLs at hand, by issuer. Cheap to clone; a clone shows what is at hand now, also what came later.
#[derive(Clone, Debug, Default)]
pub struct Crls {
    issuers: Arc<RwLock<Arc<Vec<Issuer>>>>,
}

#[derive(Clone, Debug)]
struct Issuer {
    name: Name,
    /// Newest first.
    crls: Vec<Crl>,
}

impl Crls {
    /// Groups CRLs by issuer (RFC 5280 section 7.1) and puts the newest first: by CRL number if all of an issuer's
    /// have one (section 5.2.3), else by thisUpdate. Copies are dropped; partitions of one issuer's list stay.
    pub fn new(crls: Vec<Crl>) -> Self {
        Self { issuers: Arc::new(RwLock::new(Arc::new(grouped(crls)))) }
    }

    /// Shows these from now on, also to those who hold a clone.
    pub(super) fn show(&self, crls: Vec<Crl>) {
        *self.issuers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(grouped(crls));
    }

    fn issuers(&self) -> Arc<Vec<Issuer>> {
        Arc::clone(&self.issuers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a reload makes: the configured CRLs, and for an issuer whose configured CRLs are all older than the newest
    /// one held, that one too (somebody put back an old file). The names of such issuers are for the log.
    pub fn reloaded(&self, configured: Vec<Crl>) -> (Self, Vec<Name>) {
        let mut next = configured;
        let mut rolled_back = Vec::new();
        for held in self.issuers().iter() {
            let Some(newest) = held.crls.first() else { continue };
            let mut offered: Vec<Crl> = next.iter().filter(|crl| crl.issuer().matches(&held.name)).cloned().collect();
            if offered.is_empty() {
                continue;
            }
            offered.push(newest.clone());
            let order = Order::of(&offered);
            offered.pop();
            if offered.iter().all(|crl| order.compare(crl, newest) == Ordering::Less) {
                rolled_back.push(held.name.clone());
                next.push(newest.clone());
            }
        }
        (Self::new(next), rolled_back)
    }

    /// The CRLs that this issuer has signed or claims to have signed, newest first.
    pub fn by_issuer(&self, issuer: &Name) -> Vec<Crl> {
        let issuers = self.issuers();
        let exact = issuers.iter().find(|held| held.name == *issuer);
        let found = exact.or_else(|| issuers.iter().find(|held| held.name.matches(issuer)));
        found.map(|held| held.crls.clone()).unwrap_or_default()
    }

    /// Every CRL, for health and listings.
    pub fn all(&self) -> Vec<Crl> {
        self.issuers().iter().flat_map(|issuer| issuer.crls.iter().cloned()).collect()
    }
}

fn grouped(crls: Vec<Crl>) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for crl in crls {
        match issuers.iter_mut().find(|issuer| issuer.name.matches(crl.issuer())) {
            Some(issuer) if issuer.crls.iter().any(|held| held.der() == crl.der()) => {}
            Some(issuer) => issuer.crls.push(crl),
            None => issuers.push(Issuer { name: crl.issuer().clone(), crls: vec![crl] }),
        }
    }
    for issuer in &mut issuers {
        let order = Order::of(&issuer.crls);
        issuer.crls.sort_by(|a, b| order.compare(b, a));
    }
    issuers
}

/// What decides which of one issuer's CRLs is newer. One rule for all of them, so that the order is total.
#[derive(Clone, Copy)]
enum Order {
    Number,
    ThisUpdate,
}

impl Order {
    fn of(crls: &[Crl]) -> Self {
        match crls.iter().all(|crl| crl.number().is_some()) {
            true => Self::Number,
            false => Self::ThisUpdate,
        }
    }

    fn compare(self, a: &Crl, b: &Crl) -> Ordering {
        let by_time = a.this_update().cmp(&b.this_update());
        match self {
            Self::Number => {
                compare_numbers(&a.number().unwrap_or_default(), &b.number().unwrap_or_default()).then(by_time)
            }
            Self::ThisUpdate => by_time,
        }
    }
}

/// Whether `a` is older than `b`, of the same issuer.
pub(super) fn is_older(a: &Crl, b: &Crl) -> bool {
    Order::of(&[a.clone(), b.clone()]).compare(a, b) == Ordering::Less
}

/// Numbers of up to 20 octets (RFC 5280 section 5.2.3) as text: the longer one is larger, leading zeros apart.
pub(super) fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
