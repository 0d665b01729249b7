//! Leases for what is due: after a restart, for retries, and for what a dead holder left.

use super::content::{Missing, copy_context};
use super::record::{body_from_name, next_hop_from_text};
use super::{DB_NOW, Delivery, DeliveryRecipient, Direction, Queue, QueueError, QueueId};
use crate::audit::{ChainWriter, Event, append};
use crate::mail::{Address, ReversePath};
use crate::store::rows::{from_row, groups};
use crate::store::{BoxFuture, Write};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection, query, query_as};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Queue {
    /// Leases up to `limit` due recipients and gives them grouped by copy and next hop, content opened. Content that
    /// does not open any more is set aside and reported; the others go on.
    pub async fn claim(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let job = Claim {
            token: crate::seal::random(),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            lease_micros: i64::try_from(self.0.schedule.lease.as_micros()).unwrap_or(i64::MAX),
        };
        let token = job.token;
        let rows = self.0.store.write(job).await?;
        let mut grouped: BTreeMap<(i64, String), Vec<Claimed>> = BTreeMap::new();
        for row in rows {
            grouped.entry((row.copy, row.next_hop.clone())).or_default().push(row);
        }
        let mut deliveries: Vec<Delivery> = Vec::with_capacity(grouped.len());
        for rows in grouped.into_values() {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let opened =
                deliveries.last().filter(|last| rows.first().is_some_and(|row| row.copy == last.copy)).cloned();
            match self.open_delivery(token, rows, opened).await {
                Ok(delivery) => deliveries.push(delivery),
                Err(Trouble::SetAside { queue_id, what }) => self.set_aside(token, ids, queue_id, what).await?,
                Err(Trouble::Later(error)) => {
                    tracing::error!(%error, "mail cannot be opened now; tried again in a minute");
                    self.0.store.write(Release { token, ids, wait_micros: 60_000_000 }).await?;
                }
            }
        }
        Ok(deliveries)
    }

    /// Gives a lease back without a try: the delivery is due at once.
    pub async fn release(&self, delivery: &Delivery) -> Result<(), QueueError> {
        let ids = delivery.recipients.iter().map(|recipient| recipient.id).collect();
        self.0.store.write(Release { token: delivery.token, ids, wait_micros: 0 }).await?;
        self.0.work.notify_one();
        Ok(())
    }

    async fn open_delivery(
        &self,
        token: [u8; 16],
        rows: Vec<Claimed>,
        opened: Option<Delivery>,
    ) -> Result<Delivery, Trouble> {
        let Some(first) = rows.first().cloned() else {
            return Err(Trouble::Later(QueueError::Interrupted));
        };
        let damaged = |what: &str| Trouble::SetAside { queue_id: first.queue_id.clone(), what: what.to_owned() };
        let queue_id = QueueId::parse(&first.queue_id).ok_or_else(|| damaged("queue id"))?;
        let content = match opened {
            Some(opened) => opened.content,
            None => match self.0.open_content(first.content, copy_context(&queue_id, first.number)).await {
                Ok(content) => content,
                Err(Missing::Failed(error)) => return Err(Trouble::Later(error)),
                Err(Missing::Destroyed) => return Err(damaged("the copy's key is destroyed")),
                Err(Missing::Damaged(what)) => return Err(damaged(&what)),
            },
        };
        let reverse_path = match &first.reverse_path {
            None => ReversePath::Null,
            Some(text) => ReversePath::Mailbox(Address::parse(text).map_err(|_| damaged("reverse-path"))?),
        };
        let mut recipients = Vec::with_capacity(rows.len());
        for row in &rows {
            let address = Address::parse(&row.address).map_err(|_| damaged("recipient"))?;
            let tries = u32::try_from(row.tries).unwrap_or(u32::MAX);
            recipients.push(DeliveryRecipient { id: row.id, address, tries });
        }
        Ok(Delivery {
            record: first.record,
            copy: first.copy,
            content,
            reverse_path,
            body: body_from_name(&first.body),
            next_hop: next_hop_from_text(&first.next_hop).ok_or_else(|| damaged("next hop"))?,
            recipients,
            token,
            direction: Direction::from_name(&first.direction).ok_or_else(|| damaged("direction"))?,
            received: Timestamp::from_microsecond(first.received).map_err(|_| damaged("time"))?,
            message_id: first.message_id.clone(),
            queue_id,
        })
    }

    async fn set_aside(
        &self,
        token: [u8; 16],
        ids: Vec<i64>,
        queue_id: String,
        what: String,
    ) -> Result<(), QueueError> {
        tracing::error!(%queue_id, %what, "stored mail is damaged and was set aside");
        let chain = Arc::clone(self.0.audit.chain());
        let now = crate::clock::now().as_microsecond();
        self.0.store.write(SetAside { chain, token, ids, queue_id, what, now }).await?;
        Ok(())
    }
}

