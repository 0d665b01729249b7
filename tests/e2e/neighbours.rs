//! Postfix, Exim and OpenSMTPD on both sides: what they send is taken, what they are sent they take, and nothing is lost
//! when they go away and come back.

use crate::support::mta::{self, KINDS, Kind, Mta};
use crate::support::pki::{RINA, SITI};
use crate::support::{Gateway, PATIENCE, Pki, Setup, Sink, client, letter};
use std::time::{Duration, Instant};

/// Sender's server → gateway → recipient's server → sink, in both directions.
struct Street {
    gateway: Gateway,
    inside_sink: Sink,
    outside_sink: Sink,
    inside: Mta,
    outside: Mta,
    /// Where people inside hand in their mail, and strangers outside.
    from_inside: Mta,
    from_outside: Mta,
}

impl Street {
    fn of(kind: Kind) -> Self {
        let (inside_sink, outside_sink) = (Sink::start(), Sink::start());
        let inside = Mta::start(kind, inside_sink.address);
        let outside = Mta::start(kind, outside_sink.address);
        let gateway = Setup::new(inside.address, outside.address).start();
        let from_inside = Mta::start(kind, gateway.inside);
        let from_outside = Mta::start(kind, gateway.outside);
        Self { gateway, inside_sink, outside_sink, inside, outside, from_inside, from_outside }
    }

    fn logs(&self) -> String {
        let all = [&self.from_inside, &self.from_outside, &self.inside, &self.outside];
        all.iter().map(|one| one.log()).collect::<Vec<_>>().join("\n----\n")
    }
}

fn through(kind: Kind) {
    if !mta::present(kind) {
        return;
    }
    need!("openssl", crate::support::sink::PYTHON);
    let street = Street::of(kind);
    let out = letter(SITI, "mitra@luar.example", "nb-out", "Apa kabar? \u{e9}\n.titik\n..dua titik\n");
    client::send(street.from_inside.address, SITI, &["mitra@luar.example"], &out);
    let signed = wait(&street.outside_sink, "nb-out", &street);
    Pki::shared().verify(&signed, &[]).unwrap_or_else(|why| panic!("{kind:?}: {why}"));

    let incoming = Pki::shared().sign(&letter(RINA, SITI, "nb-in", "Baik."), RINA);
    client::send(street.from_outside.address, RINA, &[SITI], &incoming);
    let arrived = wait(&street.inside_sink, "nb-in", &street);
    let text = String::from_utf8_lossy(&arrived).into_owned();
    assert!(text.contains("Segel-Verdict: "), "{kind:?}: {text}");
    Pki::shared().verify(&arrived, &[]).unwrap_or_else(|why| panic!("{kind:?}: {why}"));
}

fn wait(sink: &Sink, id: &str, street: &Street) -> Vec<u8> {
    let until = Instant::now() + PATIENCE;
    while !sink.has(id) {
        assert!(Instant::now() < until, "`{id}` did not arrive: {:#?}\n{}", street.gateway.log(), street.logs());
        std::thread::sleep(Duration::from_millis(100));
    }
    sink.find(id).content
}

#[test]
fn mail_passes_between_postfix_servers() {
    through(Kind::Postfix);
}

#[test]
fn mail_passes_between_exim_servers() {
    through(Kind::Exim);
}

#[test]
fn mail_passes_between_opensmtpd_servers() {
    through(Kind::OpenSmtpd);
}

/// A neighbour that goes away costs time, not mail.
#[test]
fn c15_neighbours_go_away_and_come_back() {
    for kind in KINDS {
        if !mta::present(kind) {
            continue;
        }
        let mut street = Street::of(kind);
        street.outside.stop();
        for number in 0..5 {
            let id = format!("nb-back-{number}");
            let mail = letter(SITI, "mitra@luar.example", &id, "Nanti.");
            client::send(street.from_inside.address, SITI, &["mitra@luar.example"], &mail);
        }
        let until = Instant::now() + PATIENCE;
        while street.gateway.queued().len() < 5 {
            assert!(Instant::now() < until, "{}", street.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
        street.outside.again();
        street.gateway.retry_until(&street.outside_sink, 5);
        for number in 0..5 {
            assert_eq!(street.outside_sink.find_all(&format!("nb-back-{number}"), 1).len(), 1, "{kind:?}");
        }
    }
}
