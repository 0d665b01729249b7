//! The demo's certificate authority: a root, an issuing CA, people with certificates, revocation lists.
//!
//! Keys are made anew in every run and leave the folder only with it.

use super::folder::Folder;
use super::{DOMAIN, DemoError};
use crate::keys::pkcs12;
use crate::limits::Limits;
use crate::pki::path::{AnchorSource, Harvesting};
use crate::pki::recipient::{self, RecipientRequest};
use crate::pki::{Certificate, RevocationMode, TrustAnchor};
use crate::smime::encrypt::To;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevocationReason, RevokedCertParams, RsaKeySize, SanType, SerialNumber, date_time_ymd,
};
use std::collections::BTreeMap;

/// Who sends from inside.
pub(super) const STAFF: &str = "siti@kabupaten.go.id";
/// A colleague with a key of his own.
pub(super) const COLLEAGUE: &str = "budi@kabupaten.go.id";
/// A colleague without a key.
pub(super) const KEYLESS: &str = "ani@kabupaten.go.id";
/// Whom the government writes to. Her certificate is learned from her mail.
pub(super) const PARTNER: &str = "rina@mitra.example";
/// Another partner, with an elliptic key. It signs for an address that is not hers. An operator imports her certificate.
pub(super) const OTHER_PARTNER: &str = "dewi@mitra.example";
/// A partner who is written to in secret. An operator imports his certificate.
pub(super) const HIDDEN_PARTNER: &str = "wayan@mitra.example";
/// Somebody whose certificate nobody knows.
pub(super) const UNCERTIFIED: &str = "eko@tamu.example";
/// Whose certificate was revoked.
pub(super) const REVOKED: &str = "joko@mitra.example";
/// Who made a certificate authority of his own.
pub(super) const STRANGER: &str = "asing@lain.example";

/// Password of the PKCS#12 files.
pub(super) const PASSWORD: &str = "demo";

/// The keys and certificates before they are files.
pub(super) struct Authority {
    root: Issued,
    issuing: Issued,
    stranger_root: Issued,
    people: BTreeMap<&'static str, Issued>,
    crl: Vec<u8>,
    root_crl: Vec<u8>,
}

struct Issued {
    key: KeyPair,
    certificate: rcgen::Certificate,
    params: CertificateParams,
}

/// A kind of key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Elliptic,
}

/// A person who can sign and read what is encrypted.
pub(super) struct Person {
    /// Her certificate.
    pub(super) certificate: Certificate,
    /// The certificate of the CA that issued it.
    pub(super) issuer: Certificate,
    /// Her private key.
    pub(super) key: KeyPair,
}

/// Everybody with a certificate, by address, and the root that everybody trusts.
pub(super) struct People {
    by_address: BTreeMap<&'static str, Person>,
    root: Certificate,
}

impl People {
    /// The person with this address.
    pub(super) fn person(&self, address: &str) -> Result<&Person, DemoError> {
        self.by_address.get(address).ok_or_else(|| DemoError::Unusable(address.to_owned()))
    }

    /// Everybody with a certificate.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Person)> {
        self.by_address.iter().map(|(address, person)| (*address, person))
    }

    /// This person as somebody to encrypt to, as a partner's mail program would do it.
    pub(super) fn to(&self, address: &str) -> Result<To, DemoError> {
        let person = self.person(address)?;
        let anchor = TrustAnchor {
            certificate: self.root.clone(),
            revocation: RevocationMode::None,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: Harvesting::default(),
        };
        let (key, _) = recipient::check(&RecipientRequest {
            certificate: &person.certificate,
            address: None,
            untrusted: std::slice::from_ref(&person.issuer),
            anchors: &[anchor],
            crls: &[],
            blocked: &std::collections::HashSet::new(),
            at: crate::clock::now(),
            limits: &Limits::default(),
        });
        let key = key.map_err(|_| DemoError::Unusable(address.to_owned()))?;
        Ok(To { key, oaep: false })
    }

    /// The addresses whose keys the gateway holds.
    pub(super) fn staff(&self) -> impl Iterator<Item = &'static str> {
        self.by_address.keys().copied().filter(|address| address.ends_with(&format!("@{DOMAIN}")))
    }
}

impl Authority {
    /// Makes all keys, certificates and revocation lists.
    pub(super) fn make() -> Result<Self, DemoError> {
        let root = certify(ca("Segel Demo Root", 1), Kind::Rsa, None)?;
        let issuing = certify(ca("Segel Demo Issuing CA", 2), Kind::Rsa, Some(&root))?;
        let stranger_root = certify(ca("A Stranger's Root", 1), Kind::Rsa, None)?;
        let mut people = BTreeMap::new();
        let certified = [STAFF, COLLEAGUE, PARTNER, OTHER_PARTNER, REVOKED, HIDDEN_PARTNER];
        for (serial, address) in certified.into_iter().enumerate() {
            let kind = if address == OTHER_PARTNER { Kind::Elliptic } else { Kind::Rsa };
            people.insert(address, certify(end_entity(address, kind, 16 + serial)?, kind, Some(&issuing))?);
        }
        people.insert(STRANGER, certify(end_entity(STRANGER, Kind::Rsa, 16)?, Kind::Rsa, Some(&stranger_root))?);
        let revoked = people.get(REVOKED).and_then(|issued| issued.params.serial_number.clone());
        let crl = revocation_list(&issuing, revoked.into_iter().collect())?;
        let root_crl = revocation_list(&root, Vec::new())?;
        Ok(Self { root, issuing, stranger_root, people, crl, root_crl })
    }

