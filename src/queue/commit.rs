//! From accepted mail to rows: sealing on the caller's side, multi-row statements in the writer.

use super::content::{self, Sealed, StoredCopy};
use super::hold::{Hold, Holds, Room, Token};
use super::record::{NewRecipient, NewRecord, NewState, body_name, dsn_text, keep_discreet, reasons_text};
use super::release::postpone;
use super::{Alarm, DB_NOW, Delivery, DeliveryRecipient, Queue, QueueError, Shared};
use crate::audit::{ChainWriter, Event, append};
use crate::config::NextHop;
use crate::directory::note_encrypted;
use crate::mail::{Address, RecipientDsn, ReversePath};
use crate::seal::WrappedKey;
use crate::store::rows::{groups, placeholders, repeated};
use crate::store::{Tx, TxError, Write, values};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};

impl Queue {
    /// Stores the mail. It is durable when this returns: then, and only then, 250. With `lease`, the deliveries come
    /// back leased, grouped by copy and next hop, to be handed over in memory; none where memory has no room for them.
    pub async fn commit(&self, record: NewRecord) -> Result<Vec<Delivery>, QueueError> {
        self.commit_with(record, Alarm::default()).await
    }

    /// The same, and what the security team is told of it, in one transaction.
    pub async fn commit_with(&self, mut record: NewRecord, alarm: Alarm) -> Result<Vec<Delivery>, QueueError> {
        keep_discreet(&mut record);
        let contents: Vec<Bytes> = record.copies.iter().map(|copy| copy.content.bytes().clone()).collect();
        let outline = record.lease.then(|| Outline::of(&record));
        // Without room in memory it is claimed later.
        let outline = outline.and_then(|outline| Some((outline.rooms(&self.0.holds, &contents)?, outline)));
        record.lease = outline.is_some();
        let prepared = self.0.prepare(record).await?;
        let token = prepared.token.map(|token| self.0.holds.token(token));
        let mut notices = Vec::with_capacity(alarm.notices.len());
        for notice in alarm.notices {
            notices.push(self.0.prepare(NewRecord { lease: false, ..notice }).await?);
        }
        let told = !notices.is_empty();
        let chain = Arc::clone(self.0.audit.chain());
        let ids = self.0.store.write(Commit { prepared, notices, later: alarm.later, chain }).await?;
        if told {
            self.0.work.notify_one();
        }
        match (outline, token) {
            (Some((rooms, outline)), Some(token)) => Ok(outline.deliveries(&contents, &ids, rooms, &token)),
            _ => {
                self.0.work.notify_one();
                Ok(Vec::new())
            }
        }
    }
}

/// A record as it goes into the rows: everything sealed.
pub(super) struct Prepared {
    pub(super) record: NewRecord,
    pub(super) token: Option<[u8; 16]>,
    lease_micros: i64,
    original: Sealed,
    copies: Vec<StoredCopy>,
    pub(super) details: (WrappedKey, Bytes),
    evidence: Vec<EvidenceRow>,
}

struct EvidenceRow {
    sha256: [u8; 32],
    kind: &'static str,
    role: &'static str,
    der: Bytes,
}

/// The rows that a record got.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) record: i64,
    pub(super) first_copy: i64,
    pub(super) first_recipient: i64,
}

