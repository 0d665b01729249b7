use super::{CanonicalError, Form, canonical, is_transport_safe, multipart_signed, pkcs7_mime};
use crate::limits::Limits;
use crate::mail::mime;

fn make(message: &str) -> super::Canonical {
    canonical(message.as_bytes(), &Limits::default()).unwrap()
}

fn entity(message: &str) -> String {
    String::from_utf8(make(message).entity).unwrap()
}

const FIELDS: &str = "From: a@b\r\nDate: x\r\nMessage-ID: <i@b>\r\nReferences: <r@b>\r\nList-Id: <l>\r\nAuto-Submitted: no\r\nImportance: high\r\n";

#[test]
fn o01_content_fields_go_inside_and_the_rest_stays_outside() {
    let message = format!(
        "{FIELDS}MIME-Version: 1.0\r\ncontent-type: text/html;\r\n charset=utf-8\r\nContent-ID: <c>\r\n\r\n<p>\r\n"
    );
    let result = make(&message);
    assert_eq!(String::from_utf8(result.outer).unwrap(), FIELDS);
    assert_eq!(result.entity, b"content-type: text/html;\r\n charset=utf-8\r\nContent-ID: <c>\r\n\r\n<p>\r\n");
    assert_eq!(entity("From: a@b\r\n\r\nplain\r\n"), "Content-Type: text/plain; charset=us-ascii\r\n\r\nplain\r\n");
    assert_eq!(entity("From: a@b\r\n"), "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
}

#[test]
fn o12_blind_copies_are_removed_and_list_fields_stay_outside() {
    let message = format!("{FIELDS}Bcc: secret@b,\r\n other@b\r\nbCC : third@b\r\nResent-Bcc: x@b\r\n\r\nx\r\n");
    let result = make(&message);
    assert_eq!(String::from_utf8(result.outer).unwrap(), FIELDS);
    assert!(!result.entity.windows(2).any(|window| window == b"@b"));
}

#[test]
fn o02_clean_text_keeps_its_octets_and_files_get_crlf() {
    for body in ["", "x", "x\r\n", "x\r\n\r\n\r\n", ".x\r\n..\r\nFrom\r\n>From x\r\n"] {
        let message = format!("A: b\r\nContent-Type: text/plain\r\n\r\n{body}");
        assert_eq!(entity(&message), format!("Content-Type: text/plain\r\n\r\n{body}"));
    }
    assert_eq!(entity("A: b\nContent-Type: text/plain\n\nx\ny\n"), "Content-Type: text/plain\r\n\r\nx\r\ny\r\n");
}

#[test]
fn o03_every_leaf_becomes_7_bit() {
    let message = "A: b\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n--b\r\nContent-Type: image/png\r\n\
Content-Transfer-Encoding: binary\r\n\r\né\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
Subject: inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nü\r\n--b\r\nContent-Type: text/plain\r\n\r\nclean\r\n--b--\r\n";
    let result = make(message);
    assert_eq!(result.form, Form::Clear);
    let expected = "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n--b\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n--b\r\n\
Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nw6k=\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\
Content-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--b\r\nContent-Type: text/plain\r\n\r\nclean\r\n--b--\r\n";
    assert_eq!(String::from_utf8(result.entity).unwrap(), expected);
    assert_eq!(
        entity("A: b\r\n\r\né\r\n"),
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n"
    );
    let latin = canonical(b"A: b\r\n\r\n\xe9\r\n", &Limits::default()).unwrap();
    assert_eq!(latin.entity, b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n");
}

#[test]
fn o04_what_is_signed_or_encrypted_keeps_its_octets() {
    let around = |part: &str| {
        format!("A: b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{part}\r\n--b\r\n\r\nx \r\n--b--\r\n")
    };
    for (part, form) in [
        ("Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\né\r\n--s--", Form::Opaque),
        ("Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\ne\r\n--s--", Form::Clear),
        ("Content-Type: multipart/encrypted; boundary=s\r\n\r\n--s\r\n\r\n \r\n--s--", Form::Opaque),
        ("Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA ", Form::Opaque),
        ("Content-Type: application/x-pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA", Form::Clear),
        ("\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\né", Form::Opaque),
        ("Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\né", Form::Opaque),
        ("Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\ne", Form::Clear),
        (
            "Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\né\r\n--s--",
            Form::Opaque,
        ),
        ("Content-Type: message/rfc822\r\n\r\nSubject: é\r\n\r\ne", Form::Opaque),
    ] {
        let message = around(part);
        let result = make(&message);
        assert_eq!(result.form, form, "{part}");
        let written = String::from_utf8(result.entity).unwrap();
        assert!(written.contains(&format!("--b\r\n{part}\r\n--b")), "{written}");
        if form == Form::Opaque {
            assert!(message.ends_with(&written), "{written}");
        }
    }
}

#[test]
fn o05_lines_that_relays_change_are_encoded() {
    let long = "x".repeat(999);
    for body in ["From me\r\n", "blank \r\n", "tab\t\r\n", ".\r\n", "a\r\n.", &format!("{long}\r\n")] {
        for fields in ["", "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n"] {
            let message = format!("A: b\r\n{fields}\r\n{body}");
            let result = make(&message);
            assert_eq!(result.form, Form::Clear);
            assert!(is_transport_safe(&result.entity), "{:?}", String::from_utf8_lossy(&result.entity));
            let structure = mime::parse(&result.entity, &Limits::default()).unwrap();
            let decoded = structure.decode(&result.entity, &structure.root).unwrap();
            let expected = if fields.is_empty() {
                body.to_owned()
            } else {
                body.trim_end_matches([' ', '\t', '\r', '\n']).to_owned()
            };
            assert!(decoded.starts_with(expected.as_bytes()), "{body:?}");
        }
    }
    assert!(is_transport_safe(format!("{}\r\n", long.get(1..).unwrap()).as_bytes()));
    for unsafe_text in [&b"a\n"[..], b"a\rb\r\n", b"a\0b", b"\xff", b"From ", b".", b"a ", b"\r"] {
        assert!(!is_transport_safe(unsafe_text), "{unsafe_text:?}");
    }
}

#[test]
fn s06_lines_over_998_octets_are_encoded_and_never_folded_silently() {
    for length in [998, 999, 10_000] {
        let line = "y".repeat(length);
        let entity = make(&format!("A: b\r\n\r\n{line}\r\n")).entity;
        let structure = mime::parse(&entity, &Limits::default()).unwrap();
        assert_eq!(structure.decode(&entity, &structure.root).unwrap().as_ref(), format!("{line}\r\n").as_bytes());
        assert_eq!(structure.root.encoding == mime::Encoding::QuotedPrintable, length > 998);
    }
}

#[test]
fn ambiguous_structures_are_wrapped_as_they_are_and_broken_ones_refused() {
    for (content, body) in [
        ("Content-Type: multipart/mixed; boundary=b\r\n", "--bx\r\n"),
        ("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n", "A*A\r\n"),
    ] {
        let parts = make(&format!("A: b\r\n{content}\r\n{body}"));
        assert_eq!(parts.form, Form::Opaque);
        assert_eq!(parts.entity, format!("{content}\r\n{body}").as_bytes());
    }
    let broken = "A: b\r\nno field\r\n\r\n";
    assert!(matches!(canonical(broken.as_bytes(), &Limits::default()), Err(CanonicalError::Unsuitable(_))));
}

#[test]
fn o07_detached_signature_is_exactly_two_parts() {
    let entity = b"Content-Type: text/plain\r\n\r\nx\r\n";
    let der: Vec<u8> = (0..=255).cycle().take(2000).collect();
    let message = multipart_signed(b"From: a@b\r\n", entity, &der, "sha-256", "b0");
    let structure = mime::parse(&message, &Limits::default()).unwrap();
    let root = &structure.root;
    assert_eq!(structure.ambiguities, []);
    assert_eq!(root.children.len(), 2);
    assert_eq!(&message[root.children[0].whole.clone()], entity);
    let signature = &root.children[1];
    assert!(signature.content_type.is("application", "pkcs7-signature"));
    assert_eq!(signature.content_type.parameter("name"), Some("smime.p7s"));
    assert_eq!(signature.disposition_filename.as_deref(), Some("smime.p7s"));
    assert_eq!(structure.decode(&message, signature).unwrap().as_ref(), der);
    let text = String::from_utf8(message).unwrap();
    assert!(text.contains("Content-Disposition: attachment"));
    assert!(text.lines().all(|line| line.len() <= 76));
    assert_eq!(text.matches("MIME-Version: 1.0\r\n").count(), 1);
}

#[test]
fn o06_protocol_is_quoted_and_digests_are_separated_by_commas() {
    let text = |micalg| String::from_utf8(multipart_signed(b"", b"x", b"y", micalg, "b")).unwrap();
    assert!(
        text("sha-256")
            .contains("multipart/signed;\r\n protocol=\"application/pkcs7-signature\";\r\n micalg=sha-256;\r\n")
    );
    assert!(text("sha-256,sha-512").contains("micalg=\"sha-256,sha-512\";"));
}

#[test]
fn o08_opaque_is_one_pkcs7_mime_part() {
    let message = pkcs7_mime(b"From: a@b\r\n", "signed-data", &[7; 100]);
    let structure = mime::parse(&message, &Limits::default()).unwrap();
    let root = &structure.root;
    assert!(root.content_type.is("application", "pkcs7-mime") && root.children.is_empty());
    assert_eq!(root.content_type.parameter("smime-type"), Some("signed-data"));
    assert_eq!(root.content_type.parameter("name"), Some("smime.p7m"));
    assert_eq!(root.disposition_filename.as_deref(), Some("smime.p7m"));
    assert_eq!(structure.decode(&message, root).unwrap().as_ref(), [7; 100]);
}

#[test]
fn o10_boundary_never_occurs_in_the_content() {
    let entity = b"Content-Type: text/plain\r\n\r\n--b\r\n--b_\r\n--b--";
    let message = multipart_signed(b"", entity, b"x", "sha-256", "b");
    let structure = mime::parse(&message, &Limits::default()).unwrap();
    assert_eq!(structure.ambiguities, []);
    assert_eq!(&message[structure.root.children[0].whole.clone()], entity);
}

#[test]
fn twenty_kibibytes_take_some_tens_of_microseconds() {
    let message = format!("{FIELDS}\r\n{}", "a line of ordinary text, as people write it every day\r\n".repeat(370));
    let limits = Limits::default();
    // The work that it is, whatever else the machine does.
    let worked = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        std::time::Duration::try_from(now).unwrap()
    };
    let start = worked();
    for _ in 0..200 {
        assert_eq!(canonical(message.as_bytes(), &limits).unwrap().form, Form::Clear);
    }
    let each = (worked() - start) / 200;
    println!("{each:?} for {} octets", message.len());
    assert!(each.as_micros() < 2000, "{each:?}: quadratic work?");
}

const COMPARE: &str = r#"
import sys, os, email
def leaves(path):
    with open(path, "rb") as f: m = email.message_from_bytes(f.read())
    out = []
    for p in m.walk():
        if p.is_multipart(): continue
        c = p.get_payload(decode=True) or b""
        # White space at line ends and the final line break may change in quoted-printable.
        out.append((p.get_content_type(), p.get_filename(), [l.rstrip() for l in c.rstrip().splitlines()]))
    return out
d = sys.argv[1]
for n in sorted(os.listdir(d)):
    if n.endswith(".in") and leaves(d + "/" + n) != leaves(d + "/" + n[:-3] + ".out"): print(n)
"#;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its corpus and hands files to Python")]
fn o03_python_reads_the_same_parts_before_and_after() {
    let Ok(corpora) = std::env::var("SEGEL_CORPORA") else {
        println!("skipped: SEGEL_CORPORA is not set");
        return;
    };
    let pairs = tempfile::tempdir().unwrap();
    let (mut folders, mut count) = (vec![std::path::PathBuf::from(corpora)], 0);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "eml") {
                let message = std::fs::read(&path).unwrap();
                let Ok(result) = canonical(&message, &Limits::default()) else { continue };
                if result.form == Form::Clear {
                    assert!(result.entity.is_ascii(), "{}", path.display());
                }
                let name = format!("{count:04}-{}", path.file_name().unwrap().to_string_lossy());
                let written = [&result.outer[..], b"MIME-Version: 1.0\r\n", &result.entity].concat();
                std::fs::write(pairs.path().join(format!("{name}.in")), message).unwrap();
                std::fs::write(pairs.path().join(format!("{name}.out")), written).unwrap();
                count += 1;
            }
        }
    }
    assert!(count > 100);
    let python = std::process::Command::new("python3").args(["-c", COMPARE]).arg(pairs.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    println!("{count} messages compared");
    assert_eq!(String::from_utf8_lossy(&python.stdout), "");
}
