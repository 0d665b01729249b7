//! Copies that are their original with something on top: the crash table's rows again, for mail that is only relayed.

use super::*;
use crate::seal::Rotation;

const TOP: &str = "Received: from mail by gerbang.kabupaten.go.id; canary-on-top\r\n";

fn relayed(size: usize) -> Bytes {
    [TOP.as_bytes(), &message(size)].concat().into()
}

/// Relayed for all; `second` has a copy with other fields on top.
fn relay(size: usize, recipients: &[&str], second: Option<usize>) -> NewRecord {
    let mut record = record(size, recipients);
    let copy = |content: Bytes| NewCopy { content: Transformed::for_test(content), treatment: "plain".to_owned() };
    record.copies = vec![copy(relayed(size))];
    if let Some(recipient) = second {
        record.copies.push(copy([b"X-Other: yes\r\n", &relayed(size)[..]].concat().into()));
        record.recipients[recipient].state = NewState::Pending { copy: 1 };
    }
    record
}

#[tokio::test]
async fn c01_c03_relayed_mail_is_stored_once_and_sent_with_the_same_bytes() {
    for size in [500, 20_000, LARGE] {
        let fixture = Fixture::new().await;
        let names = ["a@example.org", "b@example.org"];
        let first = fixture.queue.commit(relay(size, &names, Some(1))).await.unwrap();
        let sent: Vec<Bytes> = first.iter().map(|delivery| delivery.content.clone()).collect();
        assert_eq!(fixture.count("SELECT count(*) FROM content").await, 1, "one for the original and both copies");
        assert_eq!(fixture.files(), usize::from(size == LARGE));
        let fixture = fixture.restart().await;
        let claimed = fixture.queue.claim(10).await.unwrap();
        assert_eq!(claimed.iter().map(|delivery| delivery.content.clone()).collect::<Vec<_>>(), sent);
        assert_eq!(sent[0], relayed(size));
        assert!(sent[1].starts_with(b"X-Other: yes\r\nReceived: ") && sent[1].ends_with(&message(size)));
        fixture.queue.settle(&claimed[0], all(&claimed[0], &deferred())).await.unwrap();
        fixture.queue.retry(&claimed[0].queue_id, "test").await.unwrap();
        assert_eq!(fixture.queue.claim(10).await.unwrap()[0].content, sent[0]);
        assert_eq!(fixture.queue.original(&claimed[0].queue_id).await.unwrap(), message(size));
    }
}

#[tokio::test]
async fn c04_the_content_of_relayed_mail_goes_with_its_last_recipient() {
    for size in [500, LARGE] {
        let fixture = Fixture::new().await;
        let names = ["a@example.org", "b@example.org", "c@example.org"];
        let first = fixture.queue.commit(relay(size, &names, Some(2))).await.unwrap();
        let id = first[0].queue_id.clone();
        // Two are final, and with them the first copy; the third still waits for the other one.
        fixture.queue.settle(&first[0], all(&first[0], &delivered())).await.unwrap();
        assert_eq!(fixture.count("SELECT count(*) FROM content WHERE wrapped IS NOT NULL").await, 1);
        fixture.queue.settle(&first[1], all(&first[1], &deferred())).await.unwrap();
        fixture.queue.retry(&id, "test").await.unwrap();
        let last = fixture.queue.claim(10).await.unwrap().remove(0);
        assert!(last.content.ends_with(&message(size)));
        assert_eq!(fixture.queue.original(&id).await.unwrap(), message(size));
        fixture.queue.settle(&last, all(&last, &delivered())).await.unwrap();
        assert_eq!(
            fixture
                .count(
                    "SELECT (SELECT count(*) FROM content WHERE wrapped IS NOT NULL) + (SELECT count(*) FROM sealed)"
                )
                .await,
            0
        );
        assert_eq!(fixture.files(), 0);
        assert!(matches!(fixture.queue.original(&id).await, Err(QueueError::Destroyed(_))));
    }
}

#[tokio::test]
async fn c46_relayed_mail_that_an_operator_holds_keeps_what_it_needs() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(relay(500, &["a@example.org", "b@example.org"], Some(1))).await.unwrap();
    let id = first[0].queue_id.clone();
    fixture.queue.release(&first[0]).await.unwrap();
    let request = |change| OperatorRequest {
        id: id.clone(),
        recipients: vec![address("a@example.org")],
        change,
        operator: "siti".to_owned(),
        reason: "test".to_owned(),
    };
    fixture.queue.change(&request(Change::Hold)).await.unwrap();
    fixture.queue.settle(&first[1], all(&first[1], &delivered())).await.unwrap();
    let fixture = fixture.restart().await;
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
    fixture.queue.change(&request(Change::Release)).await.unwrap();
    let again = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!(again.content, relayed(500));
    fixture.queue.release(&again).await.unwrap();
    fixture.queue.change(&request(Change::Delete { notify: false })).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM content WHERE wrapped IS NOT NULL").await, 0);
}

