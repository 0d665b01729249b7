//! Settling: what a try gave goes to disk, with notice and audit rows, and final content is destroyed.

use super::commit::insert_records;
use super::notice::Notice;
use super::settle::{Outcome, RecipientRecord, Settlement, settle};
use super::{Delivery, DeliveryRecipient, Queue, QueueError, content};
use crate::audit::{ChainWriter, Event, append};
use crate::config::{Destination, NextHop};
use crate::plan::notice::{Kind, Told};
use crate::smtp::EnhancedCode;
use crate::store::rows::{groups, placeholders};
use crate::store::{Tx, TxError, Urgency, Value, Write, values};
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

impl Queue {
    /// Records what the next hop said, recipient by recipient. Rows whose lease this delivery no longer holds stay as
    /// they are (`LeaseLost` when that is all of them). What happened, its notices and its audit rows are one transaction.
    /// Where everything was delivered, it waits up to 20 ms to share a flush.
    pub async fn settle(&self, delivery: &Delivery, outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
        let now = crate::clock::now();
        let terms = self.0.terms();
        // After a jump of the clock nothing expires (P33): what waits would all be given back to its senders at once.
        let schedule = if self.0.clock.is_settled() { terms.schedule } else { terms.schedule.without_end() };
        let mut settled = Vec::with_capacity(outcomes.len());
        for (id, outcome) in outcomes {
            let Some(recipient) = delivery.recipients.iter().find(|recipient| recipient.id == id) else { continue };
            let [jitter] = crate::seal::random();
            let state = RecipientRecord {
                tries: recipient.tries,
                received: delivery.received,
                jitter,
                notify: recipient.dsn.notify,
                answerable: delivery.reverse_path.mailbox().is_some(),
                warned: recipient.warned,
            };
            settled.push((recipient, settle(&state, &outcome, now, &schedule), outcome));
        }
        let mut telling = Telling::default();
        for (recipient, settlement, outcome) in &settled {
            telling.add(delivery, recipient, settlement, outcome);
        }
        let notices =
            self.notices(delivery.record, telling.groups(terms.schedule.expiry(delivery.received)), now).await?;
        let mut job = Settle::new(self, delivery, now.as_microsecond());
        for (recipient, settlement, outcome) in settled {
            let retried = matches!(settlement, Settlement::Retry { .. });
            let next_hop = retried.then(|| (terms.notices.router)(recipient.address.domain()));
            let warned = notices.iter().any(|notice| notice.is_delay() && notice.rows.contains(&recipient.id));
            job.add(delivery, recipient, settlement, warned, next_hop);
            if let (Some(change), Outcome::Delivered { via, .. }) = (job.changes.last_mut(), outcome) {
                change.host = Some(via.host).filter(|host| !host.is_empty());
            }
        }
        let noticed = notices.iter().any(|notice| notice.prepared.is_some());
        job.notices = notices;
        let settled = self.0.store.write(job).await?;
        settled.files.iter().for_each(|path| content::remove(path));
        if noticed {
            self.0.work.notify_one();
        }
        if settled.changed == 0 { Err(QueueError::LeaseLost(delivery.queue_id.clone())) } else { Ok(()) }
    }
}

/// Who is to be told of, by kind of notice.
#[derive(Default)]
struct Telling {
    failed: Vec<(i64, Told)>,
    delayed: Vec<(i64, Told)>,
    relayed: Vec<(i64, Told)>,
}

impl Telling {
    fn add(&mut self, delivery: &Delivery, recipient: &DeliveryRecipient, settlement: &Settlement, outcome: &Outcome) {
        let told = |status: &str, diagnostic: String, remote_mta: Option<String>| {
            let (recipient_text, original) = (recipient.address.as_str().to_owned(), recipient.dsn.original.clone());
            let status = status.to_owned();
            let told = Told { recipient: recipient_text, original, status, diagnostic: Some(diagnostic), remote_mta };
            (recipient.id, told)
        };
        match settlement {
            Settlement::Failed { status, diagnostic, told: true } => {
                self.failed.push(told(status, diagnostic.clone(), remote(delivery, diagnostic)));
            }
            Settlement::Retry { diagnostic, delayed: true, .. } => {
                self.delayed.push(told("4.4.7", diagnostic.clone(), remote(delivery, diagnostic)));
            }
            Settlement::Delivered { reply, relayed: true } => {
                let host = match outcome {
                    Outcome::Delivered { via, .. } if !via.host.is_empty() => Some(via.host.clone()),
                    _ => None,
                };
                let status = reply.split(' ').nth(1).filter(|word| word.starts_with("2.")).unwrap_or("2.0.0");
                self.relayed.push(told(status, format!("smtp; {reply}"), host));
            }
            _ => {}
        }
    }

