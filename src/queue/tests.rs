//! The crash table's rows, and the requirements the queue answers for. A crash is simulated by opening the data
//! directory again after a step; the kill from outside is in `tests/`.

#![expect(clippy::disallowed_methods, reason = "the tests look at and damage the queue's files")]

mod disk;
mod dsn;
mod held;
mod operator;
mod shared;
mod told;

use super::*;
use crate::audit::Event;
use crate::config::NextHop;
use crate::mail::{Address, BodyType, ReversePath};
use crate::plan::Transformed;
use crate::policy::HoldClass;
use crate::reason::Reason;
use crate::smime::Verdict;
use crate::store::{Tx, TxError, Write};
use bytes::Bytes;
use jiff::Timestamp;
use sqlx::query_scalar;

const CANARY: &str = "canary-of-the-content";
const SUBJECT: &str = "canary-of-the-subject";

struct Fixture {
    folder: tempfile::TempDir,
    master: Arc<MasterKey>,
    store: Store,
    queue: Queue,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = Arc::new(MasterKey::ephemeral());
        let (store, queue) = open(folder.path(), &master).await;
        Self { folder, master, store, queue }
    }

    /// What a restart does, without an orderly end of the former process.
    async fn restart(self) -> Self {
        let (store, queue) = open(self.folder.path(), &self.master).await;
        queue.recover().await.unwrap();
        Self { store, queue, ..self }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        query_scalar(sql).fetch_one(self.store.readers()).await.unwrap()
    }

    async fn sql(&self, sql: &'static str) {
        self.store.write(Sql(sql)).await.unwrap();
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("content")).map_or(0, Iterator::count)
    }
}

struct Sql(&'static str);

impl Write for Sql {
    type Output = ();
    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        tx.execute(self.0, &[]).map(|_| ())
    }
}

/// Keeps the writer busy until all tasks that there are have handed over their jobs.
async fn together(store: &Store) {
    struct Gate(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);
    impl Write for Gate {
        type Output = ();
        fn apply(&self, _tx: &mut Tx<'_>) -> Result<(), TxError> {
            self.0.lock().unwrap().recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            Ok(())
        }
    }
    let (go_on, wait) = std::sync::mpsc::channel();
    let gate = store.write(Gate(std::sync::Mutex::new(wait)));
    let rest = async {
        // The test's runtime has one thread: each turn takes every task as far as it goes.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
    };
    tokio::join!(biased; gate, rest).0.unwrap();
}

