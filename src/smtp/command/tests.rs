use super::{Command, ForwardPath, MailParameters};
use crate::mail::{BodyType, ReversePath};

/// What was understood, in one line; a refusal as the reply's codes.
fn parse(line: &str) -> String {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Mail(path, parameters)) => {
            let path = match path {
                ReversePath::Null => String::new(),
                ReversePath::Mailbox(address) => address.as_str().to_owned(),
            };
            let MailParameters { size, body, dsn, auth } = parameters;
            let size = size.map(|size| format!(" size {size}")).unwrap_or_default();
            let body = match body {
                None => "",
                Some(BodyType::SevenBit) => " 7",
                Some(BodyType::EightBitMime) => " 8",
            };
            let ret = dsn.returned.map(|ret| format!(" ret {}", ret.name())).unwrap_or_default();
            let envid = dsn.envelope_id.map(|id| format!(" envid {id}")).unwrap_or_default();
            let auth = auth.map(|auth| format!(" auth {auth}")).unwrap_or_default();
            format!("mail <{path}>{size}{body}{ret}{envid}{auth}")
        }
        Ok(Command::Rcpt(ForwardPath::Postmaster, _)) => "rcpt postmaster".to_owned(),
        Ok(Command::Rcpt(ForwardPath::Mailbox(address), parameters)) => {
            let notify = parameters.dsn.notify.map(|notify| format!(" notify {}", notify.text())).unwrap_or_default();
            let original = parameters.dsn.original.map(|text| format!(" orcpt {text}")).unwrap_or_default();
            format!("rcpt <{}>{notify}{original}", address.as_str())
        }
        Ok(Command::Auth(mechanism, response)) => {
            let response = response.map(|response| format!(" {}", response.0.as_str())).unwrap_or_default();
            format!("auth {mechanism}{response}")
        }
        Ok(Command::Ehlo(host)) => format!("ehlo {host}"),
        Ok(Command::Helo(host)) => format!("helo {host}"),
        Ok(command) => format!("{command:?}").to_lowercase(),
        Err(error) => {
            let reply = error.reply();
            format!("{} {}", reply.code(), reply.enhanced().unwrap())
        }
    }
}

#[track_caller]
fn check(line: &str, expected: &str) {
    assert_eq!(parse(line), expected, "{line}");
}

#[test]
fn s03_hosts() {
    check("EHLO mail.example.org", "ehlo mail.example.org");
    check("ehlo no.such.host.invalid", "ehlo no.such.host.invalid");
    check("EHLO [192.0.2.1]", "ehlo [192.0.2.1]");
    check("EHLO [IPv6:2001:db8::1]", "ehlo [IPv6:2001:db8::1]");
    check("HELO localhost", "helo localhost");
    check("EHLO my_host", "ehlo my_host");
    check("EHLO x y", "501 5.5.2");
    check("EHLO", "501 5.5.2");
    check("HELO ", "501 5.5.2");
    check("EHLO [192.0.2.999]", "501 5.5.2");
    check("EHLO <x>", "501 5.5.2");
    check("EHLO a(b)", "501 5.5.2");
    check("EHLO a..b", "501 5.5.2");
    check(&format!("EHLO {}", "a".repeat(256)), "501 5.5.2");
}

#[test]
fn s04_verbs() {
    check("RSET", "rset");
    check("rSeT ", "rset");
    check("NOOP", "noop");
    check("NOOP with an argument", "noop");
    check("QUIT", "quit");
    check("VRFY someone", "vrfy");
    check("VRFY", "501 5.5.4");
    check("HELP MAIL", "help");
    for verb in ["EXPN list", "BDAT 10 LAST", "ETRN x"] {
        check(verb, "unimplemented");
    }
    for verb in ["", " ", "FOO", "MAILFROM:<a@b.example>", "GET / HTTP/1.1", "DATAX"] {
        check(verb, "500 5.5.1");
    }
    for line in ["DATA now", "QUIT x", "RSET x", "STARTTLS now", "AUTH", "AUTH PL/AIN", "AUTH PLAIN AAAA BBBB"] {
        check(line, "501 5.5.4");
    }
}