impl Shared {
    /// Seals everything; large content is on disk when this returns.
    pub(super) async fn prepare(self: &Arc<Self>, record: NewRecord) -> Result<Prepared, QueueError> {
        let size = record.original.len() + record.copies.iter().map(|copy| copy.content.bytes().len()).sum::<usize>();
        if size <= content::ROW_MAX {
            return self.prepare_now(record);
        }
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || shared.prepare_now(record)).await.map_err(|_| QueueError::Interrupted)?
    }

    fn prepare_now(&self, mut record: NewRecord) -> Result<Prepared, QueueError> {
        keep_discreet(&mut record);
        let seal = |context: &str, plain: &[u8]| content::seal(&self.master, &self.folder, context, plain);
        let (original, key) = seal(&content::original_context(&record.id), &record.original)?;
        let mut copies = Vec::with_capacity(record.copies.len());
        for (number, copy) in (0..).zip(&record.copies) {
            let (context, bytes) = (content::copy_context(&record.id, number), copy.content.bytes());
            copies.push(match content::on_top(bytes, &record.original) {
                Some((top, below)) => StoredCopy::OnTop {
                    top: key.seal_small(&context, top),
                    below: i64::try_from(below).unwrap_or(i64::MAX),
                },
                None => StoredCopy::Whole(seal(&context, bytes)?.0),
            });
        }
        let details = record.details.to_string();
        let details = self.master.seal(&content::details_context(&record.id), details.as_bytes());
        let evidence = self.evidence_rows(&record);
        // Sealed: the clear bytes are not kept while the job waits.
        record.original = Bytes::new();
        Ok(Prepared {
            token: record.lease.then(crate::seal::random),
            lease_micros: self.lease_micros(),
            record,
            original,
            copies,
            details,
            evidence,
        })
    }

    fn evidence_rows(&self, record: &NewRecord) -> Vec<EvidenceRow> {
        let mut rows = Vec::new();
        let certificates = record.evidence.certificates.iter().map(|certificate| ("certificate", certificate));
        let anchors = record.evidence.anchors.iter().map(|anchor| ("anchor", anchor));
        for (role, certificate) in certificates.chain(anchors) {
            let der = Bytes::copy_from_slice(certificate.der());
            rows.push(EvidenceRow { sha256: certificate.sha256(), kind: "certificate", role, der });
        }
        for crl in &record.evidence.crls {
            let sha256 = self.crl_digest(crl);
            rows.push(EvidenceRow { sha256, kind: "crl", role: "revocation", der: Bytes::copy_from_slice(crl.der()) });
        }
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert((row.sha256, row.role)));
        rows
    }

    fn crl_digest(&self, crl: &crate::pki::Crl) -> [u8; 32] {
        let mut known = self.crl_digests.lock().unwrap_or_else(PoisonError::into_inner);
        // The same allocation is the same CRL: the clone here keeps it from being used for another.
        if let Some((_, digest)) = known.iter().find(|(known, _)| std::ptr::eq(known.der(), crl.der())) {
            return *digest;
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, crl.der());
        let digest = <[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default();
        if known.len() >= CRLS {
            known.clear();
        }
        known.push((crl.clone(), digest));
        digest
    }
}

/// Next hop, and recipients by index.
type Group = (NextHop, Vec<(usize, Address, RecipientDsn)>);

/// What a delivery needs of a record that is about to be moved into the writer.
struct Outline {
    template: Delivery,
    /// By copy and next hop as text.
    groups: BTreeMap<(usize, String), Group>,
}

impl Outline {
    fn of(record: &NewRecord) -> Self {
        let mut groups: BTreeMap<_, (_, Vec<_>)> = BTreeMap::new();
        for (index, recipient) in record.recipients.iter().enumerate() {
            if let NewState::Pending { copy } = recipient.state {
                let key = (copy, NextHop::to_string(&recipient.next_hop));
                let group = groups.entry(key).or_insert_with(|| (recipient.next_hop.clone(), Vec::new()));
                group.1.push((index, recipient.address.clone(), recipient.dsn.clone()));
            }
        }
        let template = Delivery {
            record: 0,
            queue_id: record.id.clone(),
            copy: 0,
            content: Bytes::new(),
            reverse_path: record.reverse_path.clone(),
            body: record.body,
            dsn: record.dsn.clone(),
            next_hop: super::record::nowhere(),
            recipients: Vec::new(),
            token: [0; 16],
            direction: record.direction,
            received: record.received,
            message_id: record.message_id.clone(),
            hold: Hold::default(),
        };
        Self { template, groups }
    }

