//! What operators see, and what they may ask for.

use super::content::{Missing, details_context, original_context};
use super::damage::IS_DAMAGED;
use super::{DB_NOW, Queue, QueueError, QueueId};
use crate::audit::{ChainWriter, Event, append};
use crate::seal::WrappedKey;
use crate::store::rows::shown_row;
use crate::store::{Tx, TxError, Write, values};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{AssertSqlSafe, query_as, query_scalar};
use std::sync::Arc;

/// Which records to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Everything that has a recipient who is pending.
    Pending,
    /// Everything that has a recipient who is held, whatever it waits for.
    Held,
    /// Everything that is not final.
    Open,
    /// Everything that is kept.
    All,
}

/// A record as operators see it. No content, no subject.
#[derive(Clone, Debug, Serialize)]
pub struct RecordView {
    /// Its id.
    pub queue_id: String,
    /// When it arrived, RFC 3339.
    pub received: String,
    /// `outgoing`, `incoming` or `notice`.
    pub direction: String,
    /// MAIL FROM; null for the null reverse-path.
    pub reverse_path: Option<String>,
    /// The mailbox in `From`.
    pub header_from: Option<String>,
    /// Message-ID.
    pub message_id: Option<String>,
    /// Why recipients are held: `quarantine`, `awaiting-key`, `operator` …; several with commas, null where none is.
    pub class: Option<String>,
    /// `valid`, `invalid`, `indeterminate` or `none`.
    pub verdict: String,
    /// Reason codes.
    pub reasons: Vec<String>,
    /// The signer's address.
    pub signer: Option<String>,
    /// Serial number of the signer's certificate.
    pub serial: Option<String>,
    /// Octets of the original.
    pub size: i64,
    /// What fired.
    pub rule: String,
    /// The mail this notice is about.
    pub notice_for: Option<String>,
    /// The mail that this one was released from.
    pub parent: Option<String>,
    /// State by recipient.
    pub recipients: Vec<RecipientView>,
}

/// A recipient as operators see him.
#[derive(Clone, Debug, Serialize)]
pub struct RecipientView {
    /// RCPT TO.
    pub address: String,
    /// `pending`, `held`, `delivered`, `failed`, `released` or `destroyed`.
    pub state: String,
    /// Of `held`.
    pub class: Option<String>,
    /// Of `held`: reason codes.
    pub reasons: Vec<String>,
    /// Of `pending`: not before, RFC 3339.
    pub due: Option<String>,
    /// Tries so far.
    pub tries: i64,
    /// The last enhanced status code.
    pub status: Option<String>,
    /// The last reply.
    pub diagnostic: Option<String>,
    /// Where it goes.
    pub next_hop: String,
    /// Whether somebody delivers it now.
    pub leased: bool,
    /// Of `delivered`: the server that took it.
    pub host: Option<String>,
    /// When the state was last changed, RFC 3339.
    pub changed: String,
    /// Of `released`: where it went, and what became of it there.
    pub released: Option<ReleasedView>,
    /// `NOTIFY=`, as it was given.
    pub notify: Option<String>,
    /// `ORCPT=`, as it was given.
    pub original_recipient: Option<String>,
    /// When the sender was told of the delay, RFC 3339.
    pub warned: Option<String>,
    /// Whether its finished copy is there: what is held without one is decided again before it leaves.
    #[serde(skip)]
    pub copied: bool,
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The newest, newest first.
    pub records: Vec<RecordView>,
    /// How many there are in all.
    pub total: i64,
}

/// What became of released mail for one recipient.
#[derive(Clone, Debug, Serialize)]
pub struct ReleasedView {
    /// The mail that carries it on.
    pub queue_id: String,
    /// Its state for him: `pending`, `delivered` …; null where the record is gone.
    pub state: Option<String>,
    /// Where it goes.
    pub next_hop: Option<String>,
    /// The server that took it.
    pub host: Option<String>,
    /// The last reply of the next hop.
    pub reply: Option<String>,
    /// When that was, RFC 3339.
    pub time: Option<String>,
}

