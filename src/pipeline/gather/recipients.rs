//! What is known about the recipients of outgoing mail, and what rules look at in its header section.

use super::super::{AcceptError, Arrival, Gateway, Snapshot};
use super::{path_material, same_mailbox};
use crate::directory::{KnownCertificate, Trust};
use crate::limits::Limits;
use crate::mail::header::{self, HeaderSection};
use crate::mail::{Address, ReversePath};
use crate::pki::{Certificate, PathReport, RecipientKey, recipient};
use crate::plan::mark;
use crate::policy::{Encrypt, Facts, RecipientCertificate, RecipientFacts, RecipientStanding, Triggers};
use crate::reason::Reason;
use crate::smime::inspect::Structure;
use jiff::Timestamp;
use std::sync::Arc;

/// Reads off the header section what the decision about outgoing mail looks at.
pub(super) fn header_facts(snapshot: &Snapshot, arrival: &Arrival, facts: &mut Facts) {
    let content = &arrival.content;
    let Ok(headers) = HeaderSection::parse(content, &snapshot.limits) else { return };
    let text = |name: &str| {
        let fields = headers.named(content, name);
        let texts = fields.map(|field| String::from_utf8_lossy(&headers.text(content, field)).into_owned());
        texts.collect::<Vec<String>>()
    };
    let mut triggers = Triggers::default();
    for rule in &snapshot.config.policy.rules {
        if let Some((name, _)) = &rule.field
            && !triggers.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            triggers.fields.extend(text(name).into_iter().map(|value| (name.clone(), value)));
        }
    }
    // A second Subject is no way around a rule.
    let subjects: Vec<String> = text("Subject").iter().map(|text| header::decode_words(text).into_owned()).collect();
    triggers.subject = subjects.join("\n");
    facts.triggers = triggers;
    facts.already_encrypted = is_encrypted(facts, &text("Content-Type"));
    let automatic =
        matches!(arrival.envelope.reverse_path, ReversePath::Null) || facts.inspected.structure == Structure::Report;
    facts.returns_opened = automatic && mark::returns_opened(content, &snapshot.config.hostname, &snapshot.limits);
}

/// Whether the outermost layer is an encrypted one that can be read as such; a promise in a field is not enough.
fn is_encrypted(facts: &Facts, content_type: &[String]) -> bool {
    let pgp = |value: &String| value.trim().to_ascii_lowercase().starts_with("multipart/encrypted");
    match facts.inspected.structure {
        Structure::SmimeEncrypted => {
            facts.inspected.layers.first().is_some_and(|layer| {
                layer.kind.is_encrypted() && layer.reasons.is_empty() && !layer.recipients.is_empty()
            })
        }
        Structure::PgpMime => content_type.len() == 1 && content_type.iter().all(pgp),
        Structure::Plain | Structure::SmimeSigned | Structure::Report | Structure::Broken => false,
    }
}

/// Whether any recipient could be encrypted to: only then are certificates looked at.
pub(super) fn may_encrypt(snapshot: &Snapshot, from: &Address, facts: &Facts) -> bool {
    let policy = &snapshot.config.policy;
    let own = policy.domain(from.domain());
    facts.returns_opened || own.is_some_and(|domain| domain.encrypt != Encrypt::Never || !policy.rules.is_empty())
}

/// Certificates of every recipient with their standing, in the envelope's order.
pub(super) async fn look_up(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    arrival: &Arrival,
    now: Timestamp,
) -> Result<Vec<RecipientFacts>, AcceptError> {
    let named = named(arrival, &snapshot.limits);
    let recipients = arrival.envelope.recipients.clone();
    let known: Vec<_> = recipients.iter().map(|address| gateway.directory.for_mailbox(address)).collect();
    if known.iter().all(Vec::is_empty) {
        // The usual case is no work for another thread.
        return Ok(recipients.iter().map(|address| fact(gateway, address, Vec::new(), &named)).collect());
    }
    let (gateway, snapshot) = (Arc::clone(gateway), Arc::clone(snapshot));
    let workers = Arc::clone(&gateway);
    workers
        .cpu(move || {
            let all = recipients.iter().zip(known).map(|(address, known)| {
                let judged = known.into_iter().map(|known| judge(&gateway, &snapshot, known, address, now));
                fact(&gateway, address, judged.collect(), &named)
            });
            all.collect()
        })
        .await
}

fn fact(
    gateway: &Gateway,
    address: &Address,
    certificates: Vec<RecipientCertificate>,
    named: &[Address],
) -> RecipientFacts {
    RecipientFacts {
        certificates,
        encrypted_before: gateway.directory.encrypted_before(address),
        hidden: !same_mailbox(named, address),
        asked_keys: Vec::new(),
    }
}

/// The mailboxes in `To` and `Cc`: everybody else in the envelope is hidden.
fn named(arrival: &Arrival, limits: &Limits) -> Vec<Address> {
    let Ok(headers) = HeaderSection::parse(&arrival.content, limits) else { return Vec::new() };
    ["To", "Cc"].iter().flat_map(|name| header::mailboxes(&arrival.content, &headers, name)).collect()
}

fn judge(
    gateway: &Gateway,
    snapshot: &Snapshot,
    known: KnownCertificate,
    address: &Address,
    now: Timestamp,
) -> RecipientCertificate {
    let bound = (!known.bound_by_operator).then_some(address);
    let standing = match known.trust {
        _ if known.blocked => RecipientStanding::Rejected(vec![Reason::BlockedLocally]),
        Trust::Seen => RecipientStanding::Unconfirmed,
        Trust::Imported | Trust::Trusted => {
            match encryption_certificate(gateway, snapshot, &known.certificate, &known.chain, bound, now).0 {
                Ok(key) => RecipientStanding::Usable(key),
                Err(reasons) if reasons == [Reason::RevocationUnknown] => RecipientStanding::Unknown,
                Err(reasons) => RecipientStanding::Rejected(reasons),
            }
        }
    };
    RecipientCertificate { id: known.id, certificate: known.certificate, standing, capabilities: known.capabilities }
}

/// Whether somebody's certificate may be encrypted to now, and under which anchor. `address` is nobody where the
/// registration officer has bound it.
pub fn encryption_certificate(
    gateway: &Gateway,
    snapshot: &Snapshot,
    certificate: &Certificate,
    chain: &[Certificate],
    address: Option<&Address>,
    now: Timestamp,
) -> (Result<RecipientKey, Vec<Reason>>, PathReport) {
    let (untrusted, crls) = path_material(gateway, snapshot, certificate, chain);
    recipient::check(&recipient::RecipientRequest {
        certificate,
        address,
        untrusted: &untrusted,
        anchors: &snapshot.anchors,
        crls: &crls,
        at: now,
        limits: &snapshot.limits,
    })
}
