use super::{Answer, Client, Fate, Mail, Phase, Recipient, Step};
use crate::limits::Limits;
use crate::mail::{Address, BodyType, DsnRequest, Notify, RecipientDsn, Ret, ReversePath};
use bytes::{Bytes, BytesMut};

/// A next hop that is played by the test.
struct Hop {
    client: Client,
    input: BytesMut,
    step: Step,
}

fn recipient(text: &str) -> Recipient {
    Recipient { address: Address::parse(text).unwrap(), dsn: RecipientDsn::default() }
}

const FULL: &str = "250-hop.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n";

impl Hop {
    fn new() -> Self {
        let client = Client::new("gate.example", &Limits::default());
        Self { client, input: BytesMut::new(), step: Step::Ready }
    }

    /// Greeted and told the capabilities.
    fn ready(ehlo: &str) -> Self {
        let mut hop = Self::new();
        assert_eq!(hop.say("220 hop.example ESMTP\r\n"), "EHLO gate.example\r\n");
        assert_eq!(hop.say(ehlo), "");
        assert_eq!(hop.step, Step::Ready);
        hop
    }

    /// The hop says this; what the client writes then, content included.
    fn say(&mut self, text: &str) -> String {
        self.input.extend_from_slice(text.as_bytes());
        self.go()
    }

    fn go(&mut self) -> String {
        self.step = self.client.next(&mut self.input);
        let mut written = self.client.output().split().to_vec();
        if let Step::Content(pieces) = &self.step {
            written.extend(pieces.concat());
            self.client.content_sent();
            self.step = self.client.next(&mut self.input);
        }
        String::from_utf8(written).unwrap()
    }

    fn send(&mut self, recipients: &[&str], content: &'static [u8]) -> String {
        self.client.send(Mail {
            reverse_path: ReversePath::Mailbox(Address::parse("a@own.example").unwrap()),
            recipients: recipients.iter().map(|text| recipient(text)).collect(),
            body: BodyType::SevenBit,
            dsn: DsnRequest::default(),
            content: Bytes::from_static(content),
        });
        self.go()
    }

    /// One letter and the status for each recipient.
    fn fates(&mut self) -> Vec<String> {
        self.client
            .take_fates()
            .into_iter()
            .map(|fate| match fate {
                Fate::Delivered { reply } => format!("delivered {reply}"),
                Fate::Deferred { status, .. } => format!("deferred {status}"),
                Fate::Failed { status, .. } => format!("failed {status}"),
            })
            .collect()
    }
}

#[test]
fn a_pipelined_mail_and_a_second_one() {
    let mut hop = Hop::ready(FULL);
    for _ in 0..2 {
        let sent = hop.send(&["x@b.example", "y@b.example"], b"one\r\n.two\r\n");
        assert_eq!(
            sent,
            "MAIL FROM:<a@own.example> SIZE=11\r\nRCPT TO:<x@b.example>\r\nRCPT TO:<y@b.example>\r\nDATA\r\n"
        );
        assert_eq!(hop.step, Step::Read(Phase::Command));
        assert!(!hop.client.committed());
        assert_eq!(hop.say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), "one\r\n..two\r\n.\r\n");
        assert_eq!(hop.step, Step::Read(Phase::DataTermination));
        assert!(hop.client.committed());
        assert_eq!(hop.say("250 2.0.0 queued as 7\r\n"), "");
        assert_eq!(hop.step, Step::Ready);
        assert_eq!(hop.fates(), ["delivered 250 2.0.0 queued as 7", "delivered 250 2.0.0 queued as 7"]);
    }
}