async fn open(folder: &Path, master: &Arc<MasterKey>) -> (Store, Queue) {
    let store = Store::open(&folder.join("segel.db")).await.unwrap();
    let audit = Audit::open(store.clone(), Arc::clone(master)).await.unwrap();
    let notices = Notices {
        hostname: "gerbang.kabupaten.go.id".to_owned(),
        postmaster: address("postmaster@kabupaten.go.id"),
        own: Arc::new(|domain| domain.as_str() == "kabupaten.go.id"),
        router: Arc::new(|_| hop(2525)),
    };
    let queue = Queue::new(store.clone(), Arc::clone(master), audit, folder, Schedule::default(), notices);
    (store, queue)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn hop(port: u16) -> NextHop {
    NextHop::server("127.0.0.1", port, crate::config::DeliverTls::May)
}

fn message(size: usize) -> Bytes {
    let mut text = format!("From: siti@kabupaten.go.id\r\nSubject: {SUBJECT}\r\n\r\n{CANARY}\r\n");
    while text.len() < size {
        text.push_str("filling filling filling filling\r\n");
    }
    text.into()
}

/// A copy that is not its original with something on top, as signed mail is not.
fn copied(size: usize) -> Bytes {
    [&message(size)[..], b"signed\r\n"].concat().into()
}

fn record(size: usize, recipients: &[&str]) -> NewRecord {
    let id = QueueId::random();
    let event = Event::Accepted {
        queue_id: id.to_string(),
        direction: "outgoing".to_owned(),
        verdict: "none".to_owned(),
        reasons: Vec::new(),
        policy: "hash".to_owned(),
        rule: "test".to_owned(),
        recipients: recipients.len(),
        encrypted: 0,
        opened: false,
        held: 0,
        size,
        message_id: Some("<1@x>".to_owned()),
        sender: Some(address("siti@kabupaten.go.id")),
    };
    NewRecord {
        dsn: crate::mail::DsnRequest::default(),
        sender_proven: true,
        id,
        direction: Direction::Outgoing,
        received: crate::clock::now(),
        listener: "dalam".to_owned(),
        peer: "127.0.0.1".to_owned(),
        helo: "mail".to_owned(),
        reverse_path: ReversePath::Mailbox(address("siti@kabupaten.go.id")),
        body: BodyType::SevenBit,
        header_from: Some(address("siti@kabupaten.go.id")),
        message_id: Some("<1@x>".to_owned()),
        verdict: Verdict::None,
        reasons: Vec::new(),
        signer: None,
        serial: None,
        original: message(size),
        copies: vec![NewCopy { content: Transformed::for_test(copied(size)), treatment: "signed".to_owned() }],
        encrypted_to: Vec::new(),
        outer_verdict: None,
        recipients: recipients
            .iter()
            .map(|text| NewRecipient {
                dsn: crate::mail::RecipientDsn::default(),
                address: address(text),
                next_hop: hop(25),
                state: NewState::Pending { copy: 0 },
            })
            .collect(),
        details: serde_json::json!({"subject": SUBJECT}),
        policy: "hash".to_owned(),
        rule: "test".to_owned(),
        evidence: crate::smime::inspect::Evidence::default(),
        notice_for: None,
        events: vec![event],
        lease: true,
    }
}

fn held(recipient: &str) -> NewRecord {
    let mut record = record(100, &[recipient]);
    record.copies.clear();
    record.recipients[0].state =
        NewState::Held { class: HoldClass::Quarantine, reasons: vec![Reason::Expired, Reason::Revoked] };
    record
}

fn delivered() -> Outcome {
    Outcome::Delivered { reply: "250 2.0.0 ok".to_owned(), via: crate::queue::Via::default() }
}

fn deferred() -> Outcome {
    Outcome::Deferred { status: "4.2.0".to_owned(), diagnostic: "smtp; 450 later".to_owned() }
}

fn failed() -> Outcome {
    Outcome::Failed { status: "5.1.1".to_owned(), diagnostic: "smtp; 550 no such user".to_owned() }
}

fn all(delivery: &Delivery, outcome: &Outcome) -> Vec<(i64, Outcome)> {
    delivery.recipients.iter().map(|recipient| (recipient.id, outcome.clone())).collect()
}

const LARGE: usize = 300 << 10;

#[tokio::test]
async fn c01_crash_table_1_and_2_orphan_content_is_removed() {
    let fixture = Fixture::new().await;
    fixture.queue.commit(record(LARGE, &["a@example.org"])).await.unwrap();
    assert_eq!(fixture.files(), 2);
    std::fs::write(fixture.folder.path().join("content").join("0123"), b"half").unwrap();
    let fixture = fixture.restart().await;
    assert_eq!(fixture.files(), 2, "those with rows stay");
    assert_eq!(fixture.queue.claim(10).await.unwrap()[0].content, copied(LARGE));
}

#[tokio::test]
async fn c01_crash_table_2_uncommitted_is_not_there() {
    struct Fails;
    impl Write for Fails {
        type Output = ();
        fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
            tx.execute("INSERT INTO content (size, master) VALUES (1, 'x')", &[])?;
            Err(TxError::NoRow)
        }
    }
    let fixture = Fixture::new().await;
    assert!(fixture.store.write(Fails).await.is_err());
    let mut twice = record(LARGE, &["a@example.org"]);
    twice.id = QueueId::parse("aaaaaaaaaaaa").unwrap();
    fixture.queue.commit(twice).await.unwrap();
    let mut twice = record(LARGE, &["a@example.org"]);
    twice.id = QueueId::parse("aaaaaaaaaaaa").unwrap();
    assert!(fixture.queue.commit(twice).await.is_err(), "the id is taken");
    assert_eq!(fixture.files(), 2, "the files of the failed transaction are gone");
    assert_eq!(fixture.count("SELECT count(*) FROM content").await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM audit").await, 1);
    let fixture = fixture.restart().await;
    assert_eq!(fixture.queue.claim(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn c01_crash_table_3_an_abandoned_commit_stores_nothing() {
    let fixture = Fixture::new().await;
    let queue = fixture.queue.clone();
    {
        let commit = queue.commit(record(LARGE, &["a@example.org"]));
        // Sealed and written, then the client is gone before the writer took it.
        let ended = tokio::time::timeout(std::time::Duration::ZERO, commit).await;
        assert!(ended.is_err());
    }
    // Whatever the abandoned one still does in its thread comes before the next one's end.
    fixture.queue.commit(record(LARGE, &["b@example.org"])).await.unwrap();
    for _ in 0..3000 {
        if fixture.files() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(fixture.files(), 2);
    assert_eq!(fixture.count("SELECT count(*) FROM record").await, 1);
}

#[tokio::test]
async fn c01_crash_table_5_and_6_committed_is_delivered_after_restart() {
    let fixture = Fixture::new().await;
    let leased = fixture.queue.commit(record(20_000, &["a@example.org", "b@example.org"])).await.unwrap();
    assert_eq!((leased.len(), leased[0].recipients.len()), (1, 2));
    assert!(fixture.queue.claim(10).await.unwrap().is_empty(), "leased: not handed out twice");
    let fixture = fixture.restart().await;
    let claimed = fixture.queue.claim(10).await.unwrap();
    assert_eq!(claimed[0].content, leased[0].content);
    assert_eq!(claimed[0].recipients.len(), 2);
    assert_eq!(claimed[0].queue_id, leased[0].queue_id);
    assert_eq!(claimed[0].recipients[0].id, leased[0].recipients[0].id);
    assert_ne!(claimed[0].token, leased[0].token);
}

#[tokio::test]
async fn c03_crash_table_7_a_retry_sends_the_same_bytes() {
    for size in [500, LARGE] {
        let fixture = Fixture::new().await;
        let first = fixture.queue.commit(record(size, &["a@example.org"])).await.unwrap().remove(0);
        fixture.queue.settle(&first, all(&first, &deferred())).await.unwrap();
        assert!(fixture.queue.claim(10).await.unwrap().is_empty(), "not due yet");
        assert_eq!(fixture.queue.retry(&first.queue_id, "test").await.unwrap(), 1);
        let second = fixture.queue.claim(10).await.unwrap().remove(0);
        assert_eq!(second.content, first.content);
        assert_eq!(second.recipients[0].tries, 1);
        assert_eq!(fixture.count("SELECT count(*) FROM content").await, 2, "one original, one copy");
    }
}

#[tokio::test]
async fn c02_crash_table_8_unsettled_is_delivered_again_never_lost() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap().remove(0);
    // The next hop has said 250; the crash comes before settle.
    let fixture = fixture.restart().await;
    let again = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!((&again.content, &again.message_id), (&first.content, &first.message_id));
    fixture.queue.settle(&again, all(&again, &delivered())).await.unwrap();
    let fixture = fixture.restart().await;
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn c05_crash_table_9_settled_recipients_are_not_sent_again() {
    let fixture = Fixture::new().await;
    let names = ["done@example.org", "later@example.org", "never@example.org"];
    let first = fixture.queue.commit(record(500, &names)).await.unwrap().remove(0);
    let outcomes = first.recipients.iter().map(|r| r.id).zip([delivered(), deferred(), failed()]).collect();
    fixture.queue.settle(&first, outcomes).await.unwrap();
    let states: Vec<String> = query_scalar("SELECT state FROM recipient WHERE record = 1 ORDER BY id")
        .fetch_all(fixture.store.readers())
        .await
        .unwrap();
    assert_eq!(states, ["delivered", "pending", "failed"]);
    let fixture = fixture.restart().await;
    fixture.queue.retry(&first.queue_id, "test").await.unwrap();
    let claimed = fixture.queue.claim(10).await.unwrap();
    let again = claimed.iter().find(|delivery| delivery.queue_id == first.queue_id).unwrap();
    assert_eq!(again.recipients.len(), 1);
    assert_eq!(again.recipients[0].address.as_str(), "later@example.org");
}

#[tokio::test]
async fn c40_crash_table_10_failure_notice_and_audit_are_one_transaction() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(record(500, &["a@example.org", "b@example.org"])).await.unwrap().remove(0);
    let before = fixture.store.commits();
    fixture.queue.settle(&first, all(&first, &failed())).await.unwrap();
    assert_eq!(fixture.store.commits() - before, 1);
    // Settled twice, as after a lost reply: nothing happens twice.
    assert!(matches!(fixture.queue.settle(&first, all(&first, &failed())).await, Err(QueueError::LeaseLost(_))));
    assert_eq!(fixture.count("SELECT count(*) FROM record WHERE direction = 'notice'").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'failed'").await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'notice'").await, 1);
    let notice = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!(notice.direction, Direction::Notice);
    assert!(matches!(notice.reverse_path, ReversePath::Null));
    assert_eq!(notice.recipients[0].address.as_str(), "siti@kabupaten.go.id");
    assert_eq!(notice.next_hop, hop(2525));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("a@example.org") && text.contains("b@example.org"), "{text}");
    assert!(!text.contains(CANARY), "headers only");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap();
    assert_eq!(Some(field("Message-ID: ")), notice.message_id);
    assert_eq!(field("Message-ID: ").matches(['<', '>']).count(), 2);
    assert_eq!(field("Diagnostic-Code: "), "smtp; 550 no such user");
}

#[tokio::test]
async fn c42_of_discreet_mail_no_word_of_the_next_hop_is_kept() {
    let fixture = Fixture::new().await;
    let secret = |code: u16| format!("smtp; {code} 5.7.1 refused: secret");
    for (discreet, codes) in [(None, 0), (Some(Verdict::None), 1)] {
        let mut mail = record(500, &["a@example.org", "b@example.org", "c@example.org"]);
        (mail.outer_verdict, mail.direction, mail.reverse_path) = (discreet, Direction::Incoming, ReversePath::Null);
        let first = fixture.queue.commit(mail).await.unwrap().remove(0);
        let outcomes = [
            Outcome::Failed { status: "5.7.1".to_owned(), diagnostic: secret(550) },
            Outcome::Deferred { status: "4.7.1".to_owned(), diagnostic: secret(450) },
            Outcome::Delivered { reply: "250 2.0.0 secret".to_owned(), via: crate::queue::Via::default() },
        ];
        let ids = first.recipients.iter().map(|recipient| recipient.id);
        fixture.queue.settle(&first, ids.zip(outcomes).collect()).await.unwrap();
        // The second mail adds none.
        assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE diagnostic LIKE '%secret%'").await, 3);
        let kept = "SELECT count(DISTINCT diagnostic) / 3 FROM recipient \
                    WHERE diagnostic IN ('smtp; 550 5.7.1', 'smtp; 450 5.7.1', '250 2.0.0')";
        assert_eq!(fixture.count(kept).await, codes);
    }
}

#[tokio::test]
async fn c40_no_notice_to_a_null_reverse_path_and_c45_nothing_is_discarded() {
    let fixture = Fixture::new().await;
    let mut bounce = record(500, &["a@example.org"]);
    bounce.reverse_path = ReversePath::Null;
    let first = fixture.queue.commit(bounce).await.unwrap().remove(0);
    fixture.queue.settle(&first, all(&first, &failed())).await.unwrap();
    let double = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!(double.recipients[0].address.as_str(), "postmaster@kabupaten.go.id");
    fixture.queue.settle(&double, all(&double, &failed())).await.unwrap();
    assert!(fixture.queue.claim(10).await.unwrap().is_empty(), "no loop");
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'notice'").await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM record WHERE final IS NULL").await, 0);
}

