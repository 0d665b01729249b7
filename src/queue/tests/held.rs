//! What this process holds, and what it does not take.

use super::*;

#[tokio::test]
async fn c05_two_settlements_of_one_recipient_in_one_batch_are_one() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap().remove(0);
    let mut stale = first.clone();
    stale.token = [7; 16];
    // Both wait for company, so they share a transaction.
    let before = fixture.store.commits();
    let (outcomes, again) = (all(&first, &delivered()), all(&stale, &delivered()));
    let (late, done, twice) = tokio::join!(
        fixture.queue.settle(&stale, again),
        fixture.queue.settle(&first, outcomes.clone()),
        fixture.queue.settle(&first, outcomes)
    );
    assert_eq!(fixture.store.commits() - before, 1);
    assert!(matches!(late, Err(QueueError::LeaseLost(_))), "{late:?}");
    assert!(done.is_ok(), "{done:?}");
    assert!(matches!(twice, Err(QueueError::LeaseLost(_))), "{twice:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'delivered'").await, 1);
}

#[tokio::test]
async fn c02_what_is_held_in_memory_is_not_claimed_again_when_its_lease_ends() {
    let fixture = Fixture::new().await;
    let handed = fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap().remove(0);
    let mut other = record(500, &["b@example.org"]);
    other.lease = false;
    fixture.queue.commit(other).await.unwrap();
    let claimed = fixture.queue.claim(10).await.unwrap().remove(0);
    fixture.sql("UPDATE recipient SET lease = 1").await;
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
    assert!(fixture.queue.stands(&handed).await.unwrap() && fixture.queue.stands(&claimed).await.unwrap());
    fixture.queue.settle(&handed, all(&handed, &delivered())).await.unwrap();
    assert!(!fixture.queue.stands(&handed).await.unwrap());
    // Who held it is gone without a word: then the end of the lease counts.
    drop(claimed);
    assert_eq!(fixture.queue.claim(10).await.unwrap().remove(0).recipients[0].address.as_str(), "b@example.org");
}

#[tokio::test]
async fn c21_a_full_next_hop_is_not_leased_and_does_not_stand_before_others() {
    let fixture = Fixture::new().await;
    let mut held = Vec::new();
    for number in 0..120 {
        let mut hanging = record(200, &["a@example.org"]);
        hanging.lease = number < 105;
        held.extend(fixture.queue.commit(hanging).await.unwrap());
    }
    assert_eq!(held.len(), 100);
    let mut other = record(200, &["b@example.org"]);
    other.recipients[0].next_hop = hop(26);
    other.lease = false;
    fixture.queue.commit(other).await.unwrap();
    let claimed = fixture.queue.claim(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].next_hop, hop(26));
    // Two places are free now: two of the twenty, and a second look past the others.
    held.truncate(98);
    drop(claimed);
    fixture.sql("UPDATE recipient SET lease = NULL, token = NULL WHERE next_hop LIKE '%:26'").await;
    let claimed = fixture.queue.claim(10).await.unwrap();
    assert_eq!(claimed.iter().filter(|delivery| delivery.next_hop == hop(25)).count(), 2);
    assert_eq!(claimed.iter().filter(|delivery| delivery.next_hop == hop(26)).count(), 1);
}

#[tokio::test]
async fn s14_large_mail_that_waits_is_not_all_in_memory() {
    let fixture = Fixture::new().await;
    let size = 9 << 20;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.extend(fixture.queue.commit(record(size, &["a@example.org"])).await.unwrap());
    }
    assert!((1..5).contains(&held.len()), "{}", held.len());
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
    held.clear();
    fixture.sql("UPDATE recipient SET lease = NULL, token = NULL").await;
    let claimed = fixture.queue.claim(10).await.unwrap();
    assert_eq!(claimed.len(), 4, "half of 64 MiB, the other half is for other next hops");
}

#[tokio::test]
async fn first_sight_is_remembered_and_old_rows_go() {
    let fixture = Fixture::new().await;
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    let day = 86_400;
    assert_eq!(fixture.queue.first_seen([1; 32], at(1000)).await.unwrap(), at(1000));
    assert_eq!(fixture.queue.first_seen([1; 32], at(5000)).await.unwrap(), at(1000));
    assert_eq!(fixture.queue.first_seen([2; 32], at(31 * day)).await.unwrap(), at(31 * day));
    assert_eq!(fixture.count("SELECT count(*) FROM deferral").await, 1);
}