    /// Writes `pki/` and gives the people who can sign.
    pub(super) fn write(self, folder: &Folder) -> Result<People, DemoError> {
        folder.write("pki/root.pem", self.root.certificate.pem().as_bytes())?;
        folder.write("pki/issuing.pem", self.issuing.certificate.pem().as_bytes())?;
        folder.write("pki/crl.der", &self.crl)?;
        folder.write("pki/root-crl.der", &self.root_crl)?;
        let issuing = parse("the issuing CA", &self.issuing)?;
        let stranger_root = parse("the stranger's root", &self.stranger_root)?;
        let root = parse("the root", &self.root)?;
        let mut people = BTreeMap::new();
        for (address, issued) in self.people {
            let certificate = parse(address, &issued)?;
            let issuer = if address == STRANGER { &stranger_root } else { &issuing };
            // With the CA's certificate, as people hand it out: no path to the root could be found without it.
            let chain = format!("{}{}", issued.certificate.pem(), issuer.to_pem());
            folder.write(&format!("pki/{address}.pem"), chain.as_bytes())?;
            folder.write(&format!("pki/{address}.key.pem"), issued.key.serialize_pem().as_bytes())?;
            let chain = std::slice::from_ref(issuer);
            let store = pkcs12::write(&issued.key.serialize_der(), &certificate, chain, PASSWORD, address)
                .map_err(|_| DemoError::Unusable(address.to_owned()))?;
            folder.write(&format!("pki/{address}.p12"), &store)?;
            people.insert(address, Person { certificate, issuer: issuer.clone(), key: issued.key });
        }
        Ok(People { by_address: people, root })
    }
}

fn parse(whose: &str, issued: &Issued) -> Result<Certificate, DemoError> {
    Certificate::from_der(issued.certificate.der()).map_err(|_| DemoError::Unusable(whose.to_owned()))
}

/// Makes a key and the certificate for it; without `issuer` it signs itself.
fn certify(params: CertificateParams, kind: Kind, issuer: Option<&Issued>) -> Result<Issued, DemoError> {
    let key = match kind {
        Kind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        Kind::Elliptic => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
    };
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key))?,
        None => params.self_signed(&key)?,
    };
    Ok(Issued { key, certificate, params })
}

fn params(common_name: &str, serial: usize) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "ID");
    name.push(DnType::OrganizationName, "Segel Demo");
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from(serial as u64));
    let ((from_year, from_month, from_day), (to_year, to_month, to_day)) = (day(-1), day(365));
    params.not_before = date_time_ymd(from_year, from_month, from_day);
    params.not_after = date_time_ymd(to_year, to_month, to_day);
    params.use_authority_key_identifier_extension = true;
    params
}

fn ca(common_name: &str, serial: usize) -> CertificateParams {
    let mut params = params(common_name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn end_entity(address: &str, kind: Kind, serial: usize) -> Result<CertificateParams, DemoError> {
    let name = address.split('@').next().unwrap_or(address);
    let mut params = params(name, serial);
    params.is_ca = IsCa::ExplicitNoCa;
    // RFC 8551 section 4: with what content keys reach such a key.
    let encryption = match kind {
        Kind::Rsa => KeyUsagePurpose::KeyEncipherment,
        Kind::Elliptic => KeyUsagePurpose::KeyAgreement,
    };
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, encryption];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    params.subject_alt_names = vec![SanType::Rfc822Name(address.try_into()?)];
    Ok(params)
}

fn revocation_list(issuer: &Issued, revoked: Vec<SerialNumber>) -> Result<Vec<u8>, DemoError> {
    let ((from_year, from_month, from_day), (to_year, to_month, to_day)) = (day(-1), day(30));
    let this_update = date_time_ymd(from_year, from_month, from_day);
    let list = CertificateRevocationListParams {
        this_update,
        next_update: date_time_ymd(to_year, to_month, to_day),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .into_iter()
            .map(|serial_number| RevokedCertParams {
                serial_number,
                revocation_time: this_update,
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(&Issuer::from_params(&issuer.params, &issuer.key))?.der().to_vec())
}

/// The day, this many days from today, as year, month and day.
fn day(from_today: i64) -> (i32, u8, u8) {
    let today = crate::clock::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let date = today.saturating_add(jiff::Span::new().days(from_today));
    (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
}