/// A record with what is sealed beside it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// As in the list.
    #[serde(flatten)]
    pub record: RecordView,
    /// Name of the listener.
    pub listener: String,
    /// The peer's address.
    pub peer: String,
    /// What it said in EHLO.
    pub helo: String,
    /// Hash of the policy that decided.
    pub policy: String,
    /// `RET=`, as it was given.
    pub returned: Option<String>,
    /// `ENVID=`, as it was given.
    pub envelope_id: Option<String>,
    /// Queue ids of the notices about it, oldest first.
    pub notices: Vec<String>,
    /// Subject, report, decision.
    pub details: serde_json::Value,
}

/// What is needed to verify a verdict again, with other software.
#[derive(Clone, Debug)]
pub struct EvidenceBundle {
    /// The mail as it arrived.
    pub original: Bytes,
    /// The record with its decision.
    pub shown: Shown,
    /// Certificates of signers and paths.
    pub certificates: Vec<EvidenceFile>,
    /// Trust anchors.
    pub anchors: Vec<EvidenceFile>,
    /// CRLs.
    pub crls: Vec<EvidenceFile>,
}

/// One piece of evidence.
#[derive(Clone, Debug)]
pub struct EvidenceFile {
    /// SHA-256 of the DER, hex.
    pub sha256: String,
    /// The octets.
    pub der: Vec<u8>,
}

/// How much there is, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Recipients to be delivered.
    pub pending: i64,
    /// Of these, due and not leased.
    pub due: i64,
    /// Recipients held.
    pub held: i64,
    /// Of these, set aside because what is stored of their mail is damaged.
    pub damaged: i64,
    /// Of these, those whose record is gone: no list shows them.
    pub lost: i64,
}

/// What waits for one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// `pending` or `held`.
    pub state: &'static str,
    /// Of held mail: what it waits for.
    pub class: String,
    /// Recipients.
    pub count: i64,
    /// Of pending ones: those whose next try is due and not under way.
    pub due: i64,
    /// When the oldest of that mail was accepted, in seconds since 1970; 0 if there is none.
    pub oldest: i64,
}

impl Stock {
    fn empty(state: &'static str, class: &str) -> Self {
        Self { state, class: class.to_owned(), count: 0, due: 0, oldest: 0 }
    }
}

impl Queue {
    /// The newest 1,000 records of this kind, newest first.
    pub async fn list(&self, filter: Filter) -> Result<Vec<RecordView>, QueueError> {
        Ok(self.list_at_most(filter, 1000).await?.records)
    }

