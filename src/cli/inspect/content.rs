//! What is inside: of an encrypted layer that was opened, the entity; else what a signature covers, as it was signed (the
//! first part of multipart/signed, or the eContent of SignedData).

use crate::cms::content_info::{ContentInfo, ContentKind};
use crate::cms::signed_data::SignedData;
use crate::limits::Limits;
use crate::mail::mime::{self, Entity, Structure};
use crate::reason::Reason;
use crate::smime::Inspected;
use std::borrow::Cow;

/// Why there is nothing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    #[error("no signed layer")]
    Unsigned,
    #[error("encrypted, and no key here opens it")]
    Closed,
    #[error("what is inside could have been changed on its way; it is not written")]
    Unproven,
    #[error("the signed layer can not be read")]
    Unreadable,
}

impl ContentError {
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Unsigned | Self::Unreadable => {
                "`--write-content` writes what a signature covers; without a readable signature there is nothing"
            }
            Self::Closed => "name a recipient's key with `--key FILE.p12 --password-file FILE`",
            Self::Unproven => {
                "the cipher proves nothing by itself, and no signature inside does; ask the sender to sign it"
            }
        }
    }
}

/// The entity inside the encrypted layers if they were opened, else what was signed.
pub(super) fn inside(message: &[u8], inspected: &Inspected, limits: &Limits) -> Result<Vec<u8>, ContentError> {
    if let Some(opened) = &inspected.opened {
        return Ok(opened.entity.to_vec());
    }
    match signed(message, inspected, limits) {
        Err(_) if inspected.reasons.contains(&Reason::IntegrityUnproven) => Err(ContentError::Unproven),
        Err(_) if inspected.encrypted => Err(ContentError::Closed),
        found => found,
    }
}

/// The content of the outermost signed layer.
fn signed(message: &[u8], inspected: &Inspected, limits: &Limits) -> Result<Vec<u8>, ContentError> {
    if !inspected.signed {
        return Err(ContentError::Unsigned);
    }
    let structure = mime::parse(message, limits).map_err(|_| ContentError::Unreadable)?;
    // The parser has bounded depth and number of entities.
    let mut waiting = vec![&structure.root];
    while let Some(entity) = waiting.pop() {
        if entity.content_type.is("multipart", "signed") {
            let part = entity.children.first().and_then(|part| message.get(part.whole.clone()));
            return part.map(<[u8]>::to_vec).ok_or(ContentError::Unreadable);
        }
        if let Some(content) = opaque(message, &structure, entity, limits) {
            return Ok(content);
        }
        waiting.extend(entity.children.iter().rev());
    }
    Err(ContentError::Unreadable)
}

fn opaque(message: &[u8], structure: &Structure, entity: &Entity, limits: &Limits) -> Option<Vec<u8>> {
    if !entity.children.is_empty() {
        return None;
    }
    let decoded: Cow<'_, [u8]> = structure.decode(message, entity).ok()?;
    let info = ContentInfo::from_ber(decoded.into_owned(), limits).ok()?;
    if info.kind != ContentKind::Signed {
        return None;
    }
    Some(SignedData::from_der(&info.content, limits).ok()?.content?.to_vec())
}
