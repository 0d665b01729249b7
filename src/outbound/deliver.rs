//! One delivery over one connection; connections are used again while they are clean.
//!
//! A used connection that breaks before the end of the data could have left is replaced once: the next hop closed it while
//! it was idle. Whom a server puts off may be taken by the next hop's other servers, which are asked at once; beyond that
//! nothing is repeated here: the queue tries again later.

use super::connect::{Connection, Ended, open_other, outcome};
use crate::queue::{Delivery, DeliveryRecipient, Outcome};
use crate::smtp::client::{Fate, Mail, Recipient};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Other servers that are asked for whoever was put off.
const OTHERS: usize = 2;

/// What became of the recipients, and whether a new connection could do better.
struct Attempt {
    outcomes: Vec<(i64, Outcome)>,
    /// Broken before the end of the data could have left.
    repeatable: bool,
    /// The end of the data may have left without an answer.
    ambiguous: bool,
}

/// Delivers over a connection. Leaves in `connection` what can be used again. One outcome for each recipient, with his
/// id; `None` if the connection had been used before and was closed before the end of the data could have left: then
/// nothing was delivered, and a new connection may do better.
///
/// The next hop is waited for until `until`, but for its reply to the end of the data: whatever comes of that is known.
pub async fn send(
    delivery: &Delivery,
    connection: &mut Option<Connection>,
    until: Option<Instant>,
) -> Option<Vec<(i64, Outcome)>> {
    let mut open = connection.take()?;
    open.until = until;
    let attempt = open.attempt(delivery, &delivery.recipients).await;
    if attempt.repeatable {
        return None;
    }
    let mut outcomes: BTreeMap<i64, Outcome> = attempt.outcomes.into_iter().collect();
    if !attempt.ambiguous {
        let others = open.others.iter().take(OTHERS).cloned().collect();
        elsewhere(delivery, &open, others, &mut outcomes).await;
    }
    *connection = open.keep().await;
    // In the order of the delivery.
    Some(delivery.recipients.iter().filter_map(|one| Some((one.id, outcomes.remove(&one.id)?))).collect())
}

/// RFC 5321 section 5.1: whoever was put off is offered to the other servers of the next hop.
async fn elsewhere(
    delivery: &Delivery,
    first: &Connection,
    mut others: Vec<super::route::Target>,
    outcomes: &mut BTreeMap<i64, Outcome>,
) {
    while !others.is_empty() {
        let put_off = |one: &&DeliveryRecipient| matches!(outcomes.get(&one.id), Some(Outcome::Deferred { .. }));
        let left: Vec<DeliveryRecipient> = delivery.recipients.iter().filter(put_off).cloned().collect();
        if left.is_empty() {
            return;
        }
        let Some(mut other) = open_other(others, delivery.next_hop.tls, &first.surroundings).await else { return };
        other.until = first.until;
        let attempt = other.attempt(delivery, &left).await;
        outcomes.extend(attempt.outcomes);
        others = std::mem::take(&mut other.others);
        other.quit().await;
        if attempt.ambiguous {
            return;
        }
    }
}

impl Connection {
    async fn attempt(&mut self, delivery: &Delivery, recipients: &[DeliveryRecipient]) -> Attempt {
        let reused = self.mails > 0;
        self.mails += 1;
        let named = |one: &DeliveryRecipient| Recipient { address: one.address.clone(), dsn: one.dsn.clone() };
        self.client.send(Mail {
            reverse_path: delivery.reverse_path.clone(),
            recipients: recipients.iter().map(named).collect(),
            body: delivery.body,
            dsn: delivery.dsn.clone(),
            content: delivery.content.clone(),
        });
        let broken = self.drive().await != Ended::Ready;
        let committed = self.client.committed();
        let outcomes = self.client.take_fates().into_iter().map(|fate| self.outcome(fate));
        let outcomes = recipients.iter().map(|one| one.id).zip(outcomes).collect();
        Attempt { outcomes, repeatable: reused && broken && !committed, ambiguous: broken && committed }
    }

    fn outcome(&self, fate: Fate) -> Outcome {
        match outcome(fate, &self.target) {
            Outcome::Delivered { reply, .. } => Outcome::Delivered { reply, via: self.via() },
            other => other,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
