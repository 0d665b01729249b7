//! What is known about the recipients of outgoing mail, and what rules look at in its header section.

use super::super::{Arrival, Gateway, Snapshot};
use super::{add_wanted, path_material};
use crate::directory::{KnownCertificate, Trust};
use crate::limits::Limits;
use crate::mail::Address;
use crate::mail::header::{self, HeaderSection};
use crate::pki::{Certificate, PathReport, RecipientKey, WantedCrls, recipient};
use crate::plan::mark;
use crate::policy::{Encrypt, Facts, RecipientCertificate, RecipientFacts, RecipientStanding, Triggers};
use crate::reason::Reason;
use jiff::Timestamp;
use std::collections::HashSet;

/// Octets of `Subject` that tags are looked for in. RFC 5322 section 2.1.1 wants lines below 998; nobody reads more.
const SUBJECT: usize = 16 << 10;

/// Reads off the mail what the decision about outgoing mail looks at.
pub(super) fn content_facts(snapshot: &Snapshot, content: &[u8], facts: &mut Facts) {
    facts.returns_opened |= mark::returns_opened(content, &snapshot.config.hostname, &snapshot.limits);
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
    // A second Subject is no way around a rule, and neither is a long one.
    let subjects = text("Subject");
    triggers.cut = subjects.iter().map(String::len).sum::<usize>() > SUBJECT;
    if !triggers.cut {
        // What somebody else may read and we can't is no way around a rule either.
        triggers.cut = subjects.iter().any(|text| header::has_unclear_word(text));
        triggers.subject = subjects.iter().map(|text| header::decode_words(text)).collect::<Vec<_>>().join("\n");
    }
    facts.triggers = triggers;
    // A promise in a field is not enough: it is told by the octets.
    facts.already_encrypted = facts.inspected.sealed;
}

/// Whether any recipient could be encrypted to: only then are certificates looked at.
pub(super) fn may_encrypt(snapshot: &Snapshot, from: &Address, facts: &Facts) -> bool {
    let policy = &snapshot.config.policy;
    let own = policy.domain(from.domain());
    let by_rule = policy.rules.iter().any(|rule| rule.encrypt.is_some_and(|encrypt| encrypt != Encrypt::Never));
    facts.returns_opened || by_rule || own.is_some_and(|domain| domain.encrypt != Encrypt::Never)
}

/// Certificates of every recipient with their standing, in the envelope's order.
pub(super) fn look_up(
    gateway: &Gateway,
    snapshot: &Snapshot,
    arrival: &Arrival,
    now: Timestamp,
    wanted: &mut Vec<WantedCrls>,
) -> Vec<RecipientFacts> {
    let named = named(&arrival.content, &snapshot.limits);
    let of = |address: &Address| {
        let known = gateway.directory.for_mailbox(address).into_iter();
        let certificates = known.map(|known| judge(gateway, snapshot, known, address, now, wanted)).collect();
        fact(gateway, address, certificates, &named)
    };
    arrival.envelope.recipients.iter().map(of).collect()
}

fn fact(
    gateway: &Gateway,
    address: &Address,
    certificates: Vec<RecipientCertificate>,
    named: &HashSet<String>,
) -> RecipientFacts {
    RecipientFacts {
        certificates,
        encrypted_before: gateway.directory.encrypted_before(address),
        hidden: !named.contains(&address.mailbox_key()),
        asked_keys: Vec::new(),
    }
}

/// The mailboxes in `To` and `Cc`, by their keys: everybody else in the envelope is hidden.
fn named(content: &[u8], limits: &Limits) -> HashSet<String> {
    let Ok(headers) = HeaderSection::parse(content, limits) else { return HashSet::new() };
    let mailboxes = ["To", "Cc"].iter().flat_map(|name| header::mailboxes(content, &headers, name));
    mailboxes.map(|address| address.mailbox_key()).collect()
}

fn judge(
    gateway: &Gateway,
    snapshot: &Snapshot,
    known: KnownCertificate,
    address: &Address,
    now: Timestamp,
    wanted: &mut Vec<WantedCrls>,
) -> RecipientCertificate {
    let bound = (!known.bound_by_operator).then_some(address);
    let standing = match known.trust {
        _ if known.blocked => RecipientStanding::Rejected(vec![Reason::BlockedLocally]),
        Trust::Seen => RecipientStanding::Unconfirmed,
        Trust::Imported | Trust::Trusted => {
            let (found, report) =
                encryption_certificate(gateway, snapshot, &known.certificate, &known.chain, bound, now);
            add_wanted(wanted, report.wanted_crls);
            match found {
                Ok(key) => RecipientStanding::Usable(key),
                Err(reasons) if reasons == [Reason::RevocationUnknown] => RecipientStanding::Unknown,
                Err(reasons) => RecipientStanding::Rejected(reasons),
            }
        }
    };
    RecipientCertificate { id: known.id, certificate: known.certificate, standing, capabilities: known.capabilities }
}

/// What the certificate that a mail was encrypted to is worth now; none where the directory has it no more.
pub(in super::super) fn standing_of(
    gateway: &Gateway,
    snapshot: &Snapshot,
    address: &Address,
    id: &str,
    now: Timestamp,
) -> Option<RecipientStanding> {
    let known = gateway.directory.for_mailbox(address).into_iter().find(|known| known.id == id)?;
    Some(judge(gateway, snapshot, known, address, now, &mut Vec::new()).standing)
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
    let (untrusted, crls) = path_material(gateway, certificate, chain);
    recipient::check(&recipient::RecipientRequest {
        certificate,
        address,
        untrusted: &untrusted,
        anchors: &snapshot.anchors,
        crls: &crls,
        blocked: &gateway.directory.blocked(),
        at: now,
        limits: &snapshot.limits,
    })
}
