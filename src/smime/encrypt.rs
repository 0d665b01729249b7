//! Encrypting an entity to certificates that may be encrypted to. RFC 8551 section 3.3, 3.4; RFC 5753; RFC 3560.
//!
//! Only `pki` makes a `RecipientKey`, so that nothing is encrypted to a certificate that was not checked. Only AES is
//! written: what old programs want instead is refused, not chosen.

use crate::cms::CmsError;
use crate::cms::enveloped_data::NewEnvelope;
use crate::cms::recipient_info::{NewAgreement, NewRecipient, derivation};
use crate::crypto::agreement::{self, Group};
use crate::crypto::key::{Pss, PublicKey};
use crate::crypto::{self, ContentCipher, CryptoError, transport};
use crate::pki::{Certificate, RecipientKey};
use std::collections::HashSet;
use zeroize::Zeroizing;

/// One recipient of a message.
#[derive(Clone, Debug)]
pub struct To {
    /// The certificate.
    pub key: RecipientKey,
    /// RSAES-OAEP is announced; RSAES-PKCS1-v1_5 otherwise, unless the key itself asks for OAEP. Nothing for other keys.
    pub oaep: bool,
}

/// Why an entity could not be encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// Nobody to encrypt to.
    #[error("no recipients")]
    NoRecipients,
    /// Not a cipher that is written here.
    #[error("`{0}` is not written")]
    Cipher(&'static str),
    /// The key of this certificate (its serial) cannot be used.
    #[error("cannot encrypt to the key of certificate {0}")]
    Recipient(String, #[source] CryptoError),
    /// The content could not be encrypted.
    #[error("cannot encrypt the content")]
    Content(#[source] CryptoError),
    /// The structure could not be written.
    #[error("cannot encode the envelope")]
    Encoding(#[source] CmsError),
}

/// DER of the ContentInfo: AuthEnvelopedData for GCM, EnvelopedData for CBC, under a content key made for this message. A
/// certificate that stands in `to` twice has one RecipientInfo.
///
/// # Errors
/// No recipient, a cipher other than AES-256 and AES-128 in GCM or CBC, a key that cannot be encrypted to.
pub fn encrypt(entity: &[u8], cipher: ContentCipher, to: &[To]) -> Result<Vec<u8>, EncryptError> {
    match cipher {
        ContentCipher::Aes256Gcm | ContentCipher::Aes128Gcm | ContentCipher::Aes256Cbc | ContentCipher::Aes128Cbc => {}
        other => return Err(EncryptError::Cipher(other.name())),
    }
    if to.is_empty() {
        return Err(EncryptError::NoRecipients);
    }
    let random = Zeroizing::new(crypto::random::<32>());
    let content_key = random.get(..cipher.key_length()).unwrap_or(random.as_slice());
    let nonce = crypto::random::<16>();
    let nonce = nonce.get(..cipher.nonce_length()).unwrap_or(&nonce);
    let mut known = HashSet::new();
    let mut recipients = Vec::with_capacity(to.len());
    for to in to.iter().filter(|to| known.insert(to.key.certificate().sha256())) {
        recipients.push(recipient_info(to, content_key)?);
    }
    let (ciphertext, tag) = cipher.seal(content_key, nonce, &[], entity).map_err(EncryptError::Content)?;
    NewEnvelope { cipher, nonce, recipients, ciphertext: &ciphertext, tag: &tag }
        .to_der()
        .map_err(EncryptError::Encoding)
}

/// The `smime-type` of what [`encrypt`] makes with `cipher` (RFC 8551 section 3.2.2).
pub const fn smime_type(cipher: ContentCipher) -> &'static str {
    if cipher.is_authenticated() { "authEnveloped-data" } else { "enveloped-data" }
}

fn recipient_info(to: &To, content_key: &[u8]) -> Result<NewRecipient, EncryptError> {
    let certificate = to.key.certificate();
    let refused = |error| EncryptError::Recipient(certificate.serial_hex(), error);
    let spki = certificate.spki_der();
    match PublicKey::from_spki(spki).map_err(refused)? {
        PublicKey::Rsa { pss: pss @ (Pss::Open | Pss::Oaep), .. } => {
            let oaep = to.oaep || pss == Pss::Oaep;
            let encrypted = match oaep {
                true => transport::seal_oaep(spki, content_key),
                false => transport::seal_pkcs1(spki, content_key),
            };
            let encrypted = encrypted.map_err(refused)?;
            NewRecipient::transported(certificate.issuer().der(), certificate.serial(), oaep, &encrypted)
                .map_err(EncryptError::Encoding)
        }
        PublicKey::Ec { curve, point } => {
            let group = Group::of(curve).ok_or_else(|| refused(CryptoError::Unsupported))?;
            agree(certificate, group, point, content_key)
        }
        PublicKey::X25519(public) => agree(certificate, Group::X25519, public, content_key),
        _ => Err(refused(CryptoError::Unsupported)),
    }
}

/// Ephemeral-static key agreement; the wrap has the strength of the content key (RFC 5753 section 7).
fn agree(
    certificate: &Certificate,
    group: Group,
    public: &[u8],
    content_key: &[u8],
) -> Result<NewRecipient, EncryptError> {
    let refused = |error| EncryptError::Recipient(certificate.serial_hex(), error);
    let wrap = content_key.len();
    let agreed = group.agree(public).map_err(refused)?;
    let shared_info = NewAgreement::shared_info(wrap).map_err(EncryptError::Encoding)?;
    let key = agreement::key_encryption_key(derivation(group), &agreed.secret, &shared_info, wrap);
    let wrapped = agreement::wrap(&key.map_err(refused)?, content_key).map_err(refused)?;
    NewAgreement {
        issuer: certificate.issuer().der(),
        serial: certificate.serial(),
        group,
        ephemeral: &agreed.ephemeral,
        wrap,
        wrapped: &wrapped,
    }
    .encode()
    .map_err(EncryptError::Encoding)
}

#[cfg(test)]
mod tests;
