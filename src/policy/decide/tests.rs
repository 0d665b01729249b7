//! The two tables, row by row.

use super::*;
use crate::crypto::ContentCipher;
use crate::mail::header::{From, FromTexts};
use crate::mail::{BodyType, Domain, Envelope};
use crate::policy::{
    Again, Authorise, DomainPolicy, Encrypt, ForRecipient, Form, IncomingPolicy, IncomingTreatment, Mark,
    RecipientFacts, Sign, Substitute, Treatment, Triggers, Unvouched,
};
use crate::smime::inspect::{Evidence, Opened, Structure};
use crate::smime::{Inspected, Verdict};
use std::time::Duration;

pub(in super::super) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(in super::super) fn policy() -> Policy {
    Policy {
        hostname: "gw.example.go.id".to_owned(),
        domains: vec![DomainPolicy {
            domain: Domain::parse("example.go.id").unwrap(),
            sign: Sign::Required,
            encrypt: Encrypt::WhenPossible,
            content_encryption: ContentCipher::Aes256Cbc,
            substitute: Substitute::None,
            unvouched: Unvouched::Refuse,
        }],
        authorise: vec![Authorise {
            by: crate::policy::Voucher::Envelope(address("sekretaris@example.go.id")),
            from: vec![crate::policy::Pattern::Mailbox(address("bupati@example.go.id"))],
        }],
        rules: Vec::new(),
        allow_downgrade: Vec::new(),
        incoming: IncomingPolicy::default(),
        hash: String::new(),
    }
}

pub(in super::super) fn facts(side: Side, from: From, path: &str) -> Facts {
    let reverse_path = match path {
        "" => ReversePath::Null,
        text => ReversePath::Mailbox(address(text)),
    };
    Facts {
        login: None,
        sender: crate::mail::authentication::SenderAuthentication::default(),
        side,
        envelope: Envelope::new(reverse_path, vec![address("budi@elsewhere.example")], BodyType::EightBitMime),
        inspected: Inspected {
            verdict: Verdict::None,
            reasons: Vec::new(),
            warnings: Vec::new(),
            from,
            signed: false,
            encrypted: false,
            decrypted: false,
            covers_whole_message: false,
            revocation_soft: false,
            layers: Vec::new(),
            deciding: None,
            structure: Structure::Plain,
            sealed: false,
            evidence: Evidence::default(),
            opened: None,
            asked_private_key: false,
            harvest: None,
        },
        from_texts: FromTexts::default(),
        own_keys: Vec::new(),
        substitutes: Vec::new(),
        unopened: None,
        recipients: vec![RecipientFacts::default()],
        triggers: Triggers::default(),
        already_encrypted: false,
        passed: false,
        returns_opened: false,
        bypass: false,
        first_seen: None,
        again: None,
    }
}

pub(in super::super) fn from(text: &str) -> From {
    From::Mailbox(address(text))
}

/// `rule`, or `refuse rule`, or `defer rule`; held mail says `held`.
fn outcome(facts: &Facts, policy: &Policy, now: Timestamp) -> String {
    match decide(facts, policy, now) {
        Decision::Accept(decided) => {
            let held = decided.recipients().iter().any(|one| !one.is_delivered());
            format!("{}{}", if held { "held " } else { "" }, decided.rule())
        }
        Decision::Refuse(refusal) => format!("refuse {}", refusal.rule),
        Decision::Defer(refusal) => format!("defer {}", refusal.rule),
    }
}

fn check(facts: &Facts, policy: &Policy, expected: &str) {
    assert_eq!(outcome(facts, policy, Timestamp::UNIX_EPOCH), expected, "{facts:?}");
}

