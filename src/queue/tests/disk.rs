//! What lies on the disk, and what happens when it is full.

use super::*;

#[tokio::test]
async fn c06_disk_full_is_reported_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap();
    // The database may not grow: SQLITE_FULL, as on a full disk.
    struct Limit(&'static str);
    impl Write for Limit {
        type Output = ();
        fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
            tx.rows::<(i64,)>(self.0, &[]).map(|_| ())
        }
    }
    fixture.store.write(Limit("PRAGMA max_page_count = 1")).await.unwrap();
    let error = fixture.queue.commit(record(100_000, &["b@example.org"])).await.unwrap_err();
    assert!(error.is_full(), "{error:?}");
    let large = fixture.queue.commit(record(LARGE, &["c@example.org"])).await;
    if large.is_err() {
        assert_eq!(fixture.files(), 0, "no partial queue file");
    }
    fixture.store.write(Limit("PRAGMA max_page_count = 1000000")).await.unwrap();
    fixture.queue.commit(record(100_000, &["d@example.org"])).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE address = 'b@example.org'").await, 0);
}

#[tokio::test]
async fn c01_commits_that_wait_together_share_one_flush() {
    let fixture = Fixture::new().await;
    let before = fixture.store.commits();
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let queue = fixture.queue.clone();
            let recipients = [format!("a{n}@example.org"), format!("b{n}@example.org")];
            tokio::spawn(async move {
                let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
                queue.commit(record(20_000, &recipients)).await.unwrap().remove(0)
            })
        })
        .collect();
    together(&fixture.store).await;
    let mut deliveries = Vec::new();
    for task in tasks {
        deliveries.push(task.await.unwrap());
    }
    assert!(fixture.store.commits() - before <= 3, "{}", fixture.store.commits() - before);
    // Each got its own rows: settle half of them and look at what is left.
    let before = fixture.store.commits();
    let (done, left) = deliveries.split_at(20);
    let tasks: Vec<_> = done
        .iter()
        .cloned()
        .map(|delivery| {
            let queue = fixture.queue.clone();
            tokio::spawn(async move { queue.settle(&delivery, all(&delivery, &delivered())).await.unwrap() })
        })
        .collect();
    together(&fixture.store).await;
    for task in tasks {
        task.await.unwrap();
    }
    assert!(fixture.store.commits() - before <= 3);
    let fixture = fixture.restart().await;
    let claimed = fixture.queue.claim(1000).await.unwrap();
    let ids = |deliveries: &[Delivery]| {
        let mut ids: Vec<String> = deliveries.iter().map(|delivery| delivery.queue_id.to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&claimed), ids(left));
    assert_eq!(fixture.count("SELECT count(*) FROM content WHERE wrapped IS NOT NULL").await, 40);
    assert_eq!(fixture.queue.0.audit.verify().await.unwrap().bad, None);
}

#[tokio::test]
async fn p32_held_mail_is_kept_with_its_reasons_and_not_delivered() {
    let fixture = Fixture::new().await;
    let record = held("budi@kabupaten.go.id");
    let id = record.id.clone();
    assert!(fixture.queue.commit(record).await.unwrap().is_empty());
    let fixture = fixture.restart().await;
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
    let list = fixture.queue.list(Filter::Held).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].recipients[0].state, "held");
    assert_eq!(list[0].recipients[0].class.as_deref(), Some("quarantine"));
    assert_eq!(list[0].recipients[0].reasons, ["expired", "revoked"]);
    assert!(fixture.queue.list(Filter::Pending).await.unwrap().is_empty());
    assert_eq!(fixture.queue.show(&id).await.unwrap().details["subject"], SUBJECT);
    assert_eq!(fixture.queue.evidence(&id).await.unwrap().original, message(100));
    assert_eq!(fixture.queue.counts().await.unwrap(), Counts { pending: 0, due: 0, held: 1, damaged: 0, lost: 0 });
    assert!(matches!(fixture.queue.show(&QueueId::random()).await, Err(QueueError::NotFound(_))));
}

#[tokio::test]
async fn p44_c04_no_content_and_no_subject_lies_in_clear_anywhere() {
    let fixture = Fixture::new().await;
    fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap();
    fixture.queue.commit(record(LARGE, &["a@example.org"])).await.unwrap();
    fixture.queue.commit(held("b@example.org")).await.unwrap();
    let (mut files, mut folders) = (0, vec![fixture.folder.path().to_owned()]);
    let mut found_envelope = false;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let octets = std::fs::read(&path).unwrap();
            let holds = |text: &str| octets.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!holds(CANARY) && !holds(SUBJECT), "{}", path.display());
            found_envelope |= holds("a@example.org");
        }
    }
    assert!(files >= 4 && found_envelope, "the search would find what is there");
}