#[test]
fn without_pipelining_one_command_at_a_time() {
    let mut hop = Hop::ready("250 hop.example\r\n");
    assert_eq!(hop.send(&["x@b.example", "y@b.example"], b"m\r\n"), "MAIL FROM:<a@own.example>\r\n");
    assert_eq!(hop.say("250 ok\r\n"), "RCPT TO:<x@b.example>\r\n");
    assert_eq!(hop.say("250 ok\r\n"), "RCPT TO:<y@b.example>\r\n");
    assert_eq!(hop.say("450 4.2.1 later\r\n"), "DATA\r\n");
    assert_eq!(hop.step, Step::Read(Phase::DataInitiation));
    assert_eq!(hop.say("354 go\r\n"), "m\r\n.\r\n");
    hop.say("250 ok\r\n");
    assert_eq!(hop.fates(), ["delivered 250 ok", "deferred 4.2.1"]);
    // All refused: no DATA, and RSET before the next mail.
    assert_eq!(hop.send(&["x@b.example"], b"m\r\n"), "MAIL FROM:<a@own.example>\r\n");
    assert_eq!(hop.say("250 ok\r\n"), "RCPT TO:<x@b.example>\r\n");
    assert_eq!(hop.say("550 5.1.1 no\r\n"), "RSET\r\n");
    hop.say("250 ok\r\n");
    assert_eq!((hop.step.clone(), hop.fates()), (Step::Ready, vec!["failed 5.1.1".to_owned()]));
}

#[test]
fn c05_each_recipient_has_his_own_outcome() {
    let mut hop = Hop::ready(FULL);
    hop.send(&["x@b.example", "y@b.example", "z@b.example"], b"m\r\n");
    hop.say("250 ok\r\n250 ok\r\n450 4.2.2 full\r\n550 5.1.1 no\r\n354 go\r\n");
    hop.say("250 done\r\n");
    assert_eq!(hop.fates(), ["delivered 250 done", "deferred 4.2.2", "failed 5.1.1"]);
}

#[test]
fn c40_a_refusal_is_marked_as_the_next_hops_words() {
    let mut hop = Hop::ready(FULL);
    hop.send(&["x@b.example", "y@b.example"], b"m\r\n");
    hop.say("250 ok\r\n550 5.1.1 no\r\n450 4.2.1 later\r\n354 go\r\n");
    hop.say("250 ok\r\n");
    let diagnostic = |fate: &Fate| match fate {
        Fate::Deferred { diagnostic, .. } | Fate::Failed { diagnostic, .. } => diagnostic.clone(),
        Fate::Delivered { reply } => reply.clone(),
    };
    let found: Vec<String> = hop.client.take_fates().iter().map(diagnostic).collect();
    assert_eq!(found, ["smtp; 550 5.1.1 no", "smtp; 450 4.2.1 later"]);
    hop.client.lost("connection lost");
    assert_eq!(diagnostic(&hop.client.trouble()), "connection lost");
}

