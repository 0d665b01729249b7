//! Notices about mail: who gets one, and the record that carries it.

use super::commit::Prepared;
use super::content::{Missing, original_context};
use super::record::{NewRecipient, NewRecord, NewState};
use super::{Direction, Queue, QueueError, QueueId, Terms};
use crate::audit::Event;
use crate::config::NextHop;
use crate::mail::{Address, Domain, RecipientDsn, Ret, ReversePath};
use crate::plan::notice::{Kind, NoticeRequest, Returned, Told, notice};
use crate::store::rows::from_row;
use jiff::Timestamp;
use std::sync::Arc;

/// What notices need to know of the configuration.
#[derive(Clone)]
pub struct Notices {
    /// Of the gateway.
    pub hostname: String,
    /// Who hears of double bounces.
    pub postmaster: Address,
    /// Whether a domain is an own one.
    pub own: Arc<dyn Fn(&Domain) -> bool + Send + Sync>,
    /// The next hop of a domain.
    pub router: Arc<dyn Fn(&Domain) -> NextHop + Send + Sync>,
}

/// A notice that goes into the queue together with the rows that it is about.
pub(super) struct Notice {
    /// Rows of the recipients.
    pub(super) rows: Vec<i64>,
    /// `None`: nobody is left to tell.
    pub(super) prepared: Option<Prepared>,
    /// For the audit log.
    pub(super) event: Event,
    kind: Kind,
    to_sender: bool,
}

impl Notice {
    pub(super) fn is_to_sender(&self) -> bool {
        self.to_sender
    }

    pub(super) fn is_delay(&self) -> bool {
        matches!(self.kind, Kind::Delayed { .. })
    }
}

from_row! {
    #[derive(Debug)]
    struct AboutRow {
    queue_id: String,
    direction: String,
    received: i64,
    reverse_path: Option<String>,
    rule: String,
    verdict: String,
    discreet: bool,
    sender_proven: bool,
    original: i64,
    returned: Option<String>,
    envelope_id: Option<String>,
}
}

/// The mail that a notice is about.
struct About {
    row: AboutRow,
    queue_id: QueueId,
    direction: Direction,
    received: Timestamp,
    reverse_path: ReversePath,
}

impl About {
    fn of(row: AboutRow) -> Result<Self, QueueError> {
        let damaged = |problem: &str| QueueError::Row { row: row.queue_id.clone(), problem: problem.to_owned() };
        let reverse_path = match &row.reverse_path {
            None => ReversePath::Null,
            Some(text) => ReversePath::Mailbox(Address::parse(text).map_err(|_| damaged("reverse-path"))?),
        };
        Ok(Self {
            queue_id: QueueId::parse(&row.queue_id).ok_or_else(|| damaged("queue id"))?,
            direction: Direction::from_name(&row.direction).ok_or_else(|| damaged("direction"))?,
            received: Timestamp::from_microsecond(row.received).map_err(|_| damaged("time"))?,
            reverse_path,
            row,
        })
    }

    fn addressee(&self) -> Addressee {
        let AboutRow { rule, verdict, sender_proven, .. } = &self.row;
        addressee(self.direction, rule, verdict, *sender_proven, &self.reverse_path)
    }

    /// What of the mail goes back with a notice to `to`.
    fn returned(&self, kind: Kind, sender: bool, own: bool) -> Returned {
        // The reverse-path is what the client said: with one outside, a subject would leave in clear by way of a failure.
        if sender && self.direction == Direction::Outgoing && !own {
            return Returned::Identification;
        }
        let full = self.row.returned.as_deref().and_then(Ret::parse) == Some(Ret::Full);
        if full && sender && kind == Kind::Failed && !self.row.discreet { Returned::Full } else { Returned::Header }
    }
}

