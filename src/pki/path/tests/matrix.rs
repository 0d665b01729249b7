//! The matrices: one fault at a time, and together.

use super::ca::*;
use super::*;
use crate::crypto::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints, RevocationReason, SerialNumber, date_time_ymd,
};
use std::process::Command;

fn changed(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

/// Root, issuing CA and end entity, each changed as the test says.
pub(super) fn three(
    issuing: impl FnOnce(&mut CertificateParams),
    leaf: impl FnOnce(&mut CertificateParams),
) -> (Ca, Ca, Certificate) {
    let root = Ca::root(ca_params("Root"));
    let issuing = root.below(changed(ca_params("Issuing"), |params| {
        params.serial_number = Some(SerialNumber::from(5u64));
        issuing(params);
    }));
    let leaf = issuing.issue(changed(leaf_params("Siti"), leaf));
    (root, issuing, leaf)
}

pub(super) fn nothing(_: &mut CertificateParams) {}

#[test]
fn i25_key_usage_and_purposes() {
    use ExtendedKeyUsagePurpose as Eku;
    use KeyUsagePurpose as Ku;
    let check = |usages: &[Ku], purposes: &[Eku], purpose: Purpose, expected: &[Reason]| {
        let (root, issuing, leaf) = three(nothing, |params| {
            params.key_usages = usages.to_vec();
            params.extended_key_usages = purposes.to_vec();
        });
        let question = Question { purpose, ..Question::new(&leaf, &[&issuing.certificate], &root.certificate) };
        assert_eq!(question.reasons(), expected, "{usages:?} {purposes:?} {purpose:?}");
    };
    let not = &[Reason::NotForMail];
    check(&[], &[], Purpose::EmailSign, &[]);
    check(&[Ku::DigitalSignature], &[], Purpose::EmailSign, &[]);
    check(&[Ku::ContentCommitment], &[], Purpose::EmailSign, &[]);
    check(&[Ku::KeyEncipherment], &[], Purpose::EmailSign, not);
    check(&[], &[Eku::EmailProtection], Purpose::EmailSign, &[]);
    check(&[], &[Eku::Any], Purpose::EmailSign, &[]);
    check(&[], &[Eku::ServerAuth, Eku::EmailProtection], Purpose::EmailSign, &[]);
    check(&[], &[Eku::ServerAuth, Eku::ClientAuth], Purpose::EmailSign, not);
    check(&[Ku::KeyAgreement], &[], Purpose::EmailEncrypt, &[]);
    check(&[Ku::KeyEncipherment], &[], Purpose::EmailEncrypt, not);
    check(&[Ku::DigitalSignature], &[Eku::ServerAuth], Purpose::TlsServer, &[]);
    check(&[Ku::DigitalSignature], &[Eku::ServerAuth], Purpose::TlsClient, not);
    check(&[Ku::DigitalSignature], &[Eku::TimeStamping], Purpose::Tsa, &[]);
    check(&[Ku::DigitalSignature], &[Eku::Any], Purpose::Tsa, not);
    check(&[Ku::DigitalSignature], &[], Purpose::Ocsp, not);
    check(&[Ku::KeyEncipherment], &[Eku::ServerAuth], Purpose::Any, &[]);
}

#[test]
fn i25_issuing_authorities() {
    let check = |about: &str, change: fn(&mut CertificateParams), expected: &[Reason]| {
        let (root, issuing, leaf) = three(change, nothing);
        let got = Question::new(&leaf, &[&issuing.certificate], &root.certificate).reasons();
        assert_eq!(got, expected, "{about}");
    };
    let fault = &[Reason::PolicyConstraint];
    check("as it should be", |_| {}, &[]);
    check("path length", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), &[]);
    check("keyUsage absent", |params| params.key_usages.clear(), &[]);
    check("purpose of mail", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection], &[]);
    check(
        "purpose of the web",
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &[Reason::NotForMail],
    );
    check("no CA", |params| params.is_ca = IsCa::ExplicitNoCa, fault);
    check("no basicConstraints", |params| params.is_ca = IsCa::NoCa, fault);
    check("may not sign certificates", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign], fault);
    check("unknown critical extension", |params| params.custom_extensions.push(unknown(true)), fault);
    check("unknown extension", |params| params.custom_extensions.push(unknown(false)), &[]);
}