#[test]
fn c15_scope_of_refusals() {
    #[track_caller]
    fn check(script: &[&str], expected: [&str; 2]) {
        let mut hop = Hop::new();
        let mut sent = false;
        for reply in script {
            hop.say(reply);
            if hop.step == Step::Ready && !sent {
                sent = true;
                hop.send(&["x@b.example", "y@b.example"], b"m\r\n");
            }
        }
        if !sent {
            // What the shell does when the connection can't be used.
            assert_eq!(hop.step, Step::Broken);
            hop.client.send(Mail {
                reverse_path: ReversePath::Null,
                recipients: vec![recipient("x@b.example"), recipient("y@b.example")],
                body: BodyType::SevenBit,
                dsn: DsnRequest::default(),
                content: Bytes::from_static(b"m\r\n"),
            });
        }
        assert_eq!(hop.fates(), expected, "{script:?}");
    }
    let open = "220 hi\r\n";
    check(&["421 4.3.2 closing\r\n"], ["deferred 4.3.2"; 2]);
    check(&["450 busy\r\n"], ["deferred 4.3.0"; 2]);
    check(&["554 5.7.1 go away\r\n"], ["deferred 4.3.0"; 2]);
    check(&[open, "451 4.7.1 later\r\n"], ["deferred 4.3.0"; 2]);
    check(&[open, "500 what\r\n", "550 5.7.1 no\r\n"], ["deferred 4.3.0"; 2]);
    check(&[open, FULL, "451 4.7.1 greylisted\r\n503 no\r\n503 no\r\n503 no\r\n", "250 ok\r\n"], ["deferred 4.7.1"; 2]);
    check(&[open, FULL, "550 5.7.1 bad sender\r\n503 no\r\n503 no\r\n554 no\r\n", "250 ok\r\n"], ["failed 5.7.1"; 2]);
    check(
        &[open, FULL, "250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n", "250 done\r\n"],
        ["failed 5.1.1", "delivered 250 done"],
    );
    check(
        &[open, FULL, "250 ok\r\n450 later\r\n250 ok\r\n451 4.3.0 no data\r\n", "250 ok\r\n"],
        ["deferred 4.0.0", "deferred 4.3.0"],
    );
    check(
        &[open, FULL, "250 ok\r\n550 no\r\n250 ok\r\n554 5.5.1 no data\r\n", "250 ok\r\n"],
        ["failed 5.0.0", "failed 5.5.1"],
    );
    check(
        &[open, FULL, "250 ok\r\n450 x\r\n250 ok\r\n354 go\r\n", "554 5.6.0 content\r\n"],
        ["deferred 4.0.0", "failed 5.6.0"],
    );
    check(&[open, FULL, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "452 4.3.1 disk\r\n"], ["deferred 4.3.1"; 2]);
    check(&[open, FULL, "250 ok\r\n550 5.1.1 no\r\n421 4.3.2 bye\r\n"], ["failed 5.1.1", "deferred 4.3.2"]);
    check(&[open, FULL, "250 ok\r\n250 ok\r\n250 ok\r\n220 odd\r\n", "250 ok\r\n"], ["deferred 4.5.0"; 2]);
}

#[test]
fn c16_timeouts_and_lost_connections() {
    let minutes = [
        (Phase::Greeting, 5),
        (Phase::Command, 5),
        (Phase::Recipient, 5),
        (Phase::DataInitiation, 2),
        (Phase::DataBlock, 3),
        (Phase::DataTermination, 10),
    ];
    for (phase, expected) in minutes {
        assert_eq!(phase.timeout().as_secs(), expected * 60);
    }
    let mut hop = Hop::ready(FULL);
    hop.send(&["x@b.example", "y@b.example"], b"m\r\n");
    hop.say("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n");
    hop.client.lost("connection closed by the next hop");
    assert_eq!(hop.fates(), ["deferred 4.4.2", "failed 5.1.1"]);
    assert_eq!(hop.client.next(&mut BytesMut::new()), Step::Broken);
}

#[test]
fn c17_broken_replies_defer() {
    for reply in ["250-a\r\n251 b\r\n", "hello\r\n", &"x".repeat(5000), &"250-x\r\n".repeat(200)] {
        let mut hop = Hop::ready(FULL);
        hop.send(&["x@b.example"], b"m\r\n");
        hop.say(reply);
        assert_eq!((hop.step.clone(), hop.fates()), (Step::Broken, vec!["deferred 4.5.0".to_owned()]));
    }
}

#[test]
fn c18_helo_only_where_nothing_is_needed() {
    let mut hop = Hop::new();
    hop.say("220 hi\r\n");
    assert_eq!(hop.say("502 what\r\n"), "HELO gate.example\r\n");
    hop.say("250 hop\r\n");
    assert_eq!(hop.send(&["x@b.example"], b"\xe9\r\n"), "");
    assert_eq!((hop.step.clone(), hop.fates()), (Step::Ready, vec!["failed 5.6.3".to_owned()]));
    assert_eq!(hop.send(&["x@b.example"], b"m\r\n"), "MAIL FROM:<a@own.example>\r\n");
}

#[test]
fn c19_lone_dot_when_nobody_was_accepted() {
    let mut hop = Hop::ready(FULL);
    hop.send(&["x@b.example", "y@b.example"], b"secret\r\n");
    assert_eq!(hop.say("250 ok\r\n550 5.1.1 no\r\n450 4.2.1 later\r\n354 go\r\n"), ".\r\n");
    hop.say("250 taken anyway\r\n");
    assert_eq!(
        (hop.step.clone(), hop.fates()),
        (Step::Ready, vec!["failed 5.1.1".to_owned(), "deferred 4.2.1".to_owned()])
    );
}

