//! Deliveries that do not succeed at once.

use crate::support::client::send;
use crate::support::pki::{DEWI, RINA, SITI};
use crate::support::{Gateway, Setup, Sink, fields, letter};

fn pending(gateway: &Gateway) -> Vec<serde_json::Value> {
    gateway.segel(&["queue", "list", "--json"]).json()
}

/// The queue id in a row of a listing or a reply.
fn id_of(row: &serde_json::Value) -> String {
    row["queue_id"].as_str().unwrap_or_else(|| panic!("no id in {row}")).to_owned()
}

#[test]
fn c03_c15_a_retry_sends_the_same_octets() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1")]));
    let gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "c03", "x")).starts_with("250"));
    assert_eq!(outside.find("c03").kind, "defer");
    gateway.retry_until(&outside, 2);
    let mails = outside.wait(2);
    assert_eq!(mails[1].kind, "kept");
    assert!(mails[0].content == mails[1].content, "the retry made a new copy");
}

#[test]
fn c16_a_connection_lost_after_the_final_dot_is_tried_again() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("drop", "1")]));
    let gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "c16", "x")).starts_with("250"));
    outside.find("c16");
    gateway.retry_until(&outside, 2);
    assert_eq!(outside.wait(2)[1].kind, "kept");
    assert!(inside.mails().is_empty(), "no notice for what is only late");
}

#[test]
fn c05_each_recipient_has_his_own_end() {
    need!("openssl", "aiosmtpd");
    let later = "nanti@mitra.example";
    let (inside, outside) = (Sink::start(), Sink::with(&[("refuse", DEWI), ("later", later)]));
    let gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA, DEWI, later], &letter(SITI, RINA, "c05", "x")).starts_with("250"));
    assert_eq!(outside.find("c05").to, [RINA]);
    // The refused one: a notice to the sender.
    let notice = inside.wait(1)[0].clone();
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[SITI.to_owned()][..]));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains(DEWI) && !text.contains(later), "{text}");
    // The other one: still in the queue, alone.
    let rows = pending(&gateway);
    assert!(rows.iter().any(|row| row.to_string().contains(later)), "{rows:?}");
    for row in rows {
        let _ = gateway.segel(&["queue", "retry", &id_of(&row)]);
    }
    send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "after", "x"));
    outside.find("after");
    assert_eq!(outside.mails().iter().filter(|mail| fields(&mail.content, "message-id")[0].contains("c05")).count(), 1);
}

#[test]
fn c40_a_failure_makes_one_notice_and_a_notice_none() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("refuse", RINA)]));
    let gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "c40", "x")).starts_with("250"));
    let notice = inside.wait(1)[0].clone();
    assert_eq!(notice.from, "");
    assert_eq!(notice.to, [SITI]);
    let content_type = fields(&notice.content, "content-type").join(" ").to_ascii_lowercase();
    assert!(content_type.contains("multipart/report") && content_type.contains("delivery-status"), "{content_type}");
    assert!(
        fields(&notice.content, "auto-submitted")[0].starts_with("auto-"),
        "{:?}",
        fields(&notice.content, "auto-submitted")
    );
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("message/delivery-status") && text.contains("5.1.1") && text.contains(RINA), "{text}");
    // Undeliverable, from nobody: nobody is told.
    assert!(send(gateway.inside, "", &[RINA], &letter(SITI, RINA, "c40-null", "x")).starts_with("250"));
    send(gateway.inside, SITI, &[DEWI], &letter(SITI, DEWI, "after", "x"));
    outside.find("after");
    assert_eq!(inside.mails().len(), 1);
}
