//! SIGTERM: what was promised stays, what was not is said.

use crate::support::client::send;
use crate::support::pki::{RINA, SITI};
use crate::support::{Client, Setup, Sink, letter};

#[test]
fn s16_sigterm_drains_and_loses_nothing() {
    need!("openssl", "aiosmtpd");
    let (inside, outside) = (Sink::start(), Sink::with(&[("defer", "1")]));
    let mut gateway = Setup::new(inside.address, outside.address).start();
    // One that waits for a retry, one in the middle of DATA, one that is idle.
    assert!(send(gateway.inside, SITI, &[RINA], &letter(SITI, RINA, "waits", "x")).starts_with("250"));
    outside.find("waits");
    let mut idle = Client::hello(gateway.inside);
    let mut busy = Client::hello(gateway.inside);
    for (line, reply) in
        [(format!("MAIL FROM:<{SITI}>"), "250"), (format!("RCPT TO:<{RINA}>"), "250"), ("DATA".into(), "354")]
    {
        busy.send(&line);
        busy.expect(reply);
    }
    busy.raw(&letter(SITI, RINA, "busy", "x"));
    gateway.server().signal("TERM");
    idle.expect("421");
    assert!(idle.reply().is_none());
    // The one in DATA ends with a promise that is kept, or without one.
    let promised = busy.try_raw(b".\r\n") && busy.reply().is_some_and(|reply| reply.starts_with("250"));
    assert_eq!(gateway.server().wait(), Some(0));
    assert!(std::net::TcpStream::connect(gateway.inside).is_err(), "nobody listens any more");
    gateway.start();
    for _ in 0..100 {
        let rows = gateway.segel(&["queue", "list", "--json"]).json();
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let _ = gateway.segel(&["queue", "retry", row["queue_id"].as_str().unwrap()]);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    let kept = |id: &str| {
        let has = |mail: &crate::support::Mail| String::from_utf8_lossy(&mail.content).contains(&format!("<{id}@"));
        outside.mails().iter().filter(|mail| mail.kind == "kept" && has(mail)).count()
    };
    outside.wait(2);
    assert_eq!(kept("waits"), 1);
    assert_eq!(kept("busy"), usize::from(promised));
}
