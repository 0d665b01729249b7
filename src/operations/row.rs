//! What listings show of keys, certificates and anchors.

use crate::directory::Listed;
use crate::keys::KeyEntry;
use crate::mail::{Address, Domain};
use crate::pipeline::{Gateway, gather};
use crate::pki::path::{self, AnchorSource, PolicyInputs};
use crate::pki::{Harvesting, PathRequest, Purpose, RevocationMode, TrustAnchor};
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
        let (standing, reasons) = words(standing(gateway, entry));
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
            reasons,
            uses: [("sign", entry.can_sign), ("decrypt", entry.can_decrypt)]
                .into_iter()
                .filter(|(_, can)| *can)
                .map(|(word, _)| word.to_owned())
                .collect(),
        }
    }
}

/// `usable`, `unknown` or `unusable`, and the reason codes.
fn words(standing: Standing) -> (&'static str, Vec<String>) {
    let (word, reasons) = match standing {
        Standing::Usable => ("usable", Vec::new()),
        Standing::Unknown => ("unknown", vec![Reason::RevocationUnknown]),
        Standing::Unusable(reasons) => ("unusable", reasons),
    };
    (word, reasons.iter().map(|reason| reason.code().to_owned()).collect())
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

/// A certificate of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// First 16 hex digits of its SHA-256.
    pub id: String,
    /// `recipient`: mail may be encrypted to it; `issuer`: it is here to build paths with.
    pub role: String,
    /// Mailboxes that it stands for.
    pub addresses: Vec<String>,
    /// `certificate`: it names them; `operator`: the registration officer has bound it. `null` for an issuer.
    pub binding: Option<String>,
    /// RFC 4514.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// Of the DER, lower-case hex.
    pub sha256: String,
    /// `imported`, `trusted`, `seen`.
    pub trust: String,
    /// `import`, `mail`.
    pub source: String,
    /// Whether an operator has blocked it.
    pub blocked: bool,
    /// When it became known, RFC 3339.
    pub added: String,
    /// What the owner's program can read; `null`: he has not said.
    pub capabilities: Option<CapabilitiesRow>,
    /// `usable`; `unknown`: mail is deferred until its status is known; `unusable`.
    pub standing: String,
    /// Why it would not be used now: reason codes.
    pub reasons: Vec<String>,
}

/// What a program has announced in validly signed mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitiesRow {
    /// Ciphers that are known here too, in the order of preference.
    pub ciphers: Vec<String>,
    /// RSAES-OAEP with SHA-256.
    pub oaep: bool,
    /// When the mail that said so was signed, RFC 3339.
    pub signing_time: Option<String>,
}

impl CertificateRow {
    /// The role of a CA's certificate.
    pub const ISSUER: &str = "issuer";

    /// The row of a certificate, and what it is good for now.
    pub fn of(gateway: &Gateway, listed: &Listed) -> Self {
        let issuer = listed.addresses.is_empty();
        let (standing, reasons) = words(certificate_standing(gateway, listed));
        let certificate = &listed.certificate;
        let binding = if listed.bound_by_operator { "operator" } else { "certificate" };
        Self {
            id: listed.id.clone(),
            role: if issuer { Self::ISSUER } else { "recipient" }.to_owned(),
            addresses: listed.addresses.iter().map(|address| address.as_str().to_owned()).collect(),
            binding: (!issuer).then(|| binding.to_owned()),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.serial_hex(),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
            sha256: HEXLOWER.encode(&certificate.sha256()),
            trust: listed.trust.name().to_owned(),
            source: listed.source.name().to_owned(),
            blocked: listed.blocked,
            added: listed.added.to_string(),
            capabilities: listed.capabilities.as_ref().map(|known| CapabilitiesRow {
                ciphers: known.ciphers.iter().map(|cipher| cipher.name().to_owned()).collect(),
                oaep: known.oaep,
                signing_time: listed.announced.map(|time| time.to_string()),
            }),
            standing: standing.to_owned(),
            reasons,
        }
    }
}

/// What happens to mail for one of its mailboxes, before it comes; of an issuer, whether a path leads from it to an anchor.
fn certificate_standing(gateway: &Gateway, listed: &Listed) -> Standing {
    if listed.blocked {
        return Standing::Unusable(vec![Reason::BlockedLocally]);
    }
    let snapshot = gateway.snapshot();
    let certificate = &listed.certificate;
    let untrusted = gateway.directory.issuers(certificate);
    let mut crls = snapshot.crls.by_issuer(certificate.issuer());
    crls.extend(untrusted.iter().flat_map(|issuer| snapshot.crls.by_issuer(issuer.issuer())));
    let at = crate::clock::now();
    if listed.addresses.is_empty() {
        let report = path::validate(&PathRequest {
            end_entity: certificate,
            untrusted: &untrusted,
            anchors: &snapshot.anchors,
            crls: &crls,
            at,
            purpose: Purpose::Any,
            address: None,
            revocation: None,
            crl_grace: std::time::Duration::ZERO,
            policy: &PolicyInputs::default(),
            allow_weak: &[],
            limits: &snapshot.limits,
        });
        return standing_of(report.reasons);
    }
    let one = |address| {
        let address = (!listed.bound_by_operator).then_some(address);
        let (key, _) = gather::encryption_certificate(gateway, &snapshot, certificate, &untrusted, address, at);
        standing_of(key.err().unwrap_or_default())
    };
    listed.addresses.iter().map(one).find(|standing| *standing != Standing::Usable).unwrap_or(Standing::Usable)
}

fn standing_of(reasons: Vec<Reason>) -> Standing {
    match reasons.as_slice() {
        [] => Standing::Usable,
        [Reason::RevocationUnknown] => Standing::Unknown,
        _ => Standing::Unusable(reasons),
    }
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
    /// `trusted` or `seen`: what certificates are worth that are learned from mail under it.
    pub harvest: String,
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
            harvest: match anchor.harvest {
                Harvesting::Trusted => "trusted",
                Harvesting::Seen => "seen",
            }
            .to_owned(),
        }
    }
}
