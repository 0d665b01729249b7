//! Nobody learns from a reply, a notice, a state, a log line or a time what a private key made of a ciphertext.

use crate::support::der;
use crate::support::pki::{RATNA, SITI, WATI, parts};
use crate::support::process::run;
use crate::support::{Client, Gateway, PATIENCE, Pki, Setup, Sink, letter};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is wrong with the mail. All are for the same RSA key, of the same length, and unsigned inside.
const KINDS: [&str; 6] = [
    // The encrypted block does not begin with 00 02.
    "padding", // The padding is right, the content key has 16 octets where AES-256 needs 32.
    "length",  // The padding and the length are right, the content key is another.
    "key",
    // The content key is right; the last block of the content is not, so that its padding is wrong.
    "content", // The same with a block in the middle: the padding is right, the text is not.
    "text",    // Nothing is wrong, and a second RecipientInfo for the same key was chosen by an attacker.
    "mixed",
];

/// How many mails of each kind are made; each is sent many times.
const VARIANTS: usize = 16;

/// A block for RSA with 2048 bits: 00 02, non-zero octets, 00, the content key (RFC 8017 section 7.2.1).
fn block(second: u8, key: &[u8], random: &mut Random) -> Vec<u8> {
    let mut block = vec![0, second];
    block.extend((0..253 - key.len()).map(|_| u8::try_from(1 + random.below(255)).unwrap()));
    block.push(0);
    block.extend_from_slice(key);
    block
}

/// RSA without any padding.
fn raw_rsa(block: &[u8]) -> Vec<u8> {
    let certificate = Pki::shared().path(&format!("{WATI}.pem"));
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-encrypt", "-certin", "-inkey", &certificate, "-pkeyopt", "rsa_padding_mode:none"]);
    let output = run(&mut command, block);
    assert_eq!(output.stdout.len(), 256, "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn put(der: &mut [u8], element: der::Element, octets: &[u8]) {
    der[element.content..element.end].copy_from_slice(octets);
}

/// The CMS object of one bad mail.
fn bad(kind: &str, entity: &[u8], random: &mut Random) -> Vec<u8> {
    let certificate = Pki::shared().path(&format!("{WATI}.pem"));
    let twice = [certificate.as_str(), certificate.as_str()];
    let recipients = if kind == "mixed" { &twice[..] } else { &twice[..1] };
    let mut der = Pki::shared().cms_encrypt(entity, &[&["-outform", "DER", "-aes-256-cbc"], recipients].concat());
    let found = der::enveloped(&der);
    let key = der::encrypted_key(&der, *found.recipients.last().unwrap());
    assert_eq!(key.end - key.content, 256);
    match kind {
        "padding" | "mixed" => put(&mut der, key, &raw_rsa(&block(5, &random.octets(32), random))),
        "length" => put(&mut der, key, &raw_rsa(&block(2, &random.octets(16), random))),
        "key" => put(&mut der, key, &raw_rsa(&block(2, &random.octets(32), random))),
        // The block before the last one decides the padding.
        "content" => der[found.content.end - 17] ^= 0x55,
        "text" => der[found.content.content + 40] ^= 0x55,
        other => panic!("{other}"),
    }
    der
}

/// Numbers without a pattern that matters here; the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from((self.next() >> 16) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

/// `VARIANTS` mails of each kind, whose lengths do not differ within what base64 can tell.
fn mails(random: &mut Random) -> Vec<Vec<Vec<u8>>> {
    let all = KINDS.iter().map(|kind| {
        let of_kind = (0..VARIANTS).map(|number| {
            let text = format!("Nilai kontrak: 100.000.000, nomor {number:02}. {}", "Lampiran. ".repeat(8));
            let (outer, entity) = parts(&letter(RATNA, WATI, &format!("oracle-{kind}-{number:02}"), &text));
            let outer = String::from_utf8(outer).unwrap();
            // Only the second RecipientInfo may make a difference in length.
            [outer.as_bytes(), &der::entity(&bad(kind, &entity, random), "enveloped-data")].concat()
        });
        of_kind.collect()
    });
    all.collect()
}

struct Site {
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
}

fn site() -> Site {
    Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.keys = vec![(SITI, "individual"), (WATI, "individual")];
    Site { gateway: setup.start(), inside, outside }
}

/// A reply without the queue id.
fn shape(reply: &str) -> String {
    let (before, _) = reply.rsplit_once(' ').unwrap_or((reply, ""));
    before.to_owned()
}

#[test]
fn i60_c44_i62_bad_ciphertexts_look_alike() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let mut random = Random(0x5e9e1);
    let mails = mails(&mut random);
    let mut client = Client::hello(site.gateway.outside);
    let mut shapes = BTreeSet::new();
    let mut logs = Vec::new();
    for (number, of_kind) in (1..).zip(&mails) {
        let before = site.gateway.log().len();
        for mail in of_kind.iter().take(4) {
            let reply = client.transaction(RATNA, &[WATI], mail);
            assert!(reply.starts_with("250 2.0.0 "), "{reply}");
            shapes.insert(shape(&reply));
        }
        // The log is read beside the dialogue.
        let log = site.gateway.log_with(4 * number, "mail accepted.");
        // What is written once a minute comes with one mail or with another.
        let of_mail = log[before..].iter().filter(|line| !line.contains("checkpoint of the audit log."));
        logs.push(shapes_of(of_mail));
    }
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    // The same lines, whatever was wrong.
    assert!(logs.iter().all(|log| *log == logs[0]), "{logs:#?}");
    // The same state, for the same reasons.
    let held = site.gateway.held();
    assert_eq!(held.len(), KINDS.len() * 4);
    let states: BTreeSet<String> = held
        .iter()
        .map(|row| {
            let mut row = row.clone();
            let fields = row.as_object_mut().unwrap();
            let names = ["queue_id", "received", "message_id", "size", "at", "since", "subject", "age_seconds"];
            names.iter().for_each(|name| drop(fields.remove(*name)));
            row["recipients"].as_array_mut().unwrap().iter_mut().for_each(|one| one["changed"] = "".into());
            row.to_string()
        })
        .collect();
    assert_eq!(states.len(), 1, "{states:#?}");
    assert!(states.first().unwrap().contains("integrity-unproven"), "{states:?}");
    // The audit log says the same of all.
    let audit = site.gateway.segel(&["audit", "search", "--json"]);
    let accepted = audit.json().into_iter().filter(|row| row.to_string().contains("integrity-unproven"));
    let events: BTreeSet<String> = accepted.map(|row| words_of(&row)).collect();
    assert!(events.len() <= 2, "one for the mail, one for its recipient: {events:#?}");
    assert!(site.inside.mails().is_empty() && site.outside.mails().is_empty());
}

