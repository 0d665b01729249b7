//! Writing EnvelopedData and AuthEnvelopedData as DER.

use crate::cms::CmsError;
use crate::cms::content_info::{ID_AUTH_ENVELOPED_DATA, ID_DATA, ID_ENVELOPED_DATA};
use crate::cms::encode::{self, Level};
use crate::cms::read::{INTEGER, OCTET_STRING, SEQUENCE, SET};
use crate::cms::recipient_info::NewRecipient;
use crate::crypto::{ContentCipher, TAG};

/// What goes into an encrypted layer around id-data.
#[derive(Clone, Debug)]
pub struct NewEnvelope<'a> {
    /// The cipher, which also says the type: AuthEnvelopedData for an authenticated one.
    pub cipher: ContentCipher,
    /// Nonce or initialisation vector.
    pub nonce: &'a [u8],
    /// Everybody it is for.
    pub recipients: Vec<NewRecipient>,
    /// The encrypted content.
    pub ciphertext: &'a [u8],
    /// The tag; empty for EnvelopedData.
    pub tag: &'a [u8],
}

impl NewEnvelope<'_> {
    /// DER of the ContentInfo. Attributes are none: RFC 5083 section 2.1 asks for authAttrs only around other content than
    /// id-data.
    ///
    /// # Errors
    /// `Unwritable` for a tag that does not fit the cipher.
    pub fn to_der(self) -> Result<Vec<u8>, CmsError> {
        let authenticated = self.cipher.is_authenticated();
        if self.tag.len() != if authenticated { TAG } else { 0 } {
            return Err(CmsError::Unwritable("mac"));
        }
        // RFC 5652 section 6.1: 0 if all RecipientInfos are version 0, else 2 (no password, no originatorInfo, no attributes
        // here); RFC 5083 section 2.1: always 0.
        let plain = authenticated || self.recipients.iter().all(|recipient| !recipient.agreed);
        let version = [INTEGER, 1, if plain { 0 } else { 2 }];
        let recipients = self.recipients.into_iter().map(|recipient| recipient.der).collect();
        let recipients = encode::set_of(SET, recipients);
        let algorithm = content_encryption(self.cipher, self.nonce)?;
        let content_type = encode::identifier(&ID_DATA)?;
        let (kind, mac) = if authenticated {
            (encode::identifier(&ID_AUTH_ENVELOPED_DATA)?, encode::tlv(OCTET_STRING, &[self.tag]))
        } else {
            (encode::identifier(&ID_ENVELOPED_DATA)?, Vec::new())
        };
        let levels = [
            Level { tag: SEQUENCE, before: &[&kind], after: &[] },
            Level { tag: 0xa0, before: &[], after: &[] },
            Level { tag: SEQUENCE, before: &[&version, &recipients], after: &mac },
            Level { tag: SEQUENCE, before: &[&content_type, &algorithm], after: &[] },
        ];
        Ok(encode::nested(&levels, 0x80, self.ciphertext))
    }
}

/// The AlgorithmIdentifier: GCMParameters with the length of the tag, whose default is 12 (RFC 5084 section 3.2), or the IV
/// (RFC 3565 section 4.2).
fn content_encryption(cipher: ContentCipher, nonce: &[u8]) -> Result<Vec<u8>, CmsError> {
    let nonce = encode::tlv(OCTET_STRING, &[nonce]);
    let parameters = match cipher {
        ContentCipher::Aes256Gcm | ContentCipher::Aes192Gcm | ContentCipher::Aes128Gcm => {
            let length = u8::try_from(TAG).map_err(|_| CmsError::Unwritable("aes-ICVlen"))?;
            encode::tlv(SEQUENCE, &[&nonce, &[INTEGER, 1, length]])
        }
        _ => nonce,
    };
    Ok(encode::tlv(SEQUENCE, &[&encode::identifier(&cipher.oid())?, &parameters]))
}