#[test]
fn c41_notices_never_go_to_possibly_forged_senders() {
    use notice::{Addressee, DOUBLE_BOUNCE, addressee};
    let sender = ReversePath::Mailbox(address("x@example.org"));
    for (direction, rule, verdict, null, expected) in [
        (Direction::Incoming, "unproven", "none", false, Addressee::Postmaster),
        (Direction::Incoming, "unproven", "valid", false, Addressee::Postmaster),
        (Direction::Outgoing, "", "none", false, Addressee::Sender),
        (Direction::Outgoing, "", "none", true, Addressee::Postmaster),
        (Direction::Incoming, "", "valid", false, Addressee::Sender),
        (Direction::Incoming, "", "none", false, Addressee::Sender),
        (Direction::Incoming, "", "invalid", false, Addressee::Postmaster),
        (Direction::Incoming, "", "indeterminate", false, Addressee::Postmaster),
        (Direction::Incoming, "", "valid", true, Addressee::Postmaster),
        (Direction::Notice, "failure-notice", "none", true, Addressee::Postmaster),
        (Direction::Notice, DOUBLE_BOUNCE, "none", true, Addressee::Nobody),
    ] {
        let path = if null { &ReversePath::Null } else { &sender };
        assert_eq!(
            addressee(direction, rule, verdict, rule != "unproven", path),
            expected,
            "{direction:?} {rule} {verdict} {null}"
        );
    }
}

