//! The decision: two tables, one for each side.
//!
//! Outgoing mail follows `From` against the reverse-path, then `sign`, then `encrypt` for each recipient
//! (`super::outgoing`). Incoming mail follows its reasons (`super::incoming`).

use super::decided::{Decided, Refusal, RefusalKind};
use super::rule::{Encrypt, IncomingTreatment};
use super::{Facts, Policy, Side, incoming, outgoing};
use crate::mail::{Address, ReversePath};
use crate::reason::Reason;
use jiff::Timestamp;

/// What `decide` says about a message.
#[derive(Debug)]
pub enum Decision {
    /// It is taken; what happens to it for whom.
    Accept(Box<Decided>),
    /// It is refused for good.
    Refuse(Refusal),
    /// A fact is missing now: the sender's queue keeps it.
    Defer(Refusal),
}

/// Decides what happens to a message. `now` is the time of receipt.
pub fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    match facts.side {
        Side::Inside => outgoing::decide(facts, policy, now),
        Side::Outside => incoming::decide(facts, policy, now),
    }
}

/// Whether somebody who has said who he is may use this reverse-path: of our addresses his own, and those that `[[authorise]]`
/// names for him (S45). Who writes as whom is decided with the message at hand.
///
/// # Errors
/// The refusal.
pub fn reverse_path(policy: &Policy, login: Option<&str>, path: &ReversePath) -> Result<(), Refusal> {
    let (Some(login), Some(address)) = (login, path.mailbox()) else { return Ok(()) };
    if policy.domain(address.domain()).is_none() || policy.login_may_use(login, address) {
        return Ok(());
    }
    Err(Refusal {
        kind: RefusalKind::SenderNotAuthorised,
        addresses: vec![address.clone()],
        detail: format!("login `{login}` may not use this reverse-path"),
        rule: "login-refused",
    })
}

/// Whether a listener of this side takes mail for this recipient: the outside side takes own domains only, and
/// no local part that a next hop could read as another route (`%`, `!`, `@`).
pub fn recipient(policy: &Policy, side: Side, address: &Address) -> Result<(), Refusal> {
    let own = policy.domain(address.domain()).is_some();
    let routed = address.local().contains(['@', '%', '!']);
    if side == Side::Inside || (own && !routed) {
        return Ok(());
    }
    Err(Refusal {
        kind: RefusalKind::RelayDenied,
        addresses: vec![address.clone()],
        detail: format!("`{}` is not in an own domain", address.as_str()),
        rule: "no-relay",
    })
}

/// Whether mail to this recipient is refused whatever it turns out to be: a rule that depends on the envelope alone says so,
/// and no rule before it could still say otherwise. Outgoing mail that has to be encrypted, to a recipient without a
/// certificate; incoming mail that a rule rejects.
///
/// # Errors
/// The refusal. `known` says whether a certificate of the recipient is.
pub fn rule_at_rcpt(policy: &Policy, side: Side, address: &Address, known: bool) -> Result<(), Refusal> {
    let first = policy.rules.iter().find(|rule| rule.matches_envelope(side, address));
    let Some(rule) = first.filter(|rule| rule.needs_envelope_only()) else { return Ok(()) };
    let refusal = |kind, why: &str, row| Refusal {
        kind,
        addresses: vec![address.clone()],
        detail: format!("rule `{}` {why}", rule.name),
        rule: row,
    };
    match side {
        Side::Inside if rule.encrypt == Some(Encrypt::Required) && !known => Err(refusal(
            RefusalKind::NoRecipientCertificate,
            "requires encryption and no certificate is known",
            "encrypt-required-refused",
        )),
        Side::Outside if rule.action == Some(IncomingTreatment::Reject) => {
            Err(refusal(RefusalKind::RejectedByRule, "rejects it", "rule-rejected"))
        }
        Side::Inside | Side::Outside => Ok(()),
    }
}

/// Comma-separated codes, as in header fields and the log.
pub fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(",")
}

/// Whether mail that lacks a fact is still deferred, `defer_for` after it was seen first; then it is held.
pub(super) fn still_deferring(facts: &Facts, policy: &Policy, now: Timestamp) -> bool {
    if facts.again.is_some() {
        return false;
    }
    let Some(first) = facts.first_seen else { return true };
    match first.checked_add(policy.incoming.defer_for) {
        Ok(until) => now < until,
        Err(_) => true,
    }
}

#[cfg(test)]
pub(super) mod tests;
