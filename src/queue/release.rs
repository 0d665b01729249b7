//! Mail that was taken and is decided again: read whole, then moved on in one transaction.
//!
//! A recipient's row leaves its state once: who comes second, or after a crash, finds it changed and changes nothing. What
//! replaces it (another record, a new verdict, a notice) is in the same transaction, and so are its audit events.

use super::commit::{Prepared, insert_evidence, insert_records};
use super::content::{self, details_context};
use super::record::{body_from_name, dsn_from_text, reasons_text};
use super::settlement::finish;
use super::{Direction, NewRecord, Queue, QueueError, QueueId};
use crate::audit::{ChainWriter, Event, append};
use crate::mail::{Address, BodyType, DsnRequest, RecipientDsn, Ret, ReversePath};
use crate::plan::notice::{Kind, Told};
use crate::policy::HoldClass;
use crate::reason::Reason;
use crate::seal::WrappedKey;
use crate::store::rows::{from_row, groups, shown_row};
use crate::store::{Tx, TxError, Value, Write, values};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, query_as};
use std::path::PathBuf;
use std::sync::Arc;

/// A record as it was taken, to be decided again.
#[derive(Clone, Debug)]
pub struct Taken {
    row: i64,
    /// Its id.
    pub id: QueueId,
    /// Which way it goes.
    pub direction: Direction,
    /// When it was taken.
    pub received: Timestamp,
    /// Name of the listener.
    pub listener: String,
    /// The peer's address.
    pub peer: String,
    /// What it said in EHLO.
    pub helo: String,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// BODY.
    pub body: BodyType,
    /// RET and ENVID.
    pub dsn: DsnRequest,
    /// The mailbox in `From`, if there is exactly one.
    pub header_from: Option<String>,
    /// Message-ID.
    pub message_id: Option<String>,
    /// Subject, report, decision, and how it came.
    pub details: serde_json::Value,
    /// Everybody in the envelope.
    pub recipients: Vec<TakenRecipient>,
}

/// One recipient of it.
#[derive(Clone, Debug)]
pub struct TakenRecipient {
    row: i64,
    /// RCPT TO.
    pub address: Address,
    /// What the sender wants to hear of it.
    pub dsn: RecipientDsn,
    /// `pending`, `held` …
    pub state: String,
    /// Of `held`.
    pub class: Option<String>,
    /// Of `held`.
    pub reasons: Vec<Reason>,
    /// Of `released`: where it went.
    pub released: Option<QueueId>,
    /// Somebody delivers it now.
    pub leased: bool,
    /// Since when it is in its state.
    pub changed: Timestamp,
}

impl TakenRecipient {
    /// Whether it is held for this.
    pub fn is_held(&self, class: HoldClass) -> bool {
        self.state == "held" && self.class.as_deref() == Some(class.name())
    }
}

/// What a recipient's row becomes.
#[derive(Clone, Debug)]
pub enum Becomes {
    /// It went out as another record.
    Released(QueueId),
    /// It is held, for this and because of this.
    Held(HoldClass, Vec<Reason>),
    /// Nobody gets it.
    Destroyed,
    /// The sender is told that he does not.
    Failed(&'static str, String),
}

/// A step of taken mail. Nothing of it happens unless all its recipients still are in the state they were read in.
#[derive(Debug, Default)]
pub struct Step {
    /// Places in [`Taken::recipients`], and what becomes of them.
    pub recipients: Vec<(usize, Option<Becomes>)>,
    /// The record that carries the mail on; its copies are due at once.
    pub child: Option<NewRecord>,
    /// The verdict as of now, with what it rests on; its content is not looked at.
    pub verdict: Option<NewRecord>,
    /// What the security team is told.
    pub alarm: Alarm,
    /// Audit events.
    pub events: Vec<Event>,
}

/// What the security team is told of held mail, in the transaction that holds it.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Notices that leave at once.
    pub notices: Vec<NewRecord>,
    /// There were many lately: it comes into the next digest.
    pub later: bool,
}