fn unknown(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

#[test]
fn i25_unknown_critical_extension_and_path_length() {
    let (root, issuing, leaf) = three(nothing, |params| params.custom_extensions.push(unknown(true)));
    let got = Question::new(&leaf, &[&issuing.certificate], &root.certificate).reasons();
    assert_eq!(got, [Reason::PolicyConstraint]);

    let root = Ca::root(changed(ca_params("Root"), |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))));
    let issuing = root.below(ca_params("Issuing"));
    let leaf = issuing.issue(leaf_params("Siti"));
    let got = Question::new(&leaf, &[&issuing.certificate], &root.certificate).reasons();
    assert_eq!(got, [Reason::PolicyConstraint], "the anchor's own path length holds");
}

#[test]
fn i25_name_constraints_on_mail() {
    let check = |permitted: &[&str], excluded: &[&str], name: Vec<u8>, expected: &[Reason]| {
        let subtrees = |list: &[&str]| list.iter().map(|text| GeneralSubtree::Rfc822Name((*text).to_owned())).collect();
        let constraints =
            NameConstraints { permitted_subtrees: subtrees(permitted), excluded_subtrees: subtrees(excluded) };
        let (root, issuing, leaf) = three(
            |params| params.name_constraints = Some(constraints),
            |params| params.custom_extensions.push(alternative_names(std::slice::from_ref(&name))),
        );
        let got = Question::new(&leaf, &[&issuing.certificate], &root.certificate).reasons();
        assert_eq!(got, expected, "{permitted:?} {excluded:?} {}", String::from_utf8_lossy(&name));
    };
    let fault = &[Reason::PolicyConstraint];
    check(&["kab.go.id"], &[], rfc822_name(b"siti@kab.go.id"), &[]);
    check(&["kab.go.id"], &[], rfc822_name(b"siti@evil.example"), fault);
    check(&["kab.go.id"], &[], rfc822_name(b"siti@mail.kab.go.id"), fault);
    check(&[".kab.go.id"], &[], rfc822_name(b"siti@mail.kab.go.id"), &[]);
    check(&["siti@kab.go.id"], &[], rfc822_name(b"budi@kab.go.id"), fault);
    check(&[], &["kab.go.id"], rfc822_name(b"siti@kab.go.id"), fault);
    check(&[], &["kab.go.id"], rfc822_name(b"siti@other.example"), &[]);
    check(&["kab.go.id"], &[], utf8_mailbox("s\u{ef}ti@kab.go.id"), &[]);
    check(&["kab.go.id"], &[], utf8_mailbox("s\u{ef}ti@evil.example"), fault);
    check(&[], &["kab.go.id"], utf8_mailbox("s\u{ef}ti@KAB.go.id"), fault);
    check(&[".kab.go.id"], &[], utf8_mailbox("s\u{ef}ti@mail.kab.go.id"), &[]);
    // The mailbox is bound without regard to case, so it is excluded without regard to case.
    check(&[], &["siti@kab.go.id"], rfc822_name(b"siti@kab.go.id"), fault);
    check(&[], &["siti@kab.go.id"], rfc822_name(b"SITI@kab.go.id"), fault);
    check(&[], &["SITI@KAB.go.id"], rfc822_name(b"siti@kab.go.id"), fault);
    check(&[], &["siti@kab.go.id"], rfc822_name(b"budi@kab.go.id"), &[]);
    check(&[], &["kab.go.id"], rfc822_name(b"siti@KAB.go.id"), fault);
}

