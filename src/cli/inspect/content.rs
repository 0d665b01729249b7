//! What a signature covers, as it was signed: the first part of multipart/signed, or the eContent of SignedData.

use crate::cms::content_info::{ContentInfo, ContentKind};
use crate::cms::signed_data::SignedData;
use crate::limits::Limits;
use crate::mail::mime::{self, Entity, Structure};
use crate::smime::Inspected;
use std::borrow::Cow;

/// Why there is nothing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    #[error("no signed layer")]
    Unsigned,
    #[error("the signed layer can not be read")]
    Unreadable,
}

/// The content of the outermost signed layer.
pub(super) fn signed(message: &[u8], inspected: &Inspected, limits: &Limits) -> Result<Vec<u8>, ContentError> {
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
