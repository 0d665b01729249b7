//! Taking CMS objects apart, to make bad ones of good ones.

/// One element: its tag, where its content begins and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub tag: u8,
    pub start: usize,
    pub content: usize,
    pub end: usize,
}

/// The element at `at`. Definite lengths only.
pub fn element(der: &[u8], at: usize) -> Element {
    let first = usize::from(der[at + 1]);
    assert_ne!(first, 0x80, "indefinite length");
    let (length, content) = if first < 0x80 {
        (first, at + 2)
    } else {
        let octets = first - 0x80;
        let length = der[at + 2..at + 2 + octets].iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
        (length, at + 2 + octets)
    };
    Element { tag: der[at], start: at, content, end: content + length }
}

/// The elements inside another.
pub fn inside(der: &[u8], outer: Element) -> Vec<Element> {
    let mut all = Vec::new();
    let mut at = outer.content;
    while at < outer.end {
        let one = element(der, at);
        at = one.end;
        all.push(one);
    }
    all
}

/// An element of these octets.
pub fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(u8::try_from(short).unwrap()),
        long => {
            let octets: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 + u8::try_from(octets.len()).unwrap());
            out.extend(octets);
        }
    }
    out.extend_from_slice(content);
    out
}

/// The fields of an EnvelopedData or AuthEnvelopedData in its ContentInfo.
///
/// ```text
/// EnvelopedData ::= SEQUENCE { version, recipientInfos SET, encryptedContentInfo SEQUENCE, … }
/// EncryptedContentInfo ::= SEQUENCE { contentType, contentEncryptionAlgorithm, encryptedContent [0] IMPLICIT }
/// ```
pub struct Enveloped {
    pub recipients: Vec<Element>,
    /// The SET of them.
    pub set: Element,
    pub content: Element,
}

pub fn enveloped(der: &[u8]) -> Enveloped {
    let info = inside(der, element(der, 0));
    let fields = inside(der, inside(der, info[1])[0]);
    let (set, content_info) = (fields[1], fields[2]);
    assert_eq!(set.tag, 0x31, "originatorInfo?");
    let content = inside(der, content_info)[2];
    assert_eq!(content.tag, 0x80, "{content:?}");
    Enveloped { recipients: inside(der, set), set, content }
}

/// The encryptedKey of a KeyTransRecipientInfo.
pub fn encrypted_key(der: &[u8], recipient: Element) -> Element {
    inside(der, recipient)[3]
}

/// The same EnvelopedData with other RecipientInfos.
pub fn with_recipients(der: &[u8], recipients: &[Vec<u8>]) -> Vec<u8> {
    let info = inside(der, element(der, 0));
    let fields = inside(der, inside(der, info[1])[0]);
    let mut made = Vec::new();
    for (number, field) in fields.iter().enumerate() {
        match number {
            1 => made.extend(encode(0x31, &recipients.concat())),
            _ => made.extend_from_slice(&der[field.start..field.end]),
        }
    }
    let content_type = &der[info[0].start..info[0].end];
    encode(0x30, &[content_type, &encode(0xa0, &encode(0x30, &made))].concat())
}

/// An S/MIME body of a CMS object: base64 in lines.
pub fn base64(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("{}\r\n", lines.join("\r\n"))
}

/// An entity of a CMS object.
pub fn entity(der: &[u8], smime_type: &str) -> Vec<u8> {
    format!(
        "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type={smime_type}; name=smime.p7m\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=smime.p7m\r\n\r\n{}",
        base64(der)
    )
    .into_bytes()
}
