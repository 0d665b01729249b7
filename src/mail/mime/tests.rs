use super::{Ambiguity, Encoding, Entity, MimeError, Structure, encoding, parse};
use crate::limits::Limits;
use crate::mail::header;
use crate::mail::{Address, span};

fn read(message: &str) -> Structure {
    parse(message.as_bytes(), &Limits::default()).unwrap()
}

fn text<'a>(message: &'a str, entity: &Entity) -> &'a str {
    message.get(entity.whole.clone()).unwrap()
}

const SIGNED: &str = "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed;\r\n boundary=\"b\"; micalg=sha-256\r\n\r\n\
preamble\r\n--b\r\nContent-Type: text/plain\r\n\r\nbody\r\n\r\n--b \t\r\nContent-Type: application/pkcs7-signature\r\n\
Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\nAAEC\r\n--b--\r\n";

#[test]
fn parts_are_exactly_what_a_signature_covers() {
    let structure = read(SIGNED);
    let root = &structure.root;
    assert!(structure.ambiguities.is_empty(), "{:?}", structure.ambiguities);
    assert!(root.content_type.is("multipart", "signed") && root.text_outside_parts);
    assert_eq!(root.content_type.parameter("micalg"), Some("sha-256"));
    assert_eq!(text(SIGNED, &root.children[0]), "Content-Type: text/plain\r\n\r\nbody\r\n");
    assert_eq!(root.children[1].disposition_filename.as_deref(), Some("smime.p7s"));
    assert_eq!(structure.decode(SIGNED.as_bytes(), &root.children[1]).unwrap().as_ref(), [0, 1, 2]);
    assert_eq!(root.children.len(), 2);
    let files = SIGNED.replace("\r\n", "\n");
    let structure = read(&files);
    assert!(structure.ambiguities.is_empty());
    assert_eq!(text(&files, &structure.root.children[0]), "Content-Type: text/plain\n\nbody\n");
}

#[test]
fn nested_messages_and_digests_are_followed() {
    let message = "Content-Type: multipart/digest; boundary=o\r\n\r\n--o\r\n\r\nSubject: x\r\nContent-Type: multipart/mixed; \
boundary=\"i\"\r\n\r\n--i\r\n\r\n--i--\r\n\r\n--o--\r\n";
    let structure = read(message);
    assert!(structure.ambiguities.is_empty(), "{:?}", structure.ambiguities);
    let forward = &structure.root.children[0];
    assert!(forward.content_type.is("message", "rfc822") && !forward.content_type.explicit);
    let inner = &forward.children[0];
    assert!(inner.content_type.is("multipart", "mixed"));
    assert_eq!(inner.children.len(), 1);
    // The line break before the closing delimiter is the empty line, so this part has a header section only.
    assert_eq!(text(message, &inner.children[0]), "");
}

fn found(fields: &str, body: &str) -> Vec<Ambiguity> {
    read(&format!("From: a@b\r\n{fields}\r\n{body}")).ambiguities
}

const PARTS: &str = "--b\r\n\r\nx\r\n--b--\r\n";

