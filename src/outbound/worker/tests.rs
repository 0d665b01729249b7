use super::{Ledger, run};
use crate::config::NextHop;
use crate::outbound::Current;
use crate::outbound::deliver::tests::{Hop, deliver, delivery, surroundings};
use crate::queue::{Delivery, Outcome, QueueError};
use crate::store::StoreError;
use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// How long anything may take on a machine with other work to do: far less than a next hop that hangs is given.
const PATIENCE: Duration = Duration::from_secs(60);

/// A queue in memory: what is due, and what was settled.
#[derive(Clone, Default)]
struct Memory {
    due: Arc<Mutex<Vec<Delivery>>>,
    settled: Arc<Mutex<HashMap<i64, Vec<Outcome>>>>,
    released: Arc<Mutex<Vec<i64>>>,
    /// The store is full.
    full: Arc<AtomicBool>,
    /// How often it was.
    refused: Arc<AtomicU16>,
    /// When all mail expires.
    expires: Option<tokio::time::Instant>,
}

impl Ledger for Memory {
    async fn claim(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let mut due = self.due.lock().unwrap();
        let count = due.len().min(limit);
        Ok(due.drain(..count).collect())
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), QueueError> {
        self.released.lock().unwrap().push(delivery.record);
        Ok(())
    }

    async fn stands(&self, _delivery: &Delivery) -> Result<bool, QueueError> {
        Ok(true)
    }

    fn set_proven(&self, _next_hop: &NextHop, _proven: bool) {}

    fn time_left(&self, _delivery: &Delivery) -> Duration {
        self.expires.map_or(Duration::MAX, |at| at.saturating_duration_since(tokio::time::Instant::now()))
    }

    async fn settle(&self, _delivery: &Delivery, outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
        if self.full.load(Ordering::Acquire) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return Err(QueueError::Store(StoreError::Full(Arc::new(sqlx::Error::RowNotFound))));
        }
        for (id, outcome) in outcomes {
            self.settled.lock().unwrap().entry(id).or_default().push(outcome);
        }
        Ok(())
    }
}