    fn groups(self, until: jiff::Timestamp) -> Vec<(Kind, Vec<(i64, Told)>)> {
        let groups =
            [(Kind::Failed, self.failed), (Kind::Delayed { until }, self.delayed), (Kind::Relayed, self.relayed)];
        groups.into_iter().filter(|(_, recipients)| !recipients.is_empty()).collect()
    }
}

/// The server that said so, where it is known which one it was.
fn remote(delivery: &Delivery, diagnostic: &str) -> Option<String> {
    let Destination::Servers(servers) = &delivery.next_hop.to else { return None };
    let [server] = servers.as_slice() else { return None };
    diagnostic.starts_with("smtp;").then(|| server.host.clone())
}

struct Settle {
    chain: Arc<ChainWriter>,
    folder: PathBuf,
    now: i64,
    token: [u8; 16],
    record: i64,
    changes: Vec<Change>,
    notices: Vec<Notice>,
    urgency: Urgency,
}

/// One recipient's new row.
struct Change {
    recipient: i64,
    state: &'static str,
    status: Option<String>,
    diagnostic: String,
    due: Option<i64>,
    tries: u32,
    /// The sender is told of the delay now.
    warned: Option<i64>,
    /// Where the configuration has another one by now.
    next_hop: Option<String>,
    /// The server that took it.
    host: Option<String>,
    event: Event,
}

/// What a settlement did.
struct Settled {
    changed: usize,
    /// Whether each notice went into the queue.
    told: Vec<bool>,
    /// Files whose keys are destroyed.
    files: Vec<PathBuf>,
}

impl Settle {
    fn new(queue: &Queue, delivery: &Delivery, now: i64) -> Self {
        Self {
            chain: Arc::clone(queue.0.audit.chain()),
            folder: queue.0.folder.clone(),
            now,
            token: delivery.token,
            record: delivery.record,
            changes: Vec::new(),
            notices: Vec::new(),
            urgency: Urgency::Soon,
        }
    }

    fn add(
        &mut self,
        delivery: &Delivery,
        recipient: &DeliveryRecipient,
        settlement: Settlement,
        warned: bool,
        next_hop: Option<NextHop>,
    ) {
        let queue_id = delivery.queue_id.to_string();
        let (address, message_id) = (recipient.address.clone(), delivery.message_id.clone());
        if !matches!(settlement, Settlement::Delivered { .. }) {
            self.urgency = Urgency::Now;
        }
        let (warned, recipient) = (warned.then_some(self.now), recipient.id);
        let (state, status, diagnostic, due, tries, event) = match settlement {
            Settlement::Delivered { reply, .. } => {
                let next_hop = delivery.next_hop.name();
                let event = Event::Delivered { queue_id, next_hop, message_id, recipient: address };
                ("delivered", None, reply, None, 0, event)
            }
            Settlement::Retry { due, tries, status, diagnostic, .. } => {
                let event = Event::Deferred { queue_id, status: status.clone(), tries, recipient: address };
                ("pending", Some(status), diagnostic, Some(due.as_microsecond()), tries, event)
            }
            Settlement::Failed { status, diagnostic, .. } => {
                let event = Event::Failed { queue_id, status: status.clone(), message_id, recipient: address };
                ("failed", Some(status), diagnostic, None, 0, event)
            }
        };
        let moved = next_hop.filter(|next_hop| *next_hop != delivery.next_hop);
        let next_hop = moved.map(|next_hop| NextHop::to_string(&next_hop));
        self.changes.push(Change {
            recipient,
            state,
            status,
            diagnostic,
            due,
            tries,
            warned,
            next_hop,
            host: None,
            event,
        });
    }
}

impl Write for Settle {
    type Output = Settled;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Settled, TxError> {
        settle_distinct(&[self], tx)?.pop().ok_or(TxError::NoRow)
    }

