use super::{Fault, Form, Progress, Receiver, form, stuffed};
use bytes::{Bytes, BytesMut};

/// Feeds `wire` in pieces of `step` octets: the result, and what was left behind the end.
fn receive(wire: &[u8], step: usize, limit: usize) -> Option<(Result<Bytes, Fault>, Vec<u8>)> {
    let mut receiver = Receiver::new(limit, 0);
    let mut input = BytesMut::new();
    let mut pieces = wire.chunks(step);
    loop {
        match receiver.receive(&mut input) {
            Progress::Input => input.extend_from_slice(pieces.next()?),
            Progress::Memory(octets) => receiver.grant(octets),
            Progress::Done => {
                let mut left = input.to_vec();
                left.extend(pieces.flatten());
                return Some((receiver.finish(), left));
            }
        }
    }
}

/// The outcome does not depend on how the octets are cut.
#[track_caller]
fn check(wire: &[u8], expected: Result<&[u8], Fault>, left: &[u8]) {
    for step in [1, 2, 3, 5, 7, 1 << 20] {
        let (content, rest) = receive(wire, step, 1000).unwrap_or_else(|| panic!("no end in {wire:?} by {step}"));
        assert_eq!(content.as_deref().map_err(|fault| *fault), expected, "{wire:?} by {step}");
        assert_eq!(rest, left, "{wire:?} by {step}");
    }
}

#[test]
fn s07_stuffing_is_removed_exactly_once() {
    check(b".\r\n", Ok(b""), b"");
    check(b"a\r\n.\r\nQUIT\r\n", Ok(b"a\r\n"), b"QUIT\r\n");
    check(b"..\r\n.\r\n", Ok(b".\r\n"), b"");
    check(b"...a\r\n..b\r\n.\r\n", Ok(b"..a\r\n.b\r\n"), b"");
    check(b"a.\r\n.b\r\n..\r\n\r\n.\r\n", Ok(b"a.\r\nb\r\n.\r\n\r\n"), b"");
    check(b"x\r\n.\r\n.\r\n", Ok(b"x\r\n"), b".\r\n");
}

#[test]
fn s06_lines_of_any_length_pass_unchanged() {
    for length in [998, 999, 10_000] {
        let line = [vec![b'a'; length], b"\r\n".to_vec()].concat();
        let wire = [&line[..], b".\r\n"].concat();
        let (content, _) = receive(&wire, 100, 1 << 20).unwrap();
        assert_eq!(content.unwrap(), line);
    }
}

#[test]
fn s21_bare_line_ends_never_end_data() {
    use Fault::{BareCarriageReturn as Cr, BareLineFeed as Lf, Nul};
    let cases: [(&[u8], Fault); 12] = [
        (b"\n.\n", Lf),
        (b"\n.\r\n", Lf),
        (b"\r\n.\n", Lf),
        (b"\r.\r\n", Cr),
        (b"\r.\r", Cr),
        (b"\r\n.\r", Cr),
        (b"\r\n.\r\r\n", Cr),
        (b"\r\r\n.\n", Cr),
        (b"\r\n\0.\r\n", Nul),
        (b"\r\n.\0\r\n", Nul),
        (b"\0", Nul),
        (b"\n\r\n..\r\n", Lf),
    ];
    for (sequence, fault) in cases {
        let wire = [b"text", sequence, b"MAIL FROM:<smuggled@example.org>\r\n\r\n.\r\nNOOP\r\n"].concat();
        check(&wire, Err(fault), b"NOOP\r\n");
    }
    for incomplete in
        [&b"a\n.\n"[..], b"a\n.\r\n", b"a\r.\r\n", b"a\r\n\0.\r\n", b"a\r\n.\r", b"a\r\n.", b"\r\n.\r\r\n"]
    {
        assert!(receive(incomplete, 1, 1000).is_none(), "{incomplete:?}");
    }
}

