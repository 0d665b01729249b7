use super::send as send_over;
use crate::config::NextHop;
use crate::limits::Limits;
use crate::mail::{Address, BodyType, ReversePath};
use crate::outbound::Surroundings;
use crate::outbound::connect::{Connection, open};
use crate::queue::{Delivery, DeliveryRecipient, Direction, Outcome, QueueId};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A next hop that answers by rote, and closes where it is told to.
pub(in crate::outbound) struct Hop {
    pub(in crate::outbound) next_hop: NextHop,
    /// Every line it got, connection by connection.
    log: Arc<Mutex<Vec<Vec<String>>>>,
}

/// `(verb, reply)`: the reply to a verb, `.` for the end of data; an empty reply closes the connection.
type Rules = &'static [(&'static str, &'static str)];

impl Hop {
    pub(in crate::outbound) async fn new(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let next_hop =
            NextHop::server("127.0.0.1", listener.local_addr().unwrap().port(), crate::config::DeliverTls::May);
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut log = shared.lock().unwrap();
                    log.push(Vec::new());
                    log.len() - 1
                };
                tokio::spawn(serve(stream, rules, Arc::clone(&shared), number));
            }
        });
        Self { next_hop, log }
    }

    /// Transactions begun so far.
    pub(in crate::outbound) fn mails(&self) -> usize {
        self.log.lock().unwrap().iter().flatten().filter(|line| line.starts_with("MAIL")).count()
    }
}

async fn serve(
    stream: TcpStream,
    rules: Rules,
    log: Arc<Mutex<Vec<Vec<String>>>>,
    number: usize,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 hop ESMTP\r\n").await?;
    let mut data = false;
    while let Some(line) = lines.next_line().await? {
        log.lock().unwrap()[number].push(line.clone());
        let verb = match (data, line.as_str()) {
            (true, ".") => ".",
            (true, _) => continue,
            (false, line) => line.get(..4).unwrap_or(line),
        };
        let rule = rules.iter().find(|(wanted, _)| line.contains(wanted) && (*wanted != "." || verb == "."));
        let reply = match (rule, verb) {
            (Some((_, "")), _) => return Ok(()),
            (Some((_, reply)), _) => reply,
            (None, "EHLO") => "250-hop\r\n250-PIPELINING\r\n250 8BITMIME",
            (None, "DATA") => "354 go",
            (None, _) => "250 ok",
        };
        data = verb == "DATA" && reply.starts_with("354");
        write.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// A delivery whose recipients have the ids from `id` on.
pub(in crate::outbound) fn delivery(next_hop: &NextHop, id: i64, recipients: &[&str]) -> Delivery {
    Delivery {
        dsn: crate::mail::DsnRequest::default(),
        record: id,
        queue_id: QueueId::random(),
        copy: id,
        content: Bytes::from_static(b"Subject: x\r\n\r\n.dot\r\nbody\r\n"),
        reverse_path: ReversePath::Mailbox(Address::parse("a@own.example").unwrap()),
        body: BodyType::SevenBit,
        next_hop: next_hop.clone(),
        recipients: (id..)
            .zip(recipients)
            .map(|(id, text)| DeliveryRecipient {
                warned: false,
                id,
                address: Address::parse(text).unwrap(),
                dsn: crate::mail::RecipientDsn::default(),
                tries: 0,
            })
            .collect(),
        token: [0; 16],
        direction: Direction::Outgoing,
        received: jiff::Timestamp::UNIX_EPOCH,
        message_id: None,
        hold: crate::queue::Hold::default(),
    }
}

pub(in crate::outbound) fn surroundings() -> Arc<Surroundings> {
    Arc::new(Surroundings::new("gate.example", Limits::default()))
}

/// As a lane does it.
pub(in crate::outbound) async fn deliver(
    delivery: &Delivery,
    surroundings: &Arc<Surroundings>,
    connection: &mut Option<Connection>,
) -> Vec<(i64, Outcome)> {
    loop {
        if connection.is_none() {
            match open(&delivery.next_hop, surroundings).await {
                Ok(new) => *connection = Some(new),
                Err(why) => return delivery.recipients.iter().map(|recipient| (recipient.id, why.clone())).collect(),
            }
        }
        if let Some(outcomes) = send_over(delivery, connection, None).await {
            return outcomes;
        }
    }
}

async fn send(hop: &Hop, recipients: &[&str], connection: &mut Option<Connection>) -> Vec<String> {
    let settings = surroundings();
    let outcomes = deliver(&delivery(&hop.next_hop, 5, recipients), &settings, connection).await;
    assert!(outcomes.iter().map(|(id, _)| *id).eq(5..5 + i64::try_from(recipients.len()).unwrap()));
    outcomes
        .into_iter()
        .map(|(_, outcome)| match outcome {
            Outcome::Delivered { .. } => "delivered".to_owned(),
            Outcome::Deferred { status, .. } => format!("deferred {status}"),
            Outcome::Failed { status, .. } => format!("failed {status}"),
        })
        .collect()
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let hop = Hop::new(&[]).await;
    let mut connection = None;
    for _ in 0..3 {
        assert_eq!(send(&hop, &["x@b.example"], &mut connection).await, ["delivered"]);
    }
    let log = hop.log.lock().unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].iter().filter(|line| line.starts_with("MAIL")).count(), 3);
    assert_eq!(log[0][4..10], ["Subject: x", "", "..dot", "body", ".", "MAIL FROM:<a@own.example>"]);
}