    /// The newest records of this kind, at most so many, and how many there are.
    pub async fn list_at_most(&self, filter: Filter, limit: usize) -> Result<Page, QueueError> {
        let state = match filter {
            Filter::Pending => "WHERE id IN (SELECT record FROM recipient WHERE state = 'pending')",
            Filter::Held => "WHERE id IN (SELECT record FROM recipient WHERE state = 'held')",
            Filter::Open => "WHERE final IS NULL",
            Filter::All => "",
        };
        let sql = format!("SELECT {COLUMNS} FROM record {state} ORDER BY received DESC, id DESC LIMIT ?");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<RecordRow> = query_as(AssertSqlSafe(sql)).bind(limit).fetch_all(self.0.store.readers()).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let recipients = self.recipients(row.id).await?;
            records.push(row.view(recipients));
        }
        let mut total = i64::try_from(records.len()).unwrap_or(i64::MAX);
        if total >= limit {
            let sql = format!("SELECT count(*) FROM record {state}");
            total = query_scalar(AssertSqlSafe(sql)).fetch_one(self.0.store.readers()).await?;
        }
        Ok(Page { records, total })
    }

    /// One record, with its sealed details.
    pub async fn show(&self, id: &QueueId) -> Result<Shown, QueueError> {
        let row = self.record_row(id).await?;
        let details = match row.details_wrapped.clone() {
            None => serde_json::Value::Null,
            Some(bytes) => {
                let wrapped = WrappedKey { master: row.details_master.clone(), bytes };
                let plain = self.0.master.open_sealed(&details_context(id), &wrapped, &row.details)?;
                serde_json::from_slice(&plain).map_err(|error| QueueError::Row {
                    row: format!("details of `{id}`"),
                    problem: error.to_string(),
                })?
            }
        };
        let recipients = self.recipients(row.id).await?;
        let notices = query_scalar("SELECT queue_id FROM record WHERE notice_for = ? ORDER BY id")
            .bind(id.as_str())
            .fetch_all(self.0.store.readers())
            .await?;
        Ok(Shown {
            returned: row.returned.clone(),
            envelope_id: row.envelope_id.clone(),
            notices,
            listener: row.listener.clone(),
            peer: row.peer.clone(),
            helo: row.helo.clone(),
            policy: row.policy.clone(),
            details,
            record: row.view(recipients),
        })
    }

    /// The mail as it arrived, as long as a recipient is not final. The caller audits that it was read.
    pub async fn original(&self, id: &QueueId) -> Result<Bytes, QueueError> {
        let row = self.record_row(id).await?;
        self.0.open_content(row.original, original_context(id)).await.map_err(|missing| match missing {
            Missing::Destroyed => QueueError::Destroyed(id.clone()),
            Missing::Damaged(problem) => QueueError::Row { row: format!("original of `{id}`"), problem },
            Missing::Failed(error) => error,
        })
    }

    /// Original, decision, certificates, CRLs and anchors.
    pub async fn evidence(&self, id: &QueueId) -> Result<EvidenceBundle, QueueError> {
        let original = self.original(id).await?;
        let shown = self.show(id).await?;
        let rows: Vec<(String, Vec<u8>, Vec<u8>)> = query_as(
            "SELECT l.role, e.sha256, e.der FROM record m JOIN record_evidence l ON l.record = m.id \
             JOIN evidence e ON e.sha256 = l.sha256 WHERE m.queue_id = ? ORDER BY e.sha256",
        )
        .bind(id.as_str())
        .fetch_all(self.0.store.readers())
        .await?;
        let mut bundle =
            EvidenceBundle { original, shown, certificates: Vec::new(), anchors: Vec::new(), crls: Vec::new() };
        for (role, sha256, der) in rows {
            let file = EvidenceFile { sha256: data_encoding::HEXLOWER.encode(&sha256), der };
            match role.as_str() {
                "anchor" => bundle.anchors.push(file),
                "revocation" => bundle.crls.push(file),
                _ => bundle.certificates.push(file),
            }
        }
        Ok(bundle)
    }

    /// Makes pending recipients due now, audited; how many there were. Those being delivered stay as they are.
    pub async fn retry(&self, id: &QueueId, operator: &str) -> Result<u64, QueueError> {
        let record = self.record_row(id).await?.id;
        let chain = Arc::clone(self.0.audit.chain());
        let job = Retry { chain, record, queue_id: id.to_string(), operator: operator.to_owned() };
        let count = self.0.store.write(job).await?;
        self.0.work.notify_one();
        Ok(count)
    }

    /// How much there is: for `/health`.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE state = 'pending'), \
             count(*) FILTER (WHERE state = 'pending' AND due <= {DB_NOW} AND (lease IS NULL OR lease <= {DB_NOW})), \
             count(*) FILTER (WHERE state = 'held') FROM recipient WHERE state = 'pending' OR state = 'held'"
        );
        let (pending, due, held) = query_as(AssertSqlSafe(sql)).fetch_one(self.0.store.readers()).await?;
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM record WHERE record.id = recipient.record)) \
             FROM recipient WHERE state = 'held' AND class = 'operator' AND {IS_DAMAGED}"
        );
        let (damaged, lost) = query_as(AssertSqlSafe(sql)).fetch_one(self.0.store.readers()).await?;
        Ok(Counts { pending, due, held, damaged, lost })
    }

    /// What waits, by state and by what it waits for. Looks at nothing that is over, however much of it there is.
    pub async fn stock(&self) -> Result<Vec<Stock>, QueueError> {
        let of = |state: &str, due: &str| {
            format!(
                "SELECT '{state}', class, count, due, coalesce((SELECT received FROM record WHERE id = oldest), 0) FROM \
                 (SELECT coalesce(class, '') AS class, count(*) AS count, {due} AS due, min(record) AS oldest \
                 FROM recipient WHERE state = '{state}' GROUP BY 1)"
            )
        };
        let due = format!("count(*) FILTER (WHERE due <= {DB_NOW} AND (lease IS NULL OR lease <= {DB_NOW}))");
        let sql = format!("{} UNION ALL {}", of("pending", &due), of("held", "0"));
        let rows: Vec<(String, String, i64, i64, i64)> =
            query_as(AssertSqlSafe(sql)).fetch_all(self.0.store.readers()).await?;
        let mut stock = vec![Stock::empty("pending", ""), Stock::empty("held", "quarantine")];
        for (state, class, count, due, oldest) in rows {
            let state = if state == "held" { "held" } else { "pending" };
            stock.retain(|row| row.state != state || row.class != class);
            stock.push(Stock { state, class, count, due, oldest: oldest / 1_000_000 });
        }
        Ok(stock)
    }

    async fn record_row(&self, id: &QueueId) -> Result<RecordRow, QueueError> {
        let sql = format!("SELECT {COLUMNS} FROM record WHERE queue_id = ?");
        let row: Option<RecordRow> =
            query_as(AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(self.0.store.readers()).await?;
        row.ok_or_else(|| QueueError::NotFound(id.clone()))
    }

    async fn recipients(&self, record: i64) -> Result<Vec<RecipientView>, QueueError> {
        let sql = format!(
            "SELECT address, state, class, reasons, due, tries, status, diagnostic, next_hop, \
             coalesce(lease > {DB_NOW}, 0) AS leased, host, changed, released, dsn, warned, \
             copy IS NOT NULL AS copied FROM recipient WHERE record = ? \
             ORDER BY id"
        );
        let rows: Vec<RecipientRow> =
            query_as(AssertSqlSafe(sql)).bind(record).fetch_all(self.0.store.readers()).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            let released = match &row.released {
                Some(id) => Some(self.released(id, &row.address).await?),
                None => None,
            };
            views.push(RecipientView { released, ..row.view() });
        }
        Ok(views)
    }

    /// What became of released mail: the proof of its delivery, once there is one.
    async fn released(&self, id: &str, address: &str) -> Result<ReleasedView, QueueError> {
        let found: Option<ReleasedRow> = query_as(
            "SELECT r.state, r.next_hop, r.host, r.diagnostic, r.changed FROM recipient r JOIN record m ON m.id = r.record \
             WHERE m.queue_id = ? AND r.address = ?",
        )
        .bind(id)
        .bind(address)
        .fetch_optional(self.0.store.readers())
        .await?;
        let mut view =
            ReleasedView { queue_id: id.to_owned(), state: None, next_hop: None, host: None, reply: None, time: None };
        if let Some((state, next_hop, host, reply, changed)) = found {
            view.host = host;
            view.state = Some(state);
            view.next_hop = Some(next_hop);
            view.reply = reply;
            view.time = Some(time_text(changed));
        }
        Ok(view)
    }
}

