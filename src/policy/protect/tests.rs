//! "When possible" against "required", certificate by certificate.

use super::super::decide::tests::{address, facts, from, policy};
use super::super::{Decision, ForRecipient, Form, HoldClass, Pattern, Rule, Treatment, decide};
use super::*;
use crate::limits::Limits;
use crate::pki::path::{AnchorSource, Harvesting, TrustAnchor};
use crate::pki::{Certificate, RevocationMode, recipient};
use crate::policy::Side;
use crate::smime::Capabilities;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use std::sync::OnceLock;
use std::time::Duration;

/// A key that was checked, as every `RecipientKey` is.
fn key() -> &'static RecipientKey {
    static KEY: OnceLock<RecipientKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::Rfc822Name("budi@elsewhere.example".try_into().unwrap())];
        leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap();
        let anchor = TrustAnchor {
            certificate: Certificate::from_der(ca.der()).unwrap(),
            revocation: RevocationMode::None,
            domains: Vec::new(),
            harvest: Harvesting::Trusted,
            source: AnchorSource::CommandLine,
        };
        let request = recipient::RecipientRequest {
            certificate: &Certificate::from_der(leaf.der()).unwrap(),
            address: Some(&address("budi@elsewhere.example")),
            untrusted: &[],
            anchors: &[anchor],
            crls: &[],
            blocked: &std::collections::HashSet::new(),
            at: "2026-11-22T00:00:00Z".parse().unwrap(),
            limits: &Limits::default(),
        };
        recipient::check(&request).0.unwrap()
    })
}

fn certificate(standing: RecipientStanding) -> RecipientCertificate {
    RecipientCertificate { id: "id".to_owned(), certificate: key().certificate().clone(), standing, capabilities: None }
}

/// A bounce or a letter by an own sender, to one recipient for whom these certificates are known.
fn mail(standings: &[&str]) -> Facts {
    // Without a reverse-path nobody asks for a signing key.
    let mut facts = facts(Side::Inside, from("siti@example.go.id"), "");
    let standing = |word: &&str| match *word {
        "usable" => RecipientStanding::Usable(key().clone()),
        "unknown" => RecipientStanding::Unknown,
        "seen" => RecipientStanding::Unconfirmed,
        code => RecipientStanding::Rejected(vec![Reason::from_code(code).unwrap()]),
    };
    facts.recipients[0].certificates = standings.iter().map(|word| certificate(standing(word))).collect();
    facts
}

fn outcome(facts: &Facts, policy: &Policy) -> String {
    match decide(facts, policy, Timestamp::UNIX_EPOCH) {
        Decision::Accept(decided) => {
            let one = &decided.recipients()[0];
            let word = match &one.treatment {
                Treatment::Deliver(Form::Encrypted(_)) => "encrypted".to_owned(),
                Treatment::Deliver(_) => "clear".to_owned(),
                Treatment::Hold { class, reasons } => format!("held {} {}", class.name(), codes(reasons)),
            };
            format!("{word}: {}", one.rule)
        }
        Decision::Refuse(refusal) => format!("refuse {} {:?}", refusal.rule, refusal.kind),
        Decision::Defer(refusal) => format!("defer {} {:?}", refusal.rule, refusal.kind),
    }
}

#[test]
fn o30_o32_required_and_when_possible_by_what_is_known() {
    let (possible, mut required, mut never) = (policy(), policy(), policy());
    required.domains[0].encrypt = Encrypt::Required;
    never.domains[0].encrypt = Encrypt::Never;
    let refused = "refuse encrypt-required-refused NoRecipientCertificate";
    let deferred = "defer recipient-unproven-deferred RecipientUnproven";
    let clear = "clear: no-recipient-certificate";
    let table: [(&[&str], &str, &str); 11] = [
        (&[], clear, refused),
        (&["usable"], "encrypted: encrypted", "encrypted: encrypted"),
        (&["expired", "usable"], "encrypted: encrypted", "encrypted: encrypted"),
        (&["unknown"], deferred, deferred),
        (&["revoked"], deferred, refused),
        (&["expired"], deferred, refused),
        (&["blocked-locally"], deferred, refused),
        (&["untrusted", "unknown"], deferred, deferred),
        (&["seen"], clear, refused),
        // The directory keeps none that is for signatures alone: a CA on the path is not for mail.
        (&["not-for-mail"], deferred, refused),
        (&["not-for-mail", "revoked"], deferred, refused),
    ];
    for (known, when_possible, when_required) in table {
        let facts = mail(known);
        assert_eq!(outcome(&facts, &possible), when_possible, "{known:?}");
        assert_eq!(outcome(&facts, &required), when_required, "{known:?}");
        assert_eq!(outcome(&facts, &never), "clear: encrypt-never", "{known:?}");
    }
}