#[tokio::test]
async fn c45_crash_table_13_relayed_mail_that_is_damaged_is_set_aside() {
    for damage in [
        "UPDATE sealed SET octets = substr(octets, 1, length(octets) - 1) WHERE content = 1",
        "UPDATE copy SET top = substr(top, 1, length(top) - 1) WHERE id = 1",
        "UPDATE copy SET below = 100000 WHERE id = 1",
        "UPDATE copy SET below = -1 WHERE id = 1",
        // What stands on top of one copy is not taken for another's.
        "UPDATE copy SET number = 1 WHERE id = 1",
        "UPDATE content SET wrapped = NULL WHERE id = 1",
    ] {
        let fixture = Fixture::new().await;
        let bad = fixture.queue.commit(relay(500, &["bad@example.org"], None)).await.unwrap().remove(0);
        let good = NewRecord { lease: false, ..relay(500, &["good@example.org"], None) };
        fixture.queue.commit(good).await.unwrap();
        fixture.sql(damage).await;
        fixture.queue.release(&bad).await.unwrap();
        let claimed = fixture.queue.claim(10).await.unwrap();
        assert_eq!(claimed.len(), 1, "{damage}: the others go on");
        assert_eq!(claimed[0].recipients[0].address.as_str(), "good@example.org");
        let held = "SELECT count(*) FROM recipient WHERE state = 'held' AND class = 'operator'";
        assert_eq!(fixture.count(held).await, 1, "{damage}");
        assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'damaged'").await, 1, "{damage}");
        assert!(fixture.queue.claim(10).await.unwrap().is_empty(), "{damage}: no loop");
    }
}

#[tokio::test]
async fn relayed_mail_opens_under_another_master_key() {
    let fixture = Fixture::new().await;
    fixture.queue.commit(relay(500, &["a@example.org", "b@example.org"], Some(1))).await.unwrap();
    struct Rewrap(Rotation);
    impl Write for Rewrap {
        type Output = crate::seal::Rewrapped;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, TxError> {
            rewrap(tx, &self.0)
        }
    }
    let to = Arc::new(MasterKey::ephemeral());
    let rotation = Rotation { from: Arc::clone(&fixture.master), to: Arc::clone(&to) };
    let count = fixture.store.write(Rewrap(rotation)).await.unwrap();
    assert_eq!((count.done, count.left), (2, 0), "the details and the original");
    let audit = Audit::open(fixture.store.clone(), Arc::clone(&fixture.master)).await.unwrap();
    let terms = fixture.queue.0.terms();
    let (schedule, notices) = (terms.schedule, terms.notices.clone());
    let queue = Queue::new(fixture.store.clone(), to, audit, fixture.folder.path(), schedule, notices);
    queue.recover().await.unwrap();
    let claimed = queue.claim(10).await.unwrap();
    assert_eq!(claimed.len(), 2);
    assert!(claimed.iter().all(|delivery| delivery.content.ends_with(&relayed(500))));
}

#[tokio::test]
async fn p44_nothing_of_relayed_mail_lies_in_clear() {
    let fixture = Fixture::new().await;
    fixture.queue.commit(relay(500, &["a@example.org"], None)).await.unwrap();
    fixture.queue.commit(relay(LARGE, &["a@example.org"], None)).await.unwrap();
    let mut files = vec![fixture.folder.path().join("segel.db"), fixture.folder.path().join("segel.db-wal")];
    let content = std::fs::read_dir(fixture.folder.path().join("content")).unwrap();
    files.extend(content.map(|entry| entry.unwrap().path()));
    assert_eq!(files.len(), 3);
    for path in files {
        let octets = std::fs::read(&path).unwrap();
        for text in [CANARY, SUBJECT, "canary-on-top"] {
            assert!(!octets.windows(text.len()).any(|window| window == text.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn c04_a_destroyed_key_lies_nowhere_in_the_database() {
    let fixture = Fixture::new().await;
    let path = fixture.folder.path().join("segel.db");
    let mut deliveries = Vec::new();
    // No more than are handed over to a next hop that has not greeted yet.
    for number in 0..45 {
        let size = [300, 20_000][number % 2];
        deliveries.extend(fixture.queue.commit(relay(size, &["a@example.org"], None)).await.unwrap());
        deliveries.extend(fixture.queue.commit(record(size, &["b@example.org"])).await.unwrap());
    }
    let keys: Vec<Vec<u8>> =
        query_scalar("SELECT wrapped FROM content").fetch_all(fixture.store.readers()).await.unwrap();
    assert_eq!((deliveries.len(), keys.len()), (90, 135));
    let found = || {
        // All of the log into the database, and the log emptied.
        let other = rusqlite::Connection::open(&path).unwrap();
        let busy: i64 = other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        let octets = std::fs::read(&path).unwrap();
        let there: std::collections::HashSet<&[u8]> = octets.windows(76).collect();
        keys.iter().filter(|key| there.contains(&key[..])).count()
    };
    assert_eq!((keys[0].len(), found()), (76, 135), "the search would find them");
    for delivery in deliveries {
        fixture.queue.settle(&delivery, all(&delivery, &delivered())).await.unwrap();
    }
    assert_eq!(found(), 0);
}

#[tokio::test]
async fn octets_that_an_older_version_stored_open_and_go() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap().remove(0);
    fixture.sql("UPDATE content SET sealed = (SELECT octets FROM sealed WHERE sealed.content = content.id)").await;
    fixture.sql("DELETE FROM sealed").await;
    assert_eq!(fixture.queue.original(&first.queue_id).await.unwrap(), message(500));
    let fixture = fixture.restart().await;
    let again = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!(again.content, first.content);
    fixture.queue.settle(&again, all(&again, &delivered())).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM content WHERE wrapped IS NOT NULL OR sealed IS NOT NULL").await, 0);
}
