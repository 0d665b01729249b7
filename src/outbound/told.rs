//! What operators hear of each try to deliver: a line of the log for each way it ended, and the counters.

use crate::mail::{ReversePath, without_addresses};
use crate::metrics;
use crate::queue::{Delivery, Outcome};
use std::time::Duration;

/// Ways in which one delivery can end that are told apart; the others are told together with the last.
const WAYS: usize = 20;

/// How the recipients of a delivery fared. `names`: whether the lines name people; `took`: `None` where nothing was tried,
/// because the next hop rests.
pub(super) fn ended(delivery: &Delivery, outcomes: &[(i64, Outcome)], names: bool, took: Option<Duration>) {
    let mut counts = [0; 3];
    let [delivered, deferred, failed] = &mut counts;
    let mut ways: Vec<(&Outcome, Vec<i64>)> = Vec::new();
    for (id, outcome) in outcomes {
        match outcome {
            Outcome::Delivered { .. } => *delivered += 1,
            Outcome::Deferred { .. } => *deferred += 1,
            Outcome::Failed { .. } => *failed += 1,
        }
        let full = ways.len() >= WAYS;
        match ways.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, ids)) => ids.push(*id),
            None if full => ways.last_mut().into_iter().for_each(|(_, ids)| ids.push(*id)),
            None => ways.push((outcome, vec![*id])),
        }
    }
    metrics::delivered(&delivery.next_hop, counts, took);
    for (outcome, ids) in ways {
        line(delivery, outcome, &ids, names, took);
    }
}

fn line(delivery: &Delivery, outcome: &Outcome, ids: &[i64], names: bool, took: Option<Duration>) {
    let (text, status, said, via) = match outcome {
        Outcome::Delivered { reply, via } => ("mail delivered.", None, reply, Some(via)),
        Outcome::Deferred { status, diagnostic } => ("delivery deferred.", Some(status), diagnostic, None),
        Outcome::Failed { status, diagnostic } => ("delivery failed.", Some(status), diagnostic, None),
    };
    let reply = if names { said.as_str().into() } else { without_addresses(said) };
    let of_these = || delivery.recipients.iter().filter(|one| ids.contains(&one.id));
    let to = || of_these().map(|one| one.address.as_str()).collect::<Vec<_>>().join(",");
    let from = || match &delivery.reverse_path {
        ReversePath::Null => "<>",
        ReversePath::Mailbox(address) => address.as_str(),
    };
    tracing::info!(
        queue_id = %delivery.queue_id,
        next_hop = %delivery.next_hop.name(),
        server = via.map(|via| tracing::field::display(&via.host)),
        tls = via.and_then(|via| via.tls.as_deref()),
        recipients = ids.len(),
        tries = of_these().map(|one| one.tries).max().unwrap_or_default().saturating_add(1),
        status = status.map(tracing::field::display),
        reply = &*reply,
        size = delivery.content.len(),
        ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        from = names.then(from),
        to = names.then(to),
        "{text}"
    );
}
