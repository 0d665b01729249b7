//! What an operator does to mail on its way (C46).

use super::*;

fn request(id: &QueueId, recipients: &[&str], change: Change) -> OperatorRequest {
    OperatorRequest {
        id: id.clone(),
        recipients: recipients.iter().map(|text| address(text)).collect(),
        change,
        operator: "adi".to_owned(),
        reason: "ticket 7".to_owned(),
    }
}

const DELETE: Change = Change::Delete { notify: false };

/// Mail for `a` and `b` that was deferred: nobody holds it.
async fn waiting(fixture: &Fixture) -> Delivery {
    let first = fixture.queue.commit(record(LARGE, &["a@example.org", "b@example.org"])).await.unwrap().remove(0);
    fixture.queue.settle(&first, all(&first, &deferred())).await.unwrap();
    first
}

fn states(changed: &[Changed]) -> Vec<(&str, &str, bool)> {
    changed.iter().map(|one| (one.address.as_str(), one.state.as_str(), one.changed)).collect()
}

#[tokio::test]
async fn c46_held_mail_waits_through_a_restart_and_goes_on_as_it_was() {
    let fixture = Fixture::new().await;
    let first = waiting(&fixture).await;
    let id = &first.queue_id;
    let hold = request(id, &["A@example.org"], Change::Hold);
    assert_eq!(states(&fixture.queue.change(&hold).await.unwrap()), [("a@example.org", "held (operator)", true)]);
    // Again: so already, and no second row in the audit log.
    assert_eq!(states(&fixture.queue.change(&hold).await.unwrap()), [("a@example.org", "held (operator)", false)]);
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'operator-held'").await, 1);
    let fixture = fixture.restart().await;
    fixture.queue.retry(id, "adi").await.unwrap();
    let other = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!(other.recipients.len(), 1);
    assert_eq!(other.recipients[0].address.as_str(), "b@example.org");
    // The other one is done; the copy stays for the held one.
    fixture.queue.settle(&other, all(&other, &delivered())).await.unwrap();
    let fixture = fixture.restart().await;
    let release = request(id, &[], Change::Release);
    let released = fixture.queue.change(&release).await.unwrap();
    assert_eq!(states(&released), [("a@example.org", "pending", true), ("b@example.org", "delivered", false)]);
    let fixture = fixture.restart().await;
    let again = fixture.queue.claim(10).await.unwrap().remove(0);
    assert_eq!((&again.content, again.recipients[0].tries), (&first.content, 1));
    fixture.queue.settle(&again, all(&again, &delivered())).await.unwrap();
    assert_eq!(fixture.files(), 0);
    let audit = fixture.queue.0.audit.search(&crate::audit::Search::default(), 50).await.unwrap();
    let row = audit.rows.iter().find(|row| row.event == "operator-released").unwrap();
    let text = serde_json::to_string(row).unwrap();
    assert!(text.contains("adi") && text.contains("ticket 7") && text.contains("a@example.org"), "{text}");
}

