//! CMS: what is read lies in the input, keeps its bounds and reads the same when it is written again.

use bytes::Bytes;
use segel::cms::attributes::looks_like_attributes;
use segel::cms::compressed_data::decompress;
use segel::cms::content_info::{self, ID_AUTH_ENVELOPED_DATA, ID_COMPRESSED_DATA, ID_ENVELOPED_DATA, ID_SIGNED_DATA};
use segel::cms::enveloped_data::Envelope;
use segel::cms::{ContentInfo, ContentKind, SignedData, SignerInfo};
use segel::limits::Limits;

/// ContentInfo and what stands in it.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let _ = looks_like_attributes(data);
    let Ok(info) = ContentInfo::from_ber(data.to_vec(), &limits) else { return };
    let identifier = match info.kind {
        ContentKind::Signed => ID_SIGNED_DATA,
        ContentKind::Enveloped => ID_ENVELOPED_DATA,
        ContentKind::AuthEnveloped => ID_AUTH_ENVELOPED_DATA,
        ContentKind::Compressed => ID_COMPRESSED_DATA,
        ContentKind::Other => return,
    };
    let written = content_info::encode(&identifier, &info.content).expect("what was read can be written");
    let again = ContentInfo::from_ber(written, &limits).expect("what was written can be read");
    assert!(again.kind == info.kind && again.content == info.content);
    match info.kind {
        ContentKind::Signed => signed(&info.content, &limits),
        ContentKind::Enveloped | ContentKind::AuthEnveloped => enveloped(&info),
        ContentKind::Compressed => {
            if let Ok(content) = decompress(&info.content, &limits) {
                assert!(content.len() <= (1 << 20).max(info.content.len() * limits.compression_ratio));
            }
        }
        ContentKind::Other => {}
    }
}

/// Whether `part` is a piece of `whole`.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    // Enough to find a mistake, and short enough to be fast.
    part.is_empty() || whole.len() > 8192 || whole.windows(part.len()).any(|window| window == part)
}

fn signed(der: &Bytes, limits: &Limits) {
    let Ok(signed) = SignedData::from_der(der, limits) else { return };
    assert!(signed.certificates.len() <= limits.certificates && signed.signers.len() <= limits.signer_infos);
    assert!(signed.content.as_ref().is_none_or(|content| lies_in(content, der)));
    for certificate in signed.certificates.iter().take(4) {
        assert!(lies_in(certificate, der));
        super::certificate::check(certificate);
    }
    for signer in &signed.signers {
        assert!(lies_in(&signer.signature, der));
        attributes(signer, der, limits);
    }
}

fn attributes(signer: &SignerInfo, der: &[u8], limits: &Limits) {
    let Some(attributes) = &signer.signed_attributes else { return };
    let (received, sorted) = (attributes.as_received(), attributes.sorted());
    // The same octets under the tag of a SET, and the same members in another order.
    assert!(received.first() == Some(&0x31) && lies_in(&received[1..], der));
    assert_eq!(received.len(), sorted.len());
    let members = |set: &[u8]| {
        let (set, _) = segel::asn1::read_tlv(set).expect("a SET");
        let (mut found, mut rest) = (Vec::new(), set.content);
        while !rest.is_empty() {
            let (member, after) = segel::asn1::read_tlv(rest).expect("an attribute");
            found.push(member.whole.to_vec());
            rest = after;
        }
        found
    };
    let mut expected = members(received);
    assert!(expected.len() <= limits.attributes);
    expected.sort();
    assert_eq!(members(sorted), expected, "SET OF in the order of DER");
    let _ = (attributes.content_type(), attributes.message_digest(), attributes.signing_time());
    let _ = (attributes.signing_certificates(), attributes.algorithm_protection());
    let _ =
        (attributes.capabilities().map(segel::smime::Capabilities::from_der), attributes.encryption_key_preference());
}

fn enveloped(info: &ContentInfo) {
    let Ok(envelope) = Envelope::read(info) else { return };
    assert!(envelope.ciphertext_length() <= info.content.len());
    let authenticated = info.kind == ContentKind::AuthEnveloped;
    for length in [0, 5, 8, 16, 24, 32, 33] {
        let key = vec![0x5a; length];
        // Nobody who knows this key has made the input: a tag that fits it would be a forgery.
        if let Ok(content) = envelope.open(&key) {
            assert!(!authenticated, "opened with a key that is not its own");
            assert!(content.len() < envelope.ciphertext_length().max(1));
        }
        if !authenticated && let Ok(opened) = envelope.open_unpadded(&key) {
            assert!(opened.content.len() <= envelope.ciphertext_length());
            assert_eq!(opened.padding_fits, envelope.open(&key).is_ok());
        }
    }
}