#[test]
fn i65_what_two_readers_see_differently_is_reported() {
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n";
    for (fields, body, expected) in [
        ("Content-Type: text/plain\r\nContent-Type: text/html\r\n", "", Ambiguity::DuplicateField),
        ("Content-Transfer-Encoding: 7bit\r\ncontent-transfer-encoding: base64\r\n", "", Ambiguity::DuplicateField),
        ("MIME-Version: 1.0\r\nMime-Version: 1.0\r\n", "", Ambiguity::DuplicateField),
        ("Content-Disposition: inline\r\nContent-Disposition: attachment\r\n", "", Ambiguity::DuplicateField),
        ("Content-Type : text/plain\r\n", "", Ambiguity::FieldName),
        ("Content-Type: multipart/mixed\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=\"\"\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=b; boundary=c\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary*=us-ascii''b\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary*0=b; boundary*1=c\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=\"b \"\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=b c\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=\"b\" c\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=\"b\0\"\r\n", PARTS, Ambiguity::Boundary),
        ("Content-Type: multipart/mixed; boundary=b (c)\r\n", PARTS, Ambiguity::Parameter),
        ("Content-Type: multipart\r\n", PARTS, Ambiguity::Parameter),
        ("Content-Type: text/plain; charset=a; charset=b\r\n", "", Ambiguity::Parameter),
        ("Content-Disposition: attachment; filename=a.txt; filename*=utf-8''b.exe\r\n", "", Ambiguity::Parameter),
        ("Content-Disposition: attachment; filename*0=a; filename*2=b\r\n", "", Ambiguity::Parameter),
        ("Content-Type: text/pl\u{e4}in\r\n", "", Ambiguity::EightBitHeader),
        (mixed, "--bxyz\r\n\r\nx\r\n--b--\r\n", Ambiguity::Boundary),
        (mixed, "--b\r\n\r\nx\r\n--b-- y\r\n--b--\r\n", Ambiguity::Boundary),
        (mixed, "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\nhidden\r\n", Ambiguity::Boundary),
        (mixed, "--b\r\n\r\nx=\r\ny--b\r\n\r\nz\r\n--b--\r\n", Ambiguity::Boundary),
        (mixed, "--b\r\n\r\nx--b--\r\n\r\nz\r\n--b--\r\n", Ambiguity::Boundary),
        (mixed, "no part\r\n", Ambiguity::Boundary),
        (mixed, "--b\r\nno header\r\n--b--\r\n", Ambiguity::PartHeader),
        (mixed, "--b\r\nX: y\r\n--b\r\n\r\nx\r\n--b--\r\n", Ambiguity::HeaderEnd),
        (mixed, "--b\r\n\r\nx\r\n--b\r\nX: y\r\n--b--\r\n", Ambiguity::HeaderEnd),
        (mixed, "--b\r\nContent-Type: message/rfc822\r\n\r\nX: y\r\n--b--\r\n", Ambiguity::HeaderEnd),
        (mixed, "--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n", Ambiguity::Boundary),
        ("X: y\r\n \t\r\nZ: y\r\n", "", Ambiguity::BlankLine),
        (mixed, "--b\r\nX: y\r\n \r\n\r\nx\r\n--b--\r\n", Ambiguity::BlankLine),
        ("=?utf-8?q?From?=: c@d\r\n", "", Ambiguity::FieldName),
        ("\u{feff}From: c@d\r\n", "", Ambiguity::EightBitHeader),
        ("Content-Type\u{a0}: text/html\r\n", "", Ambiguity::EightBitHeader),
        ("Content-Transfer-Encoding: x-uuencode\r\n", "", Ambiguity::Encoding),
        (
            "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n",
            PARTS,
            Ambiguity::Encoding,
        ),
        ("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n", "AAAA", Ambiguity::Encoding),
        ("Content-Transfer-Encoding: base64\r\n", "AAAA\r\n-- \r\nfooter\r\n", Ambiguity::Base64Junk),
        ("Content-Transfer-Encoding: base64\r\n", "AA==AAAA", Ambiguity::Base64Junk),
        ("Content-Transfer-Encoding: base64\r\n", "AAA", Ambiguity::Base64Junk),
        ("Content-Transfer-Encoding: base64\r\n", "AA.AAA", Ambiguity::Base64Junk),
        ("", "bare\rCR", Ambiguity::BareCarriageReturn),
        (mixed, "--b\r\n\r\nx\n--b\n\r\nx\r\n--b--\r\n", Ambiguity::BareLineFeed),
        ("", "N\0L", Ambiguity::Nul),
    ] {
        assert!(found(fields, body).contains(&expected), "{fields:?} {body:?}: {:?}", found(fields, body));
    }
    let long = format!("X: {}\r\n", "x".repeat(1000));
    assert_eq!(found(&long, ""), [Ambiguity::LongLine]);
    let long = format!("Content-Type: multipart/mixed; boundary={0}\r\n", "b".repeat(71));
    assert!(found(&long, "").contains(&Ambiguity::Boundary));
}