impl Queue {
    /// Reads a record to decide it again.
    ///
    /// # Errors
    /// No such record, or it can't be read.
    pub async fn taken(&self, id: &QueueId) -> Result<Taken, QueueError> {
        let row: Option<Row> = query_as(
            "SELECT id, direction, received, listener, peer, helo, reverse_path, body, header_from, message_id, details, \
             details_master, details_wrapped, returned, envelope_id FROM record WHERE queue_id = ?",
        )
        .bind(id.as_str())
        .fetch_optional(self.0.store.readers())
        .await?;
        let row = row.ok_or_else(|| QueueError::NotFound(id.clone()))?;
        let odd = |problem: &str| QueueError::Row { row: format!("record `{id}`"), problem: problem.to_owned() };
        let rows: Vec<RecipientRow> = query_as(
            "SELECT id, address, dsn, state, class, reasons, released, token IS NOT NULL AS leased, changed FROM recipient \
             WHERE record = ? ORDER BY id",
        )
        .bind(row.id)
        .fetch_all(self.0.store.readers())
        .await?;
        let recipients = rows.into_iter().map(|row| row.read().ok_or_else(|| odd("a recipient")));
        let details = match row.details_wrapped.clone() {
            None => serde_json::Value::Null,
            Some(bytes) => {
                let wrapped = WrappedKey { master: row.details_master.clone(), bytes };
                let plain = self.0.master.open_sealed(&details_context(id), &wrapped, &row.details)?;
                serde_json::from_slice(&plain).map_err(|_| odd("its details"))?
            }
        };
        let reverse_path = match &row.reverse_path {
            None => ReversePath::Null,
            Some(text) => ReversePath::Mailbox(Address::parse(text).map_err(|_| odd("its reverse-path"))?),
        };
        Ok(Taken {
            row: row.id,
            id: id.clone(),
            direction: Direction::from_name(&row.direction).ok_or_else(|| odd("its direction"))?,
            received: Timestamp::from_microsecond(row.received).map_err(|_| odd("its time"))?,
            listener: row.listener,
            peer: row.peer,
            helo: row.helo,
            reverse_path,
            body: body_from_name(&row.body),
            dsn: DsnRequest { returned: row.returned.as_deref().and_then(Ret::parse), envelope_id: row.envelope_id },
            header_from: row.header_from,
            message_id: row.message_id,
            details,
            recipients: recipients.collect::<Result<_, _>>()?,
        })
    }

    /// Takes the step, all of it; false if somebody else was first, and nothing was changed.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn step(&self, taken: &Taken, step: Step) -> Result<bool, QueueError> {
        let now = crate::clock::now();
        let mut notices = Vec::new();
        let mut events = step.events;
        let failures = failures(taken, &step.recipients);
        let groups = if failures.is_empty() { Vec::new() } else { vec![(Kind::Failed, failures)] };
        for notice in self.notices(taken.row, groups, now).await? {
            notices.extend(notice.prepared);
            events.push(notice.event);
        }
        for notice in step.alarm.notices {
            notices.push(self.0.prepare(notice).await?);
        }
        let child = match step.child {
            Some(record) => Some(self.0.prepare(NewRecord { lease: false, ..record }).await?),
            None => None,
        };
        let verdict = match step.verdict {
            // What arrived stays where it is.
            Some(record) => {
                let original = bytes::Bytes::new();
                Some(self.0.prepare(NewRecord { original, copies: Vec::new(), lease: false, ..record }).await?)
            }
            None => None,
        };
        let rows = step.recipients.into_iter().filter_map(|(place, becomes)| {
            let recipient = taken.recipients.get(place)?;
            Some(RowChange { id: recipient.row, was: recipient.state.clone(), becomes })
        });
        let job = Move {
            chain: Arc::clone(self.0.audit.chain()),
            now: now.as_microsecond(),
            record: taken.row,
            parent: taken.id.to_string(),
            rows: rows.collect(),
            child,
            verdict,
            notices,
            later: step.alarm.later,
            events,
        };
        let Some(files) = self.0.store.write(job).await? else { return Ok(false) };
        files.iter().for_each(|name| content::remove(&self.0.folder.join(name)));
        self.0.work.notify_one();
        Ok(true)
    }
}