#[tokio::test]
async fn c04_crash_table_11_final_content_file_is_removed() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(record(LARGE, &["a@example.org", "b@example.org"])).await.unwrap().remove(0);
    let ids: Vec<i64> = first.recipients.iter().map(|recipient| recipient.id).collect();
    fixture.queue.settle(&first, vec![(ids[0], delivered())]).await.unwrap();
    assert_eq!(fixture.queue.original(&first.queue_id).await.unwrap(), message(LARGE), "kept until all are final");
    assert_eq!(fixture.files(), 2);
    fixture.queue.settle(&first, vec![(ids[1], delivered())]).await.unwrap();
    assert_eq!(fixture.files(), 0);
    assert!(matches!(fixture.queue.original(&first.queue_id).await, Err(QueueError::Destroyed(_))));
    assert_eq!(fixture.count("SELECT count(*) FROM content WHERE wrapped IS NOT NULL").await, 0);
    // A file that the crash left behind.
    std::fs::write(fixture.folder.path().join("content").join("left"), b"sealed").unwrap();
    assert_eq!(fixture.restart().await.files(), 0);
}

#[tokio::test]
async fn c04_the_original_stays_while_somebody_is_held() {
    let fixture = Fixture::new().await;
    let mut mixed = record(500, &["a@example.org", "b@example.org"]);
    mixed.recipients[1].state = NewState::Held { class: HoldClass::Quarantine, reasons: vec![Reason::Revoked] };
    let first = fixture.queue.commit(mixed).await.unwrap().remove(0);
    assert_eq!(first.recipients.len(), 1);
    fixture.queue.settle(&first, all(&first, &delivered())).await.unwrap();
    assert_eq!(fixture.queue.original(&first.queue_id).await.unwrap(), message(500));
    assert_eq!(fixture.count("SELECT count(*) FROM content WHERE wrapped IS NOT NULL").await, 1, "the copy is gone");
}