/// Level and text of each line, without what differs from mail to mail; how often each came.
fn shapes_of<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut all: Vec<String> = lines.map(|line| words_without_ids(line)).collect();
    all.sort();
    all
}

fn words_without_ids(line: &str) -> String {
    let varies = |word: &&str| word.chars().any(|c| c.is_ascii_digit()) || word.contains("id=");
    line.split_whitespace().filter(|word| !varies(word)).collect::<Vec<_>>().join(" ")
}

/// An event without what differs from mail to mail.
fn words_of(row: &serde_json::Value) -> String {
    let mut row = row.clone();
    fn clean(value: &mut serde_json::Value) {
        if let Some(fields) = value.as_object_mut() {
            let names = ["queue_id", "seq", "time", "at", "hash", "prev", "message_id", "size", "ts"];
            names.iter().for_each(|name| drop(fields.remove(*name)));
            fields.values_mut().for_each(clean);
        }
    }
    clean(&mut row);
    row.to_string()
}

/// A connection that measures: no part of the kernel holds back what was written.
struct Meter(BufReader<TcpStream>);

impl Meter {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut meter = Self(BufReader::new(stream));
        meter.replies(1);
        meter.write(b"EHLO meter.test.example\r\n");
        meter.replies(1);
        meter
    }

    fn write(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).unwrap();
    }

    fn replies(&mut self, count: usize) {
        for _ in 0..count {
            let mut line = String::new();
            while line.as_bytes().get(3) != Some(&b' ') {
                line.clear();
                assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection has ended");
            }
            assert!(line.starts_with('2') || line.starts_with('3'), "{line}");
        }
    }

    /// Seconds from the final dot to its reply.
    fn measure(&mut self, mail: &[u8]) -> f64 {
        self.write(format!("MAIL FROM:<{RATNA}>\r\nRCPT TO:<{WATI}>\r\nDATA\r\n").as_bytes());
        self.replies(3);
        self.write(mail);
        // The content has arrived when the dot is sent: what counts begins there.
        std::thread::sleep(Duration::from_micros(200));
        let start = Instant::now();
        self.write(b".\r\n");
        self.replies(1);
        start.elapsed().as_secs_f64()
    }
}

/// Mean and variance of the mean.
fn moments(samples: &[f64]) -> (f64, f64) {
    let count = f64::from(u32::try_from(samples.len()).unwrap());
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count)
}

