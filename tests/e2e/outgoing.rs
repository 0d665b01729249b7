//! Mail on its way out: signed, refused, or passed as it is.

use crate::support::client::send;
use crate::support::gateway::inspect;
use crate::support::pki::{ASING, BUDI, ORGANISATION, RINA, SITI, TONO};
use crate::support::{Client, Mail, Pki, Setup, Sink, below_trace, fields, letter, swaks};

/// Signs with the domain's default, `sign = "required"`.
fn signing() -> (Sink, Sink, crate::support::Gateway) {
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    (inside, outside, gateway)
}

fn trust() -> Vec<String> {
    vec!["--trust".to_owned(), Pki::shared().path("root.pem")]
}

fn verdict(mail: &[u8]) -> serde_json::Value {
    let trust = trust();
    inspect(mail, &trust.iter().map(String::as_str).collect::<Vec<_>>())
}

/// OpenSSL agrees on signature and path, its signer's address is `address`, and so does `segel inspect`.
fn assert_signed_by(mail: &Mail, address: &str) {
    assert_eq!(Pki::shared().verify(&mail.content, &[]), Ok(address.to_owned()));
    let report = verdict(&mail.content);
    assert_eq!(report["verdict"], "valid", "{report}");
    assert_eq!(report["from"], address);
    assert_eq!(report["covers_whole_message"], true);
}

#[test]
fn o06_o07_o20_mail_from_swaks_leaves_signed_and_openssl_agrees() {
    need!("openssl", "swaks", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let dialogue =
        swaks(gateway.inside, SITI, RINA, &["--header", "Message-ID: <o20@test.example>", "--body", "Salam."]);
    assert_eq!(dialogue.code, 0, "{}", dialogue.text);
    let mail = outside.find("o20");
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), (SITI, &[RINA.to_owned()][..]));
    assert_signed_by(&mail, SITI);
    let content_type = fields(&mail.content, "content-type");
    assert_eq!(content_type.len(), 1);
    assert!(content_type[0].contains("protocol=\"application/pkcs7-signature\""), "{content_type:?}");
    assert!(
        content_type[0].to_ascii_lowercase().contains("micalg=\"sha-256\"")
            || content_type[0].contains("micalg=sha-256")
    );
    assert_eq!(fields(&mail.content, "mime-version").len(), 1);
}

#[test]
fn o01_o03_o05_hostile_text_is_signed_in_a_form_that_survives() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let cases = [
        ("o03-utf8", "Rapat Senin — pukul 9.".to_owned()),
        ("o05-from", "From here on\nFrom there\n".to_owned()),
        ("o05-dots", ".\n..\n.a\n".to_owned()),
        ("o05-blanks", "a  \nb\t\n \n".to_owned()),
        ("o05-long", "x".repeat(5000)),
        ("o02-empty-lines", "a\n\n\n\n".to_owned()),
    ];
    for (id, text) in &cases {
        let reply = send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, id, text));
        assert!(reply.starts_with("250"), "{id}: {reply}");
        let mail = outside.find(id);
        assert_signed_by(&mail, SITI);
        assert!(mail.content.is_ascii(), "{id}: 8-bit octets in signed mail");
        let longest = mail.content.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
        assert!(longest <= 999, "{id}: a line of {longest} octets");
    }
}

#[test]
fn o02_one_flipped_octet_is_refused_by_openssl_and_by_us() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "flip", "Rp 100.000.000"));
    let mail = outside.find("flip").content;
    let text = String::from_utf8(mail.clone()).unwrap();
    // In the signed entity.
    let at = text.find("100.000.000").expect("the text stays readable");
    let mut altered = mail.clone();
    altered[at] ^= 0x08;
    assert!(Pki::shared().verify(&altered, &[]).is_err());
    assert_eq!(verdict(&altered)["reasons"], serde_json::json!(["altered"]));
    // In the signature value: the last octets of the CMS object, unless unsigned attributes follow, which we do not make.
    let end = text.rfind("\r\n--").unwrap();
    let start = text[..end].rfind("\r\n\r\n").unwrap() + 4;
    let base64: String = text[start..end].split_whitespace().collect();
    let mut der = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let last = der.len() - 20;
    der[last] ^= 1;
    let forged = format!("{}{}{}", &text[..start], wrapped(&data_encoding::BASE64.encode(&der)), &text[end..]);
    assert!(Pki::shared().verify(forged.as_bytes(), &[]).is_err());
    assert_eq!(verdict(forged.as_bytes())["reasons"], serde_json::json!(["bad-signature"]));
}

