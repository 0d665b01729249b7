//! What an operator may do to mail on its way: hold, let go, delete, recipient by recipient.
//!
//! Each change and its audit rows are one transaction. What is asked for twice happens once. Mail that is being delivered
//! at this moment is not touched: whether it went out would be a guess.

use super::notice::Notice;
use super::settlement::finish;
use super::{DB_NOW, Queue, QueueError, QueueId, content};
use crate::audit::{ChainWriter, Event, append};
use crate::mail::Address;
use crate::plan::notice::{Kind, Told};
use crate::queue::commit::insert_records;
use crate::store::rows::from_row;
use crate::store::{Tx, TxError, Write, values};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, query_as, query_scalar};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How the diagnostic of mail begins that a restore holds; the time of the backup follows.
pub const RESTORED: &str = "restored from the backup of ";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Not to be delivered until it is let go: `held{operator}`.
    Hold,
    /// To be delivered again, the same copy, now.
    Release,
    /// Not to be delivered at all.
    Delete {
        /// The sender gets a notice of failure, 5.7.1.
        notify: bool,
    },
}

/// Who asks for what, and why.
#[derive(Clone, Debug)]
pub struct OperatorRequest {
    /// The mail.
    pub id: QueueId,
    /// Which recipients; empty: all to whom it applies.
    pub recipients: Vec<Address>,
    /// What to do.
    pub change: Change,
    /// Who asks.
    pub operator: String,
    /// Why, for the audit log.
    pub reason: String,
}

/// How it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// RCPT TO.
    pub address: String,
    /// The state it has now, with the class where it is held: `held (operator)`.
    pub state: String,
    /// Whether that is new. If not, it had this state already, or it is left alone.
    pub changed: bool,
    /// A notice of failure goes to the sender.
    pub notified: bool,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Nobody of this name gets the mail.
    #[error("`{0}` is no recipient of this mail")]
    NotRecipient(Address),
    /// It can't be known whether it has gone out.
    #[error("being delivered at this moment: {0}; nothing was changed")]
    Busy(String),
    /// The state does not allow it.
    #[error("<{address}> is {state}: {why}; nothing was changed")]
    NotPossible {
        /// Whose.
        address: String,
        /// As it is.
        state: String,
        /// What stands against it.
        why: &'static str,
    },
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Queue(error.into())
    }
}

/// How often and how long deliveries under way are waited for.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

