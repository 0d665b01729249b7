//! The policy's hash: two gateways with the same hash decide alike, and a decision's record says which policy made it.

use crate::mail::Domain;
use crate::pki::path::Harvesting;
use crate::pki::{RevocationMode, TrustAnchor};
use crate::policy::{
    Encrypt, IncomingTreatment, Pattern, Policy, Rule, Sign, SignedForm, Substitute, Unvouched, Voucher,
};
use crate::reason::Reason;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::time::Duration;

/// SHA-256, in lower-case hex, over JSON with sorted keys of everything that decides. Defaults count like written
/// values and spelling doesn't count; names of files, addresses of sockets and limits don't decide and are left out.
pub(super) fn policy(policy: &Policy, anchors: &[TrustAnchor], status_grace: Duration) -> String {
    let mut domains: Vec<Value> = policy
        .domains
        .iter()
        .map(|own| {
            json!({
                "name": own.domain.ascii(),
                "sign": own.sign.name(),
                "encrypt": own.encrypt.name(),
                "content_encryption": own.content_encryption.name(),
                "substitute": substitute(own.substitute),
                "unvouched": unvouched(own.unvouched),
            })
        })
        .collect();
    let mut authorise: Vec<Value> = policy
        .authorise
        .iter()
        .map(|entry| {
            let mut from: Vec<String> = entry.from.iter().map(Pattern::key).collect();
            from.sort();
            match &entry.by {
                Voucher::Envelope(envelope) => json!({"envelope": envelope.mailbox_key(), "from": from}),
                Voucher::Login(login) => json!({"login": login, "from": from}),
            }
        })
        .collect();
    let mut trusted: Vec<Value> = anchors
        .iter()
        .map(|anchor| {
            let mut domains: Vec<&str> = anchor.domains.iter().map(Domain::ascii).collect();
            domains.sort_unstable();
            json!({
                "certificate": HEXLOWER.encode(&anchor.certificate.sha256()),
                "revocation": revocation(anchor.revocation),
                "domains": domains,
                "harvest": harvest(anchor.harvest),
            })
        })
        .collect();
    for list in [&mut domains, &mut authorise, &mut trusted] {
        list.sort_by_cached_key(Value::to_string);
    }
    let treatments: Vec<Value> = Reason::ALL
        .into_iter()
        .map(|reason| {
            // Without a treatment of its own this reason defers first; with one, whichever, it does not.
            let defers = reason == Reason::RevocationUnknown && policy.incoming.explicit(reason).is_none();
            json!([reason.code(), policy.incoming.treatment(reason).name(), defers])
        })
        .collect();
    // Their order decides, so they are not sorted.
    let rules: Vec<Value> = policy.rules.iter().map(rule).collect();
    let mut downgrade: Vec<String> = policy.allow_downgrade.iter().map(Pattern::key).collect();
    downgrade.sort();
    let canonical = json!({
        "version": 3,
        "rules": rules,
        "allow_downgrade": downgrade,
        "hostname": policy.hostname,
        "domains": domains,
        "authorise": authorise,
        "incoming": treatments,
        "own-domain": policy.incoming.own_domain.name(),
        "defer_for": policy.incoming.defer_for.as_secs(),
        "hold_for": policy.incoming.hold_for.as_secs(),
        "anchors": trusted,
        "status_grace": status_grace.as_secs(),
    });
    HEXLOWER.encode(&crate::crypto::sha256(canonical.to_string().as_bytes()))
}

fn rule(rule: &Rule) -> Value {
    let keys = |patterns: &[Pattern]| {
        let mut keys: Vec<String> = patterns.iter().map(Pattern::key).collect();
        keys.sort();
        keys
    };
    let mut reasons: Vec<&str> = rule.reasons.iter().map(|reason| reason.code()).collect();
    reasons.sort_unstable();
    json!({
        "name": rule.name,
        "side": rule.side.name(),
        "from": keys(&rule.from),
        "to": keys(&rule.to),
        "subject": rule.subject.as_deref().map(str::to_lowercase),
        "header": rule.field.as_ref().map(|(name, value)| [name.to_lowercase(), value.to_lowercase()]),
        "reasons": reasons,
        "sign": rule.sign.map(Sign::name),
        "form": rule.form.map(SignedForm::name),
        "encrypt": rule.encrypt.map(Encrypt::name),
        "action": rule.action.map(IncomingTreatment::name),
    })
}

fn substitute(substitute: Substitute) -> &'static str {
    match substitute {
        Substitute::None => "none",
        Substitute::Organisation => "organisation",
        Substitute::System => "system",
    }
}

fn unvouched(unvouched: Unvouched) -> &'static str {
    match unvouched {
        Unvouched::Refuse => "refuse",
        Unvouched::PassUnsigned => "pass-unsigned",
    }
}

fn revocation(mode: RevocationMode) -> &'static str {
    match mode {
        RevocationMode::HardFail => "hard-fail",
        RevocationMode::SoftFail => "soft-fail",
        RevocationMode::None => "none",
    }
}

fn harvest(harvesting: Harvesting) -> &'static str {
    match harvesting {
        Harvesting::Trusted => "trusted",
        Harvesting::Seen => "seen",
    }
}