#[test]
fn i54_readers_that_take_another_boundary_are_noticed() {
    // Each value, and the boundary that another reader takes from it.
    for (value, other) in [
        ("boundary=\"=?us-ascii?q?b?=\"", "=?us-ascii?q?b?="),
        ("boundary==?us-ascii?q?b?=", "b"),
        ("boundary=\"x=?us-ascii?q?b?=\"", "xb"),
        ("boundary=\"<b>\"", "b"),
        ("boundary=<b>", "b"),
        ("boundary='b'", "b"),
        ("boundary=\" b\"", "b"),
        ("boundary=\"\tb\"", "b"),
        ("boundary=\"a\r\n b\"", "ab"),
        ("boundary=\"\r\n b\"", "b"),
        ("boundary=\"a\tb\"", "a b"),
        ("boundary=\"a%62\"", "ab"),
        ("boundary=\"a\\b\"", "ab"),
        ("name=\"C:\\\"; boundary=c; title=\";boundary=b", "c"),
        ("name=\"C:\\\"; boundary =c; title=\";boundary=b", "c"),
        ("name=a boundary=c; boundary=b", "c"),
        ("name=a\"; boundary=c; x=\"; boundary=b", "c"),
        ("\"boundary\"=c; boundary=b", "c"),
        ("boundary*x=c; boundary=b", "c"),
        ("x boundary=c; boundary=b", "c"),
        ("boundary\0=c; boundary=b", "c"),
        ("=?us-ascii?q?boundary=3Dc?=; boundary=b", "c"),
        ("title=\"=?us-ascii?q?a?=; boundary=c\"; boundary=b", "c"),
    ] {
        for sub in ["mixed", "signed"] {
            let fields = format!("Content-Type: multipart/{sub}; {value}\r\n");
            let body = format!("--{other}\r\n\r\nother\r\n--{other}--\r\n--b\r\n\r\nours\r\n--b--\r\n");
            assert!(found(&fields, &body).contains(&Ambiguity::Boundary), "{value}: {:?}", found(&fields, &body));
            // Without a line that shows it, too.
            assert!(found(&fields, PARTS).contains(&Ambiguity::Boundary), "{value}: {:?}", found(&fields, PARTS));
        }
    }
    for value in
        ["name=\"a\\\"; smime-type=x; b=\"", "charset=\"=?utf-8?q?us-ascii?=\"", "a*b=c", "\"charset\"=utf-8", "=x"]
    {
        let fields = format!("Content-Type: text/plain; {value}\r\n");
        assert_eq!(found(&fields, ""), [Ambiguity::Parameter], "{value}");
    }
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n";
    for body in [
        "--c\r\n\r\nx\r\n--c--\r\n--b\r\n\r\nx\r\n--b--\r\n",
        "text\n--c\n--b\r\n\r\nx\r\n--b--\r\n",
        "--b\r\n\r\nx\r\n--b--\r\n--c\r\n",
    ] {
        assert_eq!(found(mixed, body), [Ambiguity::Boundary], "{body:?}");
    }
}