fn wrapped(base64: &str) -> String {
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\r\n")
}

#[test]
fn o21_s45_a_forged_inside_sender_is_refused() {
    need!("openssl", "swaks", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let from = format!("From: {SITI}");
    let dialogue = swaks(gateway.inside, BUDI, RINA, &["--header", &from, "--body", "Mohon ditransfer."]);
    assert!(dialogue.text.contains("<** 550 5.7.1 "), "{}", dialogue.text);
    // The client's next mail shows that the refused one is not merely late.
    send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x"));
    outside.find("after");
    assert_eq!(outside.mails().len(), 1);
}

#[test]
fn o56_mail_that_is_already_signed_keeps_its_octets() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let pki = Pki::shared();
    for (id, more) in [("o56-clear", &[][..]), ("o56-opaque", &["-nodetach"][..])] {
        let signed = pki.sign_with(&letter(BUDI, RINA, id, "Sudah ditandatangani."), BUDI, more);
        let reply = send(gateway.inside, BUDI, &[RINA], &signed);
        assert!(reply.starts_with("250"), "{reply}");
        let mail = outside.find(id);
        assert!(below_trace(&mail.content) == signed, "{id} was changed");
        assert_signed_by(&mail, BUDI);
    }
    // A signature packet of OpenPGP with nothing in it: whether it holds is not asked.
    let armour = "-----BEGIN PGP SIGNATURE-----\n\nwgA=\n-----END PGP SIGNATURE-----";
    let pgp =
        labelled("o56-pgp", PGP, &format!("--b\n\nx\n--b\nContent-Type: application/pgp-signature\n\n{armour}\n--b--"));
    send(gateway.inside, SITI, &[RINA], &pgp);
    assert!(below_trace(&outside.find("o56-pgp").content) == pgp);
}

const PGP: &str = "multipart/signed; boundary=b; protocol=\"application/pgp-signature\"; micalg=pgp-sha256";
const SMIME: &str = "multipart/signed; boundary=b; protocol=\"application/pkcs7-signature\"; micalg=sha-256";
const OPAQUE: &str = "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m";

/// A letter by Siti with this `Content-Type`.
fn labelled(id: &str, kind: &str, body: &str) -> Vec<u8> {
    let letter = String::from_utf8(letter(SITI, RINA, id, body)).unwrap();
    letter.replace("Content-Type: text/plain; charset=utf-8", &format!("Content-Type: {kind}")).into_bytes()
}

#[test]
fn o28_o56_a_label_is_no_signature() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let part = |kind: &str| format!("--b\n\nHalo.\n--b\nContent-Type: {kind}\n\ntanda tangan\n--b--");
    let certificates = Pki::shared().certificates_only();
    for (id, kind, body) in [
        ("o56-no-p7s", SMIME, part("application/pkcs7-signature; name=smime.p7s")),
        ("o56-no-pgp", PGP, part("application/pgp-signature")),
        ("o56-one-part", PGP, "--b\n\nx\n--b--".to_owned()),
        ("o56-no-p7m", OPAQUE, "c2VtYmFyYW5n".to_owned()),
        ("o56-certs", OPAQUE, certificates),
    ] {
        let mail = labelled(id, kind, &body);
        let reply = send(gateway.inside, SITI, &[RINA], &mail);
        assert!(reply.starts_with("250"), "{id}: {reply}");
        assert_eq!(Pki::shared().verify(&outside.find(id).content, &[]), Ok(SITI.to_owned()), "{id}");
        // Nor does it spare anybody who has no key.
        let other = String::from_utf8(mail).unwrap().replace(SITI, TONO).replace(id, "o56-tono");
        let reply = send(gateway.inside, TONO, &[RINA], other.as_bytes());
        assert!(reply.starts_with("550 5.7.1"), "{id}: {reply}");
    }
    assert!(!outside.has("o56-tono"));
}

