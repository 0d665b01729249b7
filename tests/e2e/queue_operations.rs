//! What operators do to mail on its way: each change is durable, happens once, and stands in the audit log.

use crate::support::client::send;
use crate::support::database::sql;
use crate::support::pki::{DEWI, RINA, SITI};
use crate::support::{Gateway, Setup, Sink, letter};

/// The queue id of the one mail that waits, once it has been tried.
fn tried(gateway: &Gateway) -> String {
    for _ in 0..600 {
        let rows = gateway.queued();
        let waits = |row: &serde_json::Value| {
            let recipients = row["recipients"].as_array().unwrap();
            recipients.iter().all(|one| one["tries"].as_i64() > Some(0) && one["leased"] == false)
        };
        if let Some(row) = rows.iter().find(|row| row["direction"] == "outgoing" && waits(row)) {
            return row["queue_id"].as_str().unwrap().to_owned();
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    panic!("nothing waits: {:?}", gateway.queued());
}

fn states(gateway: &Gateway, id: &str) -> Vec<String> {
    let shown = gateway.segel(&["queue", "show", "--json", id]).json().remove(0);
    let state = |one: &serde_json::Value| one["state"].as_str().unwrap().to_owned();
    shown["recipients"].as_array().unwrap().iter().map(state).collect()
}

/// Waits until a recipient is in this state.
fn wait_for(gateway: &Gateway, id: &str, recipient: usize, state: &str) {
    for _ in 0..600 {
        if states(gateway, id)[recipient] == state {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    panic!("{recipient} is not {state}: {:?}", states(gateway, id));
}

#[test]
fn c46_hold_release_and_delete_outlive_kills_and_are_audited() {
    need!("openssl", "aiosmtpd");
    let later = "nanti@mitra.example";
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1"), ("later", later)]));
    let mut gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA, DEWI, later], &letter(SITI, RINA, "c46", "x")).starts_with("250"));
    assert_eq!(outside.find("c46").kind, "defer");
    let id = tried(&gateway);

    let hold = ["queue", "hold", &id, "--recipient", DEWI, "--reason", "tiket 7", "--json"];
    let answer = gateway.segel(&hold);
    assert_eq!((answer.code, &answer.json()[0]["state"]), (0, &"held (operator)".into()), "{answer:?}");
    gateway.kill();
    gateway.start();
    let again = gateway.segel(&hold);
    assert_eq!((again.code, &again.json()[0]["changed"]), (0, &false.into()), "{again:?}");
    let people = gateway.segel(&["queue", "hold", &id, "--recipient", DEWI, "--reason", "tiket 7"]);
    assert!(people.output.contains("was so already"), "{people:?}");
    gateway.retry_until(&outside, 2);
    assert_eq!(outside.wait(2)[1].to, [RINA], "the held one is left out");

    // The settlement follows the next hop's 250 after a while.
    wait_for(&gateway, &id, 0, "delivered");
    // The server is dead: the command works on the store, and leases of the dead one do not stand in its way.
    gateway.kill();
    let refused = gateway.segel(&["queue", "hold", &id, "--recipient", RINA, "--reason", "x"]);
    assert!(refused.code == 3 && refused.errors.contains("delivered"), "{refused:?}");
    let answer = gateway.segel(&["queue", "delete", &id, "--recipient", later, "--reason", "tiket 8", "--notify"]);
    assert!(answer.code == 0 && answer.output.contains("the sender is told"), "{answer:?}");
    gateway.start();
    let notice = inside.wait(1)[0].clone();
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[SITI.to_owned()][..]));
    assert!(text.contains("Status: 5.7.1") && text.contains(later) && !text.contains(DEWI), "{text}");
    assert_eq!(states(&gateway, &id), ["delivered", "held", "destroyed"]);

    let answer = gateway.segel(&["queue", "release", &id, "--reason", "tiket 9", "--json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let mails = outside.wait(3);
    assert_eq!(mails[2].to, [DEWI]);
    assert!(mails[2].content == mails[1].content, "the same copy");
    wait_for(&gateway, &id, 1, "delivered");
    let rows = gateway.segel(&["audit", "search", "--queue-id", &id, "--json"]).json();
    for (event, reason) in
        [("operator-held", "tiket 7"), ("operator-deleted", "tiket 8"), ("operator-released", "tiket 9")]
    {
        let found: Vec<_> = rows.iter().filter(|row| row["event"] == event).collect();
        assert_eq!(found.len(), 1, "{event} in {rows:?}");
        assert!(found[0].to_string().contains(reason), "{found:?}");
    }
    assert_eq!(gateway.segel(&["audit", "verify"]).code, 0);
    // Everything is final: nothing of it can be opened any more.
    assert_eq!(gateway.segel(&["queue", "show", "--original", &id]).code, 3);
}

#[test]
fn c46_a_change_needs_a_reason_and_a_recipient_of_that_mail() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("later", RINA)]));
    let gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "c46", "x")).starts_with("250"));
    let id = tried(&gateway);
    for (arguments, code, word) in [
        (&["delete", &id][..], 2, "--reason"),
        (&["delete", &id, "--reason", " "], 3, "reason"),
        (&["delete", &id, "--reason", "x", "--recipient", DEWI], 3, "no recipient"),
        (&["delete", "aaaaaaaaaaaa", "--reason", "x"], 3, "no mail"),
    ] {
        let answer = gateway.segel(&[&["queue"], arguments].concat());
        assert!(answer.code == code && answer.errors.contains(word), "{arguments:?}: {answer:?}");
    }
    assert_eq!(states(&gateway, &id), ["pending"]);
    assert_eq!(gateway.segel(&["queue", "list", "--json", "--limit", "0"]).json().len(), 0);
    let answer = gateway.segel(&["queue", "list", "--limit", "0"]);
    assert!(answer.errors.contains("newest 0 of 1"), "{answer:?}");
}

#[test]
fn c14_mail_that_expired_while_the_gateway_was_off_is_tried_once_more() {
    need!("openssl", "aiosmtpd");
    let (inside, outside, other) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "lama", "x")).starts_with("250"));
    tried(&gateway);
    gateway.stop();
    let year = 365_i64 * 86_400 * 1_000_000;
    let earlier = format!("UPDATE record SET received = received - {year}; UPDATE recipient SET due = due - {year}");
    sql(&gateway.data().join("segel.db"), &earlier);
    gateway.edit(&outside.address.to_string(), &other.address.to_string());
    gateway.start();
    other.find("lama");
    assert!(inside.mails().is_empty(), "its sender was told of a failure");
}

#[test]
fn c14_a_changed_route_takes_effect_for_mail_that_waits() {
    need!("openssl", "aiosmtpd");
    let (inside, outside, other) = (Sink::start(), Sink::with(&[("later", RINA)]), Sink::start());
    let mut gateway = Setup::new(inside.address, outside.address).start();
    for (number, restart) in [(0, false), (1, true)] {
        let id = format!("route-{number}");
        assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, &id, "x")).starts_with("250"));
        tried(&gateway);
        let (from, to) =
            (format!("route = \"smtp://{}\"", outside.address), format!("route = \"smtp://{}\"", other.address));
        gateway.edit(&from, &to);
        if restart {
            gateway.kill();
            gateway.start();
        } else {
            let answer = gateway.segel(&["reload"]);
            assert_eq!(answer.code, 0, "{answer:?}");
        }
        gateway.retry_until(&other, number + 1);
        other.find(&id);
        gateway.edit(&to, &from);
        assert_eq!(gateway.segel(&["reload"]).code, 0);
    }
}
