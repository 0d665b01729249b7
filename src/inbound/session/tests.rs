use super::super::{Admission, Reservation};
use super::{Reception, Session, SessionError, Timing};
use crate::limits::Limits;
use crate::mail::{Address, Envelope, ReversePath};
use crate::pipeline::Commitment;
use crate::policy::Side;
use crate::smtp::Reply;
use crate::smtp::command::ForwardPath;
use crate::smtp::server::{Attempt, Client as Peer, Credentials, Settings, Transaction};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Stores everything after `delay`, in which the commit has begun or not.
#[derive(Clone)]
struct Store {
    delay: Duration,
    begun: bool,
    asked: Arc<AtomicBool>,
    errors: Arc<AtomicU32>,
    stored: Arc<Mutex<Vec<Bytes>>>,
}

impl Reception for Store {
    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        None
    }

    async fn log_in(&self, _credentials: Credentials) -> Attempt {
        Attempt::Failed
    }

    fn errors(&self, count: u32) -> Option<Reply> {
        let all = self.errors.fetch_add(count, Ordering::AcqRel) + count;
        (all > 15).then(|| Reply::new(421, 7, 0, "Too many errors, try again later"))
    }

    fn reverse_path(&self, _path: &ReversePath, _client: &Peer) -> Result<(), Reply> {
        Ok(())
    }

    async fn recipient(&self, path: ForwardPath, _transaction: &Transaction, _client: &Peer) -> Result<Address, Reply> {
        match path {
            ForwardPath::Mailbox(address) => Ok(address),
            ForwardPath::Postmaster => Err(Reply::new(550, 7, 1, "no")),
        }
    }

    async fn accept(&self, _client: Peer, _envelope: Envelope, content: Bytes, commitment: Commitment) -> Reply {
        if self.begun {
            commitment.begin();
        }
        self.asked.store(true, Ordering::Release);
        sleep(self.delay).await;
        self.stored.lock().unwrap().push(content);
        Reply::new(250, 6, 0, "Accepted as q1")
    }
}

struct Client {
    stream: DuplexStream,
    store: Store,
    admission: Admission,
    stop: watch::Sender<bool>,
    session: JoinHandle<Result<(), SessionError>>,
}

const MS: Duration = Duration::from_millis(1);

impl Client {
    fn new(delay: Duration, idle: Duration) -> Self {
        Self::with(delay, idle, false)
    }

    fn with(delay: Duration, idle: Duration, begun: bool) -> Self {
        Self::timed(delay, begun, Timing { idle, grace: 2000 * MS, ..Timing::gateway() }, "")
    }

    /// `early` is sent before the session begins.
    fn timed(delay: Duration, begun: bool, timing: Timing, early: &str) -> Self {
        let (mut stream, server) = duplex(1 << 20);
        // There is room, so nothing waits.
        let mut write = Box::pin(stream.write_all(early.as_bytes()));
        let waker = std::task::Waker::noop();
        assert!(write.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready());
        drop(write);
        let (stop, shutdown) = watch::channel(false);
        let store = Store { delay, begun, asked: Arc::default(), errors: Arc::default(), stored: Arc::default() };
        let admission = Admission::new(&Limits { memory: 2 << 20, connections: 2, ..Limits::default() });
        let settings = Settings {
            hostname: "gate.example".to_owned(),
            message: 2 << 20,
            recipients: 100,
            command_line: 600,
            tarpit: true,
            ..Settings::default()
        };
        let session = Session::new(server, store.clone(), settings, admission.memory(Side::Outside), timing, shutdown);
        Self { stream, store, admission, stop, session: tokio::spawn(session.run()) }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text ends with this.
    async fn expect(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&text).contains(end) {
                if self.stream.read_buf(&mut text).await.unwrap() == 0 {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(60), read).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(end), "expected {end}, found {text}");
        text
    }