#[test]
fn a_header_section_that_cannot_be_read_is_refused_for_what_it_is() {
    need!("openssl", "aiosmtpd");
    let (_inside, _outside, gateway) = signing();
    let letter = letter(SITI, RINA, "unreadable", "x");
    for (more, expected) in [
        ("X-Many: x\r\n".repeat(3000), "too many header fields"),
        (format!("X-Long: x\r\n{}", format!(" {}\r\n", "x".repeat(900)).repeat(1300)), "header section too large"),
        ("no field\r\n".to_owned(), "line 1 of the header section is not a field"),
    ] {
        let reply = send(gateway.inside, SITI, &[RINA], &[more.as_bytes(), &letter].concat());
        assert!(reply.starts_with("550 5.6.0") && reply.contains(expected), "{reply}");
    }
}

#[test]
fn o57_s12_notices_from_the_null_reverse_path_pass_unsigned() {
    need!("openssl", "swaks", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let content = letter(SITI, RINA, "o57", "Sedang cuti.");
    let reply = send(gateway.inside, "", &[RINA], &content);
    assert!(reply.starts_with("250"), "{reply}");
    let mail = outside.find("o57");
    assert_eq!(mail.from, "");
    assert!(below_trace(&mail.content) == content);
    let dialogue = swaks(gateway.inside, "<>", RINA, &["--header", &format!("From: {SITI}")]);
    assert_eq!(dialogue.code, 0, "{}", dialogue.text);
}

#[test]
fn s06_s07_s33_unsigned_mail_passes_octet_by_octet() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).domain("sign = \"never\"\n").start();
    let cases = [
        ("relay-plain", "Halo.".to_owned()),
        ("relay-8bit", "Rapat — Senin, \u{1f4c5}.".to_owned()),
        ("relay-dots", ".\n..\n...a\n.a\n".to_owned()),
        ("relay-998", "x".repeat(998)),
        ("relay-999", "x".repeat(999)),
        ("relay-10000", "x".repeat(10_000)),
        ("relay-blanks", "  a \t\n\n\n".to_owned()),
    ];
    for (id, text) in &cases {
        let content = letter(SITI, RINA, id, text);
        let reply = send(gateway.inside, SITI, &[RINA], &content);
        assert!(reply.starts_with("250"), "{id}: {reply}");
        assert!(below_trace(&outside.find(id).content) == content, "{id} was changed");
    }
}

#[test]
fn s17_received_names_the_recipient_only_when_there_is_one() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    send(gateway.inside, SITI, &[RINA, "dewi@mitra.example"], &letter(SITI, RINA, "two", "x"));
    let two = fields(&outside.find("two").content, "received");
    assert_eq!(two.len(), 1);
    assert!(two[0].contains("client.test.example") && two[0].contains("127.0.0.1") && two[0].contains("with ESMTP"));
    assert!(!two[0].contains(RINA) && !two[0].contains("dewi@"), "{two:?}");
}

