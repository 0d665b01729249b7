use super::{Received, authentication_results, hops, received, rewrite, segel_verdict};
use crate::limits::Limits;

const HOST: &str = "gerbang.kabupaten.example";

fn marked(message: &str) -> String {
    String::from_utf8(rewrite(message.as_bytes(), HOST, "New: field\r\n", &Limits::default())).unwrap()
}

fn check(field: &str, removed: bool) {
    let result = marked(&format!("A: b\r\n{field}C: d \t\r\n\r\nSegel-Verdict: body\r\n"));
    let kept = if removed { "" } else { field };
    assert_eq!(result, format!("New: field\r\nA: b\r\n{kept}C: d \t\r\n\r\nSegel-Verdict: body\r\n"), "{field:?}");
}

#[test]
fn i42_verdict_fields_are_removed_in_every_spelling() {
    for name in [
        "Segel-Verdict",
        "SEGEL-VERDICT",
        "segel-verdict ",
        "Segel-Verdict\t",
        "Segel-Verdict\r\n ",
        "Segel-\r\n Verdict",
        "Segel_Verdict",
        "SegelVerdict",
        "Segel\u{2010}Verdict",
        "Segel\u{ad}-Verdict",
        "Se\u{200b}gel-Verdict",
        "\u{feff}Segel-Verdict",
        "Ｓｅｇｅｌ-Verdict",
        "Segel－Verdict",
        "Ѕegel-Verdict",
        "Sеgel-Vеrdict",
        "SegeI-Verdict",
        "Sege1-Verdict",
        "Ségel-Verdict",
        "𝐒egel-𝓥erdict",
        "=?utf-8?q?Segel-Verdict?=",
        "Segel -Verdict",
        "\u{13da}egel-Verdict",
        "\u{abaa}\u{ab7c}gel-Verdict",
        "\u{a4e2}egel-Verdict",
        "Segel-Verdict\u{a0}",
        "=?utf-8?b?U2VnZWwtVmVyZGljdA==?=",
    ] {
        check(&format!("{name}: valid; by={HOST}\r\n"), true);
    }
    for blank in [" ", "\t", "\u{a0}", "\u{200b}", " \r\n "] {
        let blanks = blank.repeat(2000);
        check(&format!("Segel-Verdict {blanks}: valid\r\n"), true);
        check(&format!("=?utf-8?q?Segel-Verdict?= {blanks}: valid\r\n"), true);
        check(&format!("Return-Path {blanks}: <a@b>\r\n"), true);
        check(&format!("Authentication-Results {blanks}: {HOST}; smime=pass\r\n"), true);
    }
    assert!(!marked("A: b\rSegel-Verdict: valid\r\n\r\n").contains("valid"), "after a bare CR");
    check("Segel-Verdict: valid;\r\n by=x\r\n\t \r\n", true);
    for name in ["Segel", "Segel-Verdicts", "X-Segel-Verdict", "Verdict", "Subject"] {
        check(&format!("{name}: valid\r\n"), false);
    }
}