#[test]
fn dates_of_every_certificate_count() {
    let check = |about: &str, at: &'static str, which: usize, expected: &[Reason]| {
        let shorten = |params: &mut CertificateParams| {
            params.not_before = date_time_ymd(2026, 1, 10);
            params.not_after = date_time_ymd(2026, 1, 20);
        };
        let root = Ca::root(changed(ca_params("Root"), |params| {
            if which == 0 {
                shorten(params)
            }
        }));
        let issuing = root.below(changed(ca_params("Issuing"), |params| {
            if which == 1 {
                shorten(params)
            }
        }));
        let leaf = issuing.issue(changed(leaf_params("Siti"), |params| {
            if which == 2 {
                shorten(params)
            }
        }));
        let question = Question { at, ..Question::new(&leaf, &[&issuing.certificate], &root.certificate) };
        assert_eq!(question.reasons(), expected, "{about} {which}");
    };
    for which in 0..3 {
        check("inside", "2026-01-15T00:00:00Z", which, &[]);
        check("last second", "2026-01-20T00:00:00.9Z", which, &[]);
        check("after", "2026-01-20T00:00:01Z", which, &[Reason::Expired]);
        check("before", "2026-01-09T23:59:59Z", which, &[Reason::NotYetValid]);
    }
}

/// Hard-fail with CRLs of both CAs.
fn with_crls(leaf: &Certificate, root: &Ca, issuing: &Ca, crls: Vec<Crl>) -> Question {
    Question {
        anchors: vec![root.anchor(RevocationMode::HardFail)],
        crls,
        ..Question::new(leaf, &[&issuing.certificate], &root.certificate)
    }
}

#[test]
fn i28_revoked_for_any_reason() {
    use RevocationReason as R;
    let (root, issuing, leaf) = three(nothing, nothing);
    let check = |entry: Option<RevocationReason>, status: Status, name: Option<&str>, expected: &[Reason]| {
        let crls = vec![root.crl(&[]), issuing.crl(&[(9, None), (7, entry)])];
        let report = with_crls(&leaf, &root, &issuing, crls).ask();
        assert_eq!((report.revocation.status, report.revocation.reason), (status, name));
        assert_eq!(report.reasons, expected);
        assert!(report.revocation.evidence.is_some());
    };
    check(None, Status::Revoked, Some("unspecified"), &[Reason::Revoked]);
    for (reason, name) in [
        (R::Unspecified, "unspecified"),
        (R::KeyCompromise, "keyCompromise"),
        (R::CaCompromise, "cACompromise"),
        (R::AffiliationChanged, "affiliationChanged"),
        (R::Superseded, "superseded"),
        (R::CessationOfOperation, "cessationOfOperation"),
        (R::PrivilegeWithdrawn, "privilegeWithdrawn"),
        (R::AaCompromise, "aACompromise"),
    ] {
        check(Some(reason), Status::Revoked, Some(name), &[Reason::Revoked]);
    }
    check(Some(R::CertificateHold), Status::OnHold, Some("certificateHold"), &[Reason::OnHold]);
    check(Some(R::RemoveFromCrl), Status::Good, None, &[]);
}

#[test]
fn i28_status_of_the_whole_path() {
    let (root, issuing, leaf) = three(nothing, nothing);
    let ask = |crls: Vec<Crl>| with_crls(&leaf, &root, &issuing, crls).ask();

    let good = ask(vec![root.crl(&[]), issuing.crl(&[(8, None)])]);
    assert_eq!((good.reasons, good.revocation.status), (vec![], Status::Good));
    assert_eq!(good.revocation.time.unwrap().to_string(), "2026-01-01T00:00:00Z");

    let intermediate = ask(vec![root.crl(&[(5, None)]), issuing.crl(&[])]);
    assert_eq!(intermediate.reasons, [Reason::Revoked]);
    assert_eq!(intermediate.revocation.serial.as_deref(), Some("05"));

    let both = ask(vec![root.crl(&[(5, None)]), issuing.crl(&[(7, Some(RevocationReason::CertificateHold))])]);
    assert_eq!(both.reasons, [Reason::Revoked, Reason::OnHold]);

    let missing = ask(vec![root.crl(&[])]);
    assert_eq!((missing.reasons, missing.revocation.status), (vec![Reason::RevocationUnknown], Status::Unknown));
    assert_eq!(missing.missing_crls, [leaf.issuer().clone()]);

    // The intermediate is revoked and nobody knows about the leaf: both are said.
    let half = ask(vec![root.crl(&[(5, None)])]);
    assert_eq!(half.reasons, [Reason::Revoked, Reason::RevocationUnknown]);
}