#[test]
fn s45_from_against_reverse_path() {
    let policy = policy();
    let siti = "siti@example.go.id";
    let table: [(From, &str, &str); 10] = [
        (from(siti), siti, "refuse no-key-refused"),
        (from(siti), "SITI@EXAMPLE.GO.ID", "refuse no-key-refused"),
        (from("bupati@example.go.id"), "sekretaris@example.go.id", "refuse no-key-refused"),
        (from(siti), "sekretaris@example.go.id", "refuse unvouched-refused"),
        (from(siti), "", "null-reverse-path"),
        (from(siti), "x@elsewhere.example", "refuse unvouched-refused"),
        (from("x@elsewhere.example"), siti, "foreign-from"),
        (From::Absent, siti, "refuse from-not-one-mailbox"),
        (From::Several(vec![address(siti), address(siti)]), siti, "refuse from-not-one-mailbox"),
        (From::Ambiguous("group"), siti, "refuse from-not-one-mailbox"),
    ];
    for (from, path, expected) in table {
        check(&facts(Side::Inside, from, path), &policy, expected);
    }
}

#[test]
fn o28_a_sender_without_a_key_follows_the_domains_policy() {
    let siti = "siti@example.go.id";
    let facts = facts(Side::Inside, from(siti), siti);
    let mut policy = policy();
    for (sign, expected) in
        [(Sign::Required, "refuse no-key-refused"), (Sign::WhenPossible, "no-key-passed"), (Sign::Never, "sign-never")]
    {
        policy.domains[0].sign = sign;
        check(&facts, &policy, expected);
    }
    policy.domains[0].unvouched = Unvouched::PassUnsigned;
    check(&super::tests::facts(Side::Inside, from(siti), "other@example.go.id"), &policy, "unvouched-passed");
}

#[test]
fn o56_o57_protected_mail_and_reports_pass_as_they_are() {
    let siti = "siti@example.go.id";
    for (structure, expected) in [
        (Structure::SmimeSigned, "already-protected"),
        (Structure::SmimeEncrypted, "already-protected"),
        (Structure::PgpMime, "already-protected"),
        (Structure::Report, "report"),
    ] {
        let mut facts = facts(Side::Inside, from(siti), siti);
        facts.inspected.structure = structure;
        check(&facts, &policy(), expected);
    }
}

#[test]
fn s62_mail_from_outside_that_claims_an_own_domain_is_held_unless_it_proves_it() {
    let own = "siti@example.go.id";
    let stranger = "x@elsewhere.example";
    let table: [(From, &str, Verdict, &[Reason], &str); 9] = [
        (from(own), stranger, Verdict::None, &[], "held quarantined"),
        (from(own), stranger, Verdict::Valid, &[], "verified"),
        (from(own), stranger, Verdict::Indeterminate, &[Reason::Untrusted], "held quarantined"),
        (from(own), stranger, Verdict::Invalid, &[Reason::Altered], "held quarantined"),
        (from(stranger), own, Verdict::None, &[], "held quarantined"),
        (from(own), "sekretaris@example.go.id", Verdict::None, &[], "held quarantined"),
        (From::Several(vec![address(stranger), address(own)]), stranger, Verdict::None, &[], "held quarantined"),
        (from(stranger), stranger, Verdict::None, &[], "plain"),
        (from(stranger), "", Verdict::None, &[], "plain"),
    ];
    for (from, path, verdict, reasons, expected) in table {
        let mut facts = facts(Side::Outside, from, path);
        facts.inspected.verdict = verdict;
        facts.inspected.reasons = reasons.to_vec();
        check(&facts, &policy(), expected);
    }
    let mut ambiguous = facts(Side::Outside, From::Ambiguous("two readers"), stranger);
    check(&ambiguous, &policy(), "plain");
    ambiguous.from_texts.from = vec!["siti@example.go.id<x@elsewhere.example>".to_owned()];
    check(&ambiguous, &policy(), "held quarantined");
    let mut absent = facts(Side::Outside, From::Absent, stranger);
    check(&absent, &policy(), "plain");
    absent.from_texts.others = vec!["siti@example.go.id".to_owned()];
    check(&absent, &policy(), "held quarantined");
    absent.from_texts = FromTexts { cut: true, ..FromTexts::default() };
    check(&absent, &policy(), "held quarantined");
}