#[test]
fn s04_parameters() {
    check("MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME", "mail <a@b.example> size 100 8");
    check("mail from:<a@b.example> body=7bit", "mail <a@b.example> 7");
    check("MAIL FROM: <a@b.example>", "mail <a@b.example>");
    check("MAIL FROM:<a@b.example> SIZE=99999999999999999999", "mail <a@b.example> size 18446744073709551615");
    for parameter in ["SMTPUTF8", "X", "SIZES=1", "BY=120;R", "MT-PRIORITY=3"] {
        check(&format!("MAIL FROM:<a@b.example> {parameter}"), "555 5.5.4");
        check(&format!("RCPT TO:<a@b.example> {parameter}"), "555 5.5.4");
    }
    for parameter in ["SIZE", "SIZE=", "SIZE=-1", "SIZE=1a", "SIZE=1 SIZE=2", "BODY=BINARYMIME", "BODY", "=", "A=b=c"] {
        check(&format!("MAIL FROM:<a@b.example> {parameter}"), "501 5.5.4");
    }
    check("MAIL FROM:<a@b.example>SIZE=1", "501 5.1.7");
}

#[test]
fn s09_paths_survive_unchanged() {
    check("MAIL FROM:<\"a b\"@d.example>", "mail <\"a b\"@d.example>");
    check("RCPT TO:<\"a\\\"b>c\\\\\"@d.example>", "rcpt <\"a\\\"b>c\\\\\"@d.example>");
    check("RCPT TO:<UsEr+tag@D.Example>", "rcpt <UsEr+tag@D.Example>");
    check("RCPT TO:<a@[192.0.2.1]>", "rcpt <a@[192.0.2.1]>");
    check("RCPT TO:<a@[IPv6:2001:db8::1]>", "rcpt <a@[IPv6:2001:db8::1]>");
    let local = "l".repeat(64);
    let domain = format!("{}.{}.{}.example", "d".repeat(60), "e".repeat(60), "f".repeat(60));
    check(&format!("RCPT TO:<{local}@{domain}>"), &format!("rcpt <{local}@{domain}>"));
    check("RCPT TO:<@a.example,@b.example:u@d.example>", "rcpt <u@d.example>");
    check("MAIL FROM:<@a.example:\"x:y\"@d.example>", "mail <\"x:y\"@d.example>");
    check("RCPT TO:<@a.example,b.example:u@d.example>", "501 5.1.3");
    check("RCPT TO:<@a.example:>", "501 5.1.3");
    check("RCPT TO:<@a.example>", "501 5.1.3");
    for path in ["", "a", "@", "a@", "a b@c.example", "a@b@c.example", "<a@b.example>", "\"a@b.example"] {
        check(&format!("RCPT TO:<{path}>"), "501 5.1.3");
    }
    for line in
        ["RCPT", "RCPT TO", "RCPT TO:", "RCPT TO:a@b.example", "RCPT TO:<a@b.example", "RCPT FROM:<a@b.example>"]
    {
        check(line, "501 5.1.3");
    }
    check("MAIL FROM:a@b.example", "501 5.1.7");
}

#[test]
fn s11_postmaster_without_domain() {
    for path in ["postmaster", "Postmaster", "POSTMASTER", "pOsTmAsTeR"] {
        check(&format!("RCPT TO:<{path}>"), "rcpt postmaster");
    }
    check("MAIL FROM:<postmaster>", "501 5.1.7");
}

#[test]
fn s12_null_reverse_path() {
    check("MAIL FROM:<>", "mail <>");
    check("MAIL FROM:<> SIZE=5", "mail <> size 5");
    check("RCPT TO:<>", "501 5.1.3");
}

#[test]
fn s25_no_control_characters_in_parameters() {
    for octet in (0..0x20).chain([0x7f]) {
        let octet = char::from(octet);
        for line in [
            format!("MAIL FROM:<a{octet}b@c.example>"),
            format!("RCPT TO:<\"a{octet}b\"@c.example>"),
            format!("RCPT TO:<\"a\\{octet}b\"@c.example>"),
            format!("MAIL FROM:<a@c.example> SIZE=1{octet}"),
            format!("EHLO a{octet}b"),
            format!("NOOP {octet}"),
        ] {
            check(&line, "500 5.5.2");
        }
    }
    check("RCPT TO:<a@b.example> ORCPT=rfc822;a+0D+0AX", "501 5.5.4");
    check("MAIL FROM:<a@b.example> ENVID=a+0D+0AX", "501 5.5.4");
    check("MAIL FROM:<a\u{e9}@b.example>", "553 5.6.7");
    assert!(Command::parse(b"RCPT TO:<a\xff@b.example>").is_err());
}