    /// Room for every delivery, or none.
    fn rooms(&self, holds: &Arc<Holds>, contents: &[Bytes]) -> Option<Vec<Room>> {
        let groups = self.groups.iter();
        groups.map(|((copy, _), (hop, _))| holds.take(hop, contents.get(*copy).map_or(0, Bytes::len))).collect()
    }

    fn deliveries(self, contents: &[Bytes], ids: &Ids, rooms: Vec<Room>, token: &Arc<Token>) -> Vec<Delivery> {
        let delivery = |(((copy, _), (next_hop, recipients)), room): (((usize, String), (_, Vec<_>)), _)| Delivery {
            record: ids.record,
            copy: offset(ids.first_copy, copy),
            content: contents.get(copy).cloned().unwrap_or_default(),
            next_hop,
            recipients: recipients
                .into_iter()
                .map(|(index, address, dsn)| DeliveryRecipient {
                    id: offset(ids.first_recipient, index),
                    address,
                    dsn,
                    tries: 0,
                    warned: false,
                })
                .collect(),
            token: token.value(),
            hold: Hold::new(room, Arc::clone(token)),
            ..self.template.clone()
        };
        self.groups.into_iter().zip(rooms).map(delivery).collect()
    }
}

struct Commit {
    prepared: Prepared,
    /// What the security team is told of it, now or later.
    notices: Vec<Prepared>,
    later: bool,
    chain: Arc<ChainWriter>,
}

impl Write for Commit {
    type Output = Ids;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Ids, TxError> {
        Self::apply_all(&[self], tx)?.pop().ok_or(TxError::NoRow)
    }

    fn apply_all(jobs: &[&Self], tx: &mut Tx<'_>) -> Result<Vec<Ids>, TxError> {
        let notices = jobs.iter().flat_map(|job| &job.notices);
        let records: Vec<&Prepared> = jobs.iter().map(|job| &job.prepared).chain(notices).collect();
        let mut ids = insert_records(tx, &records)?;
        ids.truncate(jobs.len());
        for (job, ids) in jobs.iter().zip(&ids).filter(|(job, _)| job.later) {
            postpone(tx, ids.record, job.prepared.record.received.as_microsecond())?;
        }
        if let Some(first) = jobs.first() {
            let events: Vec<Event> = records.iter().flat_map(|prepared| prepared.record.events.clone()).collect();
            append(tx, &first.chain, &events)?;
        }
        Ok(ids)
    }

    fn committed(&mut self, _output: &Ids) {
        self.prepared.keep_files();
        self.notices.iter_mut().for_each(Prepared::keep_files);
    }
}

impl Prepared {
    /// The rows that name the files are on disk.
    pub(super) fn keep_files(&mut self) {
        let copies = self.copies.iter_mut().filter_map(|copy| match copy {
            StoredCopy::Whole(sealed) => Some(sealed),
            StoredCopy::OnTop { .. } => None,
        });
        for sealed in std::iter::once(&mut self.original).chain(copies) {
            if let Some(file) = &mut sealed.file {
                file.keep();
            }
        }
    }
}

