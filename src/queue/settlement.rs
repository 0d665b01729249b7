//! Settling: what a try gave goes to disk, with notice and audit rows, and final content is destroyed.

use super::commit::{Prepared, insert_records};
use super::settle::{Outcome, RecipientRecord, Settlement, settle};
use super::{Delivery, Queue, QueueError, content};
use crate::audit::{ChainWriter, Event, append};
use crate::plan::notice::Failure;
use crate::smtp::EnhancedCode;
use crate::store::rows::{groups, placeholders};
use crate::store::{BoxFuture, Urgency, Write};
use sqlx::{AssertSqlSafe, SqliteConnection, query, query_as, query_scalar};
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

impl Queue {
    /// Records what the next hop said, recipient by recipient. Rows whose lease this delivery no longer holds stay as
    /// they are (`LeaseLost` when that is all of them). A failure, its notice and its audit rows are one transaction.
    /// Where everything was delivered, it waits up to 20 ms to share a flush.
    pub async fn settle(&self, delivery: &Delivery, outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
        let now = crate::clock::now();
        let mut job = Settle::new(self, delivery, now.as_microsecond());
        let mut failures = Vec::new();
        for (id, outcome) in outcomes {
            let Some(recipient) = delivery.recipients.iter().find(|recipient| recipient.id == id) else { continue };
            let [jitter] = crate::seal::random();
            let state = RecipientRecord { tries: recipient.tries, received: delivery.received, jitter };
            let settlement = settle(&state, &outcome, now, &self.0.schedule);
            if let Settlement::Failed { status, diagnostic } = &settlement {
                failures.push(Failure {
                    recipient: recipient.address.as_str().to_owned(),
                    status: status.clone(),
                    diagnostic: diagnostic.clone(),
                    remote_mta: Some(delivery.next_hop.name()),
                });
            }
            job.add(delivery, &recipient.address, id, settlement);
        }
        if !failures.is_empty() {
            let (notice, event) = self.notice(delivery, &failures, now).await?;
            job.notice = notice;
            job.notice_event = Some(event);
        }
        let noticed = job.notice.is_some();
        let settled = self.0.store.write(job).await?;
        settled.files.iter().for_each(|path| content::remove(path));
        if noticed {
            self.0.work.notify_one();
        }
        if settled.changed == 0 { Err(QueueError::LeaseLost(delivery.queue_id.clone())) } else { Ok(()) }
    }
}

struct Settle {
    chain: Arc<ChainWriter>,
    folder: PathBuf,
    now: i64,
    token: [u8; 16],
    record: i64,
    changes: Vec<Change>,
    notice: Option<Prepared>,
    notice_event: Option<Event>,
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
    event: Event,
}

/// What a settlement did.
struct Settled {
    changed: usize,
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
            notice: None,
            notice_event: None,
            urgency: Urgency::Soon,
        }
    }

    fn add(&mut self, delivery: &Delivery, address: &crate::mail::Address, recipient: i64, settlement: Settlement) {
        let queue_id = delivery.queue_id.to_string();
        let (address, message_id) = (address.clone(), delivery.message_id.clone());
        if !matches!(settlement, Settlement::Delivered { .. }) {
            self.urgency = Urgency::Now;
        }
        let change = match settlement {
            Settlement::Delivered { reply } => {
                let next_hop = delivery.next_hop.name();
                let event = Event::Delivered { queue_id, next_hop, message_id, recipient: address };
                Change { recipient, state: "delivered", status: None, diagnostic: reply, due: None, tries: 0, event }
            }
            Settlement::Retry { due, tries, status, diagnostic } => {
                let event = Event::Deferred { queue_id, status: status.clone(), tries, recipient: address };
                let due = Some(due.as_microsecond());
                Change { recipient, state: "pending", status: Some(status), diagnostic, due, tries, event }
            }
            Settlement::Failed { status, diagnostic } => {
                let event = Event::Failed { queue_id, status: status.clone(), message_id, recipient: address };
                Change { recipient, state: "failed", status: Some(status), diagnostic, due: None, tries: 0, event }
            }
        };
        self.changes.push(change);
    }
}

impl Write for Settle {
    type Output = Settled;

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<Settled, sqlx::Error>> {
        Box::pin(async move {
            let mut settled = Self::apply_all(&[self], tx).await?;
            settled.pop().ok_or(sqlx::Error::RowNotFound)
        })
    }

    fn apply_all<'a>(
        jobs: &'a [&'a Self],
        tx: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<Vec<Settled>, sqlx::Error>> {
        Box::pin(settle_all(jobs, tx))
    }

    fn committed(&mut self, output: &Settled) {
        if output.changed > 0
            && let Some(notice) = &mut self.notice
        {
            notice.keep_files();
        }
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }
}

async fn settle_all(jobs: &[&Settle], tx: &mut SqliteConnection) -> Result<Vec<Settled>, sqlx::Error> {
    let mut seen = HashSet::new();
    let once = jobs.iter().flat_map(|job| &job.changes).all(|change| seen.insert(change.recipient));
    if once {
        return settle_distinct(jobs, tx).await;
    }
    // One statement can't say which of two settlements changed their common row: each by itself, in their order.
    let mut settled = Vec::with_capacity(jobs.len());
    for job in jobs {
        settled.extend(settle_distinct(&[job], tx).await?);
    }
    Ok(settled)
}