/// Who is told that he does not get it, by his row: as the sender asked.
fn failures(taken: &Taken, recipients: &[(usize, Option<Becomes>)]) -> Vec<(i64, Told)> {
    let failure = |(place, becomes): &(usize, Option<Becomes>)| match (taken.recipients.get(*place), becomes) {
        (Some(recipient), Some(Becomes::Failed(status, diagnostic))) if recipient.dsn.wants_failure() => {
            let told = Told {
                recipient: recipient.address.as_str().to_owned(),
                original: recipient.dsn.original.clone(),
                status: (*status).to_owned(),
                diagnostic: Some(diagnostic.clone()),
                remote_mta: None,
            };
            Some((recipient.row, told))
        }
        _ => None,
    };
    recipients.iter().filter_map(failure).collect()
}

from_row! {
    #[derive(Debug)]
    struct Row {
    id: i64,
    direction: String,
    received: i64,
    listener: String,
    peer: String,
    helo: String,
    reverse_path: Option<String>,
    body: String,
    header_from: Option<String>,
    message_id: Option<String>,
    details: Vec<u8>,
    details_master: String,
    details_wrapped: Option<Vec<u8>>,
    returned: Option<String>,
    envelope_id: Option<String>,
}
}

from_row! {
    #[derive(Debug)]
    struct RecipientRow {
    id: i64,
    address: String,
    dsn: Option<String>,
    state: String,
    class: Option<String>,
    reasons: String,
    released: Option<String>,
    leased: bool,
    changed: i64,
}
}

impl RecipientRow {
    fn read(self) -> Option<TakenRecipient> {
        Some(TakenRecipient {
            row: self.id,
            address: Address::parse(&self.address).ok()?,
            dsn: dsn_from_text(self.dsn.as_deref()),
            reasons: self.reasons.split(',').filter_map(Reason::from_code).collect(),
            released: self.released.as_deref().and_then(QueueId::parse),
            state: self.state,
            class: self.class,
            leased: self.leased,
            changed: Timestamp::from_microsecond(self.changed).ok()?,
        })
    }
}

struct RowChange {
    id: i64,
    was: String,
    becomes: Option<Becomes>,
}

struct Move {
    chain: Arc<ChainWriter>,
    now: i64,
    record: i64,
    parent: String,
    rows: Vec<RowChange>,
    child: Option<Prepared>,
    verdict: Option<Prepared>,
    notices: Vec<Prepared>,
    later: bool,
    events: Vec<Event>,
}

impl Write for Move {
    /// Files whose keys are destroyed; none where nothing was changed.
    type Output = Option<Vec<PathBuf>>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, TxError> {
        if !self.stands(tx)? {
            return Ok(None);
        }
        for row in &self.rows {
            row.write(tx, self.now)?;
        }
        let records: Vec<&Prepared> = self.child.iter().chain(&self.notices).collect();
        if !records.is_empty() {
            insert_records(tx, &records)?;
        }
        if let Some(child) = &self.child {
            let values = values![&self.parent, child.record.id.as_str()];
            tx.execute("UPDATE record SET parent = ? WHERE queue_id = ?", &values)?;
        }
        if let Some(verdict) = &self.verdict {
            judged(tx, self.record, verdict)?;
        }
        if self.later {
            postpone(tx, self.record, self.now)?;
        }
        let more = records.iter().flat_map(|prepared| prepared.record.events.clone());
        let events: Vec<Event> = self.events.iter().cloned().chain(more).collect();
        append(tx, &self.chain, &events)?;
        let files = finish(tx, &[self.record], self.now)?;
        Ok(Some(files.into_iter().map(PathBuf::from).collect()))
    }