/// Inserts records with all their rows. Row numbers are given out here, from the highest that is there: so all rows of
/// many records go in few statements. There is one writer, and this is its transaction.
pub(super) fn insert_records(tx: &mut Tx<'_>, records: &[&Prepared]) -> Result<Vec<Ids>, TxError> {
    let (mut content, mut record, mut copy, mut recipient): (i64, i64, i64, i64) = tx.one(
        "SELECT (SELECT coalesce(max(id), 0) FROM content), (SELECT coalesce(max(id), 0) FROM record), \
         (SELECT coalesce(max(id), 0) FROM copy), (SELECT coalesce(max(id), 0) FROM recipient)",
        &[],
    )?;
    let mut ids = Vec::with_capacity(records.len());
    let (mut contents, mut rows, mut copies, mut recipients) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for prepared in records {
        record += 1;
        content += 1;
        ids.push(Ids { record, first_copy: copy + 1, first_recipient: recipient + 1 });
        let (first_copy, original) = (copy + 1, content);
        contents.push((original, &prepared.original));
        rows.push((record, original, *prepared));
        for (number, (stored, new)) in (0_i64..).zip(prepared.copies.iter().zip(&prepared.record.copies)) {
            copy += 1;
            let (of, on_top) = match stored {
                StoredCopy::Whole(sealed) => {
                    content += 1;
                    contents.push((content, sealed));
                    (content, None)
                }
                StoredCopy::OnTop { top, below } => (original, Some((top, *below))),
            };
            copies.push(CopyRow { id: copy, record, content: of, number, treatment: &new.treatment, on_top });
        }
        for new in &prepared.record.recipients {
            recipient += 1;
            recipients.push((recipient, record, first_copy, *prepared, new));
        }
    }
    insert_contents(tx, &contents)?;
    insert_record_rows(tx, &rows)?;
    insert_copies(tx, &copies)?;
    insert_recipients(tx, &recipients)?;
    insert_evidence(tx, &rows)?;
    let encrypted: Vec<Address> = records.iter().flat_map(|prepared| prepared.record.encrypted_to.clone()).collect();
    note_encrypted(tx, &encrypted)?;
    Ok(ids)
}

fn insert_contents(tx: &mut Tx<'_>, rows: &[(i64, &Sealed)]) -> Result<(), TxError> {
    for group in groups(rows) {
        let sql =
            format!("INSERT INTO content (id, size, master, wrapped, file) VALUES {}", placeholders(group.len(), 5));
        let mut values = Vec::with_capacity(group.len() * 5);
        for (id, sealed) in group {
            let file = sealed.file.as_ref().map(|file| &file.name);
            values.extend(values![*id, sealed.size, &sealed.wrapped.master, &sealed.wrapped.bytes, file]);
        }
        tx.execute(&sql, &values)?;
    }
    // One by one: a statement over many rows that could fail in between keeps a copy of every page that it writes on.
    for (id, sealed) in rows {
        if let Some(octets) = &sealed.row {
            tx.execute("INSERT INTO sealed (content, octets) VALUES (?, ?)", &values![*id, &octets[..]])?;
        }
    }
    Ok(())
}

