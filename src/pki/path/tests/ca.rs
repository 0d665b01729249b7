//! A certification authority for the matrices: keys and certificates made while the test runs.

use super::*;
use crate::asn1::write_tlv;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

pub(super) struct Ca {
    pub(super) params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) certificate: Certificate,
}

/// Parameters of a CA; valid from 2020 to 2040.
pub(super) fn ca_params(name: &str) -> CertificateParams {
    let mut params = leaf_params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Parameters of an end entity without any extension; valid from 2020 to 2040.
pub(super) fn leaf_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params.serial_number = Some(SerialNumber::from(7u64));
    params
}

/// subjectAltName out of GeneralNames in DER.
pub(super) fn alternative_names(names: &[Vec<u8>]) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 17], write_tlv(0x30, &names.concat()))
}

pub(super) fn rfc822_name(octets: &[u8]) -> Vec<u8> {
    write_tlv(0x81, octets)
}

pub(super) fn utf8_mailbox(text: &str) -> Vec<u8> {
    let oid = write_tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 8, 9]);
    write_tlv(0xa0, &[oid, write_tlv(0xa0, &write_tlv(0x0c, text.as_bytes()))].concat())
}

fn read(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::from_der(certificate.der()).unwrap()
}

impl Ca {
    pub(super) fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = read(&params.self_signed(&key).unwrap());
        Self { params, key, certificate }
    }

    pub(super) fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = read(&params.signed_by(&key, &self.issuer()).unwrap());
        Self { params, key, certificate }
    }

    /// Another certificate for `other`'s name and key, by this CA.
    pub(super) fn cross_sign(&self, other: &Self) -> Certificate {
        read(&other.params.signed_by(&other.key, &self.issuer()).unwrap())
    }

    pub(super) fn issue(&self, params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        read(&params.signed_by(&key, &self.issuer()).unwrap())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A CRL from 2026-01-01 to 2026-02-01.
    pub(super) fn crl(&self, revoked: &[(u64, Option<RevocationReason>)]) -> Crl {
        self.crl_of((2026, 1, 1), (2026, 2, 1), revoked)
    }

    /// A CRL from the first day to the second (year, month, day). Everything was revoked on 2025-12-01.
    pub(super) fn crl_of(
        &self,
        from: (i32, u8, u8),
        to: (i32, u8, u8),
        revoked: &[(u64, Option<RevocationReason>)],
    ) -> Crl {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(from.0, from.1, from.2),
            next_update: date_time_ymd(to.0, to.1, to.2),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|(serial, reason)| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: date_time_ymd(2025, 12, 1),
                    reason_code: *reason,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Crl::from_der(params.signed_by(&self.issuer()).unwrap().der(), &Limits::default()).unwrap()
    }

    pub(super) fn anchor(&self, revocation: RevocationMode) -> TrustAnchor {
        anchor(&self.certificate, revocation)
    }
}

pub(super) fn anchor(certificate: &Certificate, revocation: RevocationMode) -> TrustAnchor {
    TrustAnchor {
        certificate: certificate.clone(),
        revocation,
        domains: Vec::new(),
        source: AnchorSource::CommandLine,
        harvest: crate::pki::Harvesting::default(),
    }
}

/// A question with usual answers, to be changed by the test.
pub(super) struct Question {
    pub(super) end_entity: Certificate,
    pub(super) untrusted: Vec<Certificate>,
    pub(super) anchors: Vec<TrustAnchor>,
    pub(super) crls: Vec<Crl>,
    pub(super) at: &'static str,
    pub(super) purpose: Purpose,
    pub(super) address: Option<&'static str>,
    pub(super) allow_weak: Vec<crate::crypto::Digest>,
    pub(super) grace: std::time::Duration,
    pub(super) limits: Limits,
}

impl Question {
    /// Path and purpose `email-sign` in 2026 under one anchor without revocation.
    pub(super) fn new(end_entity: &Certificate, untrusted: &[&Certificate], root: &Certificate) -> Self {
        Self {
            end_entity: end_entity.clone(),
            untrusted: untrusted.iter().map(|certificate| (*certificate).clone()).collect(),
            anchors: vec![anchor(root, RevocationMode::None)],
            crls: Vec::new(),
            at: "2026-01-15T00:00:00Z",
            purpose: Purpose::EmailSign,
            address: None,
            allow_weak: Vec::new(),
            grace: std::time::Duration::ZERO,
            limits: Limits::default(),
        }
    }

    pub(super) fn ask(&self) -> PathReport {
        let address = self.address.map(|text| Address::parse(text).unwrap());
        validate(&PathRequest {
            end_entity: &self.end_entity,
            untrusted: &self.untrusted,
            anchors: &self.anchors,
            crls: &self.crls,
            at: self.at.parse().unwrap(),
            purpose: self.purpose,
            address: address.as_ref(),
            revocation: None,
            crl_grace: self.grace,
            policy: &PolicyInputs::default(),
            allow_weak: &self.allow_weak,
            limits: &self.limits,
        })
    }

    pub(super) fn reasons(&self) -> Vec<Reason> {
        self.ask().reasons
    }
}
