//! `/metrics`: what was counted, and what can be looked at just now.

use super::{Watched, health};
use crate::clock;
use crate::inbound;
use crate::pipeline::{Gateway, Snapshot};
use crate::pki::Certificate;
use crate::queue::Stock;
use jiff::Timestamp;
use prometheus::{Error, Gauge, GaugeVec, Opts, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::timeout;

/// How long the queue may take to be counted; without an answer it is left out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Own certificates that are shown one by one: those that end soonest.
const CERTIFICATES: usize = 200;

/// The whole page.
pub(super) async fn text(watched: &Watched) -> Result<String, Error> {
    let gateway = &watched.gateway;
    let page = Page(Registry::new());
    let (now, snapshot) = (clock::now(), gateway.snapshot());
    page.gauges("segel_build_info", "Always 1; the version is its label.", &["version"], [([VERSION], 1.0)])?;
    page.gauge("segel_store_answers", "1: the store reads and writes within a second.", {
        f64::from(u8::from(health::store_answers(gateway).await))
    })?;
    if let Ok(Ok(stock)) = timeout(PATIENCE, gateway.queue.stock()).await {
        queue(&page, &stock)?;
    }
    if let Ok(Ok(counts)) = timeout(PATIENCE, gateway.queue.counts()).await {
        let help = "Recipients whose mail was set aside because what is stored of it is damaged.";
        page.gauge("segel_queue_damaged_recipients", help, whole(counts.damaged))?;
    }
    page.gauge("segel_draining", "1: the gateway stops.", f64::from(u8::from(*watched.draining.borrow())))?;
    page.gauge("segel_clock_settled", "0 for some minutes after the clock has jumped.", {
        f64::from(u8::from(gateway.clock.is_settled()))
    })?;
    page.gauge("segel_bypass_active", "1: an emergency bypass of signing is in force.", {
        f64::from(u8::from(gateway.bypass_until().is_some()))
    })?;
    memory(&page, watched, &snapshot)?;
    disk(&page, &snapshot)?;
    crls(&page, gateway, now)?;
    certificates(&page, gateway, &snapshot, now)?;
    process(&page)?;
    let mut text = crate::metrics::text()?;
    text.push_str(&TextEncoder::new().encode_to_string(&page.0.gather())?);
    Ok(text)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Gauges that are made anew for each page: what is gone leaves no line behind.
struct Page(Registry);

impl Page {
    fn gauge(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.0.register(Box::new(gauge))
    }

    fn gauges<'a, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str; N],
        rows: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) -> Result<(), Error> {
        let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
        for (values, value) in rows {
            gauges.with_label_values(&values).set(value);
        }
        self.0.register(Box::new(gauges))
    }
}

fn queue(page: &Page, stock: &[Stock]) -> Result<(), Error> {
    let labels = ["state", "class"];
    let rows = |value: fn(&Stock) -> f64| stock.iter().map(move |row| ([row.state, row.class.as_str()], value(row)));
    page.gauges("segel_queue_recipients", "Recipients whose mail waits.", &labels, rows(|row| whole(row.count)))?;
    let help = "When the oldest mail that waits was accepted; 0: none waits.";
    page.gauges("segel_queue_oldest_timestamp_seconds", help, &labels, rows(|row| whole(row.oldest)))?;
    let due = stock.iter().map(|row| row.due).sum();
    page.gauge("segel_queue_due_recipients", "Recipients whose next try is due and not under way.", whole(due))
}

fn memory(page: &Page, watched: &Watched, snapshot: &Snapshot) -> Result<(), Error> {
    let limit = size(snapshot.config.limits.memory);
    let reserved = [("sessions", watched.admission.memory_held()), ("copies", watched.gateway.copies_held())];
    let rows = reserved.iter().map(|(what, held)| ([*what], size(*held)));
    page.gauges("segel_memory_reserved_bytes", "Octets of limits.memory that are taken.", &["use"], rows)?;
    page.gauge("segel_memory_limit_bytes", "limits.memory, which sessions and copies have each.", limit)?;
    let most = size(snapshot.config.limits.connections);
    page.gauge("segel_connections_limit", "limits.connections.", most)
}

fn disk(page: &Page, snapshot: &Snapshot) -> Result<(), Error> {
    let config = &snapshot.config;
    if let Some((free, all)) = inbound::free_space(&config.data_dir) {
        page.gauge("segel_disk_free_bytes", "Free space where data_dir lies.", octets(free))?;
        page.gauge("segel_disk_size_bytes", "Size of that file system.", octets(all))?;
    }
    let help = "limits.free_space: with less, clients hear 452.";
    page.gauge("segel_disk_floor_bytes", help, octets(config.limits.free_space))
}

fn crls(page: &Page, gateway: &Gateway, now: Timestamp) -> Result<(), Error> {
    let time = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok()).map(seconds);
    let mut rows: Vec<(String, String, _)> = gateway
        .revocation
        .status(now)
        .into_iter()
        .map(|status| {
            let location = status.location.clone().unwrap_or_else(|| "file".to_owned());
            (location, status.issuer.clone().unwrap_or_default(), status)
        })
        .collect();
    // Of several files of one issuer the newest is shown: the last one sets the value.
    rows.sort_by_cached_key(|(.., status)| time(&status.next_update).map(f64::to_bits));
    let renewals = gateway.revocation.renewals();
    let due = renewals.iter().map(|renewal| ([renewal.issuer.as_str()], seconds(renewal.due)));
    let help = "From when on a successor is missed of a CRL that nobody fetches.";
    page.gauges("segel_crl_renewal_due_timestamp_seconds", help, &["issuer"], due)?;
    let labels = ["location", "issuer"];
    let of = |value: &dyn Fn(&crate::revocation::Status) -> Option<f64>| {
        let known = rows
            .iter()
            .filter_map(|(location, issuer, status)| Some(([location.as_str(), issuer.as_str()], value(status)?)));
        known.collect::<Vec<_>>()
    };
    let this = of(&|status| time(&status.this_update));
    page.gauges("segel_crl_this_update_timestamp_seconds", "When the CRL was made.", &labels, this)?;
    let next = of(&|status| time(&status.next_update));
    page.gauges("segel_crl_next_update_timestamp_seconds", "When the CRL ends.", &labels, next)?;
    let fetched = of(&|status| time(&status.last_fetch));
    page.gauges("segel_crl_fetched_timestamp_seconds", "When the place last answered well.", &labels, fetched)?;
    let failures = of(&|status| Some(f64::from(status.failures)));
    page.gauges("segel_crl_failures", "Failures since the place last answered well.", &labels, failures)
}

