use super::{Ledger, run};
use crate::config::NextHop;
use crate::limits::Limits;
use crate::outbound::Settings;
use crate::outbound::deliver::tests::{Hop, delivery};
use crate::queue::{Delivery, Outcome, QueueError};
use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// A queue in memory: what is due, and what was settled.
#[derive(Clone, Default)]
struct Memory {
    due: Arc<Mutex<Vec<Delivery>>>,
    settled: Arc<Mutex<HashMap<i64, Vec<Outcome>>>>,
}

impl Ledger for Memory {
    async fn claim(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let mut due = self.due.lock().unwrap();
        let count = due.len().min(limit);
        Ok(due.drain(..count).collect())
    }

    async fn settle(&self, _delivery: &Delivery, outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
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
        timeout(Duration::from_secs(20), reached).await.unwrap();
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

/// Postfix's test server on a free port; `None` where it is not installed.
async fn smtp_sink(arguments: &[&str]) -> Option<(Sink, NextHop)> {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
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
    timeout(Duration::from_secs(10), listening).await.expect("smtp-sink listens");
    Some((sink, NextHop { host: "127.0.0.1".to_owned(), port }))
}

fn settings() -> Settings {
    Settings::new("gate.example", Limits::default())
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
    let worker = tokio::spawn(run(memory.clone(), handoff, settings(), shutdown));
    for id in 200..600 {
        sender.send(delivery(&next_hop, id, &["u@b.example"])).await.unwrap();
    }
    memory.wait_for(600).await;
    assert_eq!(memory.delivered(), 600);
    stop.send(true).unwrap();
    timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
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
        let outcomes =
            crate::outbound::deliver::deliver(&delivery(&next_hop, 1, &["u@b.example"]), &settings(), &mut None).await;
        let [(1, outcome)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(matches!(outcome, Outcome::Failed { .. }), fails, "{arguments:?}: {outcome:?}");
        assert_eq!(matches!(outcome, Outcome::Deferred { .. }), !fails, "{arguments:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_dead_next_hop_defers_and_does_not_stop_others() {
    let dead = NextHop { host: "127.0.0.1".to_owned(), port: 1 };
    let hop = Hop::new(&[]).await;
    let memory = Memory::default();
    let (sender, handoff) = mpsc::channel(10);
    let (stop, shutdown) = watch::channel(false);
    let worker = tokio::spawn(run(memory.clone(), handoff, settings(), shutdown));
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
    timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
}
