//! CompressedData: RFC 3274. Read only: RFC 8551 section 3.6 asks nobody to write it.

use super::CmsError;
use super::content_info::ID_DATA;
use super::read::{Fields, INTEGER, OCTET_STRING, SEQUENCE};
use crate::limits::Limits;
use bytes::Bytes;
use der::asn1::ObjectIdentifier;
use flate2::{Decompress, FlushDecompress, Status};

/// `id-alg-zlibCompress` (RFC 3274 section 2).
const ZLIB: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.8");
/// Content of this size costs nothing, whatever its ratio: a short form full of spaces is no bomb.
const ALWAYS_ALLOWED: usize = 1 << 20;
/// By how much the output grows at first.
const STEP: usize = 64 << 10;

/// ```text
/// CompressedData ::= SEQUENCE {
///   version CMSVersion,
///   compressionAlgorithm CompressionAlgorithmIdentifier,
///   encapContentInfo EncapsulatedContentInfo }
/// ```
/// The content, of at most `limits.message` octets and `limits.compression_ratio` times the compressed ones. `der` is the TLV
/// as `ContentInfo` gives it.
///
/// # Errors
/// `Unsupported` for another algorithm or content than zlib and id-data; `TooComplex` beyond the limits; `Malformed` for
/// everything else: no content, a broken stream, octets after its end.
pub fn decompress(der: &[u8], limits: &Limits) -> Result<Bytes, CmsError> {
    let mut fields = Fields::sequence(der, "CompressedData")?;
    fields.expect_tag(INTEGER)?;
    let algorithm = fields.algorithm()?;
    let encapsulated = fields.expect_tag(SEQUENCE)?;
    fields.finish()?;
    let mut inner = Fields::new(encapsulated.content, "EncapsulatedContentInfo");
    let content_type = inner.identifier()?;
    let explicit = inner.expect_tag(0xa0)?;
    inner.finish()?;
    let mut content = Fields::new(explicit.content, "eContent");
    let octets = content.expect_tag(OCTET_STRING)?;
    content.finish()?;
    if algorithm.oid != ZLIB {
        return Err(CmsError::Unsupported("compressionAlgorithm"));
    }
    if content_type != ID_DATA {
        return Err(CmsError::Unsupported("eContentType"));
    }
    let by_ratio = octets.content.len().saturating_mul(limits.compression_ratio).max(ALWAYS_ALLOWED);
    inflate(octets.content, by_ratio.min(limits.message))
}

/// The one zlib stream (RFC 1950) that `input` must be, if it holds `bound` octets at most.
fn inflate(input: &[u8], bound: usize) -> Result<Bytes, CmsError> {
    const MALFORMED: CmsError = CmsError::Malformed("zlib stream");
    let mut stream = Decompress::new(true);
    let mut out = Vec::new();
    let mut rest = input;
    loop {
        if out.len() == out.capacity() {
            // One octet more than allowed tells a stream that ends there from one that goes on.
            let room = out.len().max(STEP).min(bound.saturating_add(1).saturating_sub(out.len()));
            out.reserve_exact(room);
        }
        let (read, written) = (stream.total_in(), out.len());
        let status = stream.decompress_vec(rest, &mut out, FlushDecompress::None).map_err(|_| MALFORMED)?;
        let consumed = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
        rest = rest.get(consumed..).ok_or(MALFORMED)?;
        if out.len() > bound {
            return Err(CmsError::TooComplex("compressed content"));
        }
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(Bytes::from(out)),
            Status::StreamEnd => return Err(MALFORMED),
            // Cut off, or in want of a dictionary.
            _ if consumed == 0 && out.len() == written && out.len() < out.capacity() => return Err(MALFORMED),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
