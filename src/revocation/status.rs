//! What an operator is told about CRLs and the places they come from.

use super::source::{Origin, Source};
use crate::pki::Crl;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its CRL may be relied on, and the last time it was asked it answered.
    Current,
    /// Its CRL may still be relied on, but the last time it did not give one.
    Failing,
    /// It has no CRL that may be relied on.
    Stale,
}

impl Standing {
    /// The same word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Failing => "failing",
            Self::Stale => "stale",
        }
    }
}

/// A CRL, and where it comes from. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// RFC 4514; none where nothing was had yet.
    pub issuer: Option<String>,
    /// `file` (trust.crls), `configured` (a URL in trust.crls), `fetched` (a certificate names the URL), `imported`.
    pub source: String,
    /// The URL, or `import:` and the SHA-256 of the list.
    pub location: Option<String>,
    /// cRLNumber, hex.
    pub number: Option<String>,
    /// When it was made.
    pub this_update: Option<String>,
    /// When the next one comes at the latest.
    pub next_update: Option<String>,
    /// Certificates on it.
    pub entries: Option<usize>,
    /// When the place last answered well.
    pub last_fetch: Option<String>,
    /// When it is asked again; files and imported lists never are.
    pub next_refresh: Option<String>,
    /// Failures since it last answered well.
    pub failures: u32,
    /// Why the last one.
    pub last_error: Option<String>,
    /// `current`, `failing` or `stale`.
    pub state: Standing,
}

/// A CRL that somebody has to replace by hand: nobody is asked for its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// RFC 4514.
    pub issuer: String,
    /// From when on a successor is missed.
    pub due: Timestamp,
    /// When it ends.
    pub end: Timestamp,
}

/// The last weeks of a list that lives long, the last quarter of one that lives short: time enough to bring another.
const LAST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// For each issuer the newest of the lists that were brought, unless a place that is asked has given one that lasts as long.
pub(super) fn renewals<'a>(
    brought: impl Iterator<Item = &'a Crl>,
    fetched: impl Iterator<Item = &'a Crl>,
) -> Vec<Renewal> {
    let mut newest: BTreeMap<String, (Timestamp, Renewal)> = BTreeMap::new();
    for crl in brought {
        let Some(end) = crl.next_update() else { continue };
        let life = end.duration_since(crl.this_update());
        let due = end.checked_sub((life / 4).min(LAST)).unwrap_or(end);
        let renewal = Renewal { issuer: crl.issuer().to_string(), due, end };
        match newest.get(&renewal.issuer) {
            Some((last, _)) if *last >= end => {}
            _ => drop(newest.insert(renewal.issuer.clone(), (end, renewal))),
        }
    }
    for crl in fetched {
        let issuer = crl.issuer().to_string();
        if newest.get(&issuer).is_some_and(|(end, _)| crl.next_update().is_some_and(|next| next >= *end)) {
            newest.remove(&issuer);
        }
    }
    newest.into_values().map(|(_, renewal)| renewal).collect()
}

/// Of one of the configured files.
pub(super) fn of_file(crl: &Crl, now: Timestamp) -> Status {
    let current = crl.next_update().is_some_and(|next| now <= next);
    Status {
        source: "file".to_owned(),
        state: if current { Standing::Current } else { Standing::Stale },
        ..of_crl(Some(crl))
    }
}

/// Of a URL or an imported list.
pub(super) fn of(location: &str, source: &Source, now: Timestamp) -> Status {
    Status {
        source: source.origin.name().to_owned(),
        location: Some(location.to_owned()),
        last_fetch: source.fetched.map(text),
        next_refresh: (source.origin != Origin::Imported).then(|| text(source.due)),
        failures: source.failures,
        last_error: source.error.clone(),
        state: match (source.is_current(now), source.failures) {
            (false, _) => Standing::Stale,
            (true, 0) => Standing::Current,
            (true, _) => Standing::Failing,
        },
        ..of_crl(source.crl.as_ref())
    }
}

fn of_crl(crl: Option<&Crl>) -> Status {
    Status {
        issuer: crl.map(|crl| crl.issuer().to_string()),
        source: String::new(),
        location: None,
        number: crl.and_then(Crl::number),
        this_update: crl.map(|crl| text(crl.this_update())),
        next_update: crl.and_then(Crl::next_update).map(text),
        entries: crl.map(Crl::len),
        last_fetch: None,
        next_refresh: None,
        failures: 0,
        last_error: None,
        state: Standing::Stale,
    }
}

fn text(time: Timestamp) -> String {
    format!("{time:.0}")
}
