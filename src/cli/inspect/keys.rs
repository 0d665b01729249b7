//! Which private keys may open a message: those of `--key`, and with `-c` the gateway's own.

use super::super::{CliError, read};
use crate::cms::recipient_info::{Recipient, RecipientIdentifier};
use crate::keys::software::OpenKey;
use crate::keys::{KeyBackend, KeyError, Keys, import};
use crate::pki::Certificate;
use crate::smime::inspect::ContentKey;
use data_encoding::HEXLOWER;
use std::error::Error;
use std::path::Path;

/// Keys that are asked for one message: a mailing may name everybody.
const MOST: usize = 8;

/// A key pair from a file.
pub(super) struct Pair {
    id: String,
    certificate: Certificate,
    key: OpenKey,
}

/// Every pair of a PKCS#12 file.
pub(super) fn pairs(path: &Path, password: Option<&Path>) -> Result<Vec<Pair>, CliError> {
    let password = password.map(read::password).transpose()?.map(zeroize::Zeroizing::new);
    let bytes = zeroize::Zeroizing::new(read::file(path)?);
    let refused = |error: &KeyError| CliError::Input {
        path: path.to_owned(),
        problem: error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
        hint: "expected a PKCS#12 file with a private key and its certificate; its password is the first line of `--password-file`",
    };
    let password = password.as_ref().map_or("", |password| password.as_str());
    let imported = import::pkcs12(&bytes, password).map_err(|error| refused(&error))?;
    let pair = |pair: import::Imported| {
        let key = OpenKey::from_pkcs8(&pair.key_der)?;
        Ok(Pair { id: id_of(&pair.certificate), certificate: pair.certificate, key })
    };
    imported.pairs.into_iter().map(pair).collect::<Result<_, KeyError>>().map_err(|error| refused(&error))
}

/// As `segel key list` shows it.
fn id_of(certificate: &Certificate) -> String {
    let mut id = HEXLOWER.encode(&certificate.sha256());
    id.truncate(16);
    id
}

/// One candidate for each key that is named, whatever comes out of it: only the content tells whether it is the right one.
pub(super) fn answer(
    pairs: &[Pair],
    gateway: Option<&Keys>,
    recipients: &[Recipient],
    length: usize,
) -> Vec<ContentKey> {
    let mut found: Vec<ContentKey> = Vec::new();
    for recipient in recipients {
        let own = pairs.iter().filter(|pair| is_meant(&recipient.identifier, &pair.certificate));
        let own = own.map(|pair| (pair.id.clone(), Some(pair)));
        let stored = gateway.into_iter().flat_map(|keys| keys.for_recipient(&recipient.identifier));
        for (id, pair) in own.chain(stored.map(|entry| (entry.id, None))) {
            if found.len() >= MOST {
                return found;
            }
            if found.iter().any(|known| known.key == id) {
                continue;
            }
            let octets = match (pair, gateway) {
                (Some(pair), _) => pair.key.content_key(&recipient.sealed, length),
                (None, Some(keys)) => keys.content_key(&id, &recipient.sealed, length),
                (None, None) => continue,
            };
            // An error is what anybody can see: this key can't open what is sealed in this way.
            if let Ok(octets) = octets {
                found.push(ContentKey { key: id, octets });
            }
        }
    }
    found
}

fn is_meant(identifier: &RecipientIdentifier, certificate: &Certificate) -> bool {
    match identifier {
        RecipientIdentifier::IssuerAndSerial(issuer, serial) => {
            certificate.serial() == serial && certificate.issuer().matches(issuer)
        }
        RecipientIdentifier::KeyIdentifier(octets) => certificate.subject_key_identifier() == Some(octets.as_slice()),
        RecipientIdentifier::None => false,
    }
}