#[test]
fn s45_the_table_of_from_against_reverse_path() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let mail = |id: &str, from: &str| {
        String::from_utf8(letter("FROM", RINA, id, "x")).unwrap().replace("From: FROM\r\n", from).into_bytes()
    };
    let own = format!("From: {SITI}\r\n");
    let cases = [
        ("own, same mailbox", SITI, own.clone(), "250"),
        ("own, same mailbox in another case", "SITI@Kabupaten.GO.ID", own.clone(), "250"),
        ("own with a display name of another", SITI, format!("From: \"{BUDI}\" <{SITI}>\r\n"), "250"),
        ("own, other mailbox", BUDI, own.clone(), "550 5.7.1"),
        ("own, foreign reverse-path", "x@elsewhere.example", own.clone(), "550 5.7.1"),
        ("foreign, own reverse-path", SITI, format!("From: {ASING}\r\n"), "250"),
        ("foreign, foreign reverse-path", ASING, format!("From: {ASING}\r\n"), "250"),
        ("none", SITI, String::new(), "550 5.6.0"),
        ("two fields", SITI, format!("{own}{own}"), "550 5.6.0"),
        ("two mailboxes", SITI, format!("From: {SITI}, {BUDI}\r\n"), "550 5.6.0"),
        ("a group", SITI, "From: undisclosed:;\r\n".to_owned(), "550 5.6.0"),
        ("two addresses in one mailbox", SITI, format!("From: <{SITI}> <{BUDI}>\r\n"), "550 5.6.0"),
    ];
    for (number, (what, reverse_path, from, expected)) in cases.iter().enumerate() {
        let id = format!("table-{number:02}");
        let reply = send(gateway.inside, reverse_path, &[RINA], &mail(&id, from));
        assert!(reply.starts_with(expected), "{what}: expected {expected}, found {reply}");
        if reply.starts_with("250") {
            let signed = verdict(&outside.find(&id).content)["signed"] == true;
            assert_eq!(signed, !what.starts_with("foreign"), "{what}");
        }
    }
}

#[test]
fn o28_a_sender_without_a_key() {
    need!("openssl", "aiosmtpd");
    let content = |id: &str| letter(TONO, RINA, id, "x");
    // Required: refused.
    let (_inside, outside, gateway) = signing();
    let reply = send(gateway.inside, TONO, &[RINA], &content("required"));
    assert!(reply.starts_with("550 5.7."), "{reply}");
    assert!(!outside.has("required"));
    drop(gateway);
    // When possible: unsigned.
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).domain("sign = \"when-possible\"\n").start();
    send(gateway.inside, TONO, &[RINA], &content("possible"));
    assert!(below_trace(&outside.find("possible").content) == content("possible"));
    drop(gateway);
    // Substitute: the organisation signs, its address in Sender.
    let mut setup =
        Setup::new(inside.address, outside.address).domain("sign = \"when-possible\"\nsubstitute = \"organisation\"\n");
    setup.keys.push((ORGANISATION, "organisation"));
    let gateway = setup.start();
    let reply = send(gateway.inside, TONO, &[RINA], &content("substitute"));
    assert!(reply.starts_with("250"), "{reply}");
    let mail = outside.find("substitute");
    assert_eq!(fields(&mail.content, "sender"), [format!("<{ORGANISATION}>")]);
    assert_eq!(Pki::shared().verify(&mail.content, &[]), Ok(ORGANISATION.to_owned()));
    assert_eq!(verdict(&mail.content)["reasons"], serde_json::json!(["signed-by-sender"]));
}