#[test]
fn o30_unproven_is_deferred_then_held_and_clear_only_with_permission() {
    let mut policy = policy();
    policy.incoming.defer_for = Duration::from_secs(60);
    let mut facts = mail(&["revoked"]);
    let held = "held awaiting-key revoked,no-recipient-certificate: recipient-unproven-held";
    facts.first_seen = Timestamp::UNIX_EPOCH.checked_sub(Duration::from_secs(59)).ok();
    assert_eq!(outcome(&facts, &policy), "defer recipient-unproven-deferred RecipientUnproven");
    facts.first_seen = Timestamp::UNIX_EPOCH.checked_sub(Duration::from_secs(60)).ok();
    assert_eq!(outcome(&facts, &policy), held);
    policy.allow_downgrade = vec![Pattern::parse("@elsewhere.example").unwrap()];
    assert_eq!(outcome(&facts, &policy), "clear: downgrade-allowed");
    // A permission to fall back is none to send in clear what must be encrypted.
    policy.domains[0].encrypt = Encrypt::Required;
    assert_eq!(outcome(&facts, &policy), "refuse encrypt-required-refused NoRecipientCertificate");
}

#[test]
fn o30_after_encrypted_mail_no_certificate_is_no_reason_for_clear() {
    let mut policy = policy();
    let mut facts = mail(&[]);
    facts.recipients[0].encrypted_before = true;
    assert_eq!(outcome(&facts, &policy), "defer recipient-unproven-deferred RecipientUnproven");
    policy.allow_downgrade = vec![Pattern::parse("budi@elsewhere.example").unwrap()];
    assert_eq!(outcome(&facts, &policy), "clear: downgrade-allowed");
}

#[test]
fn o30_rules_fire_by_tag_field_sender_and_recipient_first_match_first() {
    let rule = |name: &str, to: &[&str], subject: Option<&str>, field: Option<(&str, &str)>, encrypt| Rule {
        name: name.to_owned(),
        side: Side::Inside,
        from: Vec::new(),
        to: to.iter().map(|to| Pattern::parse(to).unwrap()).collect(),
        subject: subject.map(str::to_owned),
        field: field.map(|(name, value)| (name.to_owned(), value.to_owned())),
        reasons: Vec::new(),
        sign: None,
        form: None,
        encrypt: Some(encrypt),
        action: None,
    };
    let mut policy = policy();
    policy.domains[0].encrypt = Encrypt::Never;
    policy.rules = vec![
        rule("tag", &[], Some("[rahasia]"), None, Encrypt::Required),
        rule("field", &[], None, Some(("X-Encrypt", "yes")), Encrypt::Required),
        rule("partner", &["@elsewhere.example"], None, None, Encrypt::WhenPossible),
    ];
    let refused = "refuse encrypt-required-refused NoRecipientCertificate";
    let mut facts = mail(&[]);
    assert_eq!(outcome(&facts, &policy), "clear: partner");
    facts.triggers.subject = "Re: [Rahasia] gaji".to_owned();
    assert_eq!(outcome(&facts, &policy), refused);
    facts.triggers.subject.clear();
    facts.triggers.fields = vec![("x-encrypt".to_owned(), " YES ".to_owned())];
    assert_eq!(outcome(&facts, &policy), refused);
    // As a reader understands it; what nobody can read counts as found.
    for (value, found) in [
        ("yes", true),
        ("\"Yes\"", true),
        ("(ya) yes (segera (sekali))", true),
        ("=?utf-8?q?y=65s?=", true),
        ("y\u{200b}es", true),
        ("=?utf-8?q?=ff=fe?=", true),
        ("no", false),
        ("yes, please", false),
        ("", false),
    ] {
        facts.triggers.fields = vec![("X-Encrypt".to_owned(), value.to_owned())];
        assert_eq!(outcome(&facts, &policy) == refused, found, "{value:?}");
    }
    facts.triggers.fields = vec![("X-Encrypt".to_owned(), "x".repeat(2000))];
    assert_eq!(outcome(&facts, &policy), refused);
    facts.triggers.fields.clear();
    // A tag that can't be looked for counts where encryption is required, and is no way into the clear.
    facts.triggers.cut = true;
    assert_eq!(outcome(&facts, &policy), refused);
    let mut open = policy.clone();
    open.domains[0].encrypt = Encrypt::Required;
    open.rules = vec![rule("open", &[], Some("[terbuka]"), None, Encrypt::Never)];
    assert_eq!(outcome(&facts, &open), refused);
    facts.triggers.cut = false;
    facts.triggers.subject = "[terbuka]".to_owned();
    assert_eq!(outcome(&facts, &open), "clear: open");
    let mut facts = mail(&["usable"]);
    facts.triggers.subject = "[rahasia]".to_owned();
    let Decision::Accept(decided) = decide(&facts, &policy, Timestamp::UNIX_EPOCH) else { panic!("not taken") };
    assert_eq!(
        (decided.recipients()[0].rule.as_str(), decided.removals().tags.as_slice()),
        ("tag", &["[rahasia]".to_owned()][..])
    );
    // From outside nothing of that is looked at.
    facts.side = Side::Outside;
    let Decision::Accept(decided) = decide(&facts, &policy, Timestamp::UNIX_EPOCH) else { panic!("not taken") };
    assert!(decided.removals().is_empty());
}