#[test]
fn i28_only_a_usable_crl_clears() {
    let (root, issuing, leaf) = three(nothing, nothing);
    let stranger = Ca::root(ca_params("Issuing"));
    let check = |about: &str, crl: Crl, expected: &[Reason]| {
        assert_eq!(with_crls(&leaf, &root, &issuing, vec![root.crl(&[]), crl]).reasons(), expected, "{about}");
    };
    let unknown = &[Reason::RevocationUnknown];
    check("signed by another key", stranger.crl(&[]), unknown);
    check("signed by another key, revoking", stranger.crl(&[(7, None)]), unknown);
    check("over", issuing.crl_of((2025, 12, 1), (2026, 1, 14), &[]), unknown);
    check("not begun", issuing.crl_of((2026, 1, 16), (2026, 2, 1), &[]), unknown);
    check("over, but revoking", issuing.crl_of((2025, 12, 1), (2026, 1, 14), &[(7, None)]), &[Reason::Revoked]);
    let hold = [(7, Some(RevocationReason::CertificateHold))];
    check("over, with a hold", issuing.crl_of((2025, 12, 1), (2026, 1, 14), &hold), unknown);

    let grace = Question {
        grace: std::time::Duration::from_secs(2 * 86_400),
        ..with_crls(&leaf, &root, &issuing, vec![root.crl(&[]), issuing.crl_of((2025, 12, 1), (2026, 1, 14), &[])])
    };
    assert_eq!(grace.reasons(), []);

    let ended = vec![root.crl(&[]), issuing.crl(&hold), issuing.crl_of((2026, 1, 10), (2026, 2, 1), &[])];
    assert_eq!(with_crls(&leaf, &root, &issuing, ended).reasons(), [], "a hold that ended");

    let (root, issuing, leaf) =
        three(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign], nothing);
    let mut flipped = issuing.crl(&[]).der().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = Crl::from_der(&flipped, &Limits::default()).unwrap();
    assert_eq!(with_crls(&leaf, &root, &issuing, vec![root.crl(&[]), flipped]).reasons(), unknown);
}

#[test]
fn i28_modes() {
    let (root, issuing, leaf) = three(nothing, nothing);
    let ask = |mode, crls| {
        let question = with_crls(&leaf, &root, &issuing, crls);
        let report = Question { anchors: vec![root.anchor(mode)], ..question }.ask();
        (report.reasons, report.warnings, report.revocation.status)
    };
    let none = Vec::new;
    assert_eq!(ask(RevocationMode::HardFail, none()), (vec![Reason::RevocationUnknown], vec![], Status::Unknown));
    assert_eq!(ask(RevocationMode::SoftFail, none()), (vec![], vec!["revocation-unknown"], Status::Unknown));
    assert_eq!(ask(RevocationMode::None, none()), (vec![], vec!["revocation-not-checked"], Status::NotChecked));
    let revoked = vec![root.crl(&[]), issuing.crl(&[(7, None)])];
    assert_eq!(ask(RevocationMode::SoftFail, revoked), (vec![Reason::Revoked], vec![], Status::Revoked));
}