    fn apply_all(jobs: &[&Self], tx: &mut Tx<'_>) -> Result<Vec<Settled>, TxError> {
        let mut seen = HashSet::new();
        let once = jobs.iter().flat_map(|job| &job.changes).all(|change| seen.insert(change.recipient));
        if once {
            return settle_distinct(jobs, tx);
        }
        // One statement can't say which of two settlements changed their common row: each by itself, in their order.
        jobs.iter().map(|job| job.apply(tx)).collect()
    }

    fn committed(&mut self, output: &Settled) {
        for (notice, told) in self.notices.iter_mut().zip(&output.told) {
            if let Some(prepared) = notice.prepared.as_mut().filter(|_| *told) {
                prepared.keep_files();
            }
        }
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }
}

/// No recipient is in two of the jobs.
fn settle_distinct(jobs: &[&Settle], tx: &mut Tx<'_>) -> Result<Vec<Settled>, TxError> {
    let changed = update(jobs, tx)?;
    let (mut notices, mut events, mut told) = (Vec::new(), Vec::new(), Vec::with_capacity(jobs.len()));
    for job in jobs {
        let done = job.changes.iter().filter(|change| changed.contains(&change.recipient));
        events.extend(done.map(|change| change.event.clone()));
        let mut kept = Vec::with_capacity(job.notices.len());
        for notice in &job.notices {
            let done = notice.rows.iter().filter(|row| changed.contains(row)).count();
            // A token covers its whole delivery. If rows were taken out of it all the same, a notice about others than
            // those that failed would be wrong, and none would be silence: change nothing.
            if done != 0 && done != notice.rows.len() {
                return Err(TxError::Refused("a part of the lease is lost".to_owned()));
            }
            kept.push(done > 0);
            if done > 0 {
                notices.extend(&notice.prepared);
                events.push(notice.event.clone());
            }
        }
        told.push(kept);
    }
    if !notices.is_empty() {
        insert_records(tx, &notices)?;
    }
    if let Some(first) = jobs.first() {
        append(tx, &first.chain, &events)?;
    }
    let records: BTreeSet<i64> = jobs
        .iter()
        .filter(|job| job.changes.iter().any(|change| change.state != "pending" && changed.contains(&change.recipient)))
        .map(|job| job.record)
        .collect();
    let now = jobs.iter().map(|job| job.now).max().unwrap_or_default();
    let mut files = finish(tx, &records.into_iter().collect::<Vec<_>>(), now)?;
    let settled = |(job, told): (&&Settle, Vec<bool>)| Settled {
        told,
        changed: job.changes.iter().filter(|change| changed.contains(&change.recipient)).count(),
        // Who removes them does not matter: the first caller does.
        files: std::mem::take(&mut files).into_iter().map(|name| job.folder.join(name)).collect(),
    };
    Ok(jobs.iter().zip(told).map(settled).collect())
}

/// Changes the rows whose lease is still held; gives their numbers.
fn update(jobs: &[&Settle], tx: &mut Tx<'_>) -> Result<HashSet<i64>, TxError> {
    let changes: Vec<(&Settle, &Change)> =
        jobs.iter().flat_map(|job| job.changes.iter().map(move |change| (*job, change))).collect();
    let mut changed = HashSet::with_capacity(changes.len());
    for group in groups(&changes) {
        // CROSS JOIN order is kept by SQLite: few values, each looked up by its row number.
        let sql = format!(
            "WITH v (id, token, state, status, diagnostic, codes, due, tries, warned, next_hop, host, changed) AS (VALUES {}) \
             UPDATE recipient SET state = v.state, status = v.status, due = v.due, \
             diagnostic = CASE (SELECT discreet FROM record WHERE record.id = recipient.record) \
             WHEN 0 THEN v.diagnostic ELSE v.codes END, \
             tries = CASE v.state WHEN 'pending' THEN v.tries ELSE recipient.tries + 1 END, changed = v.changed, \
             warned = coalesce(v.warned, recipient.warned), next_hop = coalesce(v.next_hop, recipient.next_hop), \
             host = v.host, \
             lease = NULL, token = NULL \
             FROM v WHERE recipient.id = v.id AND recipient.token = v.token AND recipient.state = 'pending' \
             RETURNING recipient.id",
            placeholders(group.len(), 12)
        );
        let mut values = Vec::with_capacity(group.len() * 12);
        for (job, change) in group {
            values.extend(values![
                change.recipient,
                &job.token,
                change.state,
                &change.status,
                &change.diagnostic,
                codes(&change.diagnostic),
                change.due,
                change.tries,
                change.warned,
                &change.next_hop,
                &change.host,
                job.now,
            ]);
        }
        changed.extend(tx.rows::<(i64,)>(&sql, &values)?.into_iter().map(|(id,)| id));
    }
    Ok(changed)
}