#[test]
fn s43_auth_and_starttls() {
    check("STARTTLS", "starttls");
    check("starttls ", "starttls");
    check("AUTH PLAIN", "auth PLAIN");
    check("auth plain AGEAYg==", "auth PLAIN AGEAYg==");
    check("AUTH EXTERNAL =", "auth EXTERNAL =");
    check("AUTH SCRAM-SHA-256", "auth SCRAM-SHA-256");
    // What was said to prove something is never printed.
    let command = Command::parse(b"AUTH PLAIN c2VjcmV0").unwrap();
    assert!(!format!("{command:?}").contains("c2Vj"), "{command:?}");
}

#[test]
fn s46_auth_parameter() {
    check("MAIL FROM:<a@b.example> AUTH=<>", "mail <a@b.example> auth <>");
    check("MAIL FROM:<a@b.example> AUTH=e+3Dmc2@example.com", "mail <a@b.example> auth e+3Dmc2@example.com");
    for parameter in ["AUTH=", "AUTH", "AUTH=a+0Ab", "AUTH=<> AUTH=<>", "AUTH=a+3db"] {
        check(&format!("MAIL FROM:<a@b.example> {parameter}"), "501 5.5.4");
    }
    check("RCPT TO:<a@b.example> AUTH=<>", "555 5.5.4");
}

#[test]
fn s47_dsn_parameters() {
    check("MAIL FROM:<a@b.example> RET=FULL ENVID=QQ314159", "mail <a@b.example> ret FULL envid QQ314159");
    check("MAIL FROM:<> envid=a+20b+2Bc ret=hdrs size=7", "mail <> size 7 ret HDRS envid a+20b+2Bc");
    check("RCPT TO:<a@b.example> NOTIFY=never", "rcpt <a@b.example> notify NEVER");
    check(
        "RCPT TO:<a@b.example> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;A+2Bb@C.example",
        "rcpt <a@b.example> notify SUCCESS,DELAY orcpt rfc822;A+2Bb@C.example",
    );
    check("RCPT TO:<a@b.example> ORCPT=x400;/c=us", "501 5.5.4");
    let id = "x".repeat(100);
    check(&format!("MAIL FROM:<> ENVID={id}"), &format!("mail <> envid {id}"));
    check(&format!("MAIL FROM:<> ENVID={id}x"), "501 5.5.4");
    let original = format!("rfc822;{}", "y".repeat(493));
    check(&format!("RCPT TO:<a@b.example> ORCPT={original}"), &format!("rcpt <a@b.example> orcpt {original}"));
    check(&format!("RCPT TO:<a@b.example> ORCPT={original}y"), "501 5.5.4");
    for parameter in ["RET", "RET=SOME", "RET=FULL RET=FULL", "ENVID", "ENVID=a+2", "ENVID=a+2b", "ENVID=a ENVID=b"] {
        check(&format!("MAIL FROM:<a@b.example> {parameter}"), "501 5.5.4");
    }
    for parameter in [
        "NOTIFY",
        "NOTIFY=",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=SUCCESS,",
        "NOTIFY=SOMETIMES",
        "NOTIFY=NEVER NOTIFY=NEVER",
        "ORCPT=a@b.example",
        "ORCPT=;a@b.example",
        "ORCPT=rfc822;",
        "ORCPT=rfc(822;a@b.example",
        "ORCPT=rfc822;a ORCPT=rfc822;a",
    ] {
        check(&format!("RCPT TO:<a@b.example> {parameter}"), "501 5.5.4");
    }
    for line in ["MAIL FROM:<a@b.example> NOTIFY=NEVER", "RCPT TO:<a@b.example> RET=FULL"] {
        check(line, "555 5.5.4");
    }
}