    async fn begin_data(&mut self) {
        self.send("EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@own.example>\r\nDATA\r\n").await;
        self.expect("354 ").await;
    }

    /// Waits until the message is being stored.
    async fn asked(&self) {
        while !self.store.asked.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    }

    fn stored(&self) -> usize {
        self.store.stored.lock().unwrap().len()
    }
}

#[tokio::test]
async fn s13_timeouts() {
    assert_eq!(Timing::gateway().idle, Duration::from_secs(300));
    let mut client = Client::new(MS, 50 * MS);
    client.expect("421 4.4.2 ").await;
    assert!(client.session.await.unwrap().is_ok());
    // In data, per block: a client that goes on sending is not cut off, however long it takes in all.
    let mut client = Client::new(MS, 1500 * MS);
    client.begin_data().await;
    for _ in 0..8 {
        sleep(200 * MS).await;
        client.send("line\r\n").await;
    }
    client.expect("421 4.4.2 ").await;
    assert_eq!(client.stored(), 0);
}

#[tokio::test]
async fn s16_shutdown() {
    let mut idle = Client::new(MS, 5000 * MS);
    idle.expect("220 ").await;
    idle.stop.send(true).unwrap();
    idle.expect("421 4.3.2 ").await;
    assert!(idle.session.await.unwrap().is_ok());

    // A message under way is finished, answered, and then the session ends.
    let mut busy = Client::new(100 * MS, 5000 * MS);
    busy.begin_data().await;
    busy.stop.send(true).unwrap();
    sleep(50 * MS).await;
    busy.send("Subject: x\r\n\r\nx\r\n.\r\n").await;
    let replies = busy.expect("421 4.3.2 ").await;
    assert!(replies.starts_with("250 2.6.0 Accepted as q1\r\n421 "), "{replies}");
    assert_eq!(busy.stored(), 1);
}