impl Queue {
    /// The notices about these recipients of a record, and the events that say so. Delays and relays are told to the sender
    /// or to nobody: where he may be forged, they are left out.
    pub(super) async fn notices(
        &self,
        record: i64,
        groups: Vec<(Kind, Vec<(i64, Told)>)>,
        now: Timestamp,
    ) -> Result<Vec<Notice>, QueueError> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let row: AboutRow = sqlx::query_as(
            "SELECT queue_id, direction, received, reverse_path, rule, coalesce(outer_verdict, verdict) AS verdict, \
             discreet <> 0 AS discreet, sender_proven <> 0 AS sender_proven, original, returned, envelope_id \
             FROM record WHERE id = ?",
        )
        .bind(record)
        .fetch_one(self.0.store.readers())
        .await?;
        let about = About::of(row)?;
        let mut notices = Vec::with_capacity(groups.len());
        for (kind, recipients) in groups {
            if kind == Kind::Failed || about.addressee() == Addressee::Sender {
                notices.push(self.notice(&about, kind, recipients, now).await?);
            }
        }
        Ok(notices)
    }

    async fn notice(
        &self,
        about: &About,
        kind: Kind,
        recipients: Vec<(i64, Told)>,
        now: Timestamp,
    ) -> Result<Notice, QueueError> {
        let Terms { notices, .. } = &*self.0.terms();
        let (rows, mut recipients): (Vec<i64>, Vec<Told>) = recipients.into_iter().unzip();
        if about.row.discreet {
            recipients.iter_mut().for_each(|told| discreetly(told, kind));
        }
        let (to, rule) = match (about.addressee(), &about.reverse_path) {
            (Addressee::Nobody, _) => {
                tracing::error!(queue_id = %about.queue_id, "a notice to the postmaster failed; nobody is left to tell");
                let event = Event::Notice { queue_id: None, about: about.queue_id.to_string(), to: None };
                return Ok(Notice { rows, prepared: None, event, kind, to_sender: false });
            }
            (Addressee::Sender, ReversePath::Mailbox(sender)) => (sender.clone(), rule_of(kind)),
            _ => (notices.postmaster.clone(), DOUBLE_BOUNCE),
        };
        let returned = about.returned(kind, rule != DOUBLE_BOUNCE, (notices.own)(to.domain()));
        let original = match self.0.open_content(about.row.original, original_context(&about.queue_id)).await {
            Ok(original) => original,
            // A notice without the header section is better than none.
            Err(Missing::Damaged(_) | Missing::Destroyed) => bytes::Bytes::new(),
            Err(Missing::Failed(error)) => return Err(error),
        };
        let id = QueueId::random();
        let message_id = format!("{id}@{}", notices.hostname);
        let content = notice(&NoticeRequest {
            kind,
            hostname: &notices.hostname,
            postmaster: notices.postmaster.as_str(),
            to: to.as_str(),
            original_id: about.queue_id.as_str(),
            envelope_id: about.row.envelope_id.as_deref(),
            arrived: about.received,
            now,
            original: &original,
            returned,
            recipients: &recipients,
            boundary: &format!("segel-{}-{id}", QueueId::random()),
            message_id: &message_id,
        });
        let about_id = about.queue_id.to_string();
        let event = Event::Notice { queue_id: Some(id.to_string()), about: about_id, to: Some(to.clone()) };
        let next_hop = (notices.router)(to.domain());
        let to =
            NewRecipient { next_hop, address: to, dsn: RecipientDsn::default(), state: NewState::Pending { copy: 0 } };
        let record = NewRecord {
            notice_for: Some(about.queue_id.clone()),
            ..NewRecord::notice(id, &message_id, content, vec![to], rule, now)
        };
        let prepared = Some(self.0.prepare(record).await?);
        Ok(Notice { rows, prepared, event, kind, to_sender: rule != DOUBLE_BOUNCE })
    }
}

/// The same without a word of what the next hop said: it has seen what was inside an encrypted layer, and what it answers
/// may quote that or tell whether it could be opened (C42, C44).
fn discreetly(told: &mut Told, kind: Kind) {
    let (status, diagnostic) = match kind {
        Kind::Failed => ("5.0.0", Some("x-segel; not accepted by the recipient's mail server".to_owned())),
        Kind::Delayed { .. } => ("4.4.7", None),
        Kind::Relayed => ("2.0.0", None),
    };
    (told.status, told.diagnostic, told.remote_mta) = (status.to_owned(), diagnostic, None);
}

/// What the record of a notice has fired.
fn rule_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failure-notice",
        Kind::Delayed { .. } => "delay-notice",
        Kind::Relayed => "relay-notice",
    }
}

/// Who hears of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressee {
    Sender,
    Postmaster,
    Nobody,
}

/// Never a notice to a null reverse-path (RFC 5321 section 6.1), never one to the possibly forged sender of incoming mail
/// that proves nothing or has a bad verdict (section 6.2), never more than one about a notice.
pub(super) fn addressee(
    direction: Direction,
    rule: &str,
    verdict: &str,
    proven: bool,
    reverse_path: &ReversePath,
) -> Addressee {
    match (direction, reverse_path) {
        (Direction::Notice, _) if rule == DOUBLE_BOUNCE => Addressee::Nobody,
        (_, ReversePath::Null) => Addressee::Postmaster,
        (Direction::Incoming, _) if verdict == "invalid" || verdict == "indeterminate" => Addressee::Postmaster,
        (Direction::Incoming, _) if !proven => Addressee::Postmaster,
        (_, ReversePath::Mailbox(_)) => Addressee::Sender,
    }
}

pub(super) const DOUBLE_BOUNCE: &str = "double-bounce";
