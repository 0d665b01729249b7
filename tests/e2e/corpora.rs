//! Material made by others, through the whole gateway.

use crate::support::client::{send, stuffed};
use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Setup, Sink, below_trace, corpora, crlf, letter};
use std::path::{Path, PathBuf};

#[test]
fn s21_s22_smuggling_look_alikes_make_one_mail_or_none() {
    need!("openssl", "aiosmtpd");
    let Some(folder) = corpora() else { return };
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).domain("sign = \"never\"\n").start();
    let text = std::fs::read_to_string(folder.join("smtp-smuggling/payloads.json")).unwrap();
    let payloads: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = payloads["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let look_alike = data_encoding::HEXLOWER.decode(case["end_sequence_hex"].as_str().unwrap().as_bytes()).unwrap();
        for (door, from, to, sink) in [(gateway.outside, RINA, SITI, &inside), (gateway.inside, SITI, RINA, &outside)] {
            let mut client = Client::hello(door);
            for (line, reply) in
                [(format!("MAIL FROM:<{from}>"), "250"), (format!("RCPT TO:<{to}>"), "250"), ("DATA".into(), "354")]
            {
                client.send(&line);
                client.expect(reply);
            }
            let first = letter(from, to, &format!("{id}-first"), "x");
            let second = letter(from, to, &format!("{id}-smuggled"), "y");
            client.raw(&first[..first.len() - 2]);
            client.raw(&look_alike);
            client.raw(format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes());
            client.raw(&second);
            client.raw(b"\r\n.\r\n");
            let mut accepted = 0;
            client.send("QUIT");
            while let Some(reply) = client.reply() {
                accepted += usize::from(reply.starts_with("250"));
                assert!(!reply.starts_with("354"), "{id}: a second DATA was obeyed");
            }
            assert!(accepted <= 1, "{id}: {accepted} mails were accepted");
            let after = format!("{id}-after");
            assert!(send(door, from, &[to], &letter(from, to, &after, "z")).starts_with("250"));
            sink.find(&after);
            for mail in sink.mails() {
                let text = String::from_utf8_lossy(&mail.content).into_owned();
                assert!(!text.trim_start().starts_with(&format!("Message-ID: <{id}-smuggled")), "{id}");
                assert_eq!(crlf(&mail.content), mail.content, "{id}: bare line feed sent on");
            }
            let of_case = sink
                .mails()
                .iter()
                .filter(|mail| String::from_utf8_lossy(&mail.content).contains(&format!("<{id}-first@")))
                .count();
            assert!(of_case <= 1, "{id}: {of_case} mails");
        }
    }
}

#[test]
fn odd_mime_of_every_kind_passes_octet_by_octet() {
    need!("openssl", "aiosmtpd");
    let Some(folder) = corpora() else { return };
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway =
        Setup::new(inside.address, outside.address).domain("sign = \"never\"\nunvouched = \"pass-unsigned\"\n").start();
    let mut files = Vec::new();
    for corpus in ["stalwart-mail-parser", "python-email", "ruby-mail", "gmime", "misc-mime"] {
        collect(&folder.join(corpus), &mut files);
    }
    files.sort();
    assert!(!files.is_empty());
    let (mut passed, mut refused, mut seen) = (0, Vec::new(), 0);
    for file in &files {
        let content = crlf(&std::fs::read(file).unwrap());
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        let reply = send(gateway.inside, "sender@elsewhere.example", &[RINA], &content);
        // What a strict server refuses: bare CR and NUL, and mail whose sender cannot be told.
        if !reply.starts_with("250") {
            assert!(
                reply.starts_with("550 5.6.0") || reply.starts_with("550 5.5.2") || reply.starts_with("554 5.4.6"),
                "{name}: {reply}"
            );
            refused.push(name);
            continue;
        }
        seen += 1;
        let mails = outside.wait(seen);
        let arrived = below_trace(&mails[seen - 1].content);
        let expected = without_return_path(&content);
        let expected = below_trace(&expected);
        let expected = if expected.ends_with(b"\r\n") { expected.to_vec() } else { [expected, b"\r\n"].concat() };
        let same = arrived.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let there = |mail: &[u8]| {
            String::from_utf8_lossy(&mail[same.min(mail.len())..(same + 80).min(mail.len())]).into_owned()
        };
        assert!(
            arrived == expected,
            "{name} was changed at {same}: {:?} became {:?}",
            there(&expected),
            there(arrived)
        );
        passed += 1;
    }
    println!("{passed} passed unchanged, {} refused: {refused:?}", refused.len());
    assert!(passed > files.len() / 2, "{passed} of {}", files.len());
}

/// Only final delivery writes `Return-Path`; a relay takes an earlier one away.
fn without_return_path(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len());
    let (mut in_header, mut dropping) = (true, false);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        in_header &= line != b"\r\n";
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        dropping = in_header && if folded { dropping } else { line.to_ascii_lowercase().starts_with(b"return-path") };
        if !dropping {
            out.extend_from_slice(line);
        }
    }
    out
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            files.push(path);
        }
    }
}

#[test]
fn what_swallows_dots_gives_them_back() {
    assert_eq!(stuffed(b".a\r\n..\r\nb."), b"..a\r\n...\r\nb.\r\n");
}
