//! What a valid signer lets us learn: how to encrypt to him (P10, RFC 8551 sections 2.5.2 and 2.5.3).
//!
//! The certificates beside a signature are not signed. Whatever is taken from them has to name the sender's address and be
//! allowed to encrypt; whether it is trusted is asked each time before something is encrypted to it.

use super::result::{Harvest, Layer};
use super::walk::Found;
use crate::cms::attributes::EncryptionKeyPreference;
use crate::mail::Address;
use crate::pki::{Certificate, Purpose};
use crate::smime::Verdict;
use crate::smime::verify::Preference;

/// From the layer that decides, of a message that is valid as a whole.
pub(super) fn harvest(from: &Address, found: &Found, layer: &Layer) -> Option<Harvest> {
    let (checked, signer) = found
        .signers
        .iter()
        .zip(&layer.signers)
        .find(|(_, signer)| signer.bound_to_from && signer.verdict == Verdict::Valid)?;
    let own = signer.certificate.as_ref()?;
    let encryption = encryption(from, own, &checked.preference, &found.certificates)?;
    let is_other = |certificate: &&Certificate| **certificate != *own && **certificate != encryption;
    Some(Harvest {
        address: from.clone(),
        signer: own.clone(),
        capabilities: checked.capabilities.clone(),
        signing_time: signer.signing_time,
        certificates: found.certificates.iter().filter(is_other).cloned().collect(),
        encryption,
    })
}

/// The certificate that he has named; else his own, if it may encrypt; else another by the same issuer that may. Where he
/// has named one that is not there or does not fit, none: he has said that he can't use the others.
fn encryption(
    from: &Address,
    own: &Certificate,
    preference: &Preference,
    enclosed: &[Certificate],
) -> Option<Certificate> {
    let fits = |certificate: &&Certificate| {
        certificate.names_address(from) && !certificate.is_ca() && Purpose::EmailEncrypt.allows_end_entity(certificate)
    };
    let fitting = enclosed.iter().chain(std::iter::once(own)).filter(fits);
    match preference {
        Preference::Unreadable => None,
        Preference::Named(named) => newest(fitting.filter(|certificate| is_named(named, certificate))),
        Preference::None if fits(&own) => Some(own.clone()),
        Preference::None => newest(fitting.filter(|certificate| certificate.issuer().matches(own.issuer()))),
    }
}

fn newest<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> Option<Certificate> {
    certificates.max_by_key(|certificate| certificate.not_before()).cloned()
}

fn is_named(preference: &EncryptionKeyPreference, certificate: &Certificate) -> bool {
    match preference {
        EncryptionKeyPreference::IssuerAndSerial(issuer, serial) => {
            certificate.serial() == serial && certificate.issuer().matches(issuer)
        }
        EncryptionKeyPreference::RecipientKeyId(octets) | EncryptionKeyPreference::SubjectAltKeyIdentifier(octets) => {
            certificate.subject_key_identifier() == Some(octets.as_slice())
        }
    }
}