const COLUMNS: &str = "id, queue_id, received, direction, reverse_path, header_from, message_id, verdict, reasons, signer, \
     serial, size, rule, notice_for, parent, listener, peer, helo, policy, original, details, details_master, \
     details_wrapped, returned, envelope_id";

shown_row! {
    #[derive(Debug)]
    struct RecordRow {
    id: i64,
    queue_id: String,
    received: i64,
    direction: String,
    reverse_path: Option<String>,
    header_from: Option<String>,
    message_id: Option<String>,
    verdict: String,
    reasons: String,
    signer: Option<String>,
    serial: Option<String>,
    size: i64,
    rule: String,
    notice_for: Option<String>,
    parent: Option<String>,
    listener: String,
    peer: String,
    helo: String,
    policy: String,
    original: i64,
    details: Vec<u8>,
    details_master: String,
    details_wrapped: Option<Vec<u8>>,
    returned: Option<String>,
    envelope_id: Option<String>,
}
}

impl RecordRow {
    fn view(self, recipients: Vec<RecipientView>) -> RecordView {
        RecordView {
            queue_id: self.queue_id,
            received: time_text(self.received),
            direction: self.direction,
            reverse_path: self.reverse_path,
            header_from: self.header_from,
            message_id: self.message_id,
            class: classes(&recipients),
            verdict: self.verdict,
            reasons: codes(&self.reasons),
            signer: self.signer,
            serial: self.serial,
            size: self.size,
            rule: self.rule,
            notice_for: self.notice_for,
            parent: self.parent,
            recipients,
        }
    }
}