#[test]
fn s22_nothing_bare_is_sent() {
    for content in [&b"a\n.\r\nb\r\n"[..], b"a\r.\r\n", b"a\nb", b"a\0b\r\n", b"a\r"] {
        let mut hop = Hop::ready(FULL);
        hop.client.send(Mail {
            reverse_path: ReversePath::Null,
            recipients: vec![recipient("x@b.example")],
            body: BodyType::SevenBit,
            dsn: DsnRequest::default(),
            content: Bytes::copy_from_slice(content),
        });
        assert_eq!(hop.go(), "");
        assert_eq!((hop.step.clone(), hop.fates()), (Step::Ready, vec!["failed 5.6.0".to_owned()]));
    }
}

#[test]
fn s32_size_of_the_next_hop_is_respected() {
    let large: &'static [u8] = &[b'x'; 1001];
    let mut hop = Hop::ready(FULL);
    assert_eq!(hop.send(&["x@b.example"], large), "");
    assert_eq!(hop.fates(), ["failed 5.3.4"]);
    for ehlo in ["250-hop\r\n250 SIZE 0\r\n", "250-hop\r\n250 SIZE\r\n"] {
        let mut hop = Hop::ready(ehlo);
        assert_eq!(hop.send(&["x@b.example"], large), "MAIL FROM:<a@own.example> SIZE=1001\r\n");
    }
}

#[test]
fn s33_eight_bit_content_is_declared() {
    let mut hop = Hop::ready(FULL);
    assert!(hop.send(&["x@b.example"], b"\xe9\r\n").starts_with("MAIL FROM:<a@own.example> SIZE=3 BODY=8BITMIME\r\n"));
}

#[test]
fn many_recipients_go_in_groups() {
    let mut hop = Hop::ready(FULL);
    let names: Vec<_> = (0..250).map(|number| format!("u{number}@b.example")).collect();
    let mut sent = hop.send(&names.iter().map(String::as_str).collect::<Vec<_>>(), b"m\r\n");
    let mut rounds = 0;
    while !sent.contains("DATA") {
        assert!(sent.lines().count() <= 100);
        rounds += 1;
        let replies = "250 ok\r\n".repeat(sent.lines().count());
        sent = hop.say(&replies);
    }
    assert_eq!(rounds, 2);
    let replies = "250 ok\r\n".repeat(sent.lines().count() - 1) + "354 go\r\n";
    assert_eq!(hop.say(&replies), "m\r\n.\r\n");
    hop.say("250 done\r\n");
    assert_eq!(hop.fates(), vec!["delivered 250 done"; 250]);
}

/// STARTTLS up to the handshake.
fn asked_for_tls(reply: &str) -> Hop {
    let mut hop = Hop::ready("250-hop.example\r\n250-DSN\r\n250-AUTH LOGIN\r\n250 STARTTLS\r\n");
    assert!(hop.client.capabilities().start_tls && !hop.client.capabilities().auth_plain);
    hop.client.start_tls();
    assert_eq!(hop.go(), "STARTTLS\r\n");
    hop.say(reply);
    hop
}

#[test]
fn s38_after_starttls_everything_is_forgotten() {
    let mut hop = asked_for_tls("220 go\r\n");
    assert_eq!(hop.step, Step::Handshake);
    hop.client.secured();
    assert_eq!(hop.go(), "EHLO gate.example\r\n");
    assert!(!hop.client.capabilities().dsn);
    hop.say("250-hop.example\r\n250-AUTH PLAIN\r\n250 SIZE 5\r\n");
    assert_eq!(hop.step, Step::Ready);
    let found = hop.client.capabilities();
    assert!(found.auth_plain && !found.start_tls && !found.dsn && found.size == Some(5));
}