    fn committed(&mut self, output: &Self::Output) {
        if output.is_some() {
            self.child.iter_mut().chain(&mut self.notices).for_each(Prepared::keep_files);
        }
    }
}

impl Move {
    /// Whether every row still is what it was, and nobody delivers it.
    fn stands(&self, tx: &mut Tx<'_>) -> Result<bool, TxError> {
        for row in &self.rows {
            let sql = "SELECT 1 FROM recipient WHERE id = ? AND state = ? AND token IS NULL";
            let found: Option<(i64,)> = tx.optional(sql, &values![row.id, &row.was])?;
            if found.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl RowChange {
    fn write(&self, tx: &mut Tx<'_>, now: i64) -> Result<(), TxError> {
        let Some(becomes) = &self.becomes else { return Ok(()) };
        let (state, class, reasons, status, diagnostic, released) = match becomes {
            Becomes::Released(id) => ("released", None, None, None, None, Some(id.as_str())),
            Becomes::Held(class, reasons) => {
                ("held", Some(class.name()), Some(reasons_text(reasons)), None, None, None)
            }
            Becomes::Destroyed => ("destroyed", None, None, None, None, None),
            Becomes::Failed(status, why) => ("failed", None, None, Some(*status), Some(why.as_str()), None),
        };
        tx.execute(
            "UPDATE recipient SET state = ?, class = coalesce(?, class), reasons = coalesce(?, reasons), \
             status = coalesce(?, status), diagnostic = coalesce(?, diagnostic), released = ?, copy = NULL, due = NULL, \
             lease = NULL, changed = ? WHERE id = ?",
            &values![state, class, reasons, status, diagnostic, released, now, self.id],
        )?;
        Ok(())
    }
}

/// The record's verdict is another one now; what it rested on before stays beside what it rests on now.
fn judged(tx: &mut Tx<'_>, record: i64, prepared: &Prepared) -> Result<(), TxError> {
    let new = &prepared.record;
    tx.execute(
        "UPDATE record SET verdict = ?, reasons = ?, signer = ?, serial = ?, details = ?, details_master = ?, \
         details_wrapped = ?, policy = ?, rule = ?, outer_verdict = ?, discreet = max(discreet, ?) WHERE id = ?",
        &values![
            new.verdict.name(),
            reasons_text(&new.reasons),
            &new.signer,
            &new.serial,
            &prepared.details.1[..],
            &prepared.details.0.master,
            &prepared.details.0.bytes,
            &new.policy,
            &new.rule,
            new.outer_verdict.map(|verdict| verdict.name()),
            // A key may have come meanwhile: from now on notices say no more than is seen outside.
            new.outer_verdict.is_some(),
            record,
        ],
    )?;
    tx.execute("DELETE FROM record_evidence WHERE record = ?", &values![record])?;
    insert_evidence(tx, &[(record, 0, prepared)])
}

/// The security team hears of it with the next digest.
pub(super) fn postpone(tx: &mut Tx<'_>, record: i64, now: i64) -> Result<(), TxError> {
    let sql = "INSERT INTO alert (record, since) VALUES (?, ?) ON CONFLICT (record) DO NOTHING";
    tx.execute(sql, &values![record, now])?;
    Ok(())
}

/// A held record, as a digest names it.
#[derive(Clone, Debug)]
pub struct Postponed {
    row: i64,
    /// Its id.
    pub id: QueueId,
    /// Since when the team waits to hear of it.
    pub since: Timestamp,
}

impl Queue {
    /// Ids of records with recipients held for one of these, oldest first, after `after`; a page of them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn held_for(&self, classes: &[HoldClass], after: i64) -> Result<Vec<(i64, QueueId)>, QueueError> {
        let list = classes.iter().map(|class| format!("'{}'", class.name())).collect::<Vec<_>>().join(",");
        let state = format!("state = 'held' AND class IN ({list})");
        self.ids(&state, "1 = 1", after).await
    }

    /// The same of outgoing mail that waits for its next hop.
    ///
    /// # Errors
    /// The store failed.
    pub async fn waiting_outgoing(&self, after: i64) -> Result<Vec<(i64, QueueId)>, QueueError> {
        self.ids("state = 'pending'", "direction = 'outgoing'", after).await
    }

    async fn ids(&self, state: &str, record: &str, after: i64) -> Result<Vec<(i64, QueueId)>, QueueError> {
        let sql = format!(
            "SELECT id, queue_id FROM record WHERE id > ? AND {record} AND id IN (SELECT record FROM recipient WHERE \
             {state} AND record > ?) ORDER BY id LIMIT {PAGE}"
        );
        let rows: Vec<Named> =
            query_as(AssertSqlSafe(sql)).bind(after).bind(after).fetch_all(self.0.store.readers()).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.id, QueueId::parse(&row.queue_id)?))).collect())
    }

    /// Quarantined recipients since before `before`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn quarantined_before(&self, before: Timestamp) -> Result<Vec<QueueId>, QueueError> {
        let sql = format!(
            "SELECT DISTINCT m.id, m.queue_id FROM recipient r JOIN record m ON m.id = r.record WHERE r.state = 'held' AND \
             r.class = 'quarantine' AND r.changed < ? LIMIT {PAGE}"
        );
        let rows: Vec<Named> =
            query_as(AssertSqlSafe(sql)).bind(before.as_microsecond()).fetch_all(self.0.store.readers()).await?;
        Ok(rows.iter().filter_map(|row| QueueId::parse(&row.queue_id)).collect())
    }

    /// What a digest is to name, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn postponed(&self) -> Result<Vec<Postponed>, QueueError> {
        let rows: Vec<(i64, String, i64)> = query_as(
            "SELECT a.record, m.queue_id, a.since FROM alert a JOIN record m ON m.id = a.record ORDER BY a.record \
             LIMIT 1000",
        )
        .fetch_all(self.0.store.readers())
        .await?;
        let read = |(row, id, since): (i64, String, i64)| {
            Some(Postponed { row, id: QueueId::parse(&id)?, since: Timestamp::from_microsecond(since).ok()? })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Queues the digest and forgets what it names, in one transaction.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn digest(&self, named: &[Postponed], notice: Option<NewRecord>) -> Result<(), QueueError> {
        let notice = match notice {
            Some(record) => Some(self.0.prepare(NewRecord { lease: false, ..record }).await?),
            None => None,
        };
        let chain = Arc::clone(self.0.audit.chain());
        let job = Digest { chain, named: named.iter().map(|one| one.row).collect(), notice };
        self.0.store.write(job).await?;
        self.0.work.notify_one();
        Ok(())
    }
}

// One that can't be read must not hide the others.
shown_row! {
    struct Named {
    id: i64,
    queue_id: String,
}
}

/// Records looked at in one go.
const PAGE: usize = 200;

struct Digest {
    chain: Arc<ChainWriter>,
    named: Vec<i64>,
    notice: Option<Prepared>,
}

impl Write for Digest {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        if let Some(notice) = &self.notice {
            insert_records(tx, &[notice])?;
            append(tx, &self.chain, &notice.record.events)?;
        }
        for group in groups(&self.named) {
            let list = vec!["?"; group.len()].join(",");
            let values: Vec<_> = group.iter().copied().map(Value::from).collect();
            tx.execute(&format!("DELETE FROM alert WHERE record IN ({list})"), &values)?;
        }
        Ok(())
    }

    fn committed(&mut self, _output: &()) {
        self.notice.iter_mut().for_each(Prepared::keep_files);
    }
}