#[tokio::test]
async fn another_master_key_sets_nothing_aside() {
    let fixture = Fixture::new().await;
    fixture.queue.commit(record(500, &["a@example.org"])).await.unwrap();
    let fixture = Fixture { master: Arc::new(MasterKey::ephemeral()), ..fixture }.restart().await;
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'pending'").await, 1);
}

#[tokio::test]
async fn p33_what_a_clock_that_was_ahead_has_written_keeps_no_mail() {
    let fixture = Fixture::new().await;
    let job = record(100, &["a@b.example"]);
    let deliveries = fixture.queue.commit(job).await.unwrap();
    drop(deliveries);
    // A year ahead, when the mail was put off and when its lease was given.
    fixture
        .store
        .write(Sql("UPDATE recipient SET due = due + 31536000000000, lease = lease + 31536000000000"))
        .await
        .unwrap();
    let claimed = fixture.queue.claim(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    // What is held in memory stays with whoever has it, whatever stands there.
    fixture.store.write(Sql("UPDATE recipient SET lease = lease + 31536000000000")).await.unwrap();
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
    // What a schedule may give is left alone.
    fixture.queue.settle(&claimed[0], all(&claimed[0], &deferred())).await.unwrap();
    assert!(fixture.queue.claim(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn c14_p33_what_expired_while_nobody_tried_has_one_more_try() {
    let fixture = Fixture::new().await;
    let mut old = record(100, &["a@b.example"]);
    old.received = crate::clock::now() - std::time::Duration::from_secs(365 * 86_400);
    old.lease = false;
    fixture.queue.commit(old).await.unwrap();
    let mut delivery = fixture.queue.claim(10).await.unwrap().remove(0);
    assert!(fixture.queue.time_left(&delivery).as_secs() > 200, "{:?}", fixture.queue.time_left(&delivery));
    delivery.received = crate::clock::now();
    assert!(fixture.queue.time_left(&delivery).as_secs() > 4 * 86_400);
    // After the try it is over.
    fixture.queue.settle(&delivery, all(&delivery, &deferred())).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'pending'").await, 1);
    fixture.sql("UPDATE recipient SET due = 1").await;
    let delivery = fixture.queue.claim(10).await.unwrap().remove(0);
    fixture.queue.settle(&delivery, all(&delivery, &deferred())).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'failed'").await, 1);
}

#[tokio::test]
async fn c45_a_row_that_cannot_be_read_is_reported_once_however_full_a_next_hop_is() {
    let fixture = Fixture::new().await;
    let mut held = Vec::new();
    for number in 0..110 {
        let mut hanging = record(200, &["a@example.org"]);
        hanging.lease = number < 100;
        held.extend(fixture.queue.commit(hanging).await.unwrap());
    }
    // One place is free, so the claim looks a second time, without this next hop.
    held.truncate(held.len() - 1);
    let mut damaged = record(200, &["b@example.org"]);
    damaged.recipients[0].next_hop = hop(26);
    damaged.lease = false;
    fixture.queue.commit(damaged).await.unwrap();
    fixture.sql("UPDATE recipient SET due = 1, address = CAST(x'ff' AS TEXT) WHERE next_hop LIKE '%:26'").await;
    assert_eq!(fixture.queue.claim(10).await.unwrap().len(), 1);
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'held' AND class = 'operator'").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'damaged'").await, 1);
}

#[tokio::test]
async fn p33_a_first_sight_in_the_future_does_not_put_mail_off_until_then() {
    let fixture = Fixture::new().await;
    let (now, ahead) = (crate::clock::now(), crate::clock::now() + std::time::Duration::from_secs(86_400));
    assert_eq!(fixture.queue.first_seen([1; 32], ahead).await.unwrap().as_microsecond(), ahead.as_microsecond());
    for later in [0, 60] {
        let at = now + std::time::Duration::from_secs(later);
        assert_eq!(fixture.queue.first_seen([1; 32], at).await.unwrap().as_microsecond(), now.as_microsecond());
    }
}
