//! Whether outgoing mail is signed: who vouches for `From`, then what is wanted for each recipient, then what keys there are.
//!
//! There is one signature for all who get one; who gets none, and in which form, is each recipient's.

use super::decide::codes;
use super::decided::{Refusal, RefusalKind, Signing};
use super::outgoing::{Outcome, Wish};
use super::rule::{Sign, Substitute, Unvouched};
use super::{DomainPolicy, Facts, Policy, SenderKey, Standing};
use crate::mail::{Address, ReversePath};
use crate::smime::inspect::Structure;

/// Who could sign, as far as the decision goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMeans {
    /// The sender himself.
    Own,
    /// Somebody in his stead.
    Substitute,
    /// A key could sign if its status were known.
    Unknown,
    /// Nobody.
    Nothing,
}

/// What vouches for `From`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// The reverse-path is the same mailbox.
    ReversePath,
    /// `[[authorise]]` lets the reverse-path write as this mailbox.
    Authorised,
    /// The login may use the reverse-path, and `From` as well.
    Login,
}

impl Vouched {
    /// In a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::ReversePath => "the reverse-path: it is the same mailbox",
            Self::Authorised => "[[authorise]]: it lets the reverse-path write as From",
            Self::Login => "the login: it may use the reverse-path and From",
        }
    }
}

/// S45: an authenticated client writes as who it is, or as whom `[[authorise]]` names for it. A login that stands for a whole
/// domain is a server: what it sends on for others passes, as from a server known by its address.
pub(super) fn forbidden_login(
    facts: &Facts,
    policy: &Policy,
    domain: Option<&DomainPolicy>,
    from: &Address,
) -> Option<Refusal> {
    let login = facts.login.as_deref()?;
    let allowed = match domain {
        Some(_) => policy.login_may_use(login, from),
        None => policy.login_is_server(login),
    };
    (!allowed).then(|| Refusal {
        kind: RefusalKind::SenderNotAuthorised,
        addresses: vec![from.clone()],
        detail: format!("login `{login}` may not write as this address"),
        rule: "login-refused",
    })
}

/// What lets this reverse-path and login write as `from`.
pub fn vouched(facts: &Facts, policy: &Policy, from: &Address) -> Option<Vouched> {
    let path = facts.envelope.reverse_path.mailbox()?;
    if path.same_mailbox(from) {
        return Some(Vouched::ReversePath);
    }
    if policy.authorises(path, from) {
        return Some(Vouched::Authorised);
    }
    facts.login.as_deref().is_some_and(|login| policy.login_may_use(login, path)).then_some(Vouched::Login)
}

/// `From` against the reverse-path, then what is wanted: the row that says so, and whether anybody gets a signature.
pub(super) fn row(
    facts: &Facts,
    policy: &Policy,
    domain: &DomainPolicy,
    from: &Address,
    wishes: &[Wish<'_>],
    key: KeyMeans,
) -> Result<(&'static str, bool), Outcome> {
    if matches!(facts.envelope.reverse_path, ReversePath::Null) {
        return Ok(("null-reverse-path", false));
    }
    match (vouched(facts, policy, from), domain.unvouched) {
        (Some(_), _) => sign(facts, from, wishes, key),
        (None, Unvouched::PassUnsigned) => Ok(("unvouched-passed", false)),
        (None, Unvouched::Refuse) => Err(Outcome::Refuse(Refusal {
            kind: RefusalKind::SenderNotAuthorised,
            addresses: vec![from.clone()],
            detail: "the reverse-path does not vouch for From".to_owned(),
            rule: "unvouched-refused",
        })),
    }
}

/// What is wanted of a vouched sender's mail, against what keys there are.
fn sign(facts: &Facts, from: &Address, wishes: &[Wish<'_>], key: KeyMeans) -> Result<(&'static str, bool), Outcome> {
    match facts.inspected.structure {
        Structure::SmimeSigned | Structure::SmimeEncrypted | Structure::PgpMime => {
            return Ok(("already-protected", false));
        }
        _ if facts.passed => return Ok(("passed-before", false)),
        Structure::Report => return Ok(("report", false)),
        Structure::Plain | Structure::Broken => {}
    }
    if wishes.iter().all(|wish| wish.sign == Sign::Never) {
        return Ok(("sign-never", false));
    }
    if facts.bypass {
        return Ok((super::BYPASS, false));
    }
    match key {
        KeyMeans::Own => Ok(("signed", true)),
        KeyMeans::Substitute => Ok(("substitute", true)),
        KeyMeans::Unknown => Err(Outcome::Defer(Refusal {
            kind: RefusalKind::OwnStatusUnknown,
            addresses: vec![from.clone()],
            detail: "the revocation status of the sender's certificate is unknown".to_owned(),
            rule: "own-status-unknown",
        })),
        KeyMeans::Nothing if wishes.iter().all(|wish| wish.sign != Sign::Required) => Ok(("no-key-passed", false)),
        KeyMeans::Nothing => Err(Outcome::Refuse(Refusal {
            kind: RefusalKind::NoSigningKey,
            addresses: vec![from.clone()],
            detail: standings(&facts.own_keys),
            rule: "no-key-refused",
        })),
    }
}

/// The sender's own key, else the substitute that the domain names; what that means for the decision.
///
/// An own key whose status is unknown defers: a substitute signing in its place would say that
/// the sender has none.
pub(super) fn choose_key(facts: &Facts, domain: &DomainPolicy) -> (KeyMeans, Option<Signing>) {
    let usable = |key: &&SenderKey| key.standing == Standing::Usable;
    let unknown = |key: &SenderKey| key.standing == Standing::Unknown;
    if let Some(key) = facts.own_keys.iter().find(usable) {
        return (KeyMeans::Own, Some(Signing { key: key.clone(), sender: None }));
    }
    if facts.own_keys.iter().any(unknown) {
        return (KeyMeans::Unknown, None);
    }
    if domain.substitute == Substitute::None {
        return (KeyMeans::Nothing, None);
    }
    if let Some(key) = facts.substitutes.iter().find(usable) {
        let sender = key.certificate.addresses().first().or_else(|| key.addresses.first()).cloned();
        return (KeyMeans::Substitute, Some(Signing { key: key.clone(), sender }));
    }
    match facts.substitutes.iter().any(unknown) {
        true => (KeyMeans::Unknown, None),
        false => (KeyMeans::Nothing, None),
    }
}

fn standings(keys: &[SenderKey]) -> String {
    if keys.is_empty() {
        return "no key was imported for the sender".to_owned();
    }
    let each: Vec<String> = keys
        .iter()
        .map(|key| match &key.standing {
            Standing::Usable => format!("{}: usable", key.id),
            Standing::Unknown => format!("{}: revocation-unknown", key.id),
            Standing::Unusable(reasons) => format!("{}: {}", key.id, codes(reasons)),
        })
        .collect();
    each.join("; ")
}