#[test]
fn o34_announced_algorithms_are_used_and_never_less_than_the_floor() {
    use ContentCipher::{Aes128Cbc, Aes256Cbc, Aes256Gcm, DesEde3Cbc};
    let check = |announced: &[ContentCipher], expected: &[ContentCipher]| {
        assert_eq!(ciphers(announced, Aes256Cbc), expected, "{announced:?}");
    };
    check(&[], &[Aes256Cbc]);
    check(&[DesEde3Cbc], &[Aes256Cbc]);
    check(&[DesEde3Cbc, Aes128Cbc], &[Aes128Cbc]);
    check(&[Aes256Cbc, Aes256Gcm], &[Aes256Gcm, Aes256Cbc]);
    let mut facts = mail(&["usable"]);
    facts.recipients[0].certificates[0].capabilities = Some(Capabilities { ciphers: vec![Aes256Gcm], oaep: true });
    let Decision::Accept(decided) = decide(&facts, &policy(), Timestamp::UNIX_EPOCH) else { panic!("not taken") };
    let Treatment::Deliver(Form::Encrypted(to)) = &decided.recipients()[0].treatment else { panic!("in clear") };
    assert_eq!((to.oaep, to.ciphers.as_slice()), (true, &[Aes256Gcm][..]));
}

#[test]
fn o56_o57_what_is_encrypted_already_and_what_programs_read() {
    let (possible, mut required) = (policy(), policy());
    required.domains[0].encrypt = Encrypt::Required;
    let mut facts = mail(&["usable"]);
    facts.already_encrypted = true;
    assert_eq!(outcome(&facts, &required), "clear: already-encrypted");
    let mut facts = mail(&["usable"]);
    facts.inspected.structure = Structure::Report;
    assert_eq!(outcome(&facts, &possible), "clear: report");
    assert_eq!(outcome(&facts, &required), "encrypted: encrypted");
    // A report by the server inside that returns what was opened here never leaves in clear (C42).
    facts.returns_opened = true;
    assert_eq!(outcome(&facts, &possible), "encrypted: returns-opened-mail");
    facts.recipients[0].certificates.clear();
    let inside = facts.envelope.recipients.clone();
    facts.envelope.recipients = vec![address("siti@example.go.id")];
    assert_eq!(outcome(&facts, &possible), "clear: report");
    facts.envelope.recipients = inside;
    assert_eq!(outcome(&facts, &possible), "refuse encrypt-required-refused NoRecipientCertificate");
    facts.inspected.from = from("mailer-daemon@server.internal");
    assert_eq!(outcome(&facts, &possible), "refuse encrypt-required-refused NoRecipientCertificate");
}

#[test]
fn p32_outgoing_mail_decided_again_waits_and_never_leaves_in_clear() {
    use crate::policy::Again;
    for accepted in [None, Some(Reason::ALL.to_vec())] {
        for encrypt in [Encrypt::Required, Encrypt::WhenPossible] {
            let mut policy = policy();
            policy.domains[0].encrypt = encrypt;
            let mut facts = mail(&["revoked"]);
            facts.again = Some(Again { taken: Timestamp::UNIX_EPOCH, accepted: accepted.clone(), never_clear: false });
            let Decision::Accept(decided) = decide(&facts, &policy, Timestamp::UNIX_EPOCH) else {
                panic!("not held: {encrypt:?}")
            };
            let waits = |one: &ForRecipient| {
                matches!(one.treatment, Treatment::Hold { class: HoldClass::AwaitingKey, ref reasons }
                    if reasons.contains(&Reason::Revoked))
            };
            assert!(decided.recipients().iter().all(waits), "{encrypt:?}");
        }
    }
}

#[test]
fn o30_a_certificate_that_vanished_is_no_way_into_the_clear() {
    use crate::policy::Again;
    let mut facts = mail(&[]);
    let again = |never_clear| Some(Again { taken: Timestamp::UNIX_EPOCH, accepted: None, never_clear });
    facts.again = again(false);
    assert_eq!(outcome(&facts, &policy()), "clear: no-recipient-certificate");
    facts.again = again(true);
    assert_eq!(outcome(&facts, &policy()), "held awaiting-key no-recipient-certificate: recipient-unproven-held");
    let mut allowed = policy();
    allowed.allow_downgrade.push(Pattern::Mailbox(address("budi@elsewhere.example")));
    assert_eq!(outcome(&facts, &allowed), "clear: downgrade-allowed");
}
