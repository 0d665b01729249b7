use super::{
    From, HeaderError, HeaderSection, decode_words, from, from_texts, has_unclear_word, mailboxes, misleading_name,
};
use crate::limits::Limits;

fn parse(bytes: &[u8]) -> Result<HeaderSection, HeaderError> {
    HeaderSection::parse(bytes, &Limits::default())
}

#[test]
fn fields_are_ranges_of_the_message() {
    let message = b"A: 1\r\nlong-NAME \t: x\r\n\ty \r\nb:\r\n\r\nbody";
    let headers = parse(message).unwrap();
    let shown: Vec<_> = headers
        .fields()
        .iter()
        .map(|f| (&message[f.name.clone()], headers.text(message, f).into_owned(), f.space_before_colon))
        .collect();
    assert_eq!(
        shown,
        [(&b"A"[..], b"1".to_vec(), false), (b"long-NAME", b"x\ty".to_vec(), true), (b"b", Vec::new(), false)]
    );
    assert_eq!(&message[headers.body()..], b"body");
    assert_eq!(headers.named(message, "LONG-name").count(), 1);
    assert_eq!(&message[headers.fields()[1].whole.clone()], b"long-NAME \t: x\r\n\ty \r\n");
}

#[test]
fn what_is_no_header_section_is_an_error() {
    for (bytes, expected) in [
        (&b" folded\r\n"[..], HeaderError::NotAField(1)),
        (b"A: 1\r\nno field\r\n\r\n", HeaderError::NotAField(2)),
        (b": empty\r\n", HeaderError::NotAField(1)),
        (b"two words: x\r\n", HeaderError::NotAField(1)),
    ] {
        assert_eq!(parse(bytes).unwrap_err(), expected);
    }
    assert_eq!(parse(&b"a: b\r\n".repeat(3000)).unwrap_err(), HeaderError::TooMany);
    let long = [&b"a: "[..], &vec![b'x'; 2 << 20], b"\r\n"].concat();
    assert_eq!(parse(&long).unwrap_err(), HeaderError::TooLarge);
    assert_eq!(parse(b"").unwrap().body(), 0);
    assert_eq!(parse(b"\r\nbody").unwrap().body(), 2);
    assert_eq!(parse(b"A: b").unwrap().body(), 4);
}

