//! Leases for what is due: after a restart, for retries, and for what a dead holder left.

use super::content::Missing;
use super::damage::{CONTENT_IS_DAMAGED, set_rows_aside};
use super::hold::{Hold, Holds, Room};
use super::record::{body_from_name, dsn_from_text};
use super::settle::LONGEST_WAIT;
use super::{DB_NOW, Delivery, DeliveryRecipient, Direction, Queue, QueueError, QueueId};
use crate::audit::{ChainWriter, Event, append};
use crate::config::NextHop;
use crate::mail::{Address, DsnRequest, Ret, ReversePath};
use crate::store::rows::{from_row, groups};
use crate::store::{Read, Row, Tx, TxError, Value, Write, values};
use jiff::Timestamp;
use sqlx::query_scalar;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl Queue {
    /// Leases up to `limit` due recipients, as far as memory has room, and gives them grouped by copy and next hop,
    /// content opened. Next hops that have their share in memory are left out. Content that does not open any more is
    /// set aside and reported; the others go on.
    pub async fn claim(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let held = self.0.holds.token(crate::seal::random());
        let token = held.value();
        let job = Claim {
            token,
            chain: Arc::clone(self.0.audit.chain()),
            now: crate::clock::now().as_microsecond(),
            holds: Arc::clone(&self.0.holds),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            lease_micros: self.0.lease_micros(),
        };
        let Claims { grouped, unreadable } = self.0.store.write(job).await?;
        for (row, what) in unreadable {
            tracing::error!(row, %what, "stored mail is damaged and was set aside: `segel quarantine list`, docs/backup.md");
        }
        let mut deliveries: Vec<Delivery> = Vec::with_capacity(grouped.len());
        for (rows, room) in grouped.into_values() {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let opened =
                deliveries.last().filter(|last| rows.first().is_some_and(|row| row.copy == last.copy)).cloned();
            match self.open_delivery(token, rows, opened).await {
                Ok(mut delivery) => {
                    delivery.hold = Hold::new(room, Arc::clone(&held));
                    deliveries.push(delivery);
                }
                Err(trouble) => {
                    // What was opened goes out all the same: given up here, it would wait for the end of its lease.
                    if let Err(error) = self.not_now(token, ids, trouble).await {
                        tracing::error!(%error, "mail that cannot be opened waits for the end of its lease");
                    }
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

    /// Whether the delivery's lease is still its own: an operator may have taken it away while it waited.
    pub async fn stands(&self, delivery: &Delivery) -> Result<bool, QueueError> {
        let standing: i64 =
            query_scalar("SELECT count(*) FROM recipient WHERE record = ? AND token = ? AND state = 'pending'")
                .bind(delivery.record)
                .bind(delivery.token.to_vec())
                .fetch_one(self.0.store.readers())
                .await?;
        Ok(standing > 0)
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
        let on_top = first.top.clone().zip(first.below);
        let content = match opened {
            Some(opened) => opened.content,
            None => match self.0.open_copy(first.content, &queue_id, first.number, on_top).await {
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
            let (dsn, warned) = (dsn_from_text(row.dsn.as_deref()), row.warned.is_some());
            recipients.push(DeliveryRecipient { id: row.id, address, dsn, tries, warned });
        }
        Ok(Delivery {
            record: first.record,
            copy: first.copy,
            content,
            reverse_path,
            body: body_from_name(&first.body),
            dsn: DsnRequest {
                returned: first.returned.as_deref().and_then(Ret::parse),
                envelope_id: first.envelope_id.clone(),
            },
            next_hop: NextHop::parse(&first.next_hop).ok_or_else(|| damaged("next hop"))?,
            recipients,
            token,
            direction: Direction::from_name(&first.direction).ok_or_else(|| damaged("direction"))?,
            received: Timestamp::from_microsecond(first.received).map_err(|_| damaged("time"))?,
            message_id: first.message_id.clone(),
            hold: Hold::default(),
            queue_id,
        })
    }

    async fn not_now(&self, token: [u8; 16], ids: Vec<i64>, trouble: Trouble) -> Result<(), QueueError> {
        match trouble {
            Trouble::SetAside { queue_id, what } => self.set_aside(token, ids, queue_id, what).await,
            Trouble::Later(error) => {
                tracing::error!(%error, "mail cannot be opened now; tried again in a minute");
                Ok(self.0.store.write(Release { token, ids, wait_micros: 60_000_000 }).await?)
            }
        }
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
    dsn: Option<String>,
    tries: i64,
    warned: Option<i64>,
    queue_id: String,
    direction: String,
    received: i64,
    reverse_path: Option<String>,
    body: String,
    message_id: Option<String>,
    returned: Option<String>,
    envelope_id: Option<String>,
    number: i64,
    content: i64,
    top: Option<Vec<u8>>,
    below: Option<i64>,
    size: i64,
}
}

struct Claim {
    token: [u8; 16],
    chain: Arc<ChainWriter>,
    now: i64,
    holds: Arc<Holds>,
    limit: i64,
    lease_micros: i64,
}

/// By copy and next hop: the rows of one delivery, and its room.
type Grouped = BTreeMap<(i64, String), (Vec<Claimed>, Room)>;

/// What a claim found.
struct Claims {
    grouped: Grouped,
    /// Rows of recipients that were set aside, and what is wrong with each.
    unreadable: Vec<(i64, String)>,
}

/// A due row: one that can't be read must not keep the others from being found.
enum Due {
    Whole(Box<Claimed>),
    Unreadable(i64, String),
}

impl Read for Due {
    fn read(row: &Row<'_>) -> Result<Self, TxError> {
        match Claimed::read(row) {
            Ok(claimed) => Ok(Self::Whole(Box::new(claimed))),
            Err(error @ TxError::Column { .. }) => Ok(Self::Unreadable(row.get(0)?, error.to_string())),
            Err(error) => Err(error),
        }
    }
}

impl Write for Claim {
    type Output = Claims;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Claims, TxError> {
        self.by_this_clock(tx)?;
        let mut full: HashSet<String> = self.holds.full().iter().map(NextHop::to_string).collect();
        let mut left = self.limit;
        let mut grouped = Grouped::new();
        // Each once, however often it is looked for.
        let mut unreadable = BTreeMap::new();
        // Rows of a next hop without room must not stand before those of others: look again without them.
        loop {
            let rows = self.due(tx, &full, left)?;
            let found = rows.len();
            let before = full.len();
            let mut ids = Vec::with_capacity(found);
            for row in rows {
                let row = match row {
                    Due::Whole(row) => *row,
                    Due::Unreadable(id, what) => {
                        unreadable.insert(id, what);
                        continue;
                    }
                };
                let id = row.id;
                if !full.contains(&row.next_hop) {
                    match self.add(&mut grouped, row) {
                        Ok(()) => ids.push(id),
                        Err(next_hop) => drop(full.insert(next_hop)),
                    }
                }
            }
            self.lease(tx, &ids)?;
            left = left.saturating_sub(i64::try_from(ids.len()).unwrap_or(i64::MAX));
            if full.len() == before || left <= 0 {
                let unreadable = unreadable.into_iter().collect::<Vec<_>>();
                set_rows_aside(tx, &self.chain, &unreadable, self.now)?;
                return Ok(Claims { grouped, unreadable });
            }
        }
    }
}

impl Claim {
    /// Mail that a clock which was ahead has put off for longer than any schedule does is due now.
    fn by_this_clock(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let sql = format!(
            "UPDATE recipient SET due = {DB_NOW} WHERE state = 'pending' AND due > {DB_NOW} + ? AND typeof(due) = 'integer'"
        );
        let longest = i64::try_from(LONGEST_WAIT.as_micros()).unwrap_or(i64::MAX);
        tx.execute(&sql, &values![longest]).map(|_| ())
    }

    /// The oldest due rows that nobody holds. A lease that has ended by the clock is still held while its token is:
    /// clocks are set, and mail waits in memory for next hops that hang.
    fn due(&self, tx: &mut Tx<'_>, full: &HashSet<String>, limit: i64) -> Result<Vec<Due>, TxError> {
        let longest = self.lease_micros.saturating_mul(2);
        let sql = format!(
            "SELECT r.id, r.record, r.copy, r.next_hop, r.address, r.dsn, r.tries, r.warned, m.queue_id, m.direction, m.received, \
             m.reverse_path, m.body, m.message_id, m.returned, m.envelope_id, c.number, c.content, c.top, c.below, \
             max(k.size - coalesce(c.below, 0), 0) + coalesce(length(c.top), 0) AS size \
             FROM recipient r JOIN record m ON m.id = r.record JOIN copy c ON c.id = r.copy \
             JOIN content k ON k.id = c.content \
             WHERE r.state = 'pending' AND r.due <= {DB_NOW} AND (r.lease IS NULL OR ((r.lease <= {DB_NOW} \
             OR r.lease > {DB_NOW} + {longest}) AND coalesce(hex(r.token), '') NOT IN (SELECT value FROM json_each(?)))) \
             AND r.next_hop NOT IN (SELECT value FROM json_each(?)) ORDER BY r.due, r.id LIMIT ?"
        );
        let full = serde_json::Value::from_iter(full.iter().cloned()).to_string();
        tx.rows(&sql, &values![self.holds.tokens(), full, limit])
    }

    /// Puts the row to its delivery; gives back its next hop if there is no room.
    fn add(&self, grouped: &mut Grouped, row: Claimed) -> Result<(), String> {
        let key = (row.copy, row.next_hop.clone());
        if let Some((rows, _)) = grouped.get_mut(&key) {
            rows.push(row);
            return Ok(());
        }
        // A next hop that can't be read is set aside when the delivery is opened; it needs room until then.
        let next_hop = NextHop::parse(&row.next_hop).unwrap_or_else(super::record::nowhere);
        let octets = usize::try_from(row.size).unwrap_or(usize::MAX);
        let room = self.holds.take(&next_hop, octets).ok_or_else(|| row.next_hop.clone())?;
        grouped.insert(key, (vec![row], room));
        Ok(())
    }

    fn lease(&self, tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), TxError> {
        for group in groups(ids) {
            let list = vec!["?"; group.len()].join(",");
            let sql = format!("UPDATE recipient SET token = ?, lease = {DB_NOW} + ? WHERE id IN ({list})");
            let mut values = Vec::from(values![&self.token, self.lease_micros]);
            values.extend(group.iter().copied().map(Value::from));
            tx.execute(&sql, &values)?;
        }
        Ok(())
    }
}

struct Release {
    token: [u8; 16],
    ids: Vec<i64>,
    wait_micros: i64,
}

impl Write for Release {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let sql = format!(
            "UPDATE recipient SET lease = NULL, token = NULL, due = {DB_NOW} + ? \
             WHERE id = ? AND token = ? AND state = 'pending'"
        );
        for id in &self.ids {
            tx.execute(&sql, &values![self.wait_micros, *id, &self.token])?;
        }
        Ok(())
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

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        let diagnostic = format!("{CONTENT_IS_DAMAGED}{}", self.what);
        let mut changed = 0;
        for id in &self.ids {
            changed += tx.execute(
                "UPDATE recipient SET state = 'held', class = 'operator', diagnostic = ?, due = NULL, lease = NULL, \
                 token = NULL, changed = ? WHERE id = ? AND token = ? AND state = 'pending'",
                &values![&diagnostic, self.now, *id, &self.token],
            )?;
        }
        if changed > 0 {
            let event = Event::Damaged { queue_id: self.queue_id.clone(), what: self.what.clone(), recipient: None };
            append(tx, &self.chain, &[event])?;
        }
        Ok(())
    }
}
