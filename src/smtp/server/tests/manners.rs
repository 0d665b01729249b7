use super::super::Settings;
use super::{ENVELOPE, Server, settings};
use crate::mail::{Notify, Ret};

#[test]
fn s47_dsn_parameters_go_with_their_recipients() {
    let mut server = Server::greeted();
    server.script(&[
        ("MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ1", "250 2.1.0 "),
        ("RCPT TO:<u@own.example> NOTIFY=NEVER", "250 2.1.5 "),
        ("RCPT TO:<x@elsewhere.example> NOTIFY=SUCCESS", "550 5.7.1 "),
        ("RCPT TO:<v@own.example>", "250 2.1.5 "),
        ("RCPT TO:<bad NOTIFY=FAILURE", "501 5.1.3 "),
        ("RCPT TO:<w@own.example> NOTIFY=DELAY ORCPT=rfc822;W@Own.example", "250 2.1.5 "),
        ("DATA", "354 "),
        ("x\r\n.", "250 2.6.0 "),
    ]);
    let envelope = &server.envelopes[0];
    assert_eq!((envelope.dsn.returned, envelope.dsn.envelope_id.as_deref()), (Some(Ret::Headers), Some("QQ1")));
    let asked: Vec<_> = envelope.recipients.iter().map(ToString::to_string).zip(&envelope.recipient_dsn).collect();
    assert_eq!(asked.len(), 3);
    assert_eq!((asked[0].0.as_str(), asked[0].1.notify), ("u@own.example", Some(Notify::Never)));
    assert_eq!((asked[1].0.as_str(), asked[1].1.notify), ("v@own.example", None));
    let last = Notify::On { success: false, failure: false, delay: true };
    assert_eq!((asked[2].0.as_str(), asked[2].1.notify), ("w@own.example", Some(last)));
    assert_eq!(asked[2].1.original.as_deref(), Some("rfc822;W@Own.example"));
}

#[test]
fn s47_parameters_need_ehlo() {
    let mut server = Server::new(1000, 1 << 20);
    server.send("HELO c.example\r\n");
    server.script(&[
        ("MAIL FROM:<a@b.example> RET=FULL", "555 5.5.4 "),
        ("MAIL FROM:<a@b.example> AUTH=<>", "555 5.5.4 "),
        ENVELOPE[0],
        ("RCPT TO:<u@own.example> NOTIFY=NEVER", "555 5.5.4 "),
        ENVELOPE[1],
    ]);
}

#[test]
fn s24_what_comes_before_its_time_ends_the_session() {
    let strict = Settings { strict: true, ..settings() };
    for group in ["EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n", "HELO c.example\r\nNOOP\r\n", "EHLO c.example\r\nM"]
    {
        let mut server = Server::with(strict.clone(), 1 << 20);
        let replies = server.send(group);
        assert!(replies.starts_with("554 5.5.0 ") && replies.lines().count() == 1 && server.closed, "{replies}");
        // Others are served, and what came early with them.
        assert!(Server::new(1000, 1 << 20).send(group).starts_with("250"));
    }
    let mut server = Server::with(strict.clone(), 1 << 20);
    server.send("EHLO c.example\r\n");
    server.script(&ENVELOPE);
    let replies = server.send("DATA\r\nSubject: early\r\n");
    assert!(replies.starts_with("554 5.5.0 ") && server.closed, "{replies}");
    // RFC 2920 lets DATA end a group, and the next one follow the final dot.
    let mut server = Server::with(strict, 1 << 20);
    server.send("EHLO c.example\r\n");
    let group = "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@own.example>\r\nDATA\r\n";
    assert!(server.send(group).ends_with("354 End data with <CR><LF>.<CR><LF>\r\n"));
    assert!(server.send(format!("x\r\n.\r\n{group}")).contains("354 "));
    server.send("y\r\n.\r\nQUIT\r\n");
    assert_eq!(server.messages.len(), 2);
}

#[test]
fn s66_errors_are_answered_ever_more_slowly() {
    let mut server = Server::with(Settings { tarpit: true, ..settings() }, 1 << 20);
    server.send("EHLO c.example\r\n");
    server.script(&ENVELOPE[..1]);
    for number in 0..10 {
        server.script(&[(&format!("RCPT TO:<u{number}@elsewhere.example>"), "550 5.7.1 ")]);
    }
    assert_eq!(server.pauses, [1, 2, 3, 4, 5, 5, 5]);
    assert_eq!(server.dialogue.errors(), 10);
    assert_eq!(server.dialogue.errors(), 0);
    // Mail that was taken makes up for it.
    server.script(&[ENVELOPE[1], ("DATA", "354 "), ("x\r\n.", "250 "), ("FOO", "500 5.5.1 ")]);
    assert_eq!(server.pauses.len(), 7);
    // In one group as well.
    let mut server = Server::with(Settings { tarpit: true, ..settings() }, 1 << 20);
    server.send("FOO\r\n".repeat(6));
    assert_eq!(server.pauses, [1, 2, 3]);
    let mut server = Server::greeted();
    server.send("FOO\r\n".repeat(10));
    assert!(server.pauses.is_empty());
}

#[test]
fn s64_a_421_ends_the_session() {
    let mut server = Server::greeted();
    server.dialogue.close(&crate::smtp::Reply::new(421, 7, 0, "Too many errors, try again later"));
    assert!(server.send("NOOP\r\n").starts_with("421 4.7.0 ") && server.closed);
}