#[test]
fn i55_ordinary_mail_is_not_ambiguous() {
    for (fields, body) in [
        ("", "plain"),
        ("Content-Type: text\r\n", ""),
        ("Content-Type: text/plain;\r\n", ""),
        ("Content-Type: text/plain; charset=us-ascii (Plain text)\r\n", ""),
        ("Content-Type: TEXT/Plain; Charset=\"UTF-8\"; format=flowed; delsp=yes\r\n", "t \u{e9}"),
        (
            "Content-Type: multipart/mixed; boundary=----=_Part_1/2.3\r\n",
            "------=_Part_1/2.3\r\n\r\n------=_Part_1/2.3--",
        ),
        ("Content-Type: multipart/mixed; boundary=b\r\n", "--b\r\n\r\nx"),
        ("Content-Type: multipart/mixed; boundary=b\r\n", "This is MIME.\r\n--b\r\n\r\nx\r\n--b--\r\n-- \r\nlist\r\n"),
        (
            "Content-Type: multipart/mixed;\r\n\tboundary=\"Apple-Mail=_0A-1\";\r\n type=\"text/html\"\r\n",
            "--Apple-Mail=_0A-1\r\n\r\n--Apple-Mail=_0A-1--",
        ),
        ("Content-Type: multipart/mixed; boundary=\"=_a 1 (b)+c,d:e?f'g\"\r\n", "--=_a 1 (b)+c,d:e?f'g\r\n\r\nx"),
        ("Content-Type: multipart/mixed;\r\n boundary=\"{0A} b\"\r\n", "--{0A} b\r\n\r\nx"),
        ("Content-Type: application/pdf; name=boundary.pdf; x-y=\"a;b\"\r\n", ""),
        ("Content-Type: application/pdf; name=\"=?utf-8?q?a=C3=A9.pdf?=\"\r\n", ""),
        ("Content-Type: application/pdf; name=\"a \\\"b\\\".pdf\"\r\n", ""),
        ("Content-Type: application/pdf; name=laporan (1).pdf\r\n", ""),
        ("Content-Disposition: attachment; filename=\"C:\\temp\\a;b.txt\"\r\n", ""),
        ("Content-Disposition: attachment; filename*0*=utf-8''a%20; filename*1=\"b.txt\"\r\n", ""),
        ("Content-Disposition: attachment; filename=\"\u{e9}.txt\"\r\n", ""),
        ("Content-Transfer-Encoding: Base64\r\n", " AAAA\r\n\tAA==\r\n\r\n"),
        ("Content-Transfer-Encoding: quoted-printable\r\n", "=XY =e9 =\r\n"),
        ("Subject: \u{e9}\r\nReferences: <a@b>\r\n\t<c@d>\r\n", ""),
    ] {
        assert_eq!(found(fields, body), [], "{fields:?}");
    }
}

#[test]
fn file_names_are_decoded() {
    for (value, expected) in [
        ("attachment; filename=a.txt", Some("a.txt")),
        ("attachment; FileName=\"=?utf-8?q?=C3=A9.txt?=\"", Some("é.txt")),
        ("attachment; filename*=utf-8'en'%C3%A9.txt", Some("é.txt")),
        ("attachment; filename*=iso-8859-1''%E9.txt", Some("é.txt")),
        ("attachment; filename*1=b.txt; filename*0*=utf-8''a%20", Some("a b.txt")),
        ("inline", None),
    ] {
        let structure = read(&format!("Content-Disposition: {value}\r\n\r\n"));
        assert_eq!(structure.root.disposition_filename.as_deref(), expected, "{value}");
        assert_eq!(structure.ambiguities, [], "{value}");
    }
}

#[test]
fn depth_and_number_of_parts_are_bounded() {
    let mut deep = String::new();
    for level in 0..60 {
        deep.push_str(&format!("Content-Type: multipart/mixed; boundary=\"x{level}y\"\r\n\r\n--x{level}y\r\n"));
    }
    assert_eq!(parse(deep.as_bytes(), &Limits::default()).unwrap_err(), MimeError::TooComplex);
    let wide = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\n".repeat(2000));
    assert_eq!(parse(wide.as_bytes(), &Limits::default()).unwrap_err(), MimeError::TooComplex);
}

