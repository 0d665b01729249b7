//! The demo's certificate authority: a root, an issuing CA, people with certificates, revocation lists.
//!
//! Keys are made anew in every run and leave the folder only with it.

use super::folder::Folder;
use super::{DOMAIN, DemoError};
use crate::keys::pkcs12;
use crate::pki::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevocationReason,
    RevokedCertParams, RsaKeySize, SanType, SerialNumber, date_time_ymd,
};
use std::collections::BTreeMap;

/// Who sends from inside.
pub(super) const STAFF: &str = "siti@kabupaten.go.id";
/// A colleague with a key of his own.
pub(super) const COLLEAGUE: &str = "budi@kabupaten.go.id";
/// Whom the government writes to.
pub(super) const PARTNER: &str = "rina@mitra.example";
/// Another partner; her key signs for an address that is not hers.
pub(super) const OTHER_PARTNER: &str = "dewi@mitra.example";
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

/// A person who can sign.
pub(super) struct Person {
    /// Her certificate.
    pub(super) certificate: Certificate,
    /// The certificate of the CA that issued it.
    pub(super) issuer: Certificate,
    /// Her private key.
    pub(super) key: KeyPair,
}

/// Everybody with a certificate, by address.
pub(super) struct People(BTreeMap<&'static str, Person>);

impl People {
    /// The person with this address.
    pub(super) fn person(&self, address: &str) -> Result<&Person, DemoError> {
        self.0.get(address).ok_or_else(|| DemoError::Unusable(address.to_owned()))
    }

    /// The addresses whose keys the gateway holds.
    pub(super) fn staff(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied().filter(|address| address.ends_with(&format!("@{DOMAIN}")))
    }
}

impl Authority {
    /// Makes all keys, certificates and revocation lists.
    pub(super) fn make() -> Result<Self, DemoError> {
        let root = certify(ca("Segel Demo Root", 1), None)?;
        let issuing = certify(ca("Segel Demo Issuing CA", 2), Some(&root))?;
        let stranger_root = certify(ca("A Stranger's Root", 1), None)?;
        let mut people = BTreeMap::new();
        for (serial, address) in [STAFF, COLLEAGUE, PARTNER, OTHER_PARTNER, REVOKED].into_iter().enumerate() {
            people.insert(address, certify(end_entity(address, 16 + serial)?, Some(&issuing))?);
        }
        people.insert(STRANGER, certify(end_entity(STRANGER, 16)?, Some(&stranger_root))?);
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
        let mut people = BTreeMap::new();
        for (address, issued) in self.people {
            let certificate = parse(address, &issued)?;
            let issuer = if address == STRANGER { &stranger_root } else { &issuing };
            folder.write(&format!("pki/{address}.pem"), issued.certificate.pem().as_bytes())?;
            folder.write(&format!("pki/{address}.key.pem"), issued.key.serialize_pem().as_bytes())?;
            let chain = std::slice::from_ref(issuer);
            let store = pkcs12::write(&issued.key.serialize_der(), &certificate, chain, PASSWORD, address)
                .map_err(|_| DemoError::Unusable(address.to_owned()))?;
            folder.write(&format!("pki/{address}.p12"), &store)?;
            people.insert(address, Person { certificate, issuer: issuer.clone(), key: issued.key });
        }
        Ok(People(people))
    }
}

fn parse(whose: &str, issued: &Issued) -> Result<Certificate, DemoError> {
    Certificate::from_der(issued.certificate.der()).map_err(|_| DemoError::Unusable(whose.to_owned()))
}

/// Makes a key and the certificate for it; without `issuer` it signs itself.
fn certify(params: CertificateParams, issuer: Option<&Issued>) -> Result<Issued, DemoError> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
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

fn end_entity(address: &str, serial: usize) -> Result<CertificateParams, DemoError> {
    let name = address.split('@').next().unwrap_or(address);
    let mut params = params(name, serial);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
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