/// What of a diagnostic is kept about mail that a private key has acted on: the reply's codes, or what happened, without a
/// word of the next hop. It has seen what was inside an encrypted layer, and its answer may quote that (C42).
fn codes(diagnostic: &str) -> String {
    let (kind, reply) = diagnostic.split_at(diagnostic.strip_prefix("smtp; ").map_or(0, |_| "smtp; ".len()));
    let (code, rest) = reply.split_once(' ').unwrap_or((reply, ""));
    if code.len() != 3 || !code.bytes().all(|octet| octet.is_ascii_digit()) {
        return diagnostic.split(": ").next().unwrap_or_default().to_owned();
    }
    let status = EnhancedCode::parse_prefix(rest).map(|(status, _)| format!(" {status}")).unwrap_or_default();
    format!("{kind}{code}{status}")
}

/// Destroys the keys of what is final among these records: originals of records that are, and the contents of copies whose
/// recipients are. A copy on top of its original has none: it goes with the original. Gives the files that held them.
pub(super) fn finish(tx: &mut Tx<'_>, records: &[i64], now: i64) -> Result<Vec<String>, TxError> {
    let mut files = Vec::new();
    for group in groups(records) {
        let list = vec!["?"; group.len()].join(",");
        let final_records = format!(
            "UPDATE record SET final = ? WHERE final IS NULL AND id IN ({list}) AND NOT EXISTS (SELECT 1 FROM recipient r \
             WHERE r.record = record.id AND r.state IN ('pending', 'held')) RETURNING original"
        );
        let final_copies = format!(
            "SELECT c.content FROM copy c WHERE c.record IN ({list}) AND c.below IS NULL AND NOT EXISTS (SELECT 1 FROM recipient r \
             WHERE r.record = c.record AND r.copy = c.id AND r.state IN ('pending', 'held'))"
        );
        let list = || group.iter().copied().map(Value::from);
        let now = std::iter::once(Value::from(now));
        let mut contents: Vec<(i64,)> = tx.rows(&final_records, &now.chain(list()).collect::<Vec<_>>())?;
        contents.extend(tx.rows::<(i64,)>(&final_copies, &list().collect::<Vec<_>>())?);
        for group in groups(&contents) {
            destroy(tx, group, &mut files)?;
        }
    }
    Ok(files)
}

fn destroy(tx: &mut Tx<'_>, contents: &[(i64,)], files: &mut Vec<String>) -> Result<(), TxError> {
    let list = vec!["?"; contents.len()].join(",");
    let select = format!("SELECT file FROM content WHERE file IS NOT NULL AND id IN ({list})");
    let values: Vec<_> = contents.iter().map(|(content,)| Value::from(*content)).collect();
    files.extend(tx.rows::<(String,)>(&select, &values)?.into_iter().map(|(file,)| file));
    let sql = format!(
        "UPDATE content SET wrapped = NULL, sealed = NULL, file = NULL WHERE wrapped IS NOT NULL AND id IN ({list})"
    );
    tx.execute(&sql, &values)?;
    tx.delete_as_it_lies(&format!("DELETE FROM sealed WHERE content IN ({list})"), &values)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::codes;

    #[test]
    fn c42_of_what_the_next_hop_says_the_codes_are_kept() {
        for (diagnostic, kept) in [
            ("250 2.0.0 Ok: queued as 123", "250 2.0.0"),
            ("250 Ok", "250"),
            ("250 ", "250"),
            ("250", "250"),
            ("smtp; 550 5.7.1 content has `secret`", "smtp; 550 5.7.1"),
            ("smtp; 550 5.7.1secret", "smtp; 550"),
            ("smtp; 451 secret", "smtp; 451"),
            ("unexpected reply: 250 2.0.0 secret", "unexpected reply"),
            ("no connection (mail.example:25): refused", "no connection (mail.example:25)"),
            ("", ""),
        ] {
            assert_eq!(codes(diagnostic), kept);
        }
    }
}