enum Trouble {
    SetAside { queue_id: String, what: String },
    Later(QueueError),
}

from_row! {
    #[derive(Clone, Debug)]
    struct Claimed {
    id: i64,
    record: i64,
    copy: i64,
    next_hop: String,
    address: String,
    tries: i64,
    queue_id: String,
    direction: String,
    received: i64,
    reverse_path: Option<String>,
    body: String,
    message_id: Option<String>,
    number: i64,
    content: i64,
    size: i64,
}
}

struct Claim {
    token: [u8; 16],
    limit: i64,
    lease_micros: i64,
}

impl Write for Claim {
    type Output = Vec<Claimed>;

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<Vec<Claimed>, sqlx::Error>> {
        Box::pin(async move {
            let sql = format!(
                "SELECT r.id, r.record, r.copy, r.next_hop, r.address, r.tries, m.queue_id, m.direction, m.received, \
                 m.reverse_path, m.body, m.message_id, c.number, c.content, k.size \
                 FROM recipient r JOIN record m ON m.id = r.record JOIN copy c ON c.id = r.copy \
                 JOIN content k ON k.id = c.content \
                 WHERE r.state = 'pending' AND r.due <= {DB_NOW} AND (r.lease IS NULL OR r.lease <= {DB_NOW}) \
                 ORDER BY r.due, r.id LIMIT ?"
            );
            let mut rows: Vec<Claimed> = query_as(AssertSqlSafe(sql)).bind(self.limit).fetch_all(&mut *tx).await?;
            cut_to_memory(&mut rows);
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            for group in groups(&ids) {
                let list = vec!["?"; group.len()].join(",");
                let sql = format!("UPDATE recipient SET token = ?, lease = {DB_NOW} + ? WHERE id IN ({list})");
                let mut statement = query(AssertSqlSafe(sql)).bind(self.token.to_vec()).bind(self.lease_micros);
                for id in group {
                    statement = statement.bind(*id);
                }
                statement.execute(&mut *tx).await?;
            }
            Ok(rows)
        })
    }
}

/// Content of one claim is in memory at once: at least one mail, at most this much.
fn cut_to_memory(rows: &mut Vec<Claimed>) {
    let mut seen = std::collections::HashSet::new();
    let mut total: i64 = 0;
    let fits = rows.iter().take_while(|row| {
        if seen.insert(row.copy) {
            total = total.saturating_add(row.size);
        }
        seen.len() == 1 || total <= CLAIM_OCTETS
    });
    let fits = fits.count();
    rows.truncate(fits);
}

struct Release {
    token: [u8; 16],
    ids: Vec<i64>,
    wait_micros: i64,
}

impl Write for Release {
    type Output = ();

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            for id in &self.ids {
                let sql = format!(
                    "UPDATE recipient SET lease = NULL, token = NULL, due = {DB_NOW} + ? \
                     WHERE id = ? AND token = ? AND state = 'pending'"
                );
                query(AssertSqlSafe(sql))
                    .bind(self.wait_micros)
                    .bind(*id)
                    .bind(self.token.to_vec())
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        })
    }
}

struct SetAside {
    chain: Arc<ChainWriter>,
    token: [u8; 16],
    ids: Vec<i64>,
    queue_id: String,
    what: String,
    now: i64,
}

impl Write for SetAside {
    type Output = ();

    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let mut changed = 0;
            for id in &self.ids {
                let done = query(
                    "UPDATE recipient SET state = 'held', class = 'operator', diagnostic = ?, due = NULL, lease = NULL, \
                     token = NULL, changed = ? WHERE id = ? AND token = ? AND state = 'pending'",
                )
                .bind(format!("stored content is damaged: {}", self.what))
                .bind(self.now)
                .bind(*id)
                .bind(self.token.to_vec())
                .execute(&mut *tx)
                .await?;
                changed += done.rows_affected();
            }
            if changed > 0 {
                let event =
                    Event::Damaged { queue_id: self.queue_id.clone(), what: self.what.clone(), recipient: None };
                append(tx, &self.chain, &[event]).await?;
            }
            Ok(())
        })
    }
}

const CLAIM_OCTETS: i64 = 64 << 20;