#[tokio::test]
async fn c02_crash_table_12_a_late_settlement_changes_nothing() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap().remove(0);
    // As if another process had taken it over.
    fixture.sql("UPDATE recipient SET lease = NULL, token = NULL").await;
    let second = fixture.queue.claim(10).await.unwrap().remove(0);
    let late = fixture.queue.settle(&first, all(&first, &failed())).await;
    assert!(matches!(late, Err(QueueError::LeaseLost(_))));
    assert_eq!(fixture.count("SELECT count(*) FROM record").await, 1, "no notice");
    fixture.queue.settle(&second, all(&second, &delivered())).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'failed'").await, 0);
}

#[tokio::test]
async fn c45_crash_table_13_damage_is_set_aside() {
    for size in [500, LARGE] {
        let fixture = Fixture::new().await;
        let bad = fixture.queue.commit(record(size, &["bad@example.org"])).await.unwrap().remove(0);
        let mut other = record(500, &["good@example.org"]);
        other.lease = false;
        fixture.queue.commit(other).await.unwrap();
        if size == LARGE {
            let name: String =
                query_scalar("SELECT file FROM content WHERE id = 2").fetch_one(fixture.store.readers()).await.unwrap();
            let path = fixture.folder.path().join("content").join(name);
            let mut octets = std::fs::read(&path).unwrap();
            octets[70_000] ^= 1;
            std::fs::write(&path, octets).unwrap();
        } else {
            fixture
                .sql("UPDATE sealed SET octets = substr(octets, 1, length(octets) - 1) || x'00' WHERE content = 2")
                .await;
        }
        fixture.queue.release(&bad).await.unwrap();
        let claimed = fixture.queue.claim(10).await.unwrap();
        assert_eq!(claimed.len(), 1, "the others go on");
        assert_eq!(claimed[0].recipients[0].address.as_str(), "good@example.org");
        assert_eq!(
            fixture.count("SELECT count(*) FROM recipient WHERE state = 'held' AND class = 'operator'").await,
            1
        );
        assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'damaged'").await, 1);
        assert!(fixture.queue.claim(10).await.unwrap().is_empty(), "no loop");
        assert_eq!(fixture.queue.original(&bad.queue_id).await.unwrap(), message(size), "the original is whole");
    }
}