#[test]
fn the_strongest_treatment_wins_and_no_treatment_hides_a_verdict() {
    let stranger = "x@elsewhere.example";
    let mut policy = policy();
    policy.incoming.treatments = vec![
        (Reason::Altered, IncomingTreatment::Reject),
        (Reason::Expired, IncomingTreatment::Quarantine),
        (Reason::Revoked, IncomingTreatment::Deliver),
    ];
    let table: [(&[Reason], &str); 6] = [
        (&[Reason::Revoked], "marked"),
        (&[Reason::Expired], "held quarantined"),
        (&[Reason::Altered, Reason::Expired], "refuse incoming-rejected"),
        (&[Reason::Malformed], "held quarantined"),
        (&[Reason::Untrusted], "marked"),
        (&[Reason::OnHold], "held quarantined"),
    ];
    for (reasons, expected) in table {
        let mut facts = facts(Side::Outside, from(stranger), stranger);
        facts.inspected.verdict = Verdict::Invalid;
        facts.inspected.reasons = reasons.to_vec();
        check(&facts, &policy, expected);
        if let Decision::Accept(decided) = decide(&facts, &policy, Timestamp::UNIX_EPOCH) {
            assert_eq!(decided.reasons(), reasons);
            assert_eq!(decided.mark(), Mark::Verdict);
        }
    }
}

#[test]
fn revocation_unknown_defers_then_holds_and_soft_fail_marks() {
    let stranger = "x@elsewhere.example";
    let start = Timestamp::UNIX_EPOCH;
    let mut facts = facts(Side::Outside, from(stranger), stranger);
    facts.inspected.verdict = Verdict::Indeterminate;
    facts.inspected.reasons = vec![Reason::RevocationUnknown];
    let mut policy = policy();
    policy.incoming.defer_for = Duration::from_secs(60);
    facts.first_seen = Some(start);
    let after = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(outcome(&facts, &policy, start), "defer revocation-unknown-deferred");
    assert_eq!(outcome(&facts, &policy, after(59)), "defer revocation-unknown-deferred");
    assert_eq!(outcome(&facts, &policy, after(60)), "held revocation-unknown-held");
    facts.inspected.revocation_soft = true;
    assert_eq!(outcome(&facts, &policy, start), "marked");
    facts.inspected.revocation_soft = false;
    facts.inspected.reasons = vec![Reason::Revoked, Reason::RevocationUnknown];
    assert_eq!(outcome(&facts, &policy, start), "held quarantined");
}

/// Each recipient's class and what decided.
fn classes(facts: &Facts, policy: &Policy, now: Timestamp) -> String {
    let Decision::Accept(decided) = decide(facts, policy, now) else { return "not taken".to_owned() };
    let class = |one: &ForRecipient| match &one.treatment {
        Treatment::Deliver(_) => "deliver",
        Treatment::Hold { class, .. } => class.name(),
    };
    let each: Vec<_> = decided.recipients().iter().map(class).collect();
    format!("{}: {}", decided.rule(), each.join(","))
}