/// State, next hop, host, last reply and time of what released mail became.
type ReleasedRow = (String, String, Option<String>, Option<String>, i64);

shown_row! {
    #[derive(Debug)]
    struct RecipientRow {
    address: String,
    state: String,
    class: Option<String>,
    reasons: String,
    due: Option<i64>,
    tries: i64,
    status: Option<String>,
    diagnostic: Option<String>,
    next_hop: String,
    leased: bool,
    host: Option<String>,
    dsn: Option<String>,
    warned: Option<i64>,
    copied: bool,
    changed: i64,
    released: Option<String>,
}
}

impl RecipientRow {
    fn view(self) -> RecipientView {
        let dsn = super::record::dsn_from_text(self.dsn.as_deref());
        RecipientView {
            notify: dsn.notify.map(crate::mail::Notify::text),
            original_recipient: dsn.original,
            warned: self.warned.map(time_text),
            address: self.address,
            state: self.state,
            class: self.class,
            reasons: codes(&self.reasons),
            due: self.due.map(time_text),
            tries: self.tries,
            status: self.status,
            diagnostic: self.diagnostic,
            next_hop: self.next_hop,
            leased: self.leased,
            host: self.host,
            changed: time_text(self.changed),
            released: None,
            copied: self.copied,
        }
    }
}

/// The classes of the held recipients, each once, in the envelope's order.
fn classes(recipients: &[RecipientView]) -> Option<String> {
    let mut classes: Vec<&str> = Vec::new();
    let held = recipients.iter().filter(|recipient| recipient.state == "held");
    for class in held.filter_map(|recipient| recipient.class.as_deref()) {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    (!classes.is_empty()).then(|| classes.join(","))
}

fn codes(text: &str) -> Vec<String> {
    text.split(',').filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

fn time_text(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |time| time.to_string())
}

struct Retry {
    chain: Arc<ChainWriter>,
    record: i64,
    queue_id: String,
    operator: String,
}

impl Write for Retry {
    type Output = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, TxError> {
        let sql = format!(
            "UPDATE recipient SET due = {DB_NOW} WHERE record = ? AND state = 'pending' \
             AND (lease IS NULL OR lease <= {DB_NOW})"
        );
        let recipients = tx.execute(&sql, &values![self.record])?;
        let event =
            Event::OperatorRetry { queue_id: self.queue_id.clone(), operator: self.operator.clone(), recipients };
        append(tx, &self.chain, &[event])?;
        Ok(recipients)
    }
}