#[test]
fn all_reasons_are_reported_in_order() {
    let (root, issuing, leaf) = three(nothing, |params| {
        params.not_after = date_time_ymd(2026, 1, 2);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.custom_extensions.push(alternative_names(&[rfc822_name(b"budi@kab.go.id")]));
    });
    let question = Question {
        address: Some("siti@kab.go.id"),
        ..with_crls(&leaf, &root, &issuing, vec![root.crl(&[]), issuing.crl(&[(7, None)])])
    };
    let expected = [Reason::Expired, Reason::Revoked, Reason::NotForMail, Reason::AddressMismatch];
    assert_eq!(question.reasons(), expected);
}

#[test]
fn p02_a_self_signed_leaf_is_never_trusted() {
    let (root, ..) = three(nothing, nothing);
    let own = Ca::root(leaf_params("Mallory"));
    let same_name = Ca::root(ca_params("Root"));
    for untrusted in [vec![], vec![&own.certificate], vec![&same_name.certificate]] {
        let report = Question::new(&own.certificate, &untrusted, &root.certificate).ask();
        assert_eq!(report.reasons, [Reason::Untrusted]);
        assert!(report.anchor.is_none() && report.missing_issuers.is_empty());
    }
    // Even with the anchor's name, another key is another CA.
    let leaf = same_name.issue(leaf_params("Mallory"));
    let report = Question::new(&leaf, &[&same_name.certificate], &root.certificate).ask();
    assert_eq!(report.reasons, [Reason::Untrusted]);
    let mut impostor = Question::new(&same_name.certificate, &[], &root.certificate);
    impostor.purpose = Purpose::Any;
    assert_eq!(impostor.reasons(), [Reason::Untrusted]);
}

#[test]
fn p01_anchors_are_what_was_configured() {
    let (root, issuing, leaf) = three(nothing, nothing);
    // A CA that is not self-signed is an anchor as good as any.
    let under_issuing = Question::new(&leaf, &[], &issuing.certificate).ask();
    assert_eq!((under_issuing.reasons.len(), under_issuing.chain.len()), (0, 2));
    // A leaf that is exactly the anchor is a path of one.
    let own = Ca::root(leaf_params("Siti"));
    let report = Question::new(&own.certificate, &[], &own.certificate).ask();
    assert_eq!((report.reasons.len(), report.chain.len()), (0, 1));
    // But it issues nothing.
    let own = Ca::root(changed(leaf_params("Siti"), |params| params.is_ca = IsCa::ExplicitNoCa));
    let below = own.issue(leaf_params("Budi"));
    assert_eq!(Question::new(&below, &[], &own.certificate).reasons(), [Reason::PolicyConstraint]);
    // No anchor at all; what is missing is named.
    let nobody = Question { anchors: Vec::new(), ..Question::new(&leaf, &[&issuing.certificate], &root.certificate) };
    let report = nobody.ask();
    assert_eq!((report.reasons, report.chain.len()), (vec![Reason::Untrusted], 2));
    assert_eq!(report.missing_issuers, [root.certificate.subject().clone()]);
    let report = Question::new(&leaf, &[], &root.certificate).ask();
    assert_eq!(report.missing_issuers, [issuing.certificate.subject().clone()]);
}

#[test]
fn p01_an_anchor_speaks_for_its_domains_only() {
    let (root, issuing, leaf) = three(nothing, |params| {
        params.custom_extensions.push(alternative_names(&[rfc822_name(b"siti@kab.go.id")]));
    });
    let check = |domains: &[&str], expected: &[Reason]| {
        let mut question = Question::new(&leaf, &[&issuing.certificate], &root.certificate);
        question.address = Some("siti@kab.go.id");
        question.anchors[0].domains = domains.iter().map(|domain| Domain::parse(domain).unwrap()).collect();
        assert_eq!(question.reasons(), expected, "{domains:?}");
    };
    check(&[], &[]);
    check(&["other.example", "KAB.go.id"], &[]);
    check(&["other.example"], &[Reason::Untrusted]);
    check(&["go.id"], &[Reason::Untrusted]);
}

