//! Rules, recipient by recipient, on both sides.

use super::decide::tests::{address, facts, from, policy};
use super::outgoing::{self, Means, Outcome};
use super::protect::CertificateMeans;
use super::signing::KeyMeans;
use super::trial::{AssumedCertificate, AssumedKey, Given, try_out};
use super::*;
use crate::mail::ReversePath;
use crate::reason::Reason;
use crate::smime::Verdict;
use crate::smime::inspect::Structure;
use jiff::Timestamp;

const SITI: &str = "siti@example.go.id";
const STRANGER: &str = "x@elsewhere.example";

fn rule(name: &str, side: Side) -> Rule {
    Rule {
        name: name.to_owned(),
        side,
        from: Vec::new(),
        to: Vec::new(),
        subject: None,
        field: None,
        reasons: Vec::new(),
        sign: None,
        form: None,
        encrypt: None,
        action: None,
    }
}

fn to(patterns: &[&str]) -> Vec<Pattern> {
    patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

/// A letter by Siti to these people.
fn letter(recipients: &[&str]) -> Facts {
    let mut facts = facts(Side::Inside, from(SITI), SITI);
    facts.envelope.recipients = recipients.iter().map(|text| address(text)).collect();
    facts.recipients = vec![RecipientFacts::default(); recipients.len()];
    facts
}

/// The row, and for each recipient whether his copy is signed, and what decided about encryption.
fn outlook(facts: &Facts, policy: &Policy, key: KeyMeans) -> String {
    let means = Means { key, certificates: vec![CertificateMeans::default(); facts.recipients.len()] };
    match outgoing::outlook(facts, policy, &means, Timestamp::UNIX_EPOCH) {
        Err(Outcome::Refuse(refusal)) => format!("refuse {}", refusal.rule),
        Err(Outcome::Defer(refusal)) => format!("defer {}", refusal.rule),
        Ok(outlook) => {
            let each = outlook.recipients.iter().map(|one| {
                let form = one.signature.map_or("unsigned", SignedForm::name);
                format!("{form} ({})", one.rule)
            });
            format!("{}: {}", outlook.row, each.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn o58_each_recipient_has_the_signature_that_his_rule_says() {
    let list = Rule { to: to(&["daftar@elsewhere.example"]), sign: Some(Sign::Never), ..rule("list", Side::Inside) };
    let other =
        Rule { to: to(&["warta@elsewhere.example"]), form: Some(SignedForm::Opaque), ..rule("warta", Side::Inside) };
    let mut policy = policy();
    policy.rules = vec![list, other];
    let (daftar, warta, budi) = ("daftar@elsewhere.example", "warta@elsewhere.example", "budi@elsewhere.example");
    for (recipients, key, expected) in [
        (&[budi][..], KeyMeans::Own, "signed: clear (no-recipient-certificate)"),
        (&[warta], KeyMeans::Own, "signed: opaque (warta)"),
        (&[daftar], KeyMeans::Own, "sign-never: unsigned (list)"),
        // Nobody asks for a key where nobody gets a signature.
        (&[daftar], KeyMeans::Nothing, "sign-never: unsigned (list)"),
        (&[daftar], KeyMeans::Unknown, "sign-never: unsigned (list)"),
        (
            &[daftar, warta, budi],
            KeyMeans::Substitute,
            "substitute: unsigned (list), opaque (warta), clear (no-recipient-certificate)",
        ),
        (&[daftar, budi], KeyMeans::Nothing, "refuse no-key-refused"),
        (&[daftar, budi], KeyMeans::Unknown, "defer own-status-unknown"),
    ] {
        assert_eq!(outlook(&letter(recipients), &policy, key), expected, "{recipients:?} {key:?}");
    }
}

#[test]
fn a_rule_says_sign_in_the_place_of_the_domain_and_nothing_else() {
    let mut policy = policy();
    policy.domains[0].sign = Sign::Never;
    policy.rules = vec![Rule { sign: Some(Sign::Required), ..rule("all", Side::Inside) }];
    let budi = "budi@elsewhere.example";
    assert_eq!(outlook(&letter(&[budi]), &policy, KeyMeans::Nothing), "refuse no-key-refused");
    assert_eq!(outlook(&letter(&[budi]), &policy, KeyMeans::Own), "signed: clear (all)");
    // What is never signed by the tables is not signed by a rule either.
    let mut foreign = letter(&[budi]);
    foreign.inspected.from = from(STRANGER);
    assert_eq!(outlook(&foreign, &policy, KeyMeans::Own), "foreign-from: unsigned (all)");
    let mut bounce = letter(&[budi]);
    bounce.envelope.reverse_path = ReversePath::Null;
    assert_eq!(outlook(&bounce, &policy, KeyMeans::Own), "null-reverse-path: unsigned (all)");
    let mut signed = letter(&[budi]);
    signed.inspected.structure = Structure::SmimeSigned;
    assert_eq!(outlook(&signed, &policy, KeyMeans::Own), "already-protected: unsigned (all)");
    let mut forged = letter(&[budi]);
    forged.envelope.reverse_path = ReversePath::Mailbox(address("other@example.go.id"));
    assert_eq!(outlook(&forged, &policy, KeyMeans::Own), "refuse unvouched-refused");
    policy.rules[0].sign = Some(Sign::WhenPossible);
    assert_eq!(outlook(&letter(&[budi]), &policy, KeyMeans::Nothing), "no-key-passed: unsigned (all)");
}

#[test]
fn a_bypass_is_about_signing_alone() {
    let mut policy = policy();
    let bypassed = |mut facts: Facts| {
        facts.bypass = true;
        facts
    };
    let mail = || bypassed(letter(&["budi@elsewhere.example"]));
    let clear = "emergency-bypass: unsigned (no-recipient-certificate)";
    for key in [KeyMeans::Own, KeyMeans::Substitute, KeyMeans::Unknown, KeyMeans::Nothing] {
        assert_eq!(outlook(&mail(), &policy, key), clear);
    }
    // Who may write as whom is asked as ever.
    let mut forged = mail();
    forged.envelope.reverse_path = ReversePath::Mailbox(address("other@example.go.id"));
    assert_eq!(outlook(&forged, &policy, KeyMeans::Own), "refuse unvouched-refused");
    let mut login = mail();
    login.login = Some("somebody".to_owned());
    assert_eq!(outlook(&login, &policy, KeyMeans::Own), "refuse login-refused");
    // What is never signed needs no bypass.
    policy.domains[0].sign = Sign::Never;
    assert_eq!(outlook(&mail(), &policy, KeyMeans::Own), "sign-never: unsigned (no-recipient-certificate)");
    policy.domains[0].sign = Sign::Required;
    // What has to be encrypted is, or does not leave.
    policy.domains[0].encrypt = Encrypt::Required;
    assert_eq!(outlook(&mail(), &policy, KeyMeans::Own), "refuse encrypt-required-refused");
    let means = |certificate| Means { key: KeyMeans::Nothing, certificates: vec![certificate] };
    let usable = CertificateMeans { usable: true, ..CertificateMeans::default() };
    for encrypt in [Encrypt::Required, Encrypt::WhenPossible] {
        policy.domains[0].encrypt = encrypt;
        let found = outgoing::outlook(&mail(), &policy, &means(usable.clone()), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(found.recipients[0].protected, super::protect::Protected::Encrypted);
    }
    let unproven = CertificateMeans { reasons: vec![Reason::Revoked], ..CertificateMeans::default() };
    let deferred = outgoing::outlook(&mail(), &policy, &means(unproven), Timestamp::UNIX_EPOCH);
    assert!(matches!(deferred, Err(Outcome::Defer(_))));
}

/// Incoming mail by `author` to Siti and Budi: what happens to each, and what decided.
fn incoming(author: &str, reasons: &[Reason], policy: &Policy, asked: bool) -> String {
    let mut facts = facts(Side::Outside, from(author), STRANGER);
    facts.envelope.recipients = vec![address(SITI), address("budi@example.go.id")];
    facts.recipients = vec![RecipientFacts::default(); 2];
    facts.inspected.reasons = reasons.to_vec();
    facts.inspected.verdict = Verdict::of(reasons);
    facts.inspected.asked_private_key = asked;
    match decide(&facts, policy, Timestamp::UNIX_EPOCH) {
        Decision::Refuse(refusal) => {
            let to: Vec<&str> = refusal.addresses.iter().map(|address| address.as_str()).collect();
            format!("refuse {} {:?} {}", refusal.rule, refusal.kind, to.join(" "))
        }
        Decision::Defer(refusal) => format!("defer {} {}", refusal.rule, refusal.addresses.len()),
        Decision::Accept(decided) => {
            // Whatever a rule says: the mark and its reasons stay.
            assert_eq!(decided.mark(), Mark::Verdict);
            assert!(reasons.iter().all(|reason| decided.reasons().contains(reason)));
            let each = decided.recipients().iter().map(|one| match &one.treatment {
                Treatment::Deliver(_) => format!("deliver ({})", one.rule),
                Treatment::Hold { class, .. } => format!("{} ({})", class.name(), one.rule),
            });
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn a_rule_changes_the_treatment_of_the_reasons_that_it_names() {
    use IncomingTreatment::{Deliver, Quarantine, Reject};
    use Reason::{Altered, Expired, Revoked, SenderNotAuthorised, Untrusted};
    let acts = |reasons: &[Reason], action| Rule {
        to: to(&[SITI]),
        reasons: reasons.to_vec(),
        action: Some(action),
        ..rule("r", Side::Outside)
    };
    let refused = |kind: &str| format!("refuse incoming-rejected Rejected({kind}) {SITI}");
    let table: [(Rule, &str, &[Reason], &str); 12] = [
        (acts(&[Revoked], Deliver), STRANGER, &[Revoked], "deliver (r), quarantine (quarantined)"),
        // A reason that it does not name keeps its treatment.
        (
            acts(&[Revoked], Deliver),
            STRANGER,
            &[Revoked, Reason::OnHold],
            "quarantine (quarantined), quarantine (quarantined)",
        ),
        (acts(&[Expired], Quarantine), STRANGER, &[Expired], "quarantine (r), deliver (marked)"),
        (acts(&[Expired], Quarantine), STRANGER, &[Untrusted], "deliver (marked), deliver (marked)"),
        (acts(&[Expired], Quarantine), STRANGER, &[], "deliver (verified), deliver (verified)"),
        (acts(&[Altered], Reject), STRANGER, &[Altered, Untrusted], &refused("Altered")),
        (
            acts(&[Reason::RevocationUnknown], Deliver),
            STRANGER,
            &[Reason::RevocationUnknown],
            "defer revocation-unknown-deferred 1",
        ),
        // Without reasons: the whole mail, and nothing weaker than the tables.
        (acts(&[], Quarantine), STRANGER, &[], "quarantine (r), deliver (verified)"),
        (acts(&[], Reject), STRANGER, &[Untrusted], &format!("refuse rule-rejected RejectedByRule {SITI}")),
        (acts(&[], Deliver), STRANGER, &[Revoked], "quarantine (quarantined), quarantine (quarantined)"),
        (acts(&[], Deliver), STRANGER, &[Untrusted], "deliver (r), deliver (marked)"),
        // Mail that claims to be our own is held, whatever else is delivered.
        (acts(&[Revoked], Deliver), SITI, &[Revoked], "quarantine (quarantined), quarantine (quarantined)"),
    ];
    for (rule, author, reasons, expected) in table {
        let mut policy = policy();
        let text = format!("{rule:?}");
        policy.rules = vec![rule];
        assert_eq!(incoming(author, reasons, &policy, false), expected, "{text} {reasons:?}");
        assert!(!reasons.contains(&SenderNotAuthorised));
    }
}

#[test]
fn no_rule_makes_mail_look_good_that_the_house_refuses_or_nobody_could_judge() {
    use IncomingTreatment::Deliver;
    let held = [
        Reason::SenderNotAuthorised,
        Reason::BlockedLocally,
        Reason::IntegrityUnproven,
        Reason::Malformed,
        Reason::TooComplex,
    ];
    for reason in Reason::ALL {
        // The configuration refuses to read such a rule; the decision does not rely on that.
        let mut policy = policy();
        policy.rules = vec![Rule { reasons: vec![reason], action: Some(Deliver), ..rule("r", Side::Outside) }];
        let outcome = incoming(STRANGER, &[reason], &policy, false);
        assert_eq!(outcome.starts_with("deliver"), !held.contains(&reason), "{reason}: {outcome}");
    }
}

/// I60: what a private key has shown never becomes a reply, whatever a rule says.
#[test]
fn i60_a_rule_that_rejects_holds_what_a_private_key_has_shown() {
    let mut policy = policy();
    for reasons in [vec![Reason::Untrusted], Vec::new()] {
        let reject = Rule { reasons, action: Some(IncomingTreatment::Reject), ..rule("r", Side::Outside) };
        policy.rules = vec![reject];
        assert!(incoming(STRANGER, &[Reason::Untrusted], &policy, false).starts_with("refuse"));
        assert_eq!(incoming(STRANGER, &[Reason::Untrusted], &policy, true), "quarantine (r), quarantine (r)");
    }
}

#[test]
fn a_rule_about_the_envelope_alone_refuses_at_rcpt() {
    let mut policy = policy();
    let reject = Rule { action: Some(IncomingTreatment::Reject), ..rule("closed", Side::Outside) };
    let required = Rule { encrypt: Some(Encrypt::Required), ..rule("partner", Side::Inside) };
    let earlier = Rule { from: to(&["@elsewhere.example"]), ..reject.clone() };
    let narrow = Rule { to: to(&[SITI]), action: Some(IncomingTreatment::Deliver), ..rule("open", Side::Outside) };
    for (rules, side, known, expected) in [
        (vec![reject.clone()], Side::Outside, false, Some("rule-rejected")),
        (vec![reject.clone()], Side::Inside, false, None),
        (vec![earlier, reject.clone()], Side::Outside, false, None),
        (vec![narrow, reject], Side::Outside, false, None),
        (vec![required.clone()], Side::Inside, false, Some("encrypt-required-refused")),
        (vec![required], Side::Inside, true, None),
    ] {
        policy.rules = rules;
        let found = rule_at_rcpt(&policy, side, &address(SITI), known);
        assert_eq!(found.err().map(|refusal| refusal.rule), expected, "{:?}", policy.rules);
    }
}

#[test]
fn the_trace_names_the_first_condition_that_was_not_met() {
    let mut policy = policy();
    policy.rules = vec![
        Rule { action: Some(IncomingTreatment::Reject), ..rule("other side", Side::Outside) },
        Rule { from: to(&["budi@example.go.id"]), ..rule("other sender", Side::Inside) },
        Rule { subject: Some("[rahasia]".to_owned()), ..rule("tag", Side::Inside) },
        Rule { field: Some(("X-E".to_owned(), "1".to_owned())), ..rule("field", Side::Inside) },
        Rule { to: to(&["@lain.example"]), ..rule("other recipient", Side::Inside) },
        Rule { to: to(&["@elsewhere.example"]), ..rule("this", Side::Inside) },
        rule("never reached", Side::Inside),
    ];
    let facts = letter(&["budi@elsewhere.example"]);
    let found = trace(&facts, &policy, &facts.envelope.recipients[0], &[]);
    let missed: Vec<_> = found.missed.iter().map(|(rule, condition)| (rule.name.as_str(), condition.name())).collect();
    assert_eq!(
        missed,
        [
            ("other side", "side"),
            ("other sender", "from"),
            ("tag", "subject"),
            ("field", "header"),
            ("other recipient", "to")
        ]
    );
    assert_eq!(found.fired.map(|rule| rule.name.as_str()), Some("this"));
}

#[test]
fn a_rule_that_catches_all_of_another_is_found() {
    let base = || rule("r", Side::Inside);
    let tag = |text: &str| Rule { subject: Some(text.to_owned()), ..base() };
    let for_reasons = |reasons: &[Reason]| Rule { reasons: reasons.to_vec(), ..rule("r", Side::Outside) };
    let (domain, mailbox) = (Rule { to: to(&["@a.example"]), ..base() }, Rule { to: to(&["x@a.example"]), ..base() });
    for (number, (first, second, expected)) in [
        (base(), base(), true),
        (base(), rule("r", Side::Outside), false),
        (base(), mailbox.clone(), true),
        (mailbox.clone(), base(), false),
        (domain.clone(), mailbox.clone(), true),
        (mailbox, domain.clone(), false),
        (domain.clone(), Rule { from: to(&[SITI]), ..domain.clone() }, true),
        (Rule { from: to(&[SITI]), ..domain.clone() }, domain, false),
        (tag("[R]"), tag("[r] x"), true),
        (tag("[r] x"), tag("[R]"), false),
        (tag("[r]"), base(), false),
        (for_reasons(&[Reason::Revoked, Reason::Expired]), for_reasons(&[Reason::Expired]), true),
        (for_reasons(&[Reason::Revoked]), for_reasons(&[]), false),
        (for_reasons(&[]), for_reasons(&[Reason::Revoked]), true),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(first.catches_all_of(&second), expected, "{number}");
    }
}

#[test]
fn a_described_mail_is_decided_as_mail_is() {
    let mut policy = policy();
    policy.rules = vec![
        Rule { subject: Some("[rahasia]".to_owned()), encrypt: Some(Encrypt::Required), ..rule("tag", Side::Inside) },
        Rule { reasons: vec![Reason::Altered], action: Some(IncomingTreatment::Reject), ..rule("in", Side::Outside) },
    ];
    let given = Given {
        side: Side::Inside,
        from: address(SITI),
        to: address("budi@elsewhere.example"),
        reverse_path: ReversePath::Mailbox(address(SITI)),
        login: None,
        subject: "[rahasia] gaji".to_owned(),
        field: None,
        reasons: Vec::new(),
        signed: false,
        key: AssumedKey::Own,
        certificate: AssumedCertificate::None,
    };
    let known = |certificate| Given { certificate, ..given.clone() };
    let key = |key| Given { key, subject: String::new(), ..given.clone() };
    let outside = |reasons: &[Reason]| Given {
        side: Side::Outside,
        from: address(STRANGER),
        to: address(SITI),
        reverse_path: ReversePath::Mailbox(address(STRANGER)),
        reasons: reasons.to_vec(),
        ..given.clone()
    };
    for (given, action, why, signed, encrypted) in [
        (given.clone(), "reject", "encrypt-required-refused", false, false),
        (known(AssumedCertificate::Usable), "deliver", "signed", true, true),
        (known(AssumedCertificate::Unknown), "defer", "recipient-unproven-deferred", false, false),
        (known(AssumedCertificate::Revoked), "reject", "encrypt-required-refused", false, false),
        (key(AssumedKey::Own), "deliver", "signed", true, false),
        (key(AssumedKey::None), "reject", "no-key-refused", false, false),
        (key(AssumedKey::Substitute), "reject", "no-key-refused", false, false),
        (key(AssumedKey::Unknown), "defer", "own-status-unknown", false, false),
        (outside(&[]), "deliver", "plain", false, false),
        (Given { to: address(STRANGER), ..outside(&[]) }, "reject", "no-relay", false, false),
        (outside(&[Reason::Altered]), "reject", "incoming-rejected", false, false),
        (outside(&[Reason::Revoked]), "quarantine", "quarantined", false, false),
        (outside(&[Reason::RevocationUnknown]), "defer", "revocation-unknown-deferred", false, false),
    ] {
        let tried = try_out(&policy, &given);
        assert_eq!(
            (tried.action, tried.why.as_str(), tried.signed, tried.encrypted),
            (action, why, signed, encrypted),
            "{given:?}"
        );
    }
    let tried = try_out(&policy, &given);
    assert_eq!((tried.rule.as_deref(), tried.encrypt), (Some("tag"), Some(Encrypt::Required)));
    let own = Given { from: address(SITI), ..outside(&[]) };
    assert_eq!(try_out(&policy, &own).action, "quarantine");
    assert_eq!(try_out(&policy, &Given { signed: true, ..own }).action, "deliver");
}
