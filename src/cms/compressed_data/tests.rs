use super::*;
use crate::cms::encode::{identifier, tlv};
use flate2::{Compress, Compression, FlushCompress};

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 1000);
    let status = Compress::new(Compression::best(), true).compress_vec(content, &mut out, FlushCompress::Finish);
    assert_eq!(status.unwrap(), Status::StreamEnd);
    out
}

fn compressed(algorithm: &ObjectIdentifier, kind: &ObjectIdentifier, stream: &[u8]) -> Vec<u8> {
    let algorithm = tlv(SEQUENCE, &[&identifier(algorithm).unwrap()]);
    let content = tlv(0xa0, &[&tlv(OCTET_STRING, &[stream])]);
    let encapsulated = tlv(SEQUENCE, &[&identifier(kind).unwrap(), &content]);
    tlv(SEQUENCE, &[&[INTEGER, 1, 0], &algorithm, &encapsulated])
}

fn check(stream: &[u8], limits: &Limits, expected: Result<&[u8], CmsError>) {
    let found = decompress(&compressed(&ZLIB, &ID_DATA, stream), limits);
    assert!(found.as_deref() == expected.as_deref(), "{:?} {:?}", found.map(|bytes| bytes.len()), expected.err());
}

const BROKEN: CmsError = CmsError::Malformed("zlib stream");
const BOMB: CmsError = CmsError::TooComplex("compressed content");

#[test]
fn i05_streams() {
    let limits = Limits::default();
    let text = b"Content-Type: text/plain\r\n\r\nHalo\r\n".repeat(9000);
    let stream = zlib(&text);
    check(&stream, &limits, Ok(&text));
    check(&zlib(b""), &limits, Ok(b""));
    check(&[&stream[..], b"x"].concat(), &limits, Err(BROKEN));
    check(&[&stream[..], &stream].concat(), &limits, Err(BROKEN));
    for end in [0, 1, 2, stream.len() / 2, stream.len() - 1] {
        check(&stream[..end], &limits, Err(BROKEN));
    }
    let mut bad = stream.clone();
    // The checksum at the end (RFC 1950 section 2.2).
    *bad.last_mut().unwrap() ^= 1;
    check(&bad, &limits, Err(BROKEN));
    check(b"not zlib", &limits, Err(BROKEN));
    // FDICT: a dictionary that nobody has.
    check(&[0x78, 0xbb, 0, 0, 0, 1, 3, 0], &limits, Err(BROKEN));
}

#[test]
fn i05_bombs() {
    let limits = Limits::default();
    let zeros = |count: usize| vec![0; count];
    check(&zlib(&zeros(1 << 20)), &limits, Ok(&zeros(1 << 20)));
    check(&zlib(&zeros((1 << 20) + 1)), &limits, Err(BOMB));
    let small = Limits { message: 1000, ..Limits::default() };
    check(&zlib(&zeros(1000)), &small, Ok(&zeros(1000)));
    check(&zlib(&zeros(1001)), &small, Err(BOMB));
    let loose = Limits { compression_ratio: 2000, ..Limits::default() };
    check(&zlib(&zeros(limits.message)), &loose, Ok(&zeros(limits.message)));
    check(&zlib(&zeros(limits.message + 1)), &loose, Err(BOMB));
}

#[test]
fn i05_structure() {
    let limits = Limits::default();
    let stream = zlib(b"x");
    let other = ObjectIdentifier::new_unwrap("1.2.3");
    assert_eq!(
        decompress(&compressed(&other, &ID_DATA, &stream), &limits),
        Err(CmsError::Unsupported("compressionAlgorithm"))
    );
    assert_eq!(decompress(&compressed(&ZLIB, &other, &stream), &limits), Err(CmsError::Unsupported("eContentType")));
    let whole = compressed(&ZLIB, &ID_DATA, &stream);
    for end in 0..whole.len() {
        assert!(decompress(&whole[..end], &limits).is_err(), "{end}");
    }
    assert!(decompress(&[&whole[..], &[0]].concat(), &limits).is_err());
}
