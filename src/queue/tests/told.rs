//! What operators and senders are told.

use super::*;

#[tokio::test]
async fn p32_c45_all_held_mail_is_listed_with_its_class() {
    let fixture = Fixture::new().await;
    for class in [HoldClass::Quarantine, HoldClass::AwaitingKey, HoldClass::Operator] {
        let mut record = held("budi@example.org");
        record.recipients[0].state = NewState::Held { class, reasons: Vec::new() };
        let id = record.id.clone();
        fixture.queue.commit(record).await.unwrap();
        let list = fixture.queue.list(Filter::Held).await.unwrap();
        let row = list.iter().find(|row| row.queue_id == id.as_str()).unwrap();
        assert_eq!(row.class.as_deref(), Some(class.name()));
        assert_eq!(fixture.queue.show(&id).await.unwrap().record.class.as_deref(), Some(class.name()));
    }
    assert_eq!(fixture.queue.counts().await.unwrap().held, 3);
    // Two classes in one record, and one without any.
    let mut mixed = held("budi@example.org");
    let mut again = held("rina@example.org").recipients.remove(0);
    again.state = NewState::Held { class: HoldClass::AwaitingKey, reasons: Vec::new() };
    mixed.recipients.push(again);
    fixture.queue.commit(mixed).await.unwrap();
    fixture.queue.commit(record(100, &["a@example.org"])).await.unwrap();
    assert!(
        fixture
            .queue
            .list(Filter::Held)
            .await
            .unwrap()
            .iter()
            .any(|row| { row.class.as_deref() == Some("quarantine,awaiting-key") })
    );
    let pending = fixture.queue.list(Filter::Pending).await.unwrap();
    assert_eq!((pending.len(), pending[0].class.as_deref()), (1, None));
}

#[tokio::test]
async fn c43_a_notice_that_leaves_shows_no_subject_of_outgoing_mail() {
    for (direction, sender, expected) in [
        (Direction::Outgoing, "siti@kabupaten.go.id", true),
        (Direction::Outgoing, "siti@elsewhere.example", false),
        (Direction::Incoming, "siti@elsewhere.example", true),
    ] {
        let fixture = Fixture::new().await;
        let mut mail = record(500, &["a@example.org"]);
        (mail.direction, mail.reverse_path) = (direction, ReversePath::Mailbox(address(sender)));
        mail.original = [b"Message-ID: <1@x>\r\nBcc: hidden@example.org\r\n", &message(500)[..]].concat().into();
        let first = fixture.queue.commit(mail).await.unwrap().remove(0);
        fixture.queue.settle(&first, all(&first, &failed())).await.unwrap();
        let notice = fixture.queue.claim(10).await.unwrap().remove(0);
        assert_eq!(notice.recipients[0].address.as_str(), sender);
        let text = String::from_utf8_lossy(&notice.content).into_owned();
        assert_eq!(text.contains(SUBJECT), expected, "{text}");
        assert!(text.contains("<1@x>") && !text.contains("hidden@example.org"), "{text}");
    }
}