#[test]
fn i32_fifty_cross_signed_authorities() {
    let root = Ca::root(ca_params("Root"));
    let authorities: Vec<Ca> = (0..50).map(|index| Ca::root(ca_params(&format!("CA {index}")))).collect();
    let mut untrusted: Vec<Certificate> = Vec::new();
    for issuer in &authorities {
        for subject in &authorities {
            if !std::ptr::eq(issuer, subject) {
                untrusted.push(issuer.cross_sign(subject));
            }
        }
    }
    let leaf = authorities[0].issue(leaf_params("Siti"));
    let others: Vec<&Certificate> = untrusted.iter().collect();
    let lost = Question::new(&leaf, &others, &root.certificate);
    let report = lost.ask();
    assert!(report.reasons == [Reason::Untrusted] || report.reasons == [Reason::TooComplex], "{:?}", report.reasons);

    // With one way out the path is found among all the others.
    untrusted.push(root.cross_sign(&authorities[30]));
    let others: Vec<&Certificate> = untrusted.iter().collect();
    let report = Question::new(&leaf, &others, &root.certificate).ask();
    assert_eq!((report.reasons.len(), report.chain.len()), (0, 4));
}

#[test]
fn i32_same_name_different_key() {
    let root = Ca::root(ca_params("Root"));
    let issuing = root.below(ca_params("Issuing"));
    let leaf = issuing.issue(leaf_params("Siti"));
    let decoys: Vec<Ca> = (0..60).map(|_| Ca::root(ca_params("Root")).below(ca_params("Issuing"))).collect();
    let mut untrusted: Vec<&Certificate> = decoys.iter().map(|ca| &ca.certificate).collect();
    untrusted.push(&issuing.certificate);
    assert_eq!(Question::new(&leaf, &untrusted, &root.certificate).reasons(), []);
    // More decoys than signatures in the budget: it ends, and says so.
    let question = Question {
        limits: Limits { path_signatures: 10, ..Limits::default() },
        ..Question::new(&leaf, &untrusted, &root.certificate)
    };
    assert_eq!(question.reasons(), [Reason::TooComplex]);
    // A path longer than the limit.
    let mut chain = vec![Ca::root(ca_params("Root 0"))];
    for index in 1..12 {
        let next = chain[index - 1].below(ca_params(&format!("Root {index}")));
        chain.push(next);
    }
    let leaf = chain[11].issue(leaf_params("Siti"));
    let untrusted: Vec<&Certificate> = chain.iter().skip(1).map(|ca| &ca.certificate).collect();
    assert_eq!(Question::new(&leaf, &untrusted, &chain[0].certificate).reasons(), [Reason::TooComplex]);
}

#[test]
fn the_best_path_is_reported() {
    let root = Ca::root(ca_params("Root"));
    let old = root.below(changed(ca_params("Issuing"), |params| params.not_after = date_time_ymd(2025, 1, 1)));
    let expired = &old.certificate;
    let fresh = root.cross_sign(&old);
    let leaf = old.issue(leaf_params("Siti"));
    assert_eq!(fresh.not_after(), expired.not_after());
    assert_eq!(Question::new(&leaf, &[expired], &root.certificate).reasons(), [Reason::Expired]);
    let other_root = Ca::root(ca_params("Other root"));
    let renewed = other_root.cross_sign(&Ca { params: ca_params("Issuing"), ..old });
    let mut question = Question::new(&leaf, &[&fresh, &renewed], &root.certificate);
    question.anchors.push(other_root.anchor(RevocationMode::None));
    let report = question.ask();
    assert_eq!(report.reasons, []);
    assert_eq!(report.chain[1], renewed);
}