#[test]
fn s38_plain_text_behind_the_answer_to_starttls_ends_the_connection() {
    for more in ["250 injected\r\n", "2", "250-x\r\n"] {
        let mut hop = asked_for_tls(&format!("220 go\r\n{more}"));
        assert_eq!(hop.step, Step::Broken, "{more}");
        hop.send(&["x@b.example"], b"m\r\n");
        assert_eq!(hop.fates(), ["deferred 4.7.5"]);
    }
}

#[test]
fn c30_a_refused_starttls_leaves_the_connection_as_it_is() {
    let mut hop = asked_for_tls("454 4.7.0 not now\r\n");
    assert_eq!((hop.step.clone(), hop.client.tls_refusal()), (Step::Ready, Some("454 4.7.0 not now")));
    assert_eq!(hop.send(&["x@b.example"], b"m\r\n"), "MAIL FROM:<a@own.example>\r\n");
    let hop = asked_for_tls("421 4.7.0 bye\r\n");
    assert_eq!(hop.step, Step::Broken);
}

#[test]
fn c23_auth_plain() {
    for (ehlo, reply, expected) in [
        ("250-hop\r\n250 AUTH LOGIN PLAIN\r\n", "235 2.7.0 welcome\r\n", None),
        ("250-hop\r\n250 AUTH PLAIN\r\n", "535 5.7.8 wrong\r\n", Some("deferred 4.7.8")),
        ("250-hop\r\n250 AUTH PLAIN\r\n", "334 \r\n", Some("deferred 4.7.8")),
        ("250-hop\r\n250 AUTH LOGIN\r\n", "", Some("deferred 4.7.0")),
        ("250 hop\r\n", "", Some("deferred 4.7.0")),
    ] {
        let mut hop = Hop::ready(ehlo);
        hop.client.authenticate("gate", "rahasia");
        let sent = hop.go();
        if reply.is_empty() {
            assert_eq!(sent, "");
        } else {
            // printf '\0gate\0rahasia' | base64
            assert_eq!(sent, "AUTH PLAIN AGdhdGUAcmFoYXNpYQ==\r\n");
            hop.say(reply);
        }
        match expected {
            None => assert_eq!(hop.step, Step::Ready),
            Some(expected) => {
                assert_eq!(hop.step, Step::Broken);
                hop.send(&["x@b.example"], b"m\r\n");
                assert_eq!(hop.fates(), [expected]);
            }
        }
    }
}

#[test]
fn s47_dsn_parameters_are_handed_on_where_they_are_offered() {
    #[track_caller]
    fn check(ehlo: &str, notify: Option<Notify>, original: Option<&str>, expected: &str) {
        let mut hop = Hop::ready(ehlo);
        let dsn = RecipientDsn { notify, original: original.map(str::to_owned) };
        hop.client.send(Mail {
            reverse_path: ReversePath::Null,
            recipients: vec![Recipient { address: Address::parse("x+y=z@b.example").unwrap(), dsn }],
            body: BodyType::SevenBit,
            dsn: DsnRequest { returned: Some(Ret::Headers), envelope_id: Some("QQ+3D314159".to_owned()) },
            content: Bytes::from_static(b"m\r\n"),
        });
        assert_eq!(hop.go(), expected);
    }
    let dsn = "250-hop\r\n250-PIPELINING\r\n250 DSN\r\n";
    let mail = "MAIL FROM:<> RET=HDRS ENVID=QQ+3D314159\r\n";
    let all = Notify::On { success: true, failure: true, delay: false };
    let rcpt = |parameters: &str| format!("{mail}RCPT TO:<x+y=z@b.example>{parameters}\r\nDATA\r\n");
    check(
        dsn,
        Some(Notify::Never),
        Some("rfc822;old+2Bx@a.example"),
        &rcpt(" NOTIFY=NEVER ORCPT=rfc822;old+2Bx@a.example"),
    );
    check(dsn, None, Some("x400;y"), &rcpt(" ORCPT=x400;y"));
    check(dsn, None, None, &rcpt(""));
    check(dsn, Some(all), None, &rcpt(" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By+3Dz@b.example"));
    check(dsn, None, Some("rfc822;a b\r\nDATA"), &rcpt(""));
    let without = "250-hop\r\n250 PIPELINING\r\n";
    check(without, Some(all), Some("rfc822;a@b"), "MAIL FROM:<>\r\nRCPT TO:<x+y=z@b.example>\r\nDATA\r\n");
}