/// No recipient is in two of the jobs.
async fn settle_distinct(jobs: &[&Settle], tx: &mut SqliteConnection) -> Result<Vec<Settled>, sqlx::Error> {
    let changed = update(jobs, tx).await?;
    let (mut notices, mut events) = (Vec::new(), Vec::new());
    for job in jobs {
        let mut failed = (0, 0);
        for change in &job.changes {
            let done = changed.contains(&change.recipient);
            if done {
                events.push(change.event.clone());
            }
            if change.state == "failed" {
                failed.0 += usize::from(done);
                failed.1 += 1;
            }
        }
        match failed {
            (0, _) => continue,
            (done, all) if done == all => {}
            // A token covers its whole delivery. If rows were taken out of it all the same, a notice about others than
            // those that failed would be wrong, and none would be silence: change nothing.
            _ => return Err(sqlx::Error::Protocol("a part of the lease is lost".to_owned())),
        }
        notices.extend(&job.notice);
        events.extend(job.notice_event.clone());
    }
    if !notices.is_empty() {
        insert_records(tx, &notices).await?;
    }
    if let Some(first) = jobs.first() {
        append(tx, &first.chain, &events).await?;
    }
    let records: BTreeSet<i64> = jobs
        .iter()
        .filter(|job| job.changes.iter().any(|change| change.state != "pending" && changed.contains(&change.recipient)))
        .map(|job| job.record)
        .collect();
    let now = jobs.iter().map(|job| job.now).max().unwrap_or_default();
    let mut files = finish(tx, &records.into_iter().collect::<Vec<_>>(), now).await?;
    let settled = |job: &&Settle| Settled {
        changed: job.changes.iter().filter(|change| changed.contains(&change.recipient)).count(),
        // Who removes them does not matter: the first caller does.
        files: std::mem::take(&mut files).into_iter().map(|name| job.folder.join(name)).collect(),
    };
    Ok(jobs.iter().map(settled).collect())
}

/// Changes the rows whose lease is still held; gives their numbers.
async fn update(jobs: &[&Settle], tx: &mut SqliteConnection) -> Result<HashSet<i64>, sqlx::Error> {
    let changes: Vec<(&Settle, &Change)> =
        jobs.iter().flat_map(|job| job.changes.iter().map(move |change| (*job, change))).collect();
    let mut changed = HashSet::with_capacity(changes.len());
    for group in groups(&changes) {
        // CROSS JOIN order is kept by SQLite: few values, each looked up by its row number.
        let sql = format!(
            "WITH v (id, token, state, status, diagnostic, codes, due, tries, changed) AS (VALUES {}) \
             UPDATE recipient SET state = v.state, status = v.status, due = v.due, \
             diagnostic = CASE (SELECT discreet FROM record WHERE record.id = recipient.record) \
             WHEN 0 THEN v.diagnostic ELSE v.codes END, \
             tries = CASE v.state WHEN 'pending' THEN v.tries ELSE recipient.tries + 1 END, changed = v.changed, \
             lease = NULL, token = NULL \
             FROM v WHERE recipient.id = v.id AND recipient.token = v.token AND recipient.state = 'pending' \
             RETURNING recipient.id",
            placeholders(group.len(), 9)
        );
        let mut statement = query_scalar::<_, i64>(AssertSqlSafe(sql));
        for (job, change) in group {
            statement = statement
                .bind(change.recipient)
                .bind(job.token.to_vec())
                .bind(change.state)
                .bind(&change.status)
                .bind(&change.diagnostic)
                .bind(codes(&change.diagnostic))
                .bind(change.due)
                .bind(change.tries)
                .bind(job.now);
        }
        changed.extend(statement.fetch_all(&mut *tx).await?);
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

/// Destroys the keys of what is final among these records: copies whose recipients are all final, and originals of
/// records that are. Gives the files that held them.
pub(super) async fn finish(tx: &mut SqliteConnection, records: &[i64], now: i64) -> Result<Vec<String>, sqlx::Error> {
    let mut files = Vec::new();
    for group in groups(records) {
        let list = vec!["?"; group.len()].join(",");
        let final_records = format!(
            "UPDATE record SET final = ? WHERE final IS NULL AND id IN ({list}) AND NOT EXISTS (SELECT 1 FROM recipient r \
             WHERE r.record = record.id AND r.state IN ('pending', 'held')) RETURNING original"
        );
        let final_copies = format!(
            "SELECT c.content FROM copy c WHERE c.record IN ({list}) AND NOT EXISTS (SELECT 1 FROM recipient r \
             WHERE r.record = c.record AND r.copy = c.id AND r.state = 'pending')"
        );
        let mut statement = query_scalar::<_, i64>(AssertSqlSafe(final_records)).bind(now);
        for record in group {
            statement = statement.bind(*record);
        }
        let mut contents = statement.fetch_all(&mut *tx).await?;
        let mut statement = query_scalar::<_, i64>(AssertSqlSafe(final_copies));
        for record in group {
            statement = statement.bind(*record);
        }
        contents.extend(statement.fetch_all(&mut *tx).await?);
        for group in groups(&contents) {
            destroy(tx, group, &mut files).await?;
        }
    }
    Ok(files)
}

async fn destroy(tx: &mut SqliteConnection, contents: &[i64], files: &mut Vec<String>) -> Result<(), sqlx::Error> {
    let list = vec!["?"; contents.len()].join(",");
    let select = format!("SELECT file FROM content WHERE file IS NOT NULL AND id IN ({list})");
    let mut statement = query_as::<_, (String,)>(AssertSqlSafe(select));
    for content in contents {
        statement = statement.bind(*content);
    }
    files.extend(statement.fetch_all(&mut *tx).await?.into_iter().map(|(file,)| file));
    let sql = format!(
        "UPDATE content SET wrapped = NULL, sealed = NULL, file = NULL WHERE wrapped IS NOT NULL AND id IN ({list})"
    );
    let mut statement = query(AssertSqlSafe(sql));
    for content in contents {
        statement = statement.bind(*content);
    }
    statement.execute(&mut *tx).await?;
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