fn insert_record_rows(tx: &mut Tx<'_>, rows: &[(i64, i64, &Prepared)]) -> Result<(), TxError> {
    for group in groups(rows) {
        let sql = format!(
            "INSERT INTO record (id, queue_id, version, direction, received, listener, peer, helo, reverse_path, body, \
             header_from, message_id, verdict, reasons, signer, serial, size, original, details, details_master, \
             details_wrapped, policy, rule, notice_for, final, discreet, outer_verdict, returned, envelope_id, sender_proven) \
             VALUES {}",
            placeholders(group.len(), 30)
        );
        let mut values = Vec::with_capacity(group.len() * 30);
        for (id, original, prepared) in group {
            let record = &prepared.record;
            let reverse_path = match &record.reverse_path {
                ReversePath::Null => None,
                ReversePath::Mailbox(address) => Some(address.as_str()),
            };
            let nobody_left = record.recipients.is_empty().then(|| record.received.as_microsecond());
            values.extend(values![
                *id,
                record.id.as_str(),
                VERSION,
                record.direction.name(),
                record.received.as_microsecond(),
                &record.listener,
                &record.peer,
                &record.helo,
                reverse_path,
                body_name(record.body),
                record.header_from.as_ref().map(|from| from.as_str()),
                &record.message_id,
                record.verdict.name(),
                reasons_text(&record.reasons),
                &record.signer,
                &record.serial,
                prepared.original.size,
                *original,
                &prepared.details.1[..],
                &prepared.details.0.master,
                &prepared.details.0.bytes,
                &record.policy,
                &record.rule,
                record.notice_for.as_ref().map(|id| id.as_str()),
                nobody_left,
                record.outer_verdict.is_some(),
                record.outer_verdict.map(|verdict| verdict.name()),
                record.dsn.returned.map(|returned| returned.name()),
                &record.dsn.envelope_id,
                record.sender_proven,
            ]);
        }
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

struct CopyRow<'a> {
    id: i64,
    record: i64,
    content: i64,
    number: i64,
    treatment: &'a str,
    on_top: Option<(&'a Vec<u8>, i64)>,
}

fn insert_copies(tx: &mut Tx<'_>, rows: &[CopyRow<'_>]) -> Result<(), TxError> {
    for group in groups(rows) {
        let sql = format!(
            "INSERT INTO copy (id, record, content, number, treatment, top, below) VALUES {}",
            placeholders(group.len(), 7)
        );
        let mut values = Vec::with_capacity(group.len() * 7);
        for row in group {
            let (top, below) = row.on_top.unzip();
            values.extend(values![row.id, row.record, row.content, row.number, row.treatment, top, below]);
        }
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

type RecipientRow<'a> = (i64, i64, i64, &'a Prepared, &'a NewRecipient);

fn insert_recipients(tx: &mut Tx<'_>, rows: &[RecipientRow<'_>]) -> Result<(), TxError> {
    let template = format!("(?,?,?,?,?,?,?,?,?,?,{DB_NOW} + ?,?,?)");
    for group in groups(rows) {
        let sql = format!(
            "INSERT INTO recipient (id, record, address, dsn, copy, next_hop, state, class, reasons, due, lease, token, \
             changed) VALUES {}",
            repeated(&template, group.len())
        );
        let mut values = Vec::with_capacity(group.len() * 13);
        for (id, record, first_copy, prepared, new) in group {
            let received = prepared.record.received.as_microsecond();
            let (copy, state, class, reasons) = match &new.state {
                NewState::Pending { copy } => (Some(offset(*first_copy, *copy)), "pending", None, String::new()),
                NewState::Held { class, reasons } => (None, "held", Some(class.name()), reasons_text(reasons)),
            };
            let leased = copy.and(prepared.token.as_ref());
            values.extend(values![
                *id,
                *record,
                new.address.as_str(),
                dsn_text(&new.dsn),
                copy,
                NextHop::to_string(&new.next_hop),
                state,
                class,
                reasons,
                copy.map(|_| received),
                leased.map(|_| prepared.lease_micros),
                leased,
                received,
            ]);
        }
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

pub(super) fn insert_evidence(tx: &mut Tx<'_>, rows: &[(i64, i64, &Prepared)]) -> Result<(), TxError> {
    let mut known = HashSet::new();
    let mut links = Vec::new();
    for (record, _, prepared) in rows {
        for evidence in &prepared.evidence {
            links.push((*record, evidence));
            if !known.insert(evidence.sha256) {
                continue;
            }
            let there: Option<(i64,)> =
                tx.optional("SELECT 1 FROM evidence WHERE sha256 = ?", &values![&evidence.sha256])?;
            if there.is_none() {
                tx.execute(
                    "INSERT INTO evidence (sha256, kind, der) VALUES (?, ?, ?)",
                    &values![&evidence.sha256, evidence.kind, &evidence.der[..]],
                )?;
            }
        }
    }
    for group in groups(&links) {
        let sql = format!("INSERT INTO record_evidence (record, sha256, role) VALUES {}", placeholders(group.len(), 3));
        let values: Vec<_> =
            group.iter().flat_map(|(record, evidence)| values![*record, &evidence.sha256, evidence.role]).collect();
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

fn offset(first: i64, index: usize) -> i64 {
    first.saturating_add(i64::try_from(index).unwrap_or(i64::MAX))
}

/// Of the record's format.
const VERSION: i64 = 1;
/// CRLs whose digest is remembered: more issuers than that are rare.
const CRLS: usize = 32;