impl Queue {
    /// Does it, for all the recipients or for none. Waits some seconds for deliveries under way.
    pub async fn change(&self, request: &OperatorRequest) -> Result<Vec<Changed>, ChangeError> {
        let mut tries = 0;
        loop {
            match self.try_change(request).await {
                Err(ChangeError::Busy(_)) if tries < TRIES => tries += 1,
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) async fn try_change(&self, request: &OperatorRequest) -> Result<Vec<Changed>, ChangeError> {
        let record: Option<i64> = query_scalar("SELECT id FROM record WHERE queue_id = ?")
            .bind(request.id.as_str())
            .fetch_optional(self.0.store.readers())
            .await?;
        let record = record.ok_or_else(|| QueueError::NotFound(request.id.clone()))?;
        let sql = rows_sql();
        let rows: Vec<Row> = query_as(AssertSqlSafe(sql))
            .bind(self.0.holds.tokens())
            .bind(record)
            .fetch_all(self.0.store.readers())
            .await?;
        let judged = judge(request, rows)?;
        let ids: Vec<i64> = judged.iter().filter(|(_, done)| *done).map(|(row, _)| row.id).collect();
        if ids.is_empty() {
            return Ok(judged.into_iter().map(|(row, _)| row.unchanged()).collect());
        }
        let now = crate::clock::now();
        let notices = match request.change {
            Change::Delete { notify: true } => {
                let told = judged.iter().filter(|(row, done)| *done && row.wants_failure()).map(|(row, _)| row.told());
                let told: Vec<(i64, Told)> = told.collect();
                let groups = if told.is_empty() { Vec::new() } else { vec![(Kind::Failed, told)] };
                let mut notices = self.notices(record, groups, now).await?;
                // The postmaster need not be told what the administrator has done.
                notices.retain(Notice::is_to_sender);
                notices
            }
            _ => Vec::new(),
        };
        let notified: Vec<i64> = notices.iter().flat_map(|notice| notice.rows.clone()).collect();
        let job = Job {
            chain: Arc::clone(self.0.audit.chain()),
            tokens: self.0.holds.tokens(),
            record,
            ids,
            request: request.clone(),
            notices,
            now: now.as_microsecond(),
        };
        let files = self.0.store.write(job).await.map_err(QueueError::from)?;
        // Somebody was faster between looking and changing: look again.
        let Some(files) = files else { return Err(ChangeError::Busy(names(judged.iter().map(|(row, _)| row)))) };
        files.into_iter().map(|name| self.0.folder.join(name)).for_each(|path: PathBuf| content::remove(&path));
        self.0.work.notify_one();
        let after = |(row, done): (Row, bool)| match done {
            true => row.changed(request.change, &notified),
            false => row.unchanged(),
        };
        Ok(judged.into_iter().map(after).collect())
    }

    /// Leases of a process that is dead: who holds the data directory's lock may say so.
    pub async fn void_leases(&self) -> Result<(), QueueError> {
        self.0.store.write(super::recover::VoidLeases).await?;
        Ok(())
    }
}

from_row! {
    #[derive(Clone, Debug)]
    struct Row {
    id: i64,
    address: String,
    state: String,
    class: Option<String>,
    dsn: Option<String>,
    copied: bool,
    busy: bool,
}
}

/// Recipients of a record. The tokens that this process holds come first.
fn rows_sql() -> String {
    format!(
        "SELECT id, address, state, class, dsn, copy IS NOT NULL AS copied, state = 'pending' AND lease IS NOT NULL \
         AND (lease > {DB_NOW} OR coalesce(hex(token), '') IN (SELECT value FROM json_each(?))) AS busy \
         FROM recipient WHERE record = ? ORDER BY id"
    )
}

impl Row {
    fn text(&self) -> String {
        match &self.class {
            Some(class) if self.state == "held" => format!("held ({class})"),
            _ => self.state.clone(),
        }
    }

    fn unchanged(self) -> Changed {
        Changed { state: self.text(), address: self.address, changed: false, notified: false }
    }

    fn changed(self, change: Change, notified: &[i64]) -> Changed {
        let state = match change {
            Change::Hold => "held (operator)",
            Change::Release => "pending",
            Change::Delete { .. } => "destroyed",
        };
        let notified = notified.contains(&self.id);
        Changed { address: self.address, state: state.to_owned(), changed: true, notified }
    }

    fn wants_failure(&self) -> bool {
        super::record::dsn_from_text(self.dsn.as_deref()).wants_failure()
    }

    fn told(&self) -> (i64, Told) {
        let told = Told {
            recipient: self.address.clone(),
            original: super::record::dsn_from_text(self.dsn.as_deref()).original,
            status: DELETED.to_owned(),
            diagnostic: Some(DELETED_TEXT.to_owned()),
            remote_mta: None,
        };
        (self.id, told)
    }
}

const DELETED: &str = "5.7.1";
const DELETED_TEXT: &str = "x-segel; deleted by the administrator";

/// Which rows change (`true`), and which are so already or are left alone.
fn judge(request: &OperatorRequest, rows: Vec<Row>) -> Result<Vec<(Row, bool)>, ChangeError> {
    let is =
        |row: &Row, wanted: &Address| Address::parse(&row.address).is_ok_and(|address| address.same_mailbox(wanted));
    if let Some(missing) = request.recipients.iter().find(|wanted| !rows.iter().any(|row| is(row, wanted))) {
        return Err(ChangeError::NotRecipient(missing.clone()));
    }
    let named = |row: &Row| request.recipients.iter().any(|wanted| is(row, wanted));
    let all = request.recipients.is_empty();
    let rows: Vec<Row> = rows.into_iter().filter(|row| all || named(row)).collect();
    let busy: Vec<&Row> = rows.iter().filter(|row| row.busy && request.change != Change::Release).collect();
    if !busy.is_empty() {
        return Err(ChangeError::Busy(names(busy.into_iter())));
    }
    let verdicts: Vec<Result<bool, &'static str>> = rows.iter().map(|row| verdict(request.change, row)).collect();
    let any = verdicts.iter().any(Result::is_ok);
    let mut judged = Vec::with_capacity(rows.len());
    for (row, verdict) in rows.into_iter().zip(verdicts) {
        match verdict {
            Ok(change) => judged.push((row, change)),
            Err(_) if all && any => judged.push((row, false)),
            Err(why) => return Err(ChangeError::NotPossible { state: row.text(), address: row.address, why }),
        }
    }
    Ok(judged)
}

/// Whether this row changes (`false`: it is so already), or what stands against it.
fn verdict(change: Change, row: &Row) -> Result<bool, &'static str> {
    let operator = row.class.as_deref() == Some("operator");
    match (change, row.state.as_str()) {
        (Change::Hold | Change::Delete { .. }, "pending") => Ok(true),
        (Change::Release, "pending") | (Change::Delete { .. }, "destroyed") => Ok(false),
        (Change::Hold, "held") if operator => Ok(false),
        (Change::Hold, "held") => Err("it is held already, and not by an operator"),
        (Change::Release, "held") if operator && row.copied => Ok(true),
        (Change::Delete { .. }, "held") if operator => Ok(true),
        (Change::Release, "held") => Err("`segel quarantine release` judges it again and makes the copy to deliver"),
        (Change::Delete { .. }, "held") => Err("`segel quarantine reject` and `destroy` end what is held like this"),
        _ => Err("that is its end"),
    }
}

fn names<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    rows.map(|row| format!("<{}>", row.address)).collect::<Vec<_>>().join(", ")
}