#[test]
fn i27_held_for_a_crl_as_long_as_hold_for_then_in_quarantine() {
    let stranger = "x@elsewhere.example";
    let start = Timestamp::UNIX_EPOCH;
    let after = |seconds: u64| start + Duration::from_secs(seconds);
    let mut facts = facts(Side::Outside, from(stranger), stranger);
    facts.inspected.verdict = Verdict::Indeterminate;
    facts.inspected.reasons = vec![Reason::RevocationUnknown];
    facts.first_seen = Some(start);
    let mut policy = policy();
    policy.incoming.defer_for = Duration::from_secs(60);
    policy.incoming.hold_for = Duration::from_secs(600);
    assert_eq!(classes(&facts, &policy, after(60)), "revocation-unknown-held: awaiting-revocation");
    // Without an operator, time and the facts decide; nothing is refused or deferred any more.
    facts.first_seen = None;
    facts.again = Some(Again { taken: after(60), accepted: None, never_clear: false });
    let table: [(&[Reason], u64, &str); 7] = [
        (&[Reason::RevocationUnknown], 61, "revocation-unknown-held: awaiting-revocation"),
        (&[Reason::RevocationUnknown], 659, "revocation-unknown-held: awaiting-revocation"),
        (&[Reason::RevocationUnknown], 660, "revocation-unknown-quarantined: quarantine"),
        (&[Reason::Revoked], 61, "quarantined: quarantine"),
        (&[Reason::Altered], 61, "quarantined: quarantine"),
        (&[Reason::Untrusted], 61, "marked: deliver"),
        (&[], 61, "verified: deliver"),
    ];
    policy.incoming.treatments.push((Reason::Altered, IncomingTreatment::Reject));
    for (reasons, seconds, expected) in table {
        facts.inspected.verdict = if reasons.is_empty() { Verdict::Valid } else { Verdict::Invalid };
        facts.inspected.reasons = reasons.to_vec();
        assert_eq!(classes(&facts, &policy, after(seconds)), expected, "{reasons:?} after {seconds} s");
    }
    policy.incoming.hold_for = Duration::ZERO;
    facts.again = None;
    facts.first_seen = Some(start);
    facts.inspected.verdict = Verdict::Indeterminate;
    facts.inspected.reasons = vec![Reason::RevocationUnknown];
    assert_eq!(classes(&facts, &policy, after(60)), "revocation-unknown-quarantined: quarantine");
}

#[test]
fn p32_every_reason_found_must_be_accepted_and_the_verdict_stays() {
    use Reason::{BlockedLocally, RevocationUnknown, Revoked, SenderNotAuthorised, Untrusted};
    let stranger = "x@elsewhere.example";
    let own = "siti@example.go.id";
    let table: [(&str, &[Reason], &[Reason], &str); 9] = [
        (stranger, &[Revoked], &[], "reason-not-accepted: quarantine"),
        (stranger, &[Revoked], &[Revoked], "released: deliver"),
        (stranger, &[Revoked], &[BlockedLocally], "reason-not-accepted: quarantine"),
        (stranger, &[Revoked, BlockedLocally], &[Revoked], "reason-not-accepted: quarantine"),
        (stranger, &[Revoked], &[Revoked, BlockedLocally], "released: deliver"),
        // Also one that would be delivered, were it the only one: it was not there when he looked.
        (stranger, &[Untrusted], &[], "reason-not-accepted: quarantine"),
        (stranger, &[RevocationUnknown], &[RevocationUnknown], "released: deliver"),
        (stranger, &[], &[], "verified: deliver"),
        (own, &[Revoked], &[Revoked], "reason-not-accepted: quarantine"),
    ];
    for (author, found, accepted, expected) in table {
        let mut facts = facts(Side::Outside, from(author), stranger);
        facts.inspected.verdict = if found.is_empty() { Verdict::Valid } else { Verdict::Invalid };
        facts.inspected.reasons = found.to_vec();
        facts.again =
            Some(Again { taken: Timestamp::UNIX_EPOCH, accepted: Some(accepted.to_vec()), never_clear: false });
        assert_eq!(classes(&facts, &policy(), Timestamp::UNIX_EPOCH), expected, "{found:?} {accepted:?}");
        if let Decision::Accept(decided) = decide(&facts, &policy(), Timestamp::UNIX_EPOCH) {
            assert_eq!(decided.mark(), Mark::Verdict);
            assert!(found.iter().all(|reason| decided.reasons().contains(reason)));
            assert_eq!(decided.reasons().contains(&SenderNotAuthorised), author == own && !found.is_empty());
        }
    }
}

#[test]
fn p32_who_owns_no_key_gets_no_more_by_a_release() {
    let mut facts = opened(&[&["1"]]);
    facts.inspected.verdict = Verdict::Invalid;
    facts.inspected.reasons = vec![Reason::Revoked];
    facts.again =
        Some(Again { taken: Timestamp::UNIX_EPOCH, accepted: Some(vec![Reason::Revoked]), never_clear: false });
    assert_eq!(forms(&facts, &policy()), ["opened", "unopened", "unopened"]);
}

