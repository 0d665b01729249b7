//! What senders ask for (RFC 3461), and what they are told.

use super::*;
use crate::mail::{DsnRequest, Notify, RecipientDsn, Ret};
use std::time::Duration;

const ON_SUCCESS: Option<Notify> = Some(Notify::On { success: true, failure: true, delay: false });

fn asking(recipients: &[(&str, Option<Notify>)]) -> NewRecord {
    let names: Vec<&str> = recipients.iter().map(|(name, _)| *name).collect();
    let mut mail = record(500, &names);
    for (recipient, (_, notify)) in mail.recipients.iter_mut().zip(recipients) {
        let original = Some(format!("rfc822;asked+2B{}", recipient.address.as_str()));
        recipient.dsn = RecipientDsn { notify: *notify, original };
    }
    mail.dsn = DsnRequest { returned: Some(Ret::Full), envelope_id: Some("QQ+3D314".to_owned()) };
    mail
}

fn relayed(dsn: bool) -> Outcome {
    let via = Via { host: "mx.example.org".to_owned(), tls: None, dsn };
    Outcome::Delivered { reply: "250 2.6.0 taken".to_owned(), via }
}

/// The notices in the queue, by their rule.
async fn notices(fixture: &Fixture) -> Vec<(String, Delivery, String)> {
    let mut found = Vec::new();
    for delivery in fixture.queue.claim(100).await.unwrap() {
        if delivery.direction == Direction::Notice {
            let rule = fixture.queue.show(&delivery.queue_id).await.unwrap().record.rule;
            let text = String::from_utf8_lossy(&delivery.content).into_owned();
            found.push((rule, delivery, text));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[tokio::test]
async fn s47_parameters_are_kept_shown_and_handed_out_again() {
    let fixture = Fixture::new().await;
    let first = fixture.queue.commit(asking(&[("a@example.org", ON_SUCCESS), ("b@example.org", None)])).await.unwrap();
    let fixture = fixture.restart().await;
    let again = fixture.queue.claim(10).await.unwrap();
    for delivery in first.iter().chain(&again) {
        assert_eq!(delivery.dsn.returned, Some(Ret::Full));
        assert_eq!(delivery.dsn.envelope_id.as_deref(), Some("QQ+3D314"));
        assert_eq!(delivery.recipients[0].dsn.notify, ON_SUCCESS);
        assert_eq!(delivery.recipients[1].dsn.original.as_deref(), Some("rfc822;asked+2Bb@example.org"));
        assert_eq!(delivery.recipients[1].dsn.notify, None);
    }
    let shown = fixture.queue.show(&again[0].queue_id).await.unwrap();
    assert_eq!((shown.returned.as_deref(), shown.envelope_id.as_deref()), (Some("FULL"), Some("QQ+3D314")));
    assert_eq!(shown.record.recipients[0].notify.as_deref(), Some("SUCCESS,FAILURE"));
    assert_eq!(shown.record.recipients[1].original_recipient.as_deref(), Some("rfc822;asked+2Bb@example.org"));
}

#[tokio::test]
async fn s48_success_is_told_where_the_next_hop_will_not() {
    for (dsn, null, told) in [(false, false, 1), (true, false, 0), (false, true, 0)] {
        let fixture = Fixture::new().await;
        let recipients =
            [("a@example.org", ON_SUCCESS), ("b@example.org", None), ("c@example.org", Some(Notify::Never))];
        let mut mail = asking(&recipients);
        if null {
            mail.reverse_path = ReversePath::Null;
        }
        let first = fixture.queue.commit(mail).await.unwrap().remove(0);
        fixture.queue.settle(&first, all(&first, &relayed(dsn))).await.unwrap();
        let found = notices(&fixture).await;
        assert_eq!(found.len(), told, "{dsn} {null}");
        for (rule, delivery, text) in found {
            assert_eq!(
                (rule.as_str(), delivery.recipients[0].address.as_str()),
                ("relay-notice", "siti@kabupaten.go.id")
            );
            for expected in [
                "Action: relayed",
                "Status: 2.6.0",
                "Remote-MTA: dns; mx.example.org",
                "Final-Recipient: rfc822; a@example.org",
                "Original-Recipient: rfc822; asked+a@example.org",
                "Original-Envelope-Id: QQ=314",
                SUBJECT,
            ] {
                assert!(text.contains(expected), "{expected} in {text}");
            }
            // Success never brings the content back, whatever RET says (RFC 3461 section 4.3).
            assert!(!text.contains("b@example.org") && !text.contains(CANARY), "{text}");
            assert_eq!(fixture.queue.show(&first.queue_id).await.unwrap().notices, [delivery.queue_id.to_string()]);
        }
    }
}

#[tokio::test]
async fn s47_only_those_who_want_it_stand_in_a_notice() {
    let fixture = Fixture::new().await;
    let only_success = Some(Notify::On { success: true, failure: false, delay: false });
    let first = fixture
        .queue
        .commit(asking(&[
            ("tells@example.org", None),
            ("never@example.org", Some(Notify::Never)),
            ("silent@example.org", only_success),
        ]))
        .await
        .unwrap()
        .remove(0);
    fixture.queue.settle(&first, all(&first, &failed())).await.unwrap();
    let found = notices(&fixture).await;
    assert_eq!(found.len(), 1);
    let text = &found[0].2;
    assert!(text.contains("rfc822; tells@example.org") && text.contains("message/rfc822"), "{text}");
    assert!(text.contains(CANARY), "RET=FULL");
    assert!(!text.contains("never@example.org") && !text.contains("silent@example.org"), "{text}");
    assert_eq!(fixture.count("SELECT count(*) FROM audit WHERE event = 'failed'").await, 3, "audited all the same");
}

#[tokio::test]
async fn c14_a_delay_is_told_once_with_4_4_7_and_survives_a_restart() {
    let fixture = Fixture::new().await;
    let never = Some(Notify::Never);
    let mut mail = asking(&[("a@example.org", None), ("b@example.org", never)]);
    mail.received = crate::clock::now() - Duration::from_secs(5 * 3600);
    let first = fixture.queue.commit(mail).await.unwrap().remove(0);
    fixture.queue.settle(&first, all(&first, &deferred())).await.unwrap();
    let found = notices(&fixture).await;
    assert_eq!(found.len(), 1);
    let (rule, delivery, text) = &found[0];
    assert_eq!((rule.as_str(), delivery.recipients[0].address.as_str()), ("delay-notice", "siti@kabupaten.go.id"));
    for expected in ["Action: delayed", "Status: 4.4.7", "Will-Retry-Until: ", "Diagnostic-Code: smtp; 450 later"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("b@example.org") && !text.contains(CANARY), "{text}");
    let shown = fixture.queue.show(&first.queue_id).await.unwrap();
    assert!(shown.record.recipients[0].warned.is_some() && shown.record.recipients[1].warned.is_none());
    fixture.queue.settle(delivery, all(delivery, &delivered())).await.unwrap();
    // Tried again, before and after a restart: no second word.
    let mut fixture = fixture;
    for _ in 0..2 {
        assert_eq!(fixture.queue.retry(&first.queue_id, "test").await.unwrap(), 2);
        let again = fixture.queue.claim(10).await.unwrap().remove(0);
        fixture.queue.settle(&again, all(&again, &deferred())).await.unwrap();
        assert!(notices(&fixture).await.is_empty());
        fixture = fixture.restart().await;
    }
}

#[tokio::test]
async fn c41_a_sender_who_proved_nothing_is_told_nothing() {
    for (outcome, told) in [(failed(), Some("postmaster@kabupaten.go.id")), (deferred(), None), (relayed(false), None)]
    {
        let fixture = Fixture::new().await;
        let all_of_it = Some(Notify::On { success: true, failure: true, delay: true });
        let mut mail = asking(&[("siti@kabupaten.go.id", all_of_it)]);
        mail.received = crate::clock::now() - Duration::from_secs(5 * 3600);
        mail.reverse_path = ReversePath::Mailbox(address("victim@example.org"));
        (mail.direction, mail.sender_proven) = (Direction::Incoming, false);
        let first = fixture.queue.commit(mail).await.unwrap().remove(0);
        fixture.queue.settle(&first, all(&first, &outcome)).await.unwrap();
        let found = notices(&fixture).await;
        assert_eq!(found.first().map(|(_, delivery, _)| delivery.recipients[0].address.as_str()), told);
        assert!(found.iter().all(|(_, _, text)| !text.contains(CANARY)), "the postmaster gets no content");
        let shown = fixture.queue.show(&first.queue_id).await.unwrap();
        assert!(shown.record.recipients[0].warned.is_none(), "nobody was warned");
    }
}

#[tokio::test]
async fn c42_c44_of_opened_mail_neither_success_nor_content_is_told() {
    for outcome in [relayed(false), failed(), deferred()] {
        let fixture = Fixture::new().await;
        let all_of_it = Some(Notify::On { success: true, failure: true, delay: true });
        let mut mail = asking(&[("siti@kabupaten.go.id", all_of_it)]);
        mail.received = crate::clock::now() - Duration::from_secs(5 * 3600);
        mail.reverse_path = ReversePath::Mailbox(address("rina@example.org"));
        (mail.direction, mail.outer_verdict) = (Direction::Incoming, Some(Verdict::None));
        let first = fixture.queue.commit(mail).await.unwrap().remove(0);
        // What goes on asks the server inside for nothing that would tell either.
        assert_eq!(first.dsn.returned, Some(Ret::Headers));
        let silent = Some(Notify::On { success: false, failure: true, delay: true });
        assert_eq!(first.recipients[0].dsn.notify, silent);
        fixture.queue.settle(&first, all(&first, &outcome)).await.unwrap();
        let found = notices(&fixture).await;
        assert_eq!(found.len(), usize::from(!matches!(outcome, Outcome::Delivered { .. })));
        for (_, _, text) in found {
            assert!(!text.contains(CANARY) && !text.contains("550") && !text.contains("450"), "{text}");
        }
    }
}

#[tokio::test]
async fn c43_a_foreign_reverse_path_gets_no_content_of_outgoing_mail() {
    let fixture = Fixture::new().await;
    let mut mail = asking(&[("a@example.org", None)]);
    mail.reverse_path = ReversePath::Mailbox(address("siti@elsewhere.example"));
    let first = fixture.queue.commit(mail).await.unwrap().remove(0);
    fixture.queue.settle(&first, all(&first, &failed())).await.unwrap();
    let found = notices(&fixture).await;
    assert!(!found[0].2.contains(CANARY) && !found[0].2.contains(SUBJECT), "{}", found[0].2);
}

#[tokio::test]
async fn c14_a_reload_changes_times_and_routes_of_what_waits() {
    let fixture = Fixture::new().await;
    let names = ["a@example.org", "b@example.org"];
    let leased = fixture.queue.commit(record(500, &names)).await.unwrap().remove(0);
    let mut waiting = record(500, &["c@example.org", "d@other.example"]);
    waiting.lease = false;
    fixture.queue.commit(waiting).await.unwrap();
    fixture.queue.commit(held("e@example.org")).await.unwrap();
    let notices = Notices {
        hostname: "gerbang.kabupaten.go.id".to_owned(),
        postmaster: address("postmaster@kabupaten.go.id"),
        own: Arc::new(|_| false),
        router: Arc::new(|domain| if domain.as_str() == "example.org" { hop(2626) } else { hop(25) }),
    };
    let schedule = Schedule { expire: Duration::from_secs(60), ..Schedule::default() };
    fixture.queue.set_terms(schedule, notices);
    assert_eq!(fixture.queue.reroute().await.unwrap(), 2, "not what is leased, not what stays");
    assert_eq!(fixture.queue.reroute().await.unwrap(), 0);
    let moved =
        "SELECT count(*) FROM recipient WHERE next_hop LIKE '%:2626' AND address IN ('c@example.org', 'e@example.org')";
    assert_eq!(fixture.count(moved).await, 2);
    // What was under way: expired by the new time.
    fixture.queue.settle(&leased, vec![(leased.recipients[0].id, deferred())]).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM recipient WHERE state = 'failed' AND status = '5.4.7'").await, 1);
    let terms = fixture.queue.0.terms();
    let longer = Notices { router: Arc::clone(&terms.notices.router), ..terms.notices.clone() };
    fixture.queue.set_terms(Schedule::default(), longer);
    // And what was under way gets its new next hop when it has failed.
    fixture.queue.settle(&leased, vec![(leased.recipients[1].id, deferred())]).await.unwrap();
    let moved = "SELECT count(*) FROM recipient WHERE next_hop LIKE '%:2626' AND address = 'b@example.org'";
    assert_eq!(fixture.count(moved).await, 1);
}

#[tokio::test]
async fn p32_a_list_says_how_much_more_there_is() {
    let fixture = Fixture::new().await;
    for _ in 0..5 {
        fixture.queue.commit(held("a@example.org")).await.unwrap();
    }
    for (limit, shown) in [(3, 3), (5, 5), (100, 5), (0, 0)] {
        let page = fixture.queue.list_at_most(Filter::Held, limit).await.unwrap();
        assert_eq!((page.records.len(), page.total), (shown, 5), "{limit}");
    }
    assert_eq!(fixture.queue.list_at_most(Filter::Pending, 3).await.unwrap().total, 0);
}