#[tokio::test]
async fn c46_what_is_under_way_is_not_touched() {
    let fixture = Fixture::new().await;
    let leased = fixture.queue.commit(record(500, &["a@example.org", "b@example.org"])).await.unwrap().remove(0);
    fixture.queue.settle(&leased, vec![(leased.recipients[1].id, deferred())]).await.unwrap();
    let id = &leased.queue_id;
    for change in [Change::Hold, DELETE] {
        // `try_change` gives its answer at once, `change` waits.
        let refused = fixture.queue.try_change(&request(id, &[], change)).await;
        assert!(matches!(refused, Err(ChangeError::Busy(ref who)) if who == "<a@example.org>"), "{refused:?}");
        // A lease that has ended by the clock is held all the same while it is in memory.
        fixture.sql("UPDATE recipient SET lease = 1 WHERE lease IS NOT NULL").await;
    }
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'pending'").await, 2);
    assert!(fixture.queue.try_change(&request(id, &["b@example.org"], Change::Hold)).await.is_ok());
    // The delivery ends while the operator waits.
    let (queue, asked) = (fixture.queue.clone(), request(id, &["a@example.org"], DELETE));
    let waits = tokio::spawn(async move { queue.change(&asked).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    fixture.queue.settle(&leased, vec![(leased.recipients[0].id, delivered())]).await.unwrap();
    let refused = waits.await.unwrap();
    assert!(matches!(refused, Err(ChangeError::NotPossible { ref state, .. }) if state == "delivered"), "{refused:?}");
    // Leases of a dead process are nobody's.
    let mut other = record(500, &["c@example.org"]);
    other.lease = true;
    let dead = fixture.queue.commit(other).await.unwrap().remove(0);
    let id = dead.queue_id.clone();
    drop(dead);
    assert!(matches!(fixture.queue.try_change(&request(&id, &[], DELETE)).await, Err(ChangeError::Busy(_))));
    fixture.queue.void_leases().await.unwrap();
    assert!(fixture.queue.try_change(&request(&id, &[], DELETE)).await.is_ok());
}

#[tokio::test]
async fn c46_deleted_mail_is_gone_and_the_sender_hears_of_it_only_if_asked() {
    for (notify, wants, notices) in [(false, None, 0), (true, None, 1), (true, Some(crate::mail::Notify::Never), 0)] {
        let fixture = Fixture::new().await;
        let mut mail = record(LARGE, &["a@example.org", "b@example.org"]);
        (mail.lease, mail.recipients[0].dsn.notify) = (false, wants);
        let id = mail.id.clone();
        fixture.queue.commit(mail).await.unwrap();
        fixture.queue.change(&request(&id, &["a@example.org"], Change::Hold)).await.unwrap();
        let done = fixture.queue.change(&request(&id, &["a@example.org"], Change::Delete { notify })).await.unwrap();
        assert_eq!(states(&done), [("a@example.org", "destroyed", true)]);
        assert_eq!(done[0].notified, notices == 1);
        assert_eq!(fixture.queue.original(&id).await.unwrap(), message(LARGE), "the other one waits");
        let last = fixture.queue.change(&request(&id, &[], DELETE)).await.unwrap();
        assert_eq!(states(&last), [("a@example.org", "destroyed", false), ("b@example.org", "destroyed", true)]);
        assert!(matches!(fixture.queue.original(&id).await, Err(QueueError::Destroyed(_))));
        assert_eq!(fixture.files(), 0);
        let twice = fixture.queue.change(&request(&id, &[], DELETE)).await.unwrap();
        assert!(twice.iter().all(|one| !one.changed));
        assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'operator-deleted'").await, 2);
        let fixture = fixture.restart().await;
        let found = fixture.queue.claim(10).await.unwrap();
        assert_eq!(found.len(), notices);
        for notice in found {
            let text = String::from_utf8_lossy(&notice.content).into_owned();
            assert!(text.contains("Status: 5.7.1") && text.contains("deleted by the administrator"), "{text}");
            assert!(text.contains("a@example.org") && !text.contains("b@example.org"), "{text}");
        }
    }
}

#[tokio::test]
async fn c46_what_is_in_quarantine_is_not_let_go_from_here() {
    let fixture = Fixture::new().await;
    let mail = held("budi@kabupaten.go.id");
    let id = mail.id.clone();
    fixture.queue.commit(mail).await.unwrap();
    for (change, word) in
        [(Change::Release, "quarantine release"), (Change::Hold, "already"), (DELETE, "quarantine reject")]
    {
        let refused = fixture.queue.change(&request(&id, &[], change)).await.unwrap_err();
        assert!(refused.to_string().contains(word) && refused.to_string().contains("held (quarantine)"), "{refused}");
    }
    let stranger = fixture.queue.change(&request(&id, &["x@example.org"], DELETE)).await;
    assert!(matches!(stranger, Err(ChangeError::NotRecipient(_))));
    let unknown = fixture.queue.change(&request(&QueueId::random(), &[], DELETE)).await;
    assert!(matches!(unknown, Err(ChangeError::Queue(QueueError::NotFound(_)))));
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'held'").await, 1);
}
