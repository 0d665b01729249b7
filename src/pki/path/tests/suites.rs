//! Suites made by others, read from `$SEGEL_CORPORA`.

use super::*;
use std::path::{Path, PathBuf};

#[expect(clippy::disallowed_methods, reason = "tests read corpora")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn corpus(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("SEGEL_CORPORA") else {
        println!("skipped: SEGEL_CORPORA is not set");
        return None;
    };
    Some(Path::new(&root).join(name))
}

/// PKITS cases whose verdict differs from NIST's, and why.
const PKITS_EXCEPTIONS: &[(&str, &str)] = &[
    ("4.1.4", "DSA is refused as weak"),
    ("4.1.5", "DSA is refused as weak"),
    ("4.2.3", "notBefore 1950: the der crate has no times before 1970; the certificate does not parse"),
    ("4.14.22", "indirect CRL"),
    ("4.14.24", "indirect CRL"),
    ("4.14.25", "indirect CRL"),
    ("4.14.28", "indirect CRL"),
    ("4.14.29", "indirect CRL"),
    ("4.14.30", "indirect CRL"),
    ("4.14.33", "indirect CRL"),
    ("4.15.4", "delta CRL: revoked only there"),
    ("4.15.5", "delta CRL: the hold was ended there"),
];

#[test]
fn i25_nist_pkits() {
    let Some(root) = corpus("pkits") else { return };
    let manifest: serde_json::Value = serde_json::from_slice(&read(&root.join("manifest.json"))).unwrap();
    let limits = Limits::default();
    let mut wrong = Vec::new();
    let mut passed = 0;
    for test in manifest["tests"].as_array().unwrap() {
        let file = |value: &serde_json::Value| read(&root.join(value.as_str().unwrap()));
        let files = |key: &str| test[key].as_array().unwrap().iter().map(file).collect::<Vec<_>>();
        let id = test["id"].as_str().unwrap();
        let expected = test["expected"] == "valid";
        let got = pkits_case(
            test,
            &file(&test["target"]),
            &file(&test["trust_anchor"]),
            &files("chain"),
            &files("crls"),
            &limits,
        );
        let valid = matches!(&got, Ok(reasons) if reasons.is_empty());
        match PKITS_EXCEPTIONS.iter().find(|(exception, _)| *exception == id) {
            None if valid == expected => passed += 1,
            None => wrong.push(format!("{id} {} expected {expected} got {got:?}", test["title"])),
            Some(_) => assert_ne!(valid, expected, "{id} is no exception any more"),
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {passed} right:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 200);
}

fn pkits_case(
    test: &serde_json::Value,
    target: &[u8],
    anchor: &[u8],
    chain: &[Vec<u8>],
    crls: &[Vec<u8>],
    limits: &Limits,
) -> Result<Vec<Reason>, String> {
    let certificate = |der: &[u8]| Certificate::from_der(der).map_err(|error| error.to_string());
    let target = certificate(target)?;
    let untrusted = chain.iter().map(|der| certificate(der)).collect::<Result<Vec<_>, _>>()?;
    let crls: Vec<Crl> = crls.iter().filter_map(|der| Crl::from_der(der, limits).ok()).collect();
    let anchors = [TrustAnchor {
        certificate: certificate(anchor)?,
        revocation: RevocationMode::HardFail,
        domains: Vec::new(),
        source: AnchorSource::CommandLine,
        harvest: crate::pki::Harvesting::default(),
    }];
    let flag = |name: &str| test["inputs"][name] == true;
    let policy = PolicyInputs {
        policies: test["inputs"]["initial_policy_set"]
            .as_array()
            .unwrap()
            .iter()
            .map(|oid| der::asn1::ObjectIdentifier::new_unwrap(oid.as_str().unwrap()))
            .collect(),
        explicit: flag("initial_explicit_policy"),
        inhibit_mapping: flag("initial_policy_mapping_inhibit"),
        inhibit_any: flag("initial_inhibit_any_policy"),
    };
    let report = validate(&PathRequest {
        end_entity: &target,
        untrusted: &untrusted,
        anchors: &anchors,
        crls: &crls,
        at: "2011-04-15T00:00:00Z".parse().unwrap(),
        purpose: Purpose::Any,
        address: None,
        revocation: None,
        crl_grace: std::time::Duration::ZERO,
        policy: &policy,
        allow_weak: &[],
        limits,
    });
    Ok(report.reasons)
}

/// Limbo cases whose verdict differs, and why.
const LIMBO_EXCEPTIONS: &[(&str, &str)] = &[
    ("crl::crlnumber-missing", "the number is for delta CRLs; its absence changes no answer"),
    ("rfc5280::aki::leaf-missing-aki", "asks the CA, not the validator"),
    ("rfc5280::aki::intermediate-missing-aki", "asks the CA, not the validator"),
    ("rfc5280::aki::cross-signed-root-missing-aki", "asks the CA, not the validator"),
    ("rfc5280::nc::permitted-dns-match-noncritical", "constraints are obeyed, critical or not"),
    ("rfc5280::nc::not-allowed-in-ee-noncritical", "constrains nothing there"),
    ("rfc5280::nc::nc-permits-invalid-dns-san", "host names are not ours"),
    ("rfc5280::nc::nc-forbids-dnsname-wildcard-san", "host names are not ours"),
    ("rfc5280::san::noncritical-with-empty-subject", "asks the CA, not the validator"),
    ("rfc5280::san::underscore-dns", "host names are not ours"),
    ("rfc5280::san::ip-in-dns", "host names are not ours"),
    ("rfc5280::serial::too-long", "asks the CA; RFC 5280 section 4.1.2.2 lets users accept it"),
    ("rfc5280::serial::zero", "RFC 5280 section 4.1.2.2: be prepared to handle it gracefully"),
    ("rfc5280::serial::negative", "RFC 5280 section 4.1.2.2: be prepared to handle it gracefully"),
    ("rfc5280::root-missing-basic-constraints", "an anchor is trusted by configuration"),
    ("rfc5280::root-non-critical-basic-constraints", "an anchor is trusted by configuration"),
    ("rfc5280::leaf-ku-keycertsign", "the leaf issues nothing here"),
    ("rfc5280::ca-as-leaf-wrong-san", "host names are not ours"),
];

#[test]
fn i25_x509_limbo() {
    let Some(root) = corpus("x509-limbo") else { return };
    let suite: serde_json::Value = serde_json::from_slice(&read(&root.join("limbo.json"))).unwrap();
    let limits = Limits::default();
    let (mut wrong, mut passed) = (Vec::new(), 0);
    for test in suite["testcases"].as_array().unwrap() {
        let id = test["id"].as_str().unwrap();
        // Host names, depth limits and the web's own rules are not ours.
        let foreign = id.starts_with("webpki::") || id.starts_with("online::");
        if foreign || !test["max_chain_depth"].is_null() {
            continue;
        }
        let expected = test["expected_result"] == "SUCCESS";
        let got = limbo_case(test, &limits);
        let valid = matches!(&got, Ok(reasons) if reasons.is_empty());
        match LIMBO_EXCEPTIONS.iter().find(|(exception, _)| *exception == id) {
            None if valid == expected => passed += 1,
            None => wrong.push(format!("{id} expected {expected} got {got:?}: {}", test["description"])),
            Some(_) => assert_ne!(valid, expected, "{id} is no exception any more"),
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {passed} right:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 50);
}

fn limbo_case(test: &serde_json::Value, limits: &Limits) -> Result<Vec<Reason>, String> {
    let pem = |value: &serde_json::Value| {
        Certificate::bundle(value.as_str().unwrap().as_bytes()).map_err(|error| error.to_string())
    };
    let all = |key: &str| -> Result<Vec<Certificate>, String> {
        Ok(test[key].as_array().unwrap().iter().map(pem).collect::<Result<Vec<_>, _>>()?.concat())
    };
    let target = pem(&test["peer_certificate"])?.remove(0);
    let mut crls = Vec::new();
    for text in test["crls"].as_array().into_iter().flatten() {
        crls.extend(Crl::bundle(text.as_str().unwrap().as_bytes(), limits).map_err(|error| error.to_string())?);
    }
    let revocation = if crls.is_empty() { RevocationMode::None } else { RevocationMode::HardFail };
    let anchors: Vec<TrustAnchor> = all("trusted_certs")?
        .into_iter()
        .map(|certificate| TrustAnchor {
            certificate,
            revocation,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: crate::pki::Harvesting::default(),
        })
        .collect();
    let at = test["validation_time"].as_str().map_or("2024-01-01T00:00:00Z", |at| at);
    let report = validate(&PathRequest {
        end_entity: &target,
        untrusted: &all("untrusted_intermediates")?,
        anchors: &anchors,
        crls: &crls,
        at: at.parse().unwrap(),
        purpose: match test["extended_key_usage"][0].as_str() {
            Some("clientAuth") => Purpose::TlsClient,
            Some("serverAuth") => Purpose::TlsServer,
            _ => Purpose::Any,
        },
        address: None,
        revocation: None,
        crl_grace: std::time::Duration::ZERO,
        policy: &PolicyInputs::default(),
        allow_weak: &[],
        limits,
    });
    Ok(report.reasons)
}

/// CRL cases whose outcome differs from BoringSSL's, and why.
const BORINGSSL_EXCEPTIONS: &[(&str, &str)] = &[
    ("invalid_revoked_empty_sequence", "an empty list is written by real CAs and means what it says"),
    ("invalid_idp_onlycontainsusercerts_v1_leaf", "a certificate without basicConstraints is no CA"),
    (
        "bad_crldp_has_crlissuer",
        "the issuer's own full CRL counts all the same (RFC 5280 section 6.3.3, last paragraph)",
    ),
    ("bad_thisupdate_too_old", "nextUpdate bounds the age, nothing else"),
    ("good_no_nextupdate", "without nextUpdate a CRL never ends: not current"),
    ("good_fake_extension_no_nextupdate", "without nextUpdate a CRL never ends: not current"),
];

#[test]
fn i28_boringssl_crls() {
    let Some(root) = corpus("boringssl-pki/crl_unittest") else { return };
    let limits = Limits::default();
    let (mut wrong, mut passed) = (Vec::new(), 0);
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = String::from_utf8(read(&path)).unwrap();
        let blocks = |label: &str| crate::pki::pem::blocks(text.as_bytes(), &[label]).unwrap();
        let Some(ca) = blocks("CA CERTIFICATE").first().map(|der| Certificate::from_der(der).unwrap()) else {
            continue;
        };
        let Some(target) = blocks("CERTIFICATE").first().map(|der| Certificate::from_der(der).unwrap()) else {
            continue;
        };
        let crls: Vec<Crl> = blocks("CRL").iter().filter_map(|der| Crl::from_der(der, &limits).ok()).collect();
        let second = blocks("CA CERTIFICATE 2").first().map(|der| Certificate::from_der(der).unwrap());
        let rules = crate::pki::revocation::Rules {
            at: "2017-03-09T00:00:00Z".parse().unwrap(),
            grace: std::time::Duration::ZERO,
            allow_weak: &[],
        };
        let signers: Vec<Certificate> = [Some(ca), second].into_iter().flatten().collect();
        let got = rules.status(&target, &signers, &crls).status;
        let right = match name.split('_').next().unwrap() {
            "good" => got == Status::Good,
            "revoked" => got == Status::Revoked,
            _ => got == Status::Unknown,
        };
        match BORINGSSL_EXCEPTIONS.iter().find(|(exception, _)| *exception == name) {
            None if right => passed += 1,
            None => wrong.push(format!("{name} got {got:?}")),
            Some(_) => assert!(!right, "{name} is no exception any more"),
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {passed} right:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 40);
}

#[test]
fn i06_fuzz_corpora_end() {
    let Some(root) = corpus("openssl-fuzz-corpora") else {
        return;
    };
    let limits = Limits::default();
    let mut read_files = 0;
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = read(&path);
            read_files += 1;
            if let Ok(der) = crate::asn1::ber_to_der(&bytes, &limits) {
                assert!(crate::asn1::ber_to_der(&der, &limits).is_ok_and(|again| again == der), "{}", path.display());
            }
            for certificate in Certificate::bundle(&bytes).unwrap_or_default() {
                let anchors = [];
                let report = validate(&PathRequest {
                    end_entity: &certificate,
                    untrusted: std::slice::from_ref(&certificate),
                    anchors: &anchors,
                    crls: &[],
                    at: "2026-01-15T00:00:00Z".parse().unwrap(),
                    purpose: Purpose::EmailSign,
                    address: None,
                    revocation: None,
                    crl_grace: std::time::Duration::ZERO,
                    policy: &PolicyInputs::default(),
                    allow_weak: &[],
                    limits: &limits,
                });
                assert!(!report.is_valid(), "{}", path.display());
                certificate.addresses();
                assert!(!certificate.subject().to_string().contains('\0'));
            }
            Crl::from_der(&bytes, &limits).ok();
        }
    }
    assert!(read_files > 100);
}