/// A certificate signed by itself that the openssl command makes; `None` where it is not installed.
fn openssl(new_key: &[&str], digest: &str) -> Option<Certificate> {
    let directory = tempfile::tempdir().unwrap();
    let (key, certificate) = (directory.path().join("key.pem"), directory.path().join("cert.pem"));
    let run = |arguments: &[&str], more: &[&std::ffi::OsStr]| {
        Command::new("openssl").args(arguments).args(more).output().is_ok_and(|output| output.status.success())
    };
    let made = match new_key {
        ["dsa"] => {
            let parameters = directory.path().join("dsa.pem");
            run(
                &["genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:2048", "-out"],
                &[parameters.as_os_str()],
            ) && run(&["genpkey", "-paramfile"], &[parameters.as_os_str(), "-out".as_ref(), key.as_os_str()])
        }
        arguments => run(&[&["genpkey"], arguments, &["-out"]].concat(), &[key.as_os_str()]),
    };
    let digest = format!("-{digest}");
    let request = ["req", "-x509", &digest, "-days", "36500", "-subj", "/CN=Weak", "-key"];
    if !made || !run(&request, &[key.as_os_str(), "-out".as_ref(), certificate.as_os_str()]) {
        println!("skipped: openssl cannot make {new_key:?} {digest}");
        return None;
    }
    #[expect(clippy::disallowed_methods, reason = "what openssl wrote")]
    let pem = std::fs::read(&certificate).unwrap();
    Some(Certificate::bundle(&pem).unwrap().remove(0))
}

#[test]
fn i30_weak_keys_and_digests() {
    let rsa =
        |bits: &str| vec!["-algorithm".to_owned(), "RSA".into(), "-pkeyopt".into(), format!("rsa_keygen_bits:{bits}")];
    let ec = |curve: &str| {
        vec!["-algorithm".to_owned(), "EC".into(), "-pkeyopt".into(), format!("ec_paramgen_curve:{curve}")]
    };
    let check = |key: Vec<String>, digest: &str, allow: &[Digest], expected: &[Reason]| {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let Some(certificate) = openssl(&key, digest) else { return };
        // As end entity under no anchor, so that its own signature counts; as its own anchor, so that only the key does.
        let mut question = Question::new(&certificate, &[], &certificate);
        (question.at, question.purpose, question.allow_weak) = ("2050-01-01T00:00:00Z", Purpose::Any, allow.to_vec());
        let key_alone = question.reasons();
        question.anchors.clear();
        let mut all = question.reasons();
        assert_eq!(all.remove(0), Reason::Untrusted);
        assert_eq!(all, expected, "{key:?} {digest}");
        let is_key_weak = !key_alone.is_empty();
        assert!(!is_key_weak || key_alone == expected, "{key:?} {key_alone:?}");
        assert!(is_key_weak || expected.is_empty() || digest == "sha1" || digest == "md5", "{key:?}");
    };
    let weak = &[Reason::WeakAlgorithm];
    check(rsa("2048"), "sha256", &[], &[]);
    check(rsa("2048"), "sha1", &[], weak);
    check(rsa("2048"), "sha1", &[Digest::Sha1], &[]);
    check(rsa("2048"), "md5", &[Digest::Sha1], weak);
    check(rsa("1024"), "sha256", &[], weak);
    check(rsa("1024"), "sha256", &[Digest::Sha1], weak);
    check(rsa("2047"), "sha512", &[], weak);
    check(ec("P-256"), "sha256", &[], &[]);
    check(ec("secp224r1"), "sha256", &[], weak);
    check(vec!["dsa".to_owned()], "sha256", &[], weak);
}