#[test]
fn o12_i42_bcc_and_forged_marks_do_not_leave() {
    need!("openssl", "aiosmtpd");
    let (_inside, outside, gateway) = signing();
    let text = String::from_utf8(letter(SITI, RINA, "o12", "x")).unwrap();
    let extra = "Bcc: rahasia@mitra.example\r\nReferences: <a@b>\r\nList-Id: <c.d>\r\nSegel-Verdict: valid\r\n\
                 Authentication-Results: gerbang.kabupaten.go.id; smime=pass\r\n\
                 Authentication-Results: other.example; spf=pass\r\n";
    let reply = send(gateway.inside, SITI, &[RINA], format!("{extra}{text}").as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let mail = outside.find("o12").content;
    assert!(fields(&mail, "bcc").is_empty());
    assert!(fields(&mail, "segel-verdict").iter().all(|value| value != "valid"));
    assert_eq!(fields(&mail, "references"), ["<a@b>"]);
    assert_eq!(fields(&mail, "list-id"), ["<c.d>"]);
    let results = fields(&mail, "authentication-results");
    assert!(results.iter().any(|value| value.starts_with("other.example")), "{results:?}");
    assert!(!results.iter().any(|value| value.contains("smime=pass")), "{results:?}");
}

#[test]
fn s45_an_authorised_envelope_may_sign_for_another() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let authorise = format!("[[authorise]]\nenvelope = \"{BUDI}\"\nfrom = [\"{SITI}\"]\n");
    let gateway = Setup::new(inside.address, outside.address).more(&authorise).start();
    let mut client = Client::hello(gateway.inside);
    let reply = client.transaction(BUDI, &[RINA], &letter(SITI, RINA, "vouched", "x"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_signed_by(&outside.find("vouched"), SITI);
    let reply = client.transaction(SITI, &[RINA], &letter(BUDI, RINA, "the-other-way", "x"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
}

/// What a server inside sends round once more, its header section rewritten, is not signed again; a mark that somebody made up
/// changes nothing.
#[test]
fn s20_mail_that_comes_round_is_signed_once() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let post = |mail: &[u8]| crate::support::client::send(gateway.inside, SITI, &[RINA], mail);
    assert!(post(&letter(SITI, RINA, "round", "Sekali saja.")).starts_with("250"));
    let signed = String::from_utf8(outside.find("round").content).unwrap();
    let (header, body) = signed.split_once("\r\n\r\n").unwrap();
    let at = header.find("Segel-Passed: ").expect("a mark");
    let mark: String = header[at..].split_inclusive("\r\n").take(2).collect();
    let again = |id: &str, mark: &str| {
        let fields = format!("From: {SITI}\r\nTo: {RINA}\r\nSubject: Halo\r\nMessage-ID: <{id}@test.example>\r\n");
        assert!(post(format!("{mark}{fields}\r\n{body}").as_bytes()).starts_with("250"));
        outside.find(id).content
    };
    let round = again("again", &mark);
    assert!(round.ends_with(body.as_bytes()) && fields(&round, "Segel-Passed").is_empty());
    assert!(fields(&round, "Content-Type").is_empty());
    let digit = mark.trim_end().chars().last().unwrap();
    let forged = mark.replace(&format!("{digit}\r\n"), if digit == '0' { "1\r\n" } else { "0\r\n" });
    assert_ne!(forged, mark);
    assert_eq!(Pki::shared().verify(&again("forged", &forged), &[]), Ok(SITI.to_owned()));
}

/// A mail that has been through too many hands, and one that has been through ours too often, is refused at the final dot.
#[test]
fn s19_mail_that_loops_is_refused_at_once() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::start());
    let gateway = Setup::new(inside.address, outside.address).start();
    let strange = "Received: from a.example by b.example with SMTP; Sun, 22 Nov 2026 03:00:00 +0000\r\n";
    let own = "Received: from a.example by gerbang.kabupaten.go.id with SMTP; Sun, 22 Nov 2026 03:00:00 +0000\r\n";
    for (id, trace, expected) in [
        ("hops-100", strange.repeat(100), "250 "),
        ("hops-101", strange.repeat(101), "554 5.4.6 "),
        ("own-4", own.repeat(4), "250 "),
        ("own-5", own.repeat(5), "554 5.4.6 "),
    ] {
        let mail = [trace.as_bytes(), &letter(SITI, RINA, id, "x")].concat();
        let reply = send(gateway.inside, SITI, &[RINA], &mail);
        assert!(reply.starts_with(expected), "{id}: {reply}");
        let mail = [trace.as_bytes(), &letter(RINA, SITI, id, "x")].concat();
        let reply = send(gateway.outside, RINA, &[SITI], &mail);
        assert!(reply.starts_with(expected), "{id} from outside: {reply}");
    }
    for sink in [&outside, &inside] {
        sink.find("hops-100");
        sink.find("own-4");
        assert_eq!(sink.mails().len(), 2);
    }
}