/// Welch's t between two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let ((mean, error), (other_mean, other_error)) = (moments(one), moments(other));
    (mean - other_mean) / (error + other_error).sqrt()
}

/// As usual for leaks in time: one in 150,000 for a single comparison without a difference.
const THRESHOLD: f64 = 4.5;

/// Welch's t between every two kinds; the largest.
fn worst_of(what: &str, by_kind: &[Vec<f64>]) -> (f64, String) {
    let mut worst = (0.0_f64, String::new());
    for (name, of_kind) in KINDS.iter().zip(by_kind) {
        let (mean, error) = moments(of_kind);
        let deviation = (error * f64::from(u32::try_from(of_kind.len()).unwrap())).sqrt();
        println!(
            "{what}: {name:8} {:6} mails, mean {:.3} ms, deviation {:.3} ms",
            of_kind.len(),
            mean * 1e3,
            deviation * 1e3
        );
    }
    for (number, one) in KINDS.iter().enumerate() {
        for (other_number, other) in KINDS.iter().enumerate().skip(number + 1) {
            let t = welch(&by_kind[number], &by_kind[other_number]);
            println!("{what}: {one:8} against {other:8} t = {t:+.2}");
            if t.abs() > worst.0 {
                worst = (t.abs(), format!("{what}: {one} against {other}: t = {t:+.2}"));
            }
        }
    }
    worst
}

/// The grid's first line for mail of these lengths, in seconds.
const FIRST_LINE: f64 = 0.1;

/// Of fewer, chance may give some that are all alike, and any difference from the others then looks certain.
const ENOUGH: usize = 100;

/// Mails of every kind in random order over several connections. `SEGEL_ORACLE_SAMPLES` of each kind, else
/// 10,000, which takes two minutes.
#[test]
fn i60_replies_take_the_same_time_whatever_was_wrong() {
    need!("openssl", "aiosmtpd");
    const CONNECTIONS: usize = 32;
    let samples = std::env::var("SEGEL_ORACLE_SAMPLES").map_or(10_000, |number| number.parse().unwrap());
    let site = site();
    let mut random = Random(0x5e9e1);
    let mails = mails(&mut random);
    let warm_up = CONNECTIONS * 4;
    let mut order: Vec<usize> = (0..KINDS.len() * samples).map(|number| number % KINDS.len()).collect();
    random.shuffle(&mut order);
    let order: Vec<usize> = order.iter().take(warm_up).chain(&order).copied().collect();
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let work = || {
        let mut meter = Meter::connect(site.gateway.outside);
        let mut times = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(kind) = order.get(place) else { return times };
            let took = meter.measure(&mails[*kind][place % VARIANTS]);
            if place >= warm_up {
                times.push((*kind, took));
            }
        }
    };
    let times: Vec<(usize, f64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("{} mails in {:.0} s", times.len(), started.elapsed().as_secs_f64());
    let of =
        |kind: usize| -> Vec<f64> { times.iter().filter(|(one, _)| *one == kind).map(|(_, took)| *took).collect() };
    let by_kind: Vec<Vec<f64>> = (0..KINDS.len()).map(of).collect();
    for (name, of_kind) in KINDS.iter().zip(&by_kind) {
        assert!(
            of_kind.iter().all(|took| *took > FIRST_LINE - 0.005),
            "{name}: a reply left before the grid's first line"
        );
    }
    let worst = worst_of("all", &by_kind);
    assert!(worst.0 < THRESHOLD, "{}", worst.1);
    // What leaves with the grid's first line varies little: there a smaller difference would show.
    let first_line = |of_kind: &Vec<f64>| of_kind.iter().copied().filter(|took| *took < FIRST_LINE * 1.5).collect();
    let early: Vec<Vec<f64>> = by_kind.iter().map(first_line).collect();
    if early.iter().all(|of_kind| of_kind.len() >= ENOUGH) {
        let worst = worst_of("first line", &early);
        assert!(worst.0 < THRESHOLD, "{}", worst.1);
    } else {
        println!("first line: on so busy a machine too few replies leave with it to be compared");
    }
    assert!(site.inside.mails().is_empty() && site.outside.mails().is_empty());
}

#[test]
fn the_comparison_of_times_sees_a_difference_that_is_there() {
    let mut random = Random(7);
    let mut sample = |shift: f64| -> Vec<f64> {
        (0..1000).map(|_| f64::from(u32::try_from(random.below(1000)).unwrap()) / 1000.0 + shift).collect()
    };
    let (one, same, other) = (sample(0.0), sample(0.0), sample(0.1));
    assert!(welch(&one, &same).abs() < THRESHOLD);
    assert!(welch(&one, &other).abs() > THRESHOLD);
}
