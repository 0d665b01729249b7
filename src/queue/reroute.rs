//! Routes that have changed: mail that waits goes where the configuration says now, not where it said on arrival.

use super::damage::CLASSES;
use super::{DB_NOW, Queue, QueueError};
use crate::config::NextHop;
use crate::mail::Address;
use crate::store::rows::{groups, repeated, shown_row};
use crate::store::{Tx, TxError, Value, Write, values};
use sqlx::{AssertSqlSafe, query_as};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows of one transaction: accepting mail waits for no more than that.
const ROWS: usize = 1000;

impl Queue {
    /// Computes the next hops of what waits or is held again; how many recipients have another one now. Those being
    /// delivered keep theirs for this try, and get the new one when it has failed.
    pub async fn reroute(&self) -> Result<u64, QueueError> {
        // The router is not to be asked in a transaction, and rows may change meanwhile: each is looked at again.
        let changes = self.changes().await?;
        let mut changed = 0;
        for rows in changes.chunks(ROWS) {
            let job = Reroute { tokens: self.0.holds.tokens(), rows: rows.to_vec() };
            changed += self.0.store.write(job).await?;
        }
        if changed > 0 {
            tracing::info!(recipients = changed, "mail that waits has another next hop now");
            self.0.work.notify_one();
        }
        Ok(changed)
    }

    /// Row, old and new next hop of each recipient whose domain is routed elsewhere now. The router is asked once for
    /// each domain; only what changes is kept in memory.
    async fn changes(&self) -> Result<Vec<Row>, QueueError> {
        let terms = self.0.terms();
        let mut routes: HashMap<String, Arc<str>> = HashMap::new();
        let mut changes = Vec::new();
        let mut consider = |id: i64, address: &str, old: String| {
            let Ok(address) = Address::parse(address) else { return };
            let domain = address.domain();
            let route = || Arc::from(NextHop::to_string(&(terms.notices.router)(domain)));
            let new = routes.entry(domain.as_str().to_owned()).or_insert_with(route);
            if **new != *old {
                changes.push((id, Arc::from(old), Arc::clone(new)));
            }
        };
        // Page by page along the index of each state: what is final, which is most, is not looked at.
        let mut after = (i64::MIN, i64::MIN);
        loop {
            let rows: Vec<Pending> = query_as(
                "SELECT id, address, next_hop, due FROM recipient INDEXED BY recipient_due WHERE state = 'pending' \
                 AND (due, id) > (?, ?) AND typeof(due) = 'integer' ORDER BY due, id LIMIT 2000",
            )
            .bind(after.0)
            .bind(after.1)
            .fetch_all(self.0.store.readers())
            .await?;
            let Some(last) = rows.last() else { break };
            after = (last.due, last.id);
            rows.into_iter().for_each(|row| consider(row.id, &row.address, row.next_hop));
        }
        let sql = format!(
            "SELECT id, address, next_hop, class FROM recipient INDEXED BY recipient_held WHERE state = 'held' \
             AND (class, id) > (?, ?) AND class IN ({CLASSES}) ORDER BY class, id LIMIT 2000"
        );
        let mut after = (String::new(), i64::MIN);
        loop {
            let rows: Vec<Held> = query_as(AssertSqlSafe(sql.clone()))
                .bind(&after.0)
                .bind(after.1)
                .fetch_all(self.0.store.readers())
                .await?;
            let Some(last) = rows.last() else { break };
            after = (last.class.clone(), last.id);
            rows.into_iter().for_each(|row| consider(row.id, &row.address, row.next_hop));
        }
        Ok(changes)
    }
}

// A row that is damaged is left as it is: it is set aside when it is claimed.
shown_row! {
    struct Pending {
    id: i64,
    address: String,
    next_hop: String,
    due: i64,
}
}

shown_row! {
    struct Held {
    id: i64,
    address: String,
    next_hop: String,
    class: String,
}
}

type Row = (i64, Arc<str>, Arc<str>);

struct Reroute {
    tokens: String,
    rows: Vec<Row>,
}

impl Write for Reroute {
    type Output = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, TxError> {
        let mut changed = 0;
        for group in groups(&self.rows) {
            let sql = format!(
                "WITH v (id, old, new) AS (VALUES {}) UPDATE recipient SET next_hop = v.new FROM v \
                 WHERE recipient.id = v.id AND recipient.next_hop = v.old AND (recipient.state = 'held' OR \
                 (recipient.state = 'pending' AND (recipient.lease IS NULL OR (recipient.lease <= {DB_NOW} \
                 AND coalesce(hex(recipient.token), '') NOT IN (SELECT value FROM json_each(?))))))",
                repeated("(?,?,?)", group.len())
            );
            let mut values: Vec<_> = group.iter().flat_map(|(id, old, new)| values![*id, &**old, &**new]).collect();
            values.push(Value::from(&self.tokens));
            changed += tx.execute(&sql, &values)?;
        }
        Ok(changed)
    }
}
