//! Given CRLs and what they do to the verdict.

use super::*;
use crate::pki::revocation::Status;
use crate::smime::tests::finish_with;

#[test]
fn i28_revoked_and_held_leaf_and_intermediate() {
    let ca = ca();
    let message = ca.signed(SITI, P256);
    let check = |leaf: &[(&str, &str)], intermediate: &[(&str, &str)], status: Status, reasons: &[Reason]| {
        let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca.options() };
        let crls = [ca.crl("issuing", leaf), ca.crl("root", intermediate)];
        let inspected = finish_with(&message, hard, |_| Vec::new(), &crls);
        assert_eq!(inspected.reasons, reasons, "{leaf:?} {intermediate:?}");
        assert_eq!(inspected.verdict == Verdict::Valid, reasons.is_empty());
        let signer = &inspected.layers[0].signers[0];
        assert_eq!(signer.revocation.status, status, "{leaf:?} {intermediate:?}");
        let condemned = leaf.first().or(intermediate.first()).map(|(name, _)| ca.certificate(name).serial_hex());
        let of_others = leaf.iter().all(|(name, _)| *name != "p256") && intermediate.is_empty();
        assert_eq!(signer.revocation.serial, condemned.filter(|_| !of_others));
        assert_eq!(inspected.evidence.crls.len(), 2);
    };
    check(&[], &[], Status::Good, &[]);
    check(&[("budi", "keyCompromise")], &[], Status::Good, &[]);
    check(&[("p256", "keyCompromise")], &[], Status::Revoked, &[Revoked]);
    check(&[("p256", "superseded")], &[], Status::Revoked, &[Revoked]);
    check(&[("p256", "certificateHold")], &[], Status::OnHold, &[OnHold]);
    check(&[], &[("issuing", "CACompromise")], Status::Revoked, &[Revoked]);
    check(&[], &[("issuing", "certificateHold")], Status::OnHold, &[OnHold]);
}

#[test]
fn i27_one_missing_crl_leaves_the_status_unknown() {
    let ca = ca();
    let message = ca.signed(SITI, P256);
    for crls in [[ca.crl("issuing", &[])], [ca.crl("root", &[])]] {
        let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca.options() };
        let inspected = finish_with(&message, hard, |_| Vec::new(), &crls);
        assert_eq!((inspected.verdict, inspected.reasons), (Verdict::Indeterminate, vec![RevocationUnknown]));
    }
}

#[test]
fn i28_a_copy_with_the_same_key_does_not_hide_that_it_was_revoked() {
    let ca = ca();
    ca.self_certify("p256", "copy");
    let crls = [ca.crl("issuing", &[("p256", "keyCompromise")]), ca.crl("root", &[])];
    for (signer, other) in [("p256", "copy"), ("copy", "p256")] {
        ca.write("others.pem", &[ca.read(&format!("{other}.pem")), ca.read("issuing.pem")].concat());
        let options = format!("-signer {signer}.pem -inkey p256.key -keyid -certfile others.pem -md sha256");
        let hard = Options { revocation: Some(RevocationMode::HardFail), ..ca.options() };
        let inspected = finish_with(&ca.signed(SITI, &options), hard, |_| Vec::new(), &crls);
        assert!(inspected.reasons.contains(&Revoked), "{signer}: {:?}", inspected.reasons);
    }
}

/// `crls [1]` in the SignedData: neither a good list nor one that revokes is looked at, whatever is asked for.
#[test]
fn i13_i29_a_crl_in_the_mail_says_nothing() {
    use crate::asn1::{Fields, tag, write_tlv};
    let ca = ca();
    let der = ca.cms(ENTITY, &format!("-sign -nodetach -certfile issuing.pem {P256}"));
    let with = |crls: &[&Crl]| {
        let mut info = Fields::within(&der, tag::SEQUENCE).unwrap();
        let kind = info.required(tag::OID).unwrap().whole;
        let signed = Fields::new(info.required(tag::context(0)).unwrap().content);
        let mut fields = Fields::within(signed.rest(), tag::SEQUENCE).unwrap();
        let mut members: Vec<Vec<u8>> = Vec::new();
        while let Some(field) = fields.next_any().unwrap() {
            // signerInfos comes last, the crls before it.
            if fields.is_empty() {
                let enclosed: Vec<u8> = crls.iter().flat_map(|crl| crl.der().to_vec()).collect();
                members.push(write_tlv(tag::context(1), &enclosed));
            }
            members.push(field.whole.to_vec());
        }
        let signed = write_tlv(tag::context(0), &write_tlv(tag::SEQUENCE, &members.concat()));
        opaque_mail(&write_tlv(tag::SEQUENCE, &[kind, &signed].concat()))
    };
    let (good, revoking, root) =
        (ca.crl("issuing", &[]), ca.crl("issuing", &[("p256", "superseded")]), ca.crl("root", &[]));
    let ask = |message: &[u8], mode: RevocationMode, crls: &[Crl]| {
        let options = Options { revocation: Some(mode), ..ca.options() };
        finish_with(message, options, |_| Vec::new(), crls).reasons
    };
    let enclosed = with(&[&good, &root]);
    assert_eq!(ask(&enclosed, RevocationMode::None, &[]), []);
    assert_eq!(ask(&enclosed, RevocationMode::HardFail, &[]), [RevocationUnknown]);
    assert_eq!(ask(&enclosed, RevocationMode::HardFail, &[revoking.clone(), root.clone()]), [Revoked]);
    let enclosed = with(&[&revoking, &root]);
    assert_eq!(ask(&enclosed, RevocationMode::HardFail, &[good, root]), []);
}