impl Memory {
    async fn wait_for(&self, count: usize) {
        let reached = async {
            while self.settled.lock().unwrap().len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
    }

    fn delivered(&self) -> usize {
        let settled = self.settled.lock().unwrap();
        settled.values().filter(|outcomes| matches!(outcomes[..], [Outcome::Delivered { .. }])).count()
    }
}

struct Sink(Child);

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A port that nobody gets by chance before it is used: below those that the kernel gives to whoever names none, and
/// another one each time.
async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

/// Postfix's test server on a free port; `None` where it is not installed.
async fn smtp_sink(arguments: &[&str]) -> Option<(Sink, NextHop)> {
    let port = free_port().await;
    let address = format!("127.0.0.1:{port}");
    // As root it wants to be told whom to become; as anybody else it must not be.
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?) == 0;
    let child = Command::new("/usr/sbin/smtp-sink")
        .args(if root { &["-u", "nobody"][..] } else { &[] })
        .args(arguments)
        .args([&address, "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let sink = Sink(child);
    let listening = async {
        while TcpStream::connect(&address).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, listening).await.expect("smtp-sink listens");
    Some((sink, NextHop::server("127.0.0.1", port, crate::config::DeliverTls::May)))
}

fn current() -> Current {
    let surroundings = surroundings();
    Arc::new(move || Arc::clone(&surroundings))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_mails_reach_smtp_sink_once() {
    let Some((_sink, next_hop)) = smtp_sink(&[]).await else {
        println!("skipped: smtp-sink is not installed");
        return;
    };
    let memory = Memory::default();
    memory.due.lock().unwrap().extend((0..200).map(|id| delivery(&next_hop, id, &["u@b.example"])));
    let (sender, handoff) = mpsc::channel(10);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    for id in 200..600 {
        sender.send(delivery(&next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(600).await;
    assert_eq!(memory.delivered(), 600);
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

#[tokio::test]
async fn c15_refusals_of_smtp_sink_by_scope() {
    // -f: 5xx after end of data, -r: 4xx for RCPT (its own words: hard and soft errors by command).
    for (arguments, fails) in
        [(["-f", "."], true), (["-r", "."], false), (["-r", "mail"], false), (["-f", "rcpt"], true)]
    {
        let Some((_sink, next_hop)) = smtp_sink(&arguments).await else {
            println!("skipped: smtp-sink is not installed");
            return;
        };
        let outcomes = deliver(&delivery(&next_hop, 1, &["u@b.example"]), &surroundings(), &mut None).await;
        let [(1, outcome)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(matches!(outcome, Outcome::Failed { .. }), fails, "{arguments:?}: {outcome:?}");
        assert_eq!(matches!(outcome, Outcome::Deferred { .. }), !fails, "{arguments:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_dead_next_hop_defers_and_does_not_stop_others() {
    let dead = NextHop::server("127.0.0.1", 1, crate::config::DeliverTls::May);
    let hop = Hop::new(&[]).await;
    let memory = Memory::default();
    let (sender, handoff) = mpsc::channel(10);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    for id in 0..20 {
        let next_hop = if id % 2 == 0 { &dead } else { &hop.next_hop };
        sender.send(delivery(next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(20).await;
    assert_eq!(memory.delivered(), 10);
    for id in (0..20).step_by(2) {
        let settled = memory.settled.lock().unwrap();
        assert!(matches!(&settled[&id][..], [Outcome::Deferred { status, .. }] if status == "4.4.1"));
    }
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

/// Accepts connections and says nothing.
async fn silent() -> (TcpListener, NextHop) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let next_hop = NextHop::server("127.0.0.1", listener.local_addr().unwrap().port(), crate::config::DeliverTls::May);
    (listener, next_hop)
}

#[tokio::test]
async fn c21_hanging_next_hops_do_not_stop_others_and_what_was_not_begun_is_given_back() {
    let hop = Hop::new(&[]).await;
    let mut hanging = Vec::new();
    for _ in 0..4 {
        hanging.push(silent().await);
    }
    let memory = Memory::default();
    let (sender, handoff) = mpsc::channel(1000);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    for (number, (_, next_hop)) in (0..).zip(&hanging) {
        for id in 0..100 {
            sender.send(delivery(next_hop, 1000 + number * 100 + id, &["u@b.example"])).await.unwrap();
        }
    }
    for id in 0..200 {
        sender.send(delivery(&hop.next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(200).await;
    assert_eq!(memory.delivered(), 200);
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
    assert_eq!(memory.released.lock().unwrap().len(), 400);
    assert_eq!(memory.settled.lock().unwrap().len(), 200);
}

#[tokio::test]
async fn c21_next_hops_that_hang_after_their_greeting_leave_lanes_to_others() {
    let mut hanging = Vec::new();
    for _ in 0..4 {
        // A greeting, an answer to EHLO, and then nothing.
        let (listener, next_hop) = silent().await;
        hanging.push(next_hop);
        tokio::spawn(async move {
            let mut streams = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 hop\r\n250 hop\r\n").await.unwrap();
                streams.push(stream);
            }
        });
    }
    let hop = Hop::new(&[]).await;
    let memory = Memory::default();
    let (sender, handoff) = mpsc::channel(1000);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    for (number, next_hop) in (0..).zip(&hanging) {
        for id in 0..100 {
            sender.send(delivery(next_hop, 1000 + number * 100 + id, &["u@b.example"])).await.unwrap();
        }
    }
    sleep(Duration::from_millis(300)).await;
    for id in 0..200 {
        sender.send(delivery(&hop.next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(200).await;
    assert_eq!(memory.delivered(), 200);
    stop.send(true).unwrap();
    worker.abort();
}

#[tokio::test]
async fn c15_a_next_hop_with_few_connections_gets_everything_over_them() {
    // The first connection is served, further ones are refused by their greeting.
    let hop = Hop::new(&[]).await;
    let (listener, next_hop) = silent().await;
    let crate::config::Destination::Servers(servers) = &hop.next_hop.to else { panic!("no server") };
    let served = servers[0].port;
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((mut stream, _)) = listener.accept().await {
            if std::mem::take(&mut first) {
                let mut to = TcpStream::connect(("127.0.0.1", served)).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut to).await });
            } else {
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"421 4.7.0 too many\r\n").await.unwrap();
            }
        }
    });
    let memory = Memory::default();
    let (sender, handoff) = mpsc::channel(1000);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    sender.send(delivery(&next_hop, 1, &["u@b.example"])).await.unwrap();
    memory.wait_for(1).await;
    for id in 2..=80 {
        sender.send(delivery(&next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(80).await;
    assert_eq!(memory.delivered(), 80);
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

#[tokio::test]
async fn c02_an_outcome_is_kept_until_the_store_takes_it() {
    let hop = Hop::new(&[]).await;
    let memory = Memory::default();
    memory.full.store(true, Ordering::Release);
    let (sender, handoff) = mpsc::channel(10);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    sender.send(delivery(&hop.next_hop, 1, &["u@b.example"])).await.unwrap();
    let refused = async {
        while memory.refused.load(Ordering::Acquire) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    // Nothing new is begun meanwhile.
    sender.send(delivery(&hop.next_hop, 2, &["u@b.example"])).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(hop.mails(), 1);
    memory.full.store(false, Ordering::Release);
    memory.wait_for(2).await;
    assert_eq!(memory.delivered(), 2);
    assert_eq!(hop.mails(), 2);
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

#[tokio::test]
async fn c21_mail_for_more_next_hops_than_there_are_lanes_arrives() {
    let hop = Hop::new(&[]).await;
    let crate::config::Destination::Servers(servers) = &hop.next_hop.to else { panic!("no server") };
    let memory = Memory::default();
    let (sender, handoff) = mpsc::channel(1000);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    for id in 0..700 {
        // One server under many names: for the worker each is a next hop.
        let mut next_hop = hop.next_hop.clone();
        let first = servers[0].clone();
        let other = crate::config::Server { host: format!("h{id}.example"), ..first.clone() };
        next_hop.to = crate::config::Destination::Servers(vec![first, other]);
        sender.send(delivery(&next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(700).await;
    assert_eq!(memory.delivered(), 700);
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

/// Takes mail as far as the command that begins with `stop`, and answers that only after a while, if at all.
async fn hangs_at(stop: &'static str, after: Duration) -> NextHop {
    let (listener, next_hop) = silent().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(reader));
                let (mut line, mut data) = (String::new(), false);
                loop {
                    if line.starts_with(stop) {
                        sleep(after).await;
                    }
                    let reply = match line.as_str() {
                        "" if !data => "220 hop\r\n",
                        "." => "250 taken\r\n",
                        _ if data => "",
                        "DATA" => "354 go\r\n",
                        _ => "250 ok\r\n",
                    };
                    data = line == "DATA" || (data && line != ".");
                    if tokio::io::AsyncWriteExt::write_all(&mut writer, reply.as_bytes()).await.is_err() {
                        return;
                    }
                    let Ok(Some(next)) = lines.next_line().await else { return };
                    line = next;
                }
            });
        }
    });
    next_hop
}

#[tokio::test]
async fn c14_mail_at_a_next_hop_that_hangs_is_given_up_when_it_expires() {
    let (greeting, _kept) = {
        let (listener, next_hop) = silent().await;
        (next_hop, listener)
    };
    let never = Duration::from_secs(3600);
    let mut hops = vec![greeting];
    for stop in ["EHLO", "MAIL", "RCPT", "DATA"] {
        hops.push(hangs_at(stop, never).await);
    }
    let expires = tokio::time::Instant::now() + Duration::from_secs(5);
    let memory = Memory { expires: Some(expires), ..Memory::default() };
    let (sender, handoff) = mpsc::channel(100);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, current(), shutdown));
    // More than there are lanes: some wait for their turn.
    for (number, next_hop) in (0..).zip(&hops) {
        for id in 0..5 {
            sender.send(delivery(next_hop, number * 10 + id, &["u@b.example"])).await.unwrap();
        }
    }
    // Whatever takes its time after the end of the data has the mail.
    let late = hangs_at(".", Duration::from_secs(6)).await;
    sender.send(delivery(&late, 1000, &["u@b.example"])).await.unwrap();
    memory.wait_for(26).await;
    {
        let settled = memory.settled.lock().unwrap();
        for (id, outcomes) in settled.iter() {
            match &outcomes[..] {
                [Outcome::Delivered { .. }] => assert_eq!(*id, 1000),
                [Outcome::Deferred { diagnostic, .. }] => assert!(diagnostic.contains("expired"), "{id}: {diagnostic}"),
                other => panic!("{id}: {other:?}"),
            }
        }
    }
    assert_eq!(memory.delivered(), 1);
    stop.send(true).unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}