#[test]
fn s21_smuggling_corpus() {
    let Ok(corpora) = std::env::var("SEGEL_CORPORA") else {
        println!("skipped: SEGEL_CORPORA is not set");
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "a test reads its corpus")]
    let text = std::fs::read_to_string(format!("{corpora}/smtp-smuggling/payloads.json")).unwrap();
    let payloads: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = payloads["cases"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        assert_eq!(case["expect"], "must-not-end-data");
        let hex = case["end_sequence_hex"].as_str().unwrap();
        let sequence = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        for step in [1, 3, 1 << 20] {
            let second = b"MAIL FROM:<smuggled@a>\r\nRCPT TO:<b@c>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n";
            let wire = [b"Subject: a\r\n\r\nbody", &sequence[..], second].concat();
            let (content, left) = receive(&wire, step, 1 << 20).unwrap();
            assert!(content.is_err(), "{}", case["id"]);
            assert_eq!(left, b"QUIT\r\n", "{}", case["id"]);
        }
    }
}

#[test]
fn s31_real_size_is_enforced_without_stuffing() {
    let exact = [&b".."[..], &b"a".repeat(7), b"\r\n.\r\n"].concat();
    assert_eq!(receive(&exact, 4, 10).unwrap().0.unwrap(), &b".aaaaaaa\r\n"[..]);
    assert_eq!(receive(&exact, 4, 9).unwrap().0, Err(Fault::TooLarge));
    let large = [&b"line\r\n".repeat(1000)[..], b".\r\nRSET\r\n"].concat();
    let (content, left) = receive(&large, 100, 500).unwrap();
    assert_eq!((content, &left[..]), (Err(Fault::TooLarge), &b"RSET\r\n"[..]));
}

#[test]
fn memory_is_asked_for_in_growing_steps_and_refusal_swallows() {
    let mut receiver = Receiver::new(1 << 20, 0);
    let wire = [&b"0123456789012345678901234567890123456789\r\n".repeat(20_000)[..], b".\r\nNOOP\r\n"].concat();
    let (mut input, mut total, mut asked) = (BytesMut::new(), 0, 0);
    let mut pieces = wire.chunks(10_000);
    loop {
        match receiver.receive(&mut input) {
            Progress::Input => input.extend_from_slice(pieces.next().unwrap()),
            Progress::Memory(octets) if total + octets > 300_000 => receiver.fail(Fault::Memory),
            Progress::Memory(octets) => {
                (total, asked) = (total + octets, asked + 1);
                receiver.grant(octets);
            }
            Progress::Done => break,
        }
    }
    assert_eq!((asked, total), (3, 256 << 10));
    assert_eq!(input, &b"NOOP\r\n"[..]);
    assert_eq!(receiver.finish(), Err(Fault::Memory));
}

#[test]
fn s22_forms_and_stuffing_for_the_next_hop() {
    #[track_caller]
    fn sent(content: &'static [u8], expected: &[u8]) {
        let wire = stuffed(&Bytes::from_static(content)).concat();
        assert_eq!(wire, expected, "{content:?}");
        let (back, left) = receive(&wire, 2, 1000).unwrap();
        assert_eq!(
            back.unwrap(),
            if content.is_empty() || content.ends_with(b"\r\n") {
                content.to_vec()
            } else {
                [content, b"\r\n"].concat()
            }
        );
        assert!(left.is_empty());
    }
    sent(b"", b".\r\n");
    sent(b"a\r\n", b"a\r\n.\r\n");
    sent(b"a", b"a\r\n.\r\n");
    sent(b".", b"..\r\n.\r\n");
    sent(b".a\r\n.\r\n..b\r\nc.\r\n", b"..a\r\n..\r\n...b\r\nc.\r\n.\r\n");
    sent(b"\r\n.\r\n.\r\n", b"\r\n..\r\n..\r\n.\r\n");
    assert_eq!(form(b"a\r\nb\r\n"), Form::SevenBit);
    assert_eq!(form(b"a\xc3\xa4\r\n"), Form::EightBit);
    for bad in [&b"a\n"[..], b"a\r", b"a\rb", b"\r\r\n", b"a\0b", b"\n\r\n", b"\r\n.\n"] {
        assert_eq!(form(bad), Form::Unsendable, "{bad:?}");
    }
}