#[test]
fn i41_results_under_our_name_are_removed_and_others_stay() {
    for value in [
        HOST,
        "GERBANG.Kabupaten.EXAMPLE",
        "(a (b) c) gerbang.kabupaten.example",
        "\"gerbang.kabupaten.example\"",
        "gerbang.kabupaten.example 1",
        "\r\n\tgerbang.kabupaten.example",
        "gerbang(x).kabupaten.example",
        "gerbang.kabupaten.example(x)",
        "gerbang.kabupaten.example.",
        "ｇerbang.kabupaten.example",
        "\"ger\\bang.kabupaten.example\"",
        "gerbang.kabupaten.example/1",
        "gerbang.kabupaten.example, smime=pass",
        "gerbang.kabupaten.example=1",
        "; gerbang.kabupaten.example",
        "mx; gerbang.kabupaten.example",
        "\"a(\" gerbang.kabupaten.example",
        "x (gerbang.kabupaten.example",
        "gerbang.\r\n kabupaten.example",
        "gerbang .kabupaten. example",
        "ger bang.kabupaten.example",
        "\u{a0}gerbang.kabupaten.example\u{a0}",
        "\u{b}gerbang.kabupaten.example\u{c}",
        "ger\u{200b}bang.kabupaten\u{3002}example",
        "=?utf-8?q?gerbang=2Ekabupaten.example?=",
        "i=1; gerbang.kabupaten.example",
    ] {
        check(&format!("Authentication-Results: {value}; smime=pass\r\n"), true);
        check(&format!("authentication-results :{value}\r\n ; smime=pass\r\n"), true);
        check(&format!("ARC-Authentication-Results: i=2; {value}; smime=pass\r\n"), true);
        check(&format!("Authentic\u{430}tion\u{200b}-Results: {value}; smime=pass\r\n"), true);
        check(&format!("=?utf-8?q?Authentication-Results?=: {value}; smime=pass\r\n"), true);
    }
    for value in [
        "mx.example",
        "x.gerbang.kabupaten.example",
        "kabupaten.example",
        "mx (gerbang.kabupaten.example)",
        "",
        "mx; spf=pass smtp.helo=gerbang.kabupaten.example",
        "gerbang.kabupaten.example.org",
    ] {
        check(&format!("Authentication-Results: {value}; smime=pass\r\n"), false);
        check(&format!("ARC-Authentication-Results: i=1; {value}; smime=pass\r\n"), false);
    }
    check(&format!("X-Authentication-Results: {HOST}; spf=pass\r\n"), false);
    let unicode = rewrite(
        "Authentication-Results: xn--bcher-kva.example; x=pass\r\n\r\n".as_bytes(),
        "bücher.example",
        "",
        &Limits::default(),
    );
    assert_eq!(unicode, b"\r\n");
    let ascii = rewrite(
        "Authentication-Results: BÜCHER.example; x=pass\r\n\r\n".as_bytes(),
        "xn--bcher-kva.example",
        "",
        &Limits::default(),
    );
    assert_eq!(ascii, b"\r\n");
}

#[test]
fn s18_return_path_of_a_previous_hop_is_not_left() {
    check("Return-Path: <a@b>\r\n", true);
    check("return-path :\r\n <a@b>\r\n", true);
    assert!(!marked("A: b\r\n\r\n").to_ascii_lowercase().contains("return-path"));
}

#[test]
fn malformed_header_sections_pass_without_forged_fields() {
    for (message, expected) in [
        ("", ""),
        ("\r\nbody", "\r\nbody"),
        ("no field\r\nSegel-Verdict: valid\r\n folded\r\nB: c\r\n\r\nx", "no field\r\nB: c\r\n\r\nx"),
        (" folded\r\nSegel-Verdict: valid", " folded\r\n"),
        ("A: b\nSegel-Verdict: valid\n\nx", "A: b\n\nx"),
    ] {
        assert_eq!(marked(message), format!("New: field\r\n{expected}"));
    }
}

/// Where some readers end a line at CR and others don't, a field that goes takes no empty line along and makes none.
#[test]
fn i42_the_body_stays_the_body_when_a_field_before_it_goes() {
    for (message, expected) in [
        ("A: b\rReturn-Path: <x@y>\r\n\r\nSegel-Verdict: valid\r\n", "A: b\r\n\r\nSegel-Verdict: valid\r\n"),
        ("A: b\rReturn-Path: <x@y>\n\nSegel-Verdict: valid\n", "A: b\r\n\nSegel-Verdict: valid\n"),
        ("A: b\rReturn-Path: <x@y>\r\nC: d\r\n\r\nx", "A: b\r\nC: d\r\n\r\nx"),
        ("A: b\rReturn-Path: <x@y>\rC: d\r\n\r\nx", "A: b\rC: d\r\n\r\nx"),
        ("A: b\r\nReturn-Path: <x@y>\r\r\nC: d\r\n\r\nx", "A: b\r\n\r\r\nC: d\r\n\r\nx"),
        ("Return-Path: <x@y>\r\r\nC: d\r\n\r\nx", "\r\r\nC: d\r\n\r\nx"),
    ] {
        assert_eq!(marked(message), format!("New: field\r\n{expected}"), "{message:?}");
    }
}