#[test]
fn s60_the_outside_side_takes_own_domains_only() {
    let policy = policy();
    let table = [
        ("siti@example.go.id", true),
        ("siti@EXAMPLE.GO.ID", true),
        ("x@elsewhere.example", false),
        ("x%elsewhere.example@example.go.id", false),
        ("elsewhere.example!x@example.go.id", false),
        ("\"x@elsewhere.example\"@example.go.id", false),
        ("x@[127.0.0.1]", false),
        ("x@sub.example.go.id", false),
    ];
    for (text, taken) in table {
        assert_eq!(recipient(&policy, Side::Outside, &address(text)).is_ok(), taken, "{text}");
        assert!(recipient(&policy, Side::Inside, &address(text)).is_ok(), "{text}");
    }
}

/// One mail for three: `a` owns key 1, `b` key 2, `c` none.
fn opened(keys: &[&[&str]]) -> Facts {
    let mut facts = facts(Side::Outside, from("x@elsewhere.example"), "x@elsewhere.example");
    facts.unopened = Some(facts.inspected.clone());
    facts.inspected.asked_private_key = true;
    facts.envelope.recipients = ["a", "b", "c"].map(|who| address(&format!("{who}@example.go.id"))).to_vec();
    let asked = |keys: &[&str]| RecipientFacts {
        asked_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..RecipientFacts::default()
    };
    facts.recipients = vec![asked(&["1"]), asked(&["2"]), asked(&[])];
    if !keys.is_empty() {
        let keys = keys.iter().map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()).collect();
        facts.inspected.opened = Some(Opened { entity: bytes::Bytes::from_static(b"\r\n"), keys });
    }
    facts
}

fn forms(facts: &Facts, policy: &Policy) -> Vec<&'static str> {
    let Decision::Accept(decided) = decide(facts, policy, Timestamp::UNIX_EPOCH) else { panic!("not taken") };
    let form = |one: &ForRecipient| match &one.treatment {
        Treatment::Deliver(Form::Opened) => "opened",
        Treatment::Deliver(Form::Unopened) => "unopened",
        Treatment::Deliver(_) => "clear",
        Treatment::Hold { .. } => "held",
    };
    decided.recipients().iter().map(form).collect()
}

#[test]
fn i11_only_the_owner_of_a_key_for_every_layer_gets_the_inside() {
    let policy = policy();
    assert_eq!(forms(&opened(&[&["1"]]), &policy), ["opened", "unopened", "unopened"]);
    assert_eq!(forms(&opened(&[&["1", "2"]]), &policy), ["opened", "opened", "unopened"]);
    assert_eq!(forms(&opened(&[&["1", "2"], &["2"]]), &policy), ["unopened", "opened", "unopened"]);
    assert_eq!(forms(&opened(&[&["1"], &["2"]]), &policy), ["unopened", "unopened", "unopened"]);
}

#[test]
fn i60_where_a_key_was_asked_nothing_is_refused_or_deferred() {
    let mut policy = policy();
    let mut facts = opened(&[]);
    facts.inspected.verdict = Verdict::Indeterminate;
    facts.inspected.reasons = vec![Reason::IntegrityUnproven];
    assert_eq!(forms(&facts, &policy), ["held", "held", "unopened"]);
    policy.incoming.treatments.push((Reason::IntegrityUnproven, IncomingTreatment::Reject));
    assert_eq!(forms(&facts, &policy), ["held", "held", "unopened"]);
    facts.inspected.reasons = vec![Reason::RevocationUnknown];
    assert_eq!(forms(&facts, &policy), ["held", "held", "unopened"]);
    facts.inspected.reasons = vec![Reason::Undecryptable];
    assert_eq!(forms(&facts, &policy), ["clear", "clear", "unopened"]);
}

