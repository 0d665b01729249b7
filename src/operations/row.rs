//! What listings show of keys and anchors.

use crate::keys::KeyEntry;
use crate::mail::{Address, Domain};
use crate::pipeline::{Gateway, gather};
use crate::pki::path::AnchorSource;
use crate::pki::{RevocationMode, TrustAnchor};
use crate::policy::Standing;
use crate::reason::Reason;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// An own key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Id in the register.
    pub id: String,
    /// Mailboxes that it is for.
    pub addresses: Vec<String>,
    /// `individual`, `position`, `organisation`, `system`.
    pub kind: String,
    /// `gateway`, `owner`, `token`, `remote`.
    pub custody: String,
    /// Of the certificate, RFC 4514.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// Of the certificate's DER, lower-case hex.
    pub sha256: String,
    /// Whether an operator has blocked it.
    pub blocked: bool,
    /// Whether the private key is gone.
    pub destroyed: bool,
    /// RFC 3339.
    pub imported: String,
    /// `usable`; `unknown`: mail is deferred until its status is known; `unusable`.
    pub standing: String,
    /// Why it would not sign now: reason codes.
    pub reasons: Vec<String>,
    /// What its certificate lets it do: `sign`, `decrypt`.
    #[serde(default)]
    pub uses: Vec<String>,
}

impl KeyRow {
    /// The row of an entry, and what it is good for now.
    pub fn of(gateway: &Gateway, entry: &KeyEntry) -> Self {
        let (standing, reasons) = match standing(gateway, entry) {
            Standing::Usable => ("usable", Vec::new()),
            Standing::Unknown => ("unknown", vec![Reason::RevocationUnknown]),
            Standing::Unusable(reasons) => ("unusable", reasons),
        };
        let certificate = &entry.certificate;
        Self {
            id: entry.id.clone(),
            addresses: entry.addresses.iter().map(|address: &Address| address.as_str().to_owned()).collect(),
            kind: entry.kind.name().to_owned(),
            custody: entry.custody.name().to_owned(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.serial_hex(),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
            sha256: HEXLOWER.encode(&certificate.sha256()),
            blocked: entry.blocked,
            destroyed: entry.destroyed,
            imported: entry.imported.to_string(),
            standing: standing.to_owned(),
            reasons: reasons.iter().map(|reason| reason.code().to_owned()).collect(),
            uses: [("sign", entry.can_sign), ("decrypt", entry.can_decrypt)]
                .into_iter()
                .filter(|(_, can)| *can)
                .map(|(word, _)| word.to_owned())
                .collect(),
        }
    }
}

/// The first standing that keeps the key from signing for one of its mailboxes: what happens to mail, before it comes.
fn standing(gateway: &Gateway, entry: &KeyEntry) -> Standing {
    if entry.destroyed {
        return Standing::Unusable(vec![Reason::NoSigningKey]);
    }
    if entry.blocked {
        return Standing::Unusable(vec![Reason::BlockedLocally]);
    }
    // What only decrypts goes on doing so when its certificate has ended or is revoked: the mail is still there.
    if !entry.can_sign {
        return Standing::Usable;
    }
    let (snapshot, now) = (gateway.snapshot(), crate::clock::now());
    let one = |address| gather::standing(gateway, &snapshot, &entry.certificate, &entry.chain, address, now);
    let each = entry.addresses.iter().map(|address| one(Some(address)));
    each.into_iter().find(|standing| *standing != Standing::Usable).unwrap_or(Standing::Usable)
}

/// A trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorRow {
    /// Of the certificate's DER, lower-case hex.
    pub sha256: String,
    /// RFC 4514.
    pub subject: String,
    /// `hard-fail`, `soft-fail`, `none`.
    pub revocation: String,
    /// Sender domains that it may speak for; empty: any.
    pub domains: Vec<String>,
    /// `configuration` or `imported`.
    pub source: String,
    /// The file in the configuration, or when it was imported.
    pub origin: String,
    /// RFC 3339.
    pub not_after: String,
}

impl AnchorRow {
    /// The row of an anchor.
    pub fn of(anchor: &TrustAnchor) -> Self {
        let (source, origin) = match &anchor.source {
            AnchorSource::Configuration(file) => ("configuration", file.clone()),
            AnchorSource::Imported(when) => ("imported", when.clone()),
            AnchorSource::CommandLine => ("command-line", String::new()),
        };
        Self {
            sha256: HEXLOWER.encode(&anchor.certificate.sha256()),
            subject: anchor.certificate.subject().to_string(),
            revocation: match anchor.revocation {
                RevocationMode::HardFail => "hard-fail",
                RevocationMode::SoftFail => "soft-fail",
                RevocationMode::None => "none",
            }
            .to_owned(),
            domains: anchor.domains.iter().map(|domain: &Domain| domain.as_str().to_owned()).collect(),
            source: source.to_owned(),
            origin,
            not_after: anchor.certificate.not_after().to_string(),
        }
    }
}