#[test]
fn s17_received_names_the_recipient_only_if_asked() {
    let mut value = Received {
        helo: "mail.kabupaten.example",
        peer: "192.0.2.1".parse().unwrap(),
        by: HOST,
        with: "ESMTP",
        tls: None,
        id: "abc234",
        for_one: None,
        at: "2026-11-22T03:00:00Z".parse().unwrap(),
    };
    assert_eq!(
        received(&value),
        "Received: from mail.kabupaten.example ([192.0.2.1])\r\n\tby gerbang.kabupaten.example with ESMTP id abc234;\r\n\
         \tSun, 22 Nov 2026 03:00:00 +0000\r\n"
    );
    value.tls = Some("TLSv1.3 TLS_AES_256_GCM_SHA384) (evil");
    assert!(received(&value).contains("with ESMTP (TLSv1.3 TLS_AES_256_GCM_SHA384 evil)\r\n\tid abc234;"));
    value.helo = "evil\r\n(x) by gerbang;";
    value.peer = "2001:db8::1".parse().unwrap();
    value.for_one = Some("siti@d.example");
    let text = received(&value);
    assert!(text.starts_with("Received: from evilxbygerbang ([IPv6:2001:db8::1])\r\n"), "{text}");
    assert!(text.contains("\r\n\tfor <siti@d.example>;\r\n"), "{text}");
}

#[test]
fn s19_hops_are_counted_in_all_and_our_own() {
    let mut message = "rEceived : from x by mx.example with SMTP;\r\n date\r\n".repeat(99);
    message.push_str("Received: from gerbang.kabupaten.example (by x)\r\n\tby GERBANG.kabupaten.example (Segel) with ESMTP id 1; date\r\n");
    message.push_str("Received: from by-gerbang (gerbang.kabupaten.example) by other.example; x\r\nX-Received: by gerbang.kabupaten.example\r\n");
    message.push_str("\r\nReceived: by gerbang.kabupaten.example\r\n");
    assert_eq!(hops(message.as_bytes(), HOST, &Limits::default()), (101, 1));
    assert_eq!(hops(b"", HOST, &Limits::default()), (0, 0));
}

#[test]
fn our_fields_are_folded_and_hold_one_line_each() {
    let results = ["smime=fail (revoked) smime.identifier=0a1b smime.part=1 reason=\"the certificate was revoked by its issuer\" x=y".to_owned()];
    let field = authentication_results(HOST, &results);
    assert!(field.starts_with("Authentication-Results: gerbang.kabupaten.example;\r\n\tsmime=fail "), "{field}");
    assert!(field.lines().all(|line| line.len() < 78), "{field}");
    assert_eq!(authentication_results("h", &[]), "Authentication-Results: h; none\r\n");
    let verdict = segel_verdict(
        "invalid; reasons=altered,bad-signature; signer=\"a b\r\nX: y\"; encrypted=no",
        false,
        "abc234",
        HOST,
    );
    assert_eq!(
        verdict,
        "Segel-Verdict: invalid; reasons=altered,bad-signature; signer=\"a b  X: y\";\r\n\tencrypted=no; id=abc234; by=gerbang.kabupaten.example\r\n"
    );
    assert_eq!(segel_verdict("none", false, "i", "h"), "Segel-Verdict: none; id=i; by=h\r\n");
}

#[test]
fn o59_own_dkim_signatures_go_and_others_stay() {
    use super::without_dkim;
    use crate::crypto::ContentCipher;
    use crate::mail::Domain;
    use crate::policy::{DomainPolicy, Encrypt, Sign, Substitute, Unvouched};
    let own = [DomainPolicy {
        domain: Domain::parse("kabupaten.example").unwrap(),
        sign: Sign::Required,
        encrypt: Encrypt::Never,
        content_encryption: ContentCipher::Aes256Cbc,
        substitute: Substitute::None,
        unvouched: Unvouched::Refuse,
    }];
    for (field, stays) in [
        ("DKIM-Signature: v=1; a=rsa-sha256; d=kabupaten.example; s=x; b=abc\r\n", false),
        ("dkim-signature : v=1;d=Kabupaten.Example.;\r\n\ts=x\r\n", false),
        ("DKIM-Signature: v=1; d=\r\n mail.kabupaten.example; s=x\r\n", false),
        ("DKIM-Signature: v=1; d=evil-kabupaten.example; s=x\r\n", true),
        ("DKIM-Signature: v=1; d=mitra.example; bd=kabupaten.example\r\n", true),
        ("DKIM-Signature: v=1; s=x\r\n", true),
        ("X-DKIM: d=kabupaten.example\r\n", true),
    ] {
        let message = format!("A: b\r\n{field}C: d\r\n\r\nDKIM-Signature: d=kabupaten.example\r\n");
        let left = String::from_utf8(without_dkim(message.as_bytes(), &own)).unwrap();
        let kept = if stays { field } else { "" };
        assert_eq!(left, format!("A: b\r\n{kept}C: d\r\n\r\nDKIM-Signature: d=kabupaten.example\r\n"));
    }
}