struct Job {
    chain: Arc<ChainWriter>,
    tokens: String,
    record: i64,
    ids: Vec<i64>,
    request: OperatorRequest,
    notices: Vec<Notice>,
    now: i64,
}

impl Write for Job {
    /// Content files whose keys are destroyed; `None`: the rows are no longer as they were, and nothing was changed.
    type Output = Option<Vec<String>>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, TxError> {
        let rows: Vec<Row> = tx.rows(&rows_sql(), &values![&self.tokens, self.record])?;
        let change = self.request.change;
        let mut events = Vec::with_capacity(self.ids.len());
        for row in rows.iter().filter(|row| self.ids.contains(&row.id)) {
            if row.busy || verdict(change, row) != Ok(true) {
                return Ok(None);
            }
            events.extend(Address::parse(&row.address).ok().map(|recipient| self.event(recipient)));
        }
        let set = match change {
            Change::Hold => "state = 'held', class = 'operator', due = NULL".to_owned(),
            Change::Release => format!("state = 'pending', class = NULL, due = {DB_NOW}"),
            Change::Delete { .. } => format!(
                "state = 'destroyed', class = NULL, due = NULL, status = '{DELETED}', diagnostic = '{DELETED_TEXT}'"
            ),
        };
        let sql = format!("UPDATE recipient SET {set}, lease = NULL, token = NULL, changed = ? WHERE id = ?");
        for id in &self.ids {
            tx.execute(&sql, &values![self.now, *id])?;
        }
        let prepared: Vec<_> = self.notices.iter().filter_map(|notice| notice.prepared.as_ref()).collect();
        if !prepared.is_empty() {
            insert_records(tx, &prepared)?;
        }
        events.extend(self.notices.iter().map(|notice| notice.event.clone()));
        append(tx, &self.chain, &events)?;
        match change {
            Change::Delete { .. } => finish(tx, &[self.record], self.now).map(Some),
            _ => Ok(Some(Vec::new())),
        }
    }

    fn committed(&mut self, output: &Self::Output) {
        if output.is_some() {
            self.notices.iter_mut().filter_map(|notice| notice.prepared.as_mut()).for_each(|one| one.keep_files());
        }
    }
}

impl Job {
    fn event(&self, recipient: Address) -> Event {
        let name = match self.request.change {
            Change::Hold => "operator-held",
            Change::Release => "operator-released",
            Change::Delete { .. } => "operator-deleted",
        };
        Event::OperatorChanged {
            name,
            queue_id: self.request.id.to_string(),
            operator: self.request.operator.clone(),
            reason: self.request.reason.clone(),
            recipient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Row, verdict};

    #[test]
    fn c46_each_state_allows_what_can_be_kept() {
        const DELETE: Change = Change::Delete { notify: false };
        for (state, class, copied, hold, release, delete) in [
            ("pending", None, true, Some(true), Some(false), Some(true)),
            ("held", Some("operator"), true, Some(false), Some(true), Some(true)),
            ("held", Some("operator"), false, Some(false), None, Some(true)),
            ("held", Some("quarantine"), false, None, None, None),
            ("held", Some("awaiting-key"), false, None, None, None),
            ("delivered", None, true, None, None, None),
            ("failed", None, true, None, None, None),
            ("released", None, false, None, None, None),
            ("destroyed", None, true, None, None, Some(false)),
        ] {
            let row = Row {
                id: 1,
                address: "a@example.org".to_owned(),
                state: state.to_owned(),
                class: class.map(str::to_owned),
                dsn: None,
                copied,
                busy: false,
            };
            for (change, expected) in [(Change::Hold, hold), (Change::Release, release), (DELETE, delete)] {
                assert_eq!(verdict(change, &row).ok(), expected, "{change:?} {state} {class:?}");
            }
        }
    }
}
