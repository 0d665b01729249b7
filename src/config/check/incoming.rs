//! `[incoming]`: a treatment per reason code, and what happens while revocation is unknown.

use super::super::Authenticate;
use super::super::file::File;
use super::super::parse::{Findings, nearest};
use super::{choice, duration, must_be_default, not_yet};
use crate::policy::{IncomingPolicy, IncomingTreatment};
use crate::reason::Reason;
use toml::Spanned;

const OTHER_KEYS: [&str; 6] = ["own-domain", "list_posts", "lists", "defer_for", "hold_for", "authenticate"];

pub(super) fn incoming(file: &File, findings: &mut Findings<'_>) -> (IncomingPolicy, Authenticate) {
    let mut policy = IncomingPolicy::default();
    let mut authenticate = Authenticate::Remote;
    for (name, value) in &file.incoming {
        let key = format!("incoming.{}", name.get_ref());
        if name.get_ref() == "lists" {
            if value.get_ref().as_array().is_none_or(|list| !list.is_empty()) {
                let hint = "leave the key out; list posts are judged like other mail in this version";
                not_yet(findings, value.span().start, &key, "an empty list", "something else", hint);
            }
            continue;
        }
        let reason = Reason::from_code(name.get_ref());
        if reason.is_none() && !OTHER_KEYS.contains(&name.get_ref().as_str()) {
            unknown(findings, name, &key);
            continue;
        }
        let Some(text) = value.get_ref().as_str() else {
            let problem = format!("expected a string, found {}", value.get_ref().type_str());
            findings.error(value.span().start, &key, problem, "write it as text in double quotes");
            continue;
        };
        let text = Spanned::new(value.span(), text.to_owned());
        match (reason, name.get_ref().as_str()) {
            (Some(reason), _) => {
                let default = IncomingTreatment::Quarantine;
                policy
                    .treatments
                    .push((reason, choice(findings, &key, Some(&text), &IncomingTreatment::WORDS, default)));
            }
            (None, "own-domain") => {
                policy.own_domain = choice(findings, &key, Some(&text), &IncomingTreatment::WORDS, policy.own_domain)
            }
            (None, "defer_for") => policy.defer_for = duration(findings, &key, Some(&text), 3600),
            (None, "hold_for") => policy.hold_for = duration(findings, &key, Some(&text), 86_400),
            (None, "authenticate") => {
                let words = [
                    ("remote", Authenticate::Remote),
                    ("always", Authenticate::Always),
                    ("never", Authenticate::Never),
                ];
                authenticate = choice(findings, &key, Some(&text), &words, authenticate);
            }
            (None, _) => {
                let hint = "leave the key out; list posts are judged like other mail in this version";
                must_be_default(findings, &key, Some(&text), "mark", hint);
            }
        }
    }
    policy.treatments.sort_by_key(|(reason, _)| *reason);
    (policy, authenticate)
}

fn unknown(findings: &mut Findings<'_>, name: &Spanned<String>, key: &str) {
    let known = Reason::ALL.into_iter().map(Reason::code).chain(OTHER_KEYS);
    let hint = match nearest(name.get_ref(), known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys are the reason codes and {}", OTHER_KEYS.join(", ")),
    };
    findings.error(name.span().start, key, format!("expected a reason code, found `{}`", name.get_ref()), hint);
}
