//! Certificates, CRLs, keys and signed contents that `seed.sh` has made.

use jiff::Timestamp;
use segel::cms::recipient_info::{Recipient, RecipientIdentifier};
use segel::keys::software::OpenKey;
use segel::limits::Limits;
use segel::pki::{Certificate, Crl};
use segel::smime::inspect::ContentKey;
use std::path::{Path, PathBuf};

/// What there is to answer with.
#[derive(Default)]
pub struct Material {
    /// `anchor.pem`
    pub anchor: Option<Certificate>,
    /// `certificates.pem`
    pub certificates: Vec<Certificate>,
    /// `revoked.pem`
    pub revoked: Vec<Certificate>,
    /// `*.crl`, DER
    pub crls: Vec<Crl>,
    /// `*.p8`, PKCS#8
    pub keys: Vec<OpenKey>,
    /// `contents/*`: entities that were signed.
    pub contents: Vec<Vec<u8>>,
    /// When all certificates are valid.
    pub at: Timestamp,
}

impl Material {
    /// From the folder that `$SEGEL_FUZZ_PKI` names; nothing where it names none.
    pub fn from_environment() -> Self {
        std::env::var_os("SEGEL_FUZZ_PKI").map_or_else(Self::default, |dir| Self::read(&PathBuf::from(dir)))
    }

    /// From `dir`.
    pub fn read(dir: &Path) -> Self {
        let bundle = |name: &str| {
            let file = std::fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            Certificate::bundle(&file).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let anchor = bundle("anchor.pem").into_iter().next().expect("an anchor");
        let certificates = bundle("certificates.pem");
        let latest = certificates.iter().map(|known| known.not_before().as_second()).max().unwrap_or_default();
        let limits = Limits::default();
        Self {
            anchor: Some(anchor),
            revoked: bundle("revoked.pem"),
            certificates,
            crls: files(dir, "crl").iter().map(|der| Crl::from_der(der, &limits).expect("a CRL")).collect(),
            keys: files(dir, "p8").iter().map(|der| OpenKey::from_pkcs8(der).expect("a key")).collect(),
            contents: files(&dir.join("contents"), "").iter().map(|content| plain(content)).collect(),
            at: Timestamp::from_second(latest + 3600).expect("a time"),
        }
    }

    /// What the keys make of these RecipientInfos.
    pub fn content_keys(&self, recipients: &[Recipient], length: usize) -> Vec<ContentKey> {
        let mut found = Vec::new();
        for (number, key) in self.keys.iter().enumerate() {
            let own = |known: &&Certificate| key.belongs_to(known.spki_der());
            let Some(certificate) = self.certificates.iter().find(own) else { continue };
            for recipient in recipients.iter().take(4).filter(|recipient| is_meant(certificate, recipient)) {
                if let Ok(octets) = key.content_key(&recipient.sealed, length) {
                    found.push(ContentKey { key: number.to_string(), octets });
                }
            }
        }
        found
    }

    /// Whether this is, line ends apart, something that was signed.
    pub fn is_known(&self, entity: &[u8]) -> bool {
        self.contents.contains(&plain(entity))
    }

    /// Whether something that was signed stands in these octets.
    pub fn is_in(&self, octets: &[u8]) -> bool {
        let octets = plain(octets);
        self.contents.iter().any(|content| octets.windows(content.len()).any(|window| window == content))
    }
}

fn is_meant(certificate: &Certificate, recipient: &Recipient) -> bool {
    match &recipient.identifier {
        RecipientIdentifier::IssuerAndSerial(issuer, serial) => {
            certificate.issuer().matches(issuer) && certificate.serial() == serial
        }
        RecipientIdentifier::KeyIdentifier(octets) => certificate.subject_key_identifier() == Some(octets.as_slice()),
        RecipientIdentifier::None => false,
    }
}

fn files(dir: &Path, extension: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().unwrap_or_default() == extension)
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file that was just listed")).collect()
}

/// Without CR, and without line breaks at the end.
fn plain(octets: &[u8]) -> Vec<u8> {
    let mut kept: Vec<u8> = octets.iter().copied().filter(|octet| *octet != b'\r').collect();
    while kept.last() == Some(&b'\n') {
        kept.pop();
    }
    kept
}