/// Own keys, and what the listeners show.
fn certificates(page: &Page, gateway: &Gateway, snapshot: &Snapshot, now: Timestamp) -> Result<(), Error> {
    let mut keys = gateway.keys.list();
    keys.retain(|key| !key.destroyed && !key.blocked);
    keys.sort_by_key(|key| key.certificate.not_after());
    let mut kinds = BTreeMap::<&str, f64>::new();
    for key in &keys {
        *kinds.entry(key.kind.name()).or_default() += 1.0;
    }
    let counts = kinds.iter().map(|(kind, count)| ([*kind], *count));
    page.gauges("segel_own_keys", "Own keys that may be used, by kind.", &["kind"], counts)?;
    if let Some(soonest) = keys.iter().map(|key| key.certificate.not_after()).find(|end| *end > now) {
        let help = "When the next of the own certificates ends; those that have ended are not looked at.";
        page.gauge("segel_own_certificate_next_expiry_timestamp_seconds", help, seconds(soonest))?;
    }
    let help = "When an own certificate ends, by key id: the 200 that end next.";
    let soon = keys.iter().filter(|key| key.certificate.not_after() > now);
    let soon = soon.take(CERTIFICATES).map(|key| ([key.id.as_str()], seconds(key.certificate.not_after())));
    page.gauges("segel_own_certificate_expiry_timestamp_seconds", help, &["key"], soon)?;
    let shown = snapshot.config.tls.iter().filter_map(|identity| Certificate::from_der(identity.chain.first()?).ok());
    let shown: Vec<_> = shown.map(|one| (one.serial_hex(), seconds(one.not_after()))).collect();
    let shown = shown.iter().map(|(serial, end)| ([serial.as_str()], *end));
    let help = "When a certificate of [tls] ends.";
    page.gauges("segel_tls_certificate_expiry_timestamp_seconds", help, &["serial"], shown)
}

/// When the process began: looked at once, so that it stays the same when the clock is set.
static START: OnceLock<f64> = OnceLock::new();

/// What every exporter tells of its process, under the names that all use.
fn process(page: &Page) -> Result<(), Error> {
    use rustix::process::{Resource, getrlimit};
    let Some(own) = read() else { return Ok(()) };
    page.gauge("process_start_time_seconds", "When the process began, since 1970.", own.start)?;
    page.gauge("process_resident_memory_bytes", "Memory in use.", own.resident)?;
    page.gauge("process_virtual_memory_bytes", "Address space.", own.virtual_size)?;
    page.gauge("process_threads", "Threads.", own.threads)?;
    page.gauge("process_open_fds", "Open files and sockets.", own.files)?;
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "How many there may be.", octets(most))?;
    }
    let processor = prometheus::Counter::new("process_cpu_seconds_total", "Time of processors, by user and system.")?;
    processor.inc_by(own.processor);
    page.0.register(Box::new(processor))
}

/// proc(5): `/proc/self/stat` and `/proc/self/fd`; nothing else is to be seen under `ProcSubset=pid`.
struct Own {
    start: f64,
    resident: f64,
    virtual_size: f64,
    threads: f64,
    files: f64,
    processor: f64,
}

#[expect(clippy::disallowed_methods, reason = "files of the kernel")]
fn read() -> Option<Own> {
    let ticks = octets(rustix::param::clock_ticks_per_second());
    let page = size(rustix::param::page_size());
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Counted from the third field of the manual page.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let age = clock::since_boot().as_secs_f64() - field(22)? / ticks;
    let files = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Own {
        start: *START.get_or_init(|| clock::now().as_duration().as_secs_f64() - age),
        resident: field(24)? * page,
        virtual_size: field(23)?,
        threads: field(20)?,
        files: size(files),
        processor: (field(14)? + field(15)?) / ticks,
    })
}

fn seconds(time: Timestamp) -> f64 {
    whole(time.as_second())
}

/// Prometheus knows numbers as `f64` alone: exact up to 2^53, which none of these reaches.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "see above")]
fn whole(number: i64) -> f64 {
    number as f64
}

fn octets(number: u64) -> f64 {
    whole(i64::try_from(number).unwrap_or(i64::MAX))
}

fn size(number: usize) -> f64 {
    whole(i64::try_from(number).unwrap_or(i64::MAX))
}