fn read(header: &[u8]) -> From {
    let message = [header, b"Subject: x\r\n\r\nbody\r\n"].concat();
    from(&message, &parse(&message).unwrap())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one line a case")]
fn i56_from_is_one_mailbox_or_it_is_not_trusted() {
    for (value, mailbox) in [
        ("siti@kabupaten.go.id", "siti@kabupaten.go.id"),
        ("<siti@kabupaten.go.id>", "siti@kabupaten.go.id"),
        ("Siti <siti@kabupaten.go.id>", "siti@kabupaten.go.id"),
        ("Siti\r\n Aminah\r\n <siti@kabupaten.go.id>", "siti@kabupaten.go.id"),
        ("John Q. Public < j@d.example >", "j@d.example"),
        ("\"ceo@own.example\" <attacker@x.example>", "attacker@x.example"),
        ("\"a, b: <c>; \\\"d\\\"\" <e@d.example>", "e@d.example"),
        ("siti@d.example (Siti Aminah)", "siti@d.example"),
        ("(hello) siti@d.example", "siti@d.example"),
        ("Siti (Kepala (Dinas)) <siti@d.example> (x)", "siti@d.example"),
        ("=?utf-8?B?U2l0aSBBbWluYWg=?= <siti@d.example>", "siti@d.example"),
        ("=?utf-8?q?ceo=40own?= <attacker@x.example>", "attacker@x.example"),
        ("Sití Ünal <siti@d.example>", "siti@d.example"),
        ("用户 <用户@例え.example>", "用户@例え.example"),
        ("<\"a b\"@d.example>", "\"a b\"@d.example"),
        ("<\"a@b\"@d.example>", "\"a@b\"@d.example"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
    ] {
        match read(format!("From: {value}\r\n").as_bytes()) {
            From::Mailbox(address) => assert_eq!(address.as_str(), mailbox, "{value}"),
            other => panic!("{value}: {other:?}"),
        }
    }
    for header in [
        &b"From: a@b\r\nFrom: a@b\r\n"[..],
        b"From: a@b\r\nfROM: c@d\r\n",
        b"From : a@b\r\n",
        b"From\t: a@b\r\n",
        b"From: a@b\r\n\xef\xbb\xbfFrom: c@d\r\n",
        b"\xef\xbb\xbfFrom: c@d\r\nFrom: a@b\r\n",
        b"\xef\xbb\xbfFrom: c@d\r\n",
        b"From: a@b\r\nFrom\xc2\xa0: c@d\r\n",
        b"From: a@b\r\nFr\xffom: c@d\r\n",
        b"From: a@b\r\nFrom\xa0: c@d\r\n",
        b"From: a@b\r\nFr\xc2\xadom: c@d\r\n",
        b"From: a@b\r\n\xef\xbc\xa6rom: c@d\r\n",
        b"From: a@b\r\n=?utf-8?q?From?=: c@d\r\n",
        b"From: a@b\r\n=?utf-8?b?RnJvbQ==?=: c@d\r\n",
        b"From:\r\n",
        b"From: <>\r\n",
        b"From: Siti\r\n",
        b"From: ceo@own <attacker@x>\r\n",
        b"From: <ceo@own> <attacker@x>\r\n",
        b"From: <ceo@own> attacker@x\r\n",
        b"From: a@x (b@y)\r\n",
        b"From: (ceo@own) a@x\r\n",
        b"From: a@x <b@y>\r\n",
        b"From: Group: a@b;\r\n",
        b"From: undisclosed:;\r\n",
        b"From: <@x,@y:a@b>\r\n",
        b"From: Siti <a@b\r\n",
        b"From: Siti a@b>\r\n",
        b"From: <a@b>x\r\n",
        b"From: <a@b>, \r\n",
        b"From: ,a@b\r\n",
        b"From: a@b;\r\n",
        b"From: a @b\r\n",
        b"From: a@ b\r\n",
        b"From: <a\r\n @b>\r\n",
        b"From: <a@b\r\n .evil>\r\n",
        b"From: a@b\0.evil\r\n",
        b"From: a@b\rFrom: c@d\r\n",
        b"X: y\rFrom: c@d\r\nFrom: a@b\r\n",
        b"From: \"Siti <a@b>\r\n",
        b"From: Siti (x <a@b>\r\n",
        b"From: \"ceo <ceo@own>\" <a@x>\r\n",
        b"From: =?utf-8?q?ceo_=3Cceo=40own=3E?= <a@x>\r\n",
        b"From: =?utf-8?q?ceo=00?= <a@x>\r\n",
        b"From: =?utf-8?q?ceo=0A?= <a@x>\r\n",
        b"From: =?utf-8?b?cG90dXNAd2g=?=@x.example\r\n",
        b"From: <=?utf-8?q?ceo=40own=00?=@x.example>\r\n",
        b"From: Siti\xff <a@b>\r\n",
        b"From: a@b@c\r\n",
        b"From: \"a b\"@d.example\r\n",
        b"From: a@b.\r\n",
        b"From: <a@b c@d>\r\n",
    ] {
        let shown = String::from_utf8_lossy(header);
        assert!(matches!(read(header), From::Ambiguous(_)), "{shown:?}: {:?}", read(header));
    }
    assert!(matches!(read(b"From: a@b, C <c@d>\r\n"), From::Several(list) if list.len() == 2));
    assert!(matches!(read(b"Sender: a@b\r\nReply-To: a@b\r\n"), From::Absent));
    let long = format!("From: {} <a@b>\r\n", "x".repeat(1000));
    assert!(matches!(read(long.as_bytes()), From::Ambiguous(_)));
    // Names that show the addresses in other letters: each would be compared with all of them.
    let many = |count: usize| format!("From: a@b{}\r\n", ",\r\n \"A@b A@b A@b A@b A@b\" <a@b>".repeat(count));
    assert!(matches!(read(many(99).as_bytes()), From::Several(list) if list.len() == 100));
    let longer = format!("From: {}\"A@b\" <a@b>\r\n", "\"A@b A@b A@b A@b A@b\"\r\n ".repeat(1000));
    assert!(matches!(read(longer.as_bytes()), From::Ambiguous("From is too long")));
}

#[test]
fn other_addresses_are_read_leniently() {
    let message = b"To: a@b, junk, \"C, D\" <c@d>\r\nTo: Group: e@f, g@h;\r\nCc: (x) i@j\r\n\r\n";
    let headers = parse(message).unwrap();
    let shown: Vec<_> = mailboxes(message, &headers, "to").iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["a@b", "c@d", "e@f", "g@h"]);
    assert_eq!(mailboxes(message, &headers, "Cc").len(), 1);
}

#[test]
fn encoded_words_are_decoded_wherever_they_stand() {
    for (text, expected) in [
        ("plain", "plain"),
        ("=?utf-8?q?a_b?=", "a b"),
        ("x=?utf-8?b?YQ==?= =?iso-8859-1?q?=E9?= y", "xaé y"),
        ("=?broken", "=?broken"),
        ("=?utf-8?x?a?= b", "=?utf-8?x?a?= b"),
        ("=? =?x?y =?utf-8?q?=C3=A9?=", "=? =?x?y é"),
    ] {
        assert_eq!(decode_words(text), expected);
    }
}

#[test]
fn i56_every_spelling_of_the_author_is_found() {
    for section in [
        "From: siti@kabupaten.go.id\r\n",
        "From: Siti <SITI@Kabupaten.(x)go.id>\r\n",
        "From: Siti <siti@kabupaten . go . id>\r\n",
        "From: Siti <siti@kabupaten.\r\n go.id>\r\n",
        "From: Siti <siti@kabu\u{ad}paten.go.id>\r\n",
        "From: Siti <siti@\u{ff4b}abupaten.go.id>\r\n",
        "From: Siti <siti@\u{212a}abupaten.go.id>\r\n",
        "From: Siti <siti\u{ff20}kabupaten\u{3002}go\u{ff0e}id>\r\n",
        "From: =?utf-8?q?siti=40kabupaten=2Ego=2Eid?=\r\n",
        "From: <=?utf-8?q?siti=40kabu?= =?utf-8?b?cGF0ZW4uZ28uaWQ=?=>\r\n",
        "From: =? =?x?q?y <=?utf-8?q?siti=40kabupaten=2Ego=2Eid?=>\r\n",
        "From: <siti@kabu\\paten.go.id>\r\n",
        "From: \"siti\"@kabupaten.go.id\r\n",
        "From: \"x (<siti@kabu(x)paten.go.id>\r\n",
        "From: Group: siti@kabupaten.go.id;\r\n",
        "\u{feff}From: siti@kabupaten.go.id\r\n",
        "\u{b}From\u{a0}: siti@kabupaten.go.id\r\n",
        "From\r\n : siti@kabupaten.go.id\r\n",
        "=?utf-8?q?From?=: siti@kabupaten.go.id\r\n",
        "=?utf-8?B?RnJvbQ==?=: siti@kabupaten.go.id\r\n",
        "\u{ff26}rom: siti@kabupaten.go.id\r\n",
        "From a@b Mon Jan  1 00:00:00 2026\r\nFrom: siti@kabupaten.go.id\r\n",
        "no field\r\nFrom: siti@kabupaten.go.id\r\n",
        "From: siti@kabupaten.go.id\r\nno field\r\n",
        " folded\r\nfROM: siti@kabupaten.go.id\r\n",
        "X: y\r\n \r\nFrom: siti@kabupaten.go.id\r\n",
        "X: y\rFrom: siti@kabupaten.go.id\r\n",
        "\r\nFrom: siti@kabupaten.go.id\r\n",
        "From: a@x.example\r\nFrom: siti@kabupaten.go.id\r\n",
        "From: a@x.example\0 <siti@kabupaten.go.id>\r\n",
    ] {
        let texts = from_texts(format!("{section}Subject: x\r\n\r\nbody").as_bytes(), &Limits::default());
        assert!(texts.from.iter().any(|text| text.contains("siti@kabupaten.go.id")), "{section:?}: {texts:?}");
        assert!(texts.others.is_empty() && !texts.cut, "{section:?}");
    }
    let octets = from_texts(b"Fr\xffom: S\xeeti <siti@kabupaten.\xffgo.id>\r\n", &Limits::default());
    assert_eq!(octets.from, ["sti<siti@kabupaten.go.id>"]);
    let others = from_texts(b"Sender: a@b.example\nResent-From : C@d.example\n\nFrom: x", &Limits::default());
    assert_eq!((others.from.len(), others.others), (0, vec!["a@b.example".to_owned(), "c@d.example".to_owned()]));
    let unicode = from_texts("From: <a@B\u{fc}cher.example>\n".as_bytes(), &Limits::default());
    assert_eq!(unicode.from, ["<a@xn--bcher-kva.example>"]);
    assert!(from_texts(&b"From: a@b\n".repeat(40), &Limits::default()).cut);
    assert_eq!(from_texts(b"", &Limits::default()), super::FromTexts::default());
    for section in ["X-From: a@b\r\n", "Reply-To: a@b\r\n", "Subject: From: a@b\r\n", "\r\nX: y\r\n\r\nFrom: a@b\r\n"] {
        assert!(from_texts(section.as_bytes(), &Limits::default()).from.is_empty(), "{section:?}");
    }
}

#[test]
fn i56_a_name_that_shows_another_mailbox_is_misleading() {
    for (value, misleading) in [
        ("siti@kabupaten.example", false),
        ("Siti <siti@kabupaten.example>", false),
        ("\"siti@kabupaten.example\" <siti@kabupaten.example>", false),
        ("\"SITI@Kabupaten.EXAMPLE\" <siti@kabupaten.example>", false),
        ("=?utf-8?q?siti=40kabupaten=2Eexample?= <siti@kabupaten.example>", false),
        ("<\"a@b\"@d.example>", false),
        ("\"Siti @ Dinas\" <a@x.example>", false),
        ("\"@siti\" <a@x.example>", false),
        ("a@x.example (Siti)", false),
        ("Siti <a@x.example>, Budi <b@y.example>", false),
        ("\"siti@kabupaten.example\" <a@x.example>", true),
        ("\"Siti (siti@kabupaten.example)\" <a@x.example>", true),
        ("\"a@b via list\" <list@c.example>", true),
        ("\"siti@kabupaten.example.\" <a@x.example>", true),
        ("\"siti @ kabupaten.example\" <a@x.example>", true),
        ("\"'siti@kabupaten.example'\" <a@x.example>", true),
        ("\"a@x.example siti@kabupaten.example\" <a@x.example>", true),
        ("=?utf-8?q?siti=40kabupaten=2Eexample?= <a@x.example>", true),
        ("=?utf-8?q?siti?= =?utf-8?q?=40kabupaten=2Eexample?= <a@x.example>", true),
        ("\"siti\u{ff20}kabupaten\u{3002}example\" <a@x.example>", true),
        ("\"siti\u{200b}@kabu\u{ad}paten.example\" <a@x.example>", true),
        ("\"siti@b\u{fc}cher.example\" <a@x.example>", true),
        ("\"\u{202e}elpmaxe\" <a@x.example>", true),
        ("=?utf-8?b?4oCuYQ==?= <a@x.example>", true),
        ("\"Budi\" <b@y.example>, \"b@y.example\" <c@y.example>, \"d@y.example\" <c@y.example>", true),
    ] {
        let message = format!("From: {value}\r\n\r\n");
        let headers = parse(message.as_bytes()).unwrap();
        let read = from(message.as_bytes(), &headers);
        assert!(matches!(read, From::Mailbox(_) | From::Several(_)), "{value}: {read:?}");
        assert_eq!(misleading_name(message.as_bytes(), &headers), misleading, "{value}");
    }
}

#[test]
fn o31_words_are_read_as_forgivingly_as_others_read_them_or_said_to_be_unclear() {
    for (text, expected) in [
        // Base64 without its padding, UTF-16 without a mark of its order.
        ("=?utf-8?B?eFtyYWhhc2lhXQ?=", "x[rahasia]"),
        ("=?utf-8?B?eFtyYWhhc2lhXQ==?=", "x[rahasia]"),
        ("=?utf-8?B?W3JhaGFzaWE?=]", "[rahasia]"),
        ("=?utf-16?b?AFsAcgBhAGgAYQBzAGkAYQBd?=", "[rahasia]"),
        ("=?utf-16?B?/v8AWwBy?=", "[r"),
        ("=?UTF-16?q?=00=5B=00r?=", "[r"),
    ] {
        assert_eq!(decode_words(text), expected, "{text}");
        assert!(!has_unclear_word(text), "{text}");
    }
    // EBCDIC, and octets that are no UTF-8.
    for unclear in ["=?cp037?b?utmBiIGigYm7?=", "a =?utf-8?q?=ff=fe?= b"] {
        assert!(has_unclear_word(unclear), "{unclear}");
    }
    for clear in ["", "=?", "=? ?=", "1 =?x 2", "=?utf-8?q?abc?=", "=?unknown-8bit?q?abc?="] {
        assert!(!has_unclear_word(clear), "{clear}");
    }
}