#[test]
fn quoted_printable_comes_back() {
    let texts = ["", "From x\r\n.\r\n-- \r\n--b\r\n=\r\nend \r\n", "é\t\r\n", &"From .--é ".repeat(200)];
    for text in texts {
        let mut encoded = Vec::new();
        encoding::append_quoted_printable(text.as_bytes(), &mut encoded);
        assert_eq!(encoding::decode_quoted_printable(&encoded), text.as_bytes());
        for line in encoded.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
            assert!(line.len() <= 76 && line.is_ascii() && line.trim_ascii_end() == line && line != b".");
            assert!(!line.starts_with(b"From ") && !line.starts_with(b"--"));
        }
    }
}

/// Deterministic, so that a failure can be repeated.
fn xorshift(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 16).unwrap()
}

#[test]
fn mutated_mail_never_panics() {
    let seeds = [
        SIGNED,
        "From: \"a\" (c) <b@c>, =?utf-8?q?x?= <\"d e\"@[192.0.2.1]>\r\nContent-Type: message/rfc822; name*0*=utf-8''a%20\r\n\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: x; filename=\"a\\\"b\"\r\n\r\nAAA=\r\n",
    ];
    let pieces: [&[u8]; 12] = [
        b"\r\n",
        b"--b",
        b"\"",
        b";",
        b"(",
        b"=?",
        b"\0",
        b"\xff\xfe",
        b"@",
        b"<",
        b"*0*=",
        b"Content-Type: multipart/x; boundary=b",
    ];
    let mut state = 0x5e9e_1000_0000_0001;
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..1 + xorshift(&mut state) % 6 {
            let at = xorshift(&mut state) % (bytes.len() + 1);
            let to = (at + xorshift(&mut state) % 4).min(bytes.len());
            bytes.splice(at..to, pieces[xorshift(&mut state) % pieces.len()].iter().copied());
        }
        check_never_panics(&bytes);
    }
}

fn check_never_panics(bytes: &[u8]) {
    let limits = Limits::default();
    if let Ok(structure) = parse(bytes, &limits) {
        let mut entities = vec![&structure.root];
        while let Some(entity) = entities.pop() {
            assert!(
                entity.whole.start <= entity.body.start
                    && entity.body.end == entity.whole.end
                    && entity.body.end <= bytes.len()
            );
            let _content = structure.decode(bytes, entity);
            entities.extend(&entity.children);
        }
        let _from = header::from(bytes, &structure.root.header);
        let _mailboxes = header::mailboxes(bytes, &structure.root.header, "From");
    }
    let _canonical = crate::mail::canonical::canonical(bytes, &limits);
    if let Ok(text) = std::str::from_utf8(span(bytes, 6..40)) {
        let _address = Address::parse(text);
    }
    assert!(!Encoding::Base64.is_identity());
}

#[test]
fn corpora_are_read_and_ordinary_mail_is_not_ambiguous() {
    let Ok(corpora) = std::env::var("SEGEL_CORPORA") else {
        println!("skipped: SEGEL_CORPORA is not set");
        return;
    };
    let mut folders = vec![std::path::PathBuf::from(corpora)];
    let (mut messages, mut clear) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "eml") {
                #[expect(clippy::disallowed_methods, reason = "a test reads its corpus")]
                let bytes = std::fs::read(&path).unwrap();
                check_never_panics(&bytes);
                messages += 1;
                if let Ok(headers) = header::HeaderSection::parse(&bytes, &Limits::default())
                    && let header::From::Ambiguous(reason) = header::from(&bytes, &headers)
                {
                    println!("{}: {reason}", path.display());
                }
                match parse(&bytes, &Limits::default()) {
                    Ok(structure) if structure.ambiguities.is_empty() => clear += 1,
                    Ok(structure) => println!("{}: {:?}", path.display(), structure.ambiguities),
                    Err(error) => println!("{}: {error}", path.display()),
                }
            }
        }
    }
    println!("{clear} of {messages} messages have one reading");
    assert!(messages > 0 && clear * 2 > messages);
}