#[test]
fn c15_recipients_that_are_too_many_are_sent_in_another_transaction() {
    let mut hop = Hop::ready(FULL);
    hop.send(&["a@b.example", "b@b.example", "c@b.example", "d@b.example"], b"m\r\n");
    let replies = "250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n550 5.1.1 no\r\n452 too many\r\n354 go\r\n";
    assert_eq!(hop.say(replies), "m\r\n.\r\n");
    let again = "MAIL FROM:<a@own.example> SIZE=3\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<d@b.example>\r\nDATA\r\n";
    assert_eq!(hop.say("250 one\r\n"), again);
    // Somebody who is too many although he is the first waits.
    assert_eq!(hop.say("250 ok\r\n452 4.5.3 too many\r\n250 ok\r\n354 go\r\n"), "m\r\n.\r\n");
    hop.say("250 two\r\n");
    assert_eq!(hop.step, Step::Ready);
    assert_eq!(hop.fates(), ["delivered 250 one", "deferred 4.5.3", "failed 5.1.1", "delivered 250 two"]);
}

#[test]
fn c15_452_for_other_reasons_is_no_other_transaction() {
    for (reply, fate) in [("452 4.2.2 full", "deferred 4.2.2"), ("552 5.2.2 full", "failed 5.2.2")] {
        let mut hop = Hop::ready(FULL);
        hop.send(&["a@b.example", "b@b.example"], b"m\r\n");
        hop.say(&format!("250 ok\r\n250 ok\r\n{reply}\r\n354 go\r\n"));
        assert_eq!(hop.say("250 one\r\n"), "");
        assert_eq!(hop.fates(), ["delivered 250 one", fate]);
    }
    // The transaction itself is refused: the rest has its own word.
    let mut hop = Hop::ready(FULL);
    hop.send(&["a@b.example", "b@b.example"], b"m\r\n");
    hop.say("250 ok\r\n250 ok\r\n552 5.5.3 too many\r\n354 go\r\n");
    assert_eq!(hop.say("554 5.6.0 content\r\n"), "");
    assert_eq!(hop.fates(), ["failed 5.6.0", "deferred 4.5.3"]);
}

#[test]
fn s63_a_recipient_is_asked_for_without_mail() {
    #[track_caller]
    fn check(ehlo: &str, replies: &[&str], expected: Answer) {
        let mut hop = Hop::ready(ehlo);
        hop.client.ask(&Address::parse("x@b.example").unwrap());
        let mut sent = hop.go();
        for reply in replies {
            sent += &hop.say(reply);
        }
        assert!(sent.starts_with("MAIL FROM:<>") && !sent.contains("DATA"), "{sent}");
        assert_eq!(hop.step, Step::Ready);
        assert_eq!(hop.client.take_answer(), expected, "{replies:?}");
    }
    let plain = "250 hop\r\n";
    let refused = || Answer::Refused("550 5.1.1 no".to_owned());
    let unclear = |text: &str| Answer::Unclear(text.to_owned());
    check(FULL, &["250 ok\r\n250 ok\r\n250 ok\r\n"], Answer::Taken);
    check(FULL, &["250 ok\r\n550 5.1.1 no\r\n250 ok\r\n"], refused());
    check(plain, &["250 ok\r\n", "550 5.1.1 no\r\n", "250 ok\r\n"], refused());
    check(plain, &["250 ok\r\n", "450 4.2.1 later\r\n", "250 ok\r\n"], unclear("smtp; 450 4.2.1 later"));
    check(plain, &["550 5.7.1 no notices\r\n", "250 ok\r\n"], unclear("smtp; 550 5.7.1 no notices"));
    check(FULL, &["550 5.7.1 no\r\n503 x\r\n250 ok\r\n", "250 ok\r\n"], unclear("smtp; 550 5.7.1 no"));
}