#[tokio::test]
async fn s16_nothing_is_stored_for_a_client_that_is_gone() {
    let mut client = Client::new(2000 * MS, 5000 * MS);
    client.begin_data().await;
    client.send("Subject: x\r\n\r\nx\r\n.\r\n").await;
    client.asked().await;
    let Client { stream, store, session, .. } = client;
    drop(stream);
    assert!(matches!(session.await.unwrap(), Err(SessionError::Closed | SessionError::Io(_))));
    sleep(2100 * MS).await;
    assert!(store.stored.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_closes_its_half_after_the_commit_began_hears_the_reply() {
    let mut client = Client::with(200 * MS, 5000 * MS, true);
    client.begin_data().await;
    client.send("x\r\n.\r\n").await;
    client.asked().await;
    client.stream.shutdown().await.unwrap();
    client.expect("250 2.6.0").await;
    assert_eq!(client.store.stored.lock().unwrap().len(), 1);
}

#[test]
fn s65_the_outside_never_takes_all() {
    let admission = Admission::new(&Limits { memory: 100, connections: 5, ..Limits::default() });
    let mut places: Vec<_> = std::iter::repeat_with(|| admission.enter(Side::Outside)).take(5).collect();
    assert_eq!(places.iter().filter(|place| place.is_some()).count(), 4);
    assert!(admission.enter(Side::Inside).is_some());
    let (mut outside, mut inside) = (admission.memory(Side::Outside), admission.memory(Side::Inside));
    assert!(!outside.more(81) && outside.more(80));
    assert!(!inside.more(21) && inside.more(20));
    drop((inside, outside));
    places.clear();
    assert!(admission.memory(Side::Inside).more(100));
}

#[tokio::test]
async fn memory_is_shared_and_given_back() {
    let mut client = Client::new(MS, 5000 * MS);
    let mut other: Reservation = client.admission.memory(Side::Outside);
    assert!(other.more((2 << 20) - (2 << 20) / 5));
    client.send("EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@own.example>\r\nDATA\r\n").await;
    client.expect("452 4.3.1 ").await;
    other.release();
    client.begin_data().await;
    client.send(&format!("{}.\r\n", "0123456789\r\n".repeat(20_000))).await;
    client.expect("250 2.6.0").await;
    client.send("QUIT\r\n").await;
    client.expect("221 2.0.0").await;
    client.session.await.unwrap().unwrap();
    assert!(client.admission.memory(Side::Inside).more(2 << 20));
}

#[test]
fn places_are_counted() {
    let admission = Admission::new(&Limits { connections: 1, ..Limits::default() });
    let place = admission.enter(Side::Inside);
    assert!(place.is_some());
    assert!(admission.enter(Side::Inside).is_none());
    drop(place);
    assert!(admission.enter(Side::Inside).is_some());
}

#[tokio::test]
async fn s14_a_message_that_comes_by_the_drop_is_cut_off() {
    let timing = Timing { slow: (200 * MS, 1000), ..Timing::gateway() };
    let mut client = Client::timed(MS, false, timing, "");
    client.begin_data().await;
    let dripping = async {
        for _ in 0..100 {
            sleep(50 * MS).await;
            if client.stream.write_all(b"x\r\n").await.is_err() {
                break;
            }
        }
    };
    timeout(Duration::from_secs(4), dripping).await.ok();
    client.expect("421 4.4.2 ").await;
    assert_eq!(client.stored(), 0);
    // Who is fast enough may take his time.
    let mut client = Client::timed(MS, false, timing, "");
    client.begin_data().await;
    for _ in 0..20 {
        sleep(50 * MS).await;
        client.send(&"0123456789\r\n".repeat(1000)).await;
    }
    client.send(".\r\n").await;
    client.expect("250 2.6.0").await;
}

#[tokio::test]
async fn s14_a_session_ends() {
    let timing = Timing { session: 300 * MS, ..Timing::gateway() };
    let mut client = Client::timed(MS, false, timing, "");
    for _ in 0..100 {
        if client.session.is_finished() {
            break;
        }
        client.stream.write_all(b"NOOP\r\n").await.ok();
        sleep(20 * MS).await;
    }
    client.expect("421 4.4.2 ").await;
}

#[tokio::test]
async fn s24_who_talks_before_the_greeting_is_refused() {
    let timing = Timing { early: Some(Duration::ZERO), ..Timing::gateway() };
    let mut client = Client::timed(MS, false, timing, "EHLO c.example\r\n");
    let text = client.expect("554 5.5.0 ").await;
    assert!(text.starts_with("554 5.5.0 "), "{text}");
    // Whoever waits is greeted, at once or after the wait.
    for early in [Duration::ZERO, 50 * MS] {
        let mut client = Client::timed(MS, false, Timing { early: Some(early), ..Timing::gateway() }, "");
        client.expect("220 ").await;
        client.send("QUIT\r\n").await;
        client.expect("221 ").await;
    }
    // Elsewhere it is nobody's business.
    let mut client = Client::timed(MS, false, Timing::gateway(), "QUIT\r\n");
    client.expect("221 ").await;
}

#[tokio::test]
async fn s66_errors_wait_and_the_server_does_not() {
    let started = tokio::time::Instant::now();
    // All of it is there from the beginning, so nothing waits for the client.
    let commands = "FOO\r\nFOO\r\nFOO\r\nFOO\r\nQUIT\r\n";
    let mut client = Client::timed(MS, false, Timing { idle: 100 * MS, ..Timing::gateway() }, commands);
    // Longer than the session may idle: waiting is ours, not the client's.
    client.expect("221 ").await;
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn s64_too_many_errors_of_one_client_end_the_session() {
    let mut client = Client::new(MS, 5000 * MS);
    client.store.errors.store(15, Ordering::Release);
    client.send("FOO\r\n").await;
    client.expect("421 4.7.0 ").await;
    assert!(client.session.await.unwrap().is_ok());
}