#[test]
fn i30_weak_signatures_in_a_path() {
    // The SHA-1 anchor's own signature does not matter, and a path below it is judged by its own.
    let key_type = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let Some(anchor) = openssl(&key_type, "sha1") else { return };
    let mut question = Question::new(&anchor, &[], &anchor);
    question.at = "2050-01-01T00:00:00Z";
    question.purpose = Purpose::Any;
    assert_eq!(question.reasons(), []);
    question.limits.rsa_bits_max = 1;
    assert_eq!(question.reasons(), []);
    let Some(large) = openssl(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"], "sha256") else { return };
    let mut question = Question::new(&large, &[], &large);
    (question.at, question.purpose) = ("2050-01-01T00:00:00Z", Purpose::Any);
    question.limits.rsa_bits_max = 3071;
    assert_eq!(question.reasons(), [Reason::Unsupported]);
}

#[test]
fn i58_certificate_addresses() {
    let check = |name: Vec<u8>, address: &'static str, expected: &[Reason]| {
        let (root, issuing, leaf) = three(nothing, |params| {
            params.custom_extensions.push(alternative_names(std::slice::from_ref(&name)));
        });
        let mut question = Question::new(&leaf, &[&issuing.certificate], &root.certificate);
        question.address = Some(address);
        assert_eq!(question.reasons(), expected, "{:?}", String::from_utf8_lossy(&name));
    };
    let (none, other) = (&[Reason::NoAddress], &[Reason::AddressMismatch]);
    check(rfc822_name(b"siti@kab.go.id"), "siti@kab.go.id", &[]);
    check(rfc822_name(b"Siti@KAB.go.id"), "siti@kab.go.id", &[]);
    check(rfc822_name(b"siti+x@kab.go.id"), "siti@kab.go.id", other);
    check(rfc822_name(b"siti@kab.go.id\0.evil.example"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@kab.go.id\n"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@kab.go.id "), "siti@kab.go.id", none);
    check(rfc822_name(b" siti@kab.go.id"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@kab.go.id."), "siti@kab.go.id", none);
    check(rfc822_name(b"<siti@kab.go.id>"), "siti@kab.go.id", none);
    check(rfc822_name(b"\"siti\"@kab.go.id"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@kab.go.id@evil.example"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@evil.example,siti@kab.go.id"), "siti@kab.go.id", none);
    check(rfc822_name(b"*@kab.go.id"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@*.go.id"), "siti@kab.go.id", none);
    check(rfc822_name(b"siti(x)@kab.go.id"), "siti@kab.go.id", none);
    check(rfc822_name("siti@k\u{430}b.go.id".as_bytes()), "siti@kab.go.id", none);
    check(rfc822_name("s\u{ed}ti@kab.go.id".as_bytes()), "siti@kab.go.id", none);
    check(rfc822_name(b"siti@xn--kb-7kc.go.id"), "siti@kab.go.id", other);
    check(rfc822_name(b""), "siti@kab.go.id", none);
    check(utf8_mailbox("s\u{ed}ti@kab.go.id"), "s\u{ed}ti@kab.go.id", &[]);
    check(utf8_mailbox("s\u{ed}ti@kab.go.id"), "siti@kab.go.id", other);
    check(utf8_mailbox("siti@kab.go.id"), "siti@kab.go.id", none);
    check(utf8_mailbox("s\u{ed}ti@k\u{e1}b.go.id"), "siti@kab.go.id", none);
    check(utf8_mailbox("s\u{ed}ti\0@kab.go.id"), "siti@kab.go.id", none);
    check(utf8_mailbox("\u{feff}s\u{ed}ti@kab.go.id"), "siti@kab.go.id", none);
}

#[test]
fn i58_address_in_the_subject() {
    use rcgen::{DnType, DnValue};
    let check = |value: DnValue, expected: &[Reason]| {
        let (root, issuing, leaf) = three(nothing, |params| {
            params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), value.clone());
        });
        let mut question = Question::new(&leaf, &[&issuing.certificate], &root.certificate);
        question.address = Some("siti@kab.go.id");
        assert_eq!(question.reasons(), expected, "{value:?}");
    };
    let ascii = |text: &str| DnValue::Ia5String(text.try_into().unwrap());
    check(ascii("siti@kab.go.id"), &[]);
    check(DnValue::Utf8String("siti@kab.go.id".to_owned()), &[]);
    check(ascii("siti@kab.go.id\0x"), &[Reason::NoAddress]);
    check(ascii("budi@kab.go.id"), &[Reason::AddressMismatch]);
    check(DnValue::Utf8String("siti@kab.go.id\u{200b}".to_owned()), &[Reason::NoAddress]);
}