#[test]
fn s45_a_login_writes_as_whom_it_may() {
    use crate::policy::{Authorise, Pattern, Voucher};
    let mut policy = policy();
    let allow = |login: &str, from: &str| Authorise {
        by: Voucher::Login(login.to_owned()),
        from: vec![Pattern::parse(from).unwrap()],
    };
    policy.authorise.push(allow("sekretaris", "bupati@example.go.id"));
    policy.authorise.push(allow("exchange", "@example.go.id"));
    let (siti, bupati, other) = ("siti@example.go.id", "bupati@example.go.id", "x@elsewhere.example");
    for (login, author, path, expected) in [
        (siti, siti, siti, "refuse no-key-refused"),
        ("SITI@example.go.id", siti, siti, "refuse no-key-refused"),
        (siti, bupati, siti, "refuse login-refused"),
        (siti, bupati, bupati, "refuse login-refused"),
        ("sekretaris", bupati, bupati, "refuse no-key-refused"),
        ("Sekretaris", bupati, bupati, "refuse login-refused"),
        ("sekretaris", siti, bupati, "refuse login-refused"),
        ("exchange", siti, siti, "refuse no-key-refused"),
        ("exchange", bupati, siti, "refuse no-key-refused"),
        ("exchange", siti, "", "null-reverse-path"),
        ("exchange", siti, other, "refuse unvouched-refused"),
        ("exchange", other, siti, "foreign-from"),
        ("sekretaris", other, other, "refuse login-refused"),
        ("", siti, siti, "refuse login-refused"),
    ] {
        let mut facts = facts(Side::Inside, from(author), path);
        facts.login = Some(login.to_owned());
        check(&facts, &policy, expected);
        policy.domains[0].unvouched = Unvouched::PassUnsigned;
        assert_eq!(
            outcome(&facts, &policy, Timestamp::UNIX_EPOCH).contains("login-refused"),
            expected.contains("login-refused")
        );
        policy.domains[0].unvouched = Unvouched::Refuse;
    }
}

#[test]
fn s67_dmarc_or_a_proven_path_clears_mail_that_claims_an_own_domain() {
    use crate::mail::authentication::{AuthResult, Dmarc, SenderAuthentication, Spf};
    let policy = policy();
    let results = |spf: Option<&str>, dmarc: Option<&str>| SenderAuthentication {
        spf: spf.map(|domain| Spf { result: AuthResult::Pass, domain: domain.to_owned(), helo: false }),
        dkim: Vec::new(),
        dmarc: dmarc.map(|from| Dmarc { result: AuthResult::Pass, from: from.to_owned(), policy: Some("reject") }),
    };
    let (own, siti, bupati, secretary) =
        ("example.go.id", "siti@example.go.id", "bupati@example.go.id", "sekretaris@example.go.id");
    for (author, path, sender, cleared) in [
        (siti, "x@news.example", results(None, Some(own)), true),
        (siti, siti, results(None, Some(own)), true),
        (siti, siti, results(None, None), false),
        (siti, "x@news.example", results(Some("news.example"), None), false),
        (siti, "x@news.example", results(Some("news.example"), Some("news.example")), false),
        (siti, siti, results(Some(own), None), false),
        (bupati, secretary, results(Some(own), None), true),
        (bupati, secretary, results(None, None), false),
        ("x@elsewhere.example", siti, results(Some(own), None), true),
        ("x@elsewhere.example", siti, results(Some("elsewhere.example"), None), false),
    ] {
        let mut facts = facts(Side::Outside, from(author), path);
        facts.sender = sender;
        let held = outcome(&facts, &policy, Timestamp::UNIX_EPOCH).starts_with("held");
        assert_eq!(held, !cleared, "{author} {path} {:?}", facts.sender);
    }
    // Where readers disagree about the author, nothing clears.
    let mut several = facts(Side::Outside, From::Several(vec![address(siti), address("x@e.example")]), "");
    several.sender = results(Some(own), Some(own));
    assert!(outcome(&several, &policy, Timestamp::UNIX_EPOCH).starts_with("held"));
}