#[tokio::test]
async fn a_connection_ends_after_a_hundred_mails() {
    let hop = Hop::new(&[]).await;
    let mut connection = None;
    for _ in 0..101 {
        assert_eq!(send(&hop, &["x@b.example"], &mut connection).await, ["delivered"]);
    }
    assert_eq!(hop.log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn c05_c15_mixed_replies_over_a_socket() {
    let hop = Hop::new(&[("RCPT TO:<later", "450 4.2.1 later"), ("RCPT TO:<no", "550 5.1.1 no")]).await;
    let outcomes = send(&hop, &["later@b.example", "x@b.example", "no@b.example"], &mut None).await;
    assert_eq!(outcomes, ["deferred 4.2.1", "delivered", "failed 5.1.1"]);
}

#[tokio::test]
async fn c16_lost_after_the_final_dot_is_deferred_and_not_repeated() {
    let hop = Hop::new(&[(".", "")]).await;
    assert_eq!(send(&hop, &["x@b.example"], &mut None).await, ["deferred 4.4.2"]);
    assert_eq!(hop.log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_used_connection_that_broke_is_replaced_once() {
    let hop = Hop::new(&[("RCPT TO:<close", "")]).await;
    let mut connection = None;
    assert_eq!(send(&hop, &["x@b.example"], &mut connection).await, ["delivered"]);
    assert_eq!(send(&hop, &["close@b.example"], &mut connection).await, ["deferred 4.4.2"]);
    assert_eq!(hop.log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn c17_an_evil_next_hop_only_defers() {
    for rules in [
        &[("EHLO", "250-a\r\n251 b")][..],
        &[("MAIL", "\u{1b}]0;x\u{7}")],
        &[("DATA", "354-a\r\n250 b")],
        &[(".", "2")],
    ] {
        let rules: Rules = rules;
        let hop = Hop::new(rules).await;
        let outcomes = send(&hop, &["x@b.example"], &mut None).await;
        assert_eq!(outcomes, ["deferred 4.5.0"], "{rules:?}");
    }
}

#[tokio::test]
async fn c19_lone_dot_over_a_socket() {
    let hop = Hop::new(&[("RCPT", "550 5.1.1 no")]).await;
    assert_eq!(send(&hop, &["x@b.example", "y@b.example"], &mut None).await, ["failed 5.1.1"; 2]);
    assert_eq!(hop.log.lock().unwrap()[0][4..], ["DATA".to_owned(), ".".to_owned()]);
}

#[tokio::test]
async fn s22_content_with_bare_line_feeds_does_not_leave() {
    let hop = Hop::new(&[]).await;
    let mut bad = delivery(&hop.next_hop, 5, &["x@b.example"]);
    bad.content = Bytes::from_static(b"Subject: x\r\n\r\na\n.\r\nMAIL FROM:<s@b.example>\r\n");
    let outcomes = deliver(&bad, &surroundings(), &mut None).await;
    assert!(matches!(&outcomes[..], [(5, Outcome::Failed { status, .. })] if status == "5.6.0"));
    assert!(!hop.log.lock().unwrap().iter().flatten().any(|line| line.starts_with("MAIL")));
}

#[tokio::test]
async fn s47_dsn_requests_are_handed_on_and_how_it_went_is_recorded() {
    for (rules, expected) in [
        (
            &[("EHLO", "250-hop\r\n250 DSN")][..],
            [
                "MAIL FROM:<a@own.example> RET=FULL ENVID=id",
                "RCPT TO:<x@b.example> NOTIFY=NEVER ORCPT=rfc822;y@b.example",
            ],
        ),
        (&[], ["MAIL FROM:<a@own.example>", "RCPT TO:<x@b.example>"]),
    ] {
        let rules: Rules = rules;
        let hop = Hop::new(rules).await;
        let mut asked = delivery(&hop.next_hop, 5, &["x@b.example"]);
        asked.dsn =
            crate::mail::DsnRequest { returned: Some(crate::mail::Ret::Full), envelope_id: Some("id".to_owned()) };
        asked.recipients[0].dsn = crate::mail::RecipientDsn {
            notify: Some(crate::mail::Notify::Never),
            original: Some("rfc822;y@b.example".to_owned()),
        };
        let outcomes = deliver(&asked, &surroundings(), &mut None).await;
        let [(5, Outcome::Delivered { via, .. })] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!((via.host.as_str(), &via.tls, via.dsn), ("127.0.0.1", &None, !rules.is_empty()));
        assert_eq!(hop.log.lock().unwrap()[0][1..3], expected);
    }
}

#[tokio::test]
async fn c20_a_connection_of_other_surroundings_is_not_used() {
    let hop = Hop::new(&[]).await;
    let before = surroundings();
    let connection = open(&hop.next_hop, &before).await.unwrap();
    assert!(connection.is_of(&before) && !connection.is_of(&surroundings()));
}

#[tokio::test]
async fn c23_servers_are_tried_in_their_order() {
    let (good, other) = (Hop::new(&[]).await, Hop::new(&[]).await);
    let servers = |hop: &Hop| match &hop.next_hop.to {
        crate::config::Destination::Servers(servers) => servers[0].clone(),
        crate::config::Destination::Mx(_) => panic!("no server"),
    };
    let dead = crate::config::Server { host: "127.0.0.1".to_owned(), port: 1, implicit_tls: false };
    let list = vec![dead, servers(&good), servers(&other)];
    let next_hop = NextHop { to: crate::config::Destination::Servers(list), tls: crate::config::DeliverTls::May };
    let outcomes = deliver(&delivery(&next_hop, 5, &["x@b.example"]), &surroundings(), &mut None).await;
    assert!(matches!(&outcomes[..], [(5, Outcome::Delivered { .. })]), "{outcomes:?}");
    assert_eq!((good.mails(), other.mails()), (1, 0));
}
