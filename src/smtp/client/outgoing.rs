//! One mail under way: its commands, and where each recipient stands.

use super::fate::{Capabilities, Fate, said};
use crate::mail::{Address, BodyType, DsnRequest, RecipientDsn, ReversePath};
use crate::smtp::Reply;
use bytes::Bytes;
use std::fmt::Write as _;

/// A mail to one next hop.
#[derive(Clone, Debug)]
pub struct Mail {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO, in the order of the fates.
    pub recipients: Vec<Recipient>,
    /// As the mail came; what its content needs is looked at anyway.
    pub body: BodyType,
    /// RET and ENVID.
    pub dsn: DsnRequest,
    /// CRLF line ends, not stuffed.
    pub content: Bytes,
}

/// RCPT TO.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The mailbox.
    pub address: Address,
    /// NOTIFY and ORCPT.
    pub dsn: RecipientDsn,
}

/// Where a recipient stands.
#[derive(Clone, Debug)]
enum Standing {
    /// Nothing is known yet.
    Open,
    /// RCPT was answered by 2yz.
    Accepted,
    /// Too many in this transaction: for the next one, else this is his fate.
    Later(Fate),
    Done(Fate),
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) mail: Mail,
    pub(super) eight_bit: bool,
    standing: Vec<Standing>,
    pub(super) mail_refused: bool,
    /// The octets that end the data may have left.
    pub(super) committed: bool,
}

impl Outgoing {
    pub(super) fn new(mail: Mail, eight_bit: bool) -> Self {
        let standing = vec![Standing::Open; mail.recipients.len()];
        Self { mail, eight_bit, standing, mail_refused: false, committed: false }
    }

    /// RFC 5321 section 4.1.1.2, 1870, 6152, and 3461 section 4.3 and 4.4.
    pub(super) fn mail_command(&self, capabilities: Capabilities) -> String {
        let path = match &self.mail.reverse_path {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(address) => wire(address).unwrap_or_default(),
        };
        let mut command = format!("MAIL FROM:<{path}>");
        if capabilities.size.is_some() {
            // Writing to a String can't fail.
            write!(command, " SIZE={}", self.mail.content.len()).ok();
        }
        if capabilities.eight_bit_mime && (self.eight_bit || self.mail.body == BodyType::EightBitMime) {
            command.push_str(" BODY=8BITMIME");
        }
        if capabilities.dsn {
            if let Some(returned) = self.mail.dsn.returned {
                write!(command, " RET={}", returned.name()).ok();
            }
            if let Some(id) = self.mail.dsn.envelope_id.as_deref().filter(|id| is_value(id, 100)) {
                write!(command, " ENVID={id}").ok();
            }
        }
        command.push_str("\r\n");
        command
    }

    /// RFC 3461 section 5.2.1: what was asked is handed on unchanged. Where a notice was asked for and the address was not
    /// named apart, it is the one that stands here.
    pub(super) fn rcpt_command(&self, index: usize, capabilities: Capabilities) -> String {
        let Some(recipient) = self.mail.recipients.get(index) else { return String::new() };
        let path = wire(&recipient.address).unwrap_or_default();
        let mut command = format!("RCPT TO:<{path}>");
        if capabilities.dsn {
            if let Some(notify) = recipient.dsn.notify {
                write!(command, " NOTIFY={}", notify.text()).ok();
            }
            let added = || recipient.dsn.notify.map(|_| format!("rfc822;{}", xtext(recipient.address.as_str())));
            let original = recipient.dsn.original.clone().or_else(added);
            if let Some(original) = original.filter(|original| is_value(original, 500)) {
                write!(command, " ORCPT={original}").ok();
            }
        }
        command.push_str("\r\n");
        command
    }

    /// Recipients of whom nothing is known yet.
    pub(super) fn open(&self) -> Vec<usize> {
        let open = |(index, standing): (usize, &Standing)| matches!(standing, Standing::Open).then_some(index);
        self.standing.iter().enumerate().filter_map(open).collect()
    }

    pub(super) fn any_accepted(&self) -> bool {
        self.standing.iter().any(|standing| matches!(standing, Standing::Accepted))
    }

    /// The reply to RCPT.
    pub(super) fn recipient(&mut self, index: usize, reply: &Reply) {
        let (refused, any_accepted) = (self.mail_refused, self.any_accepted());
        let Some(standing @ Standing::Open) = self.standing.get_mut(index) else { return };
        match reply.is_positive() {
            // After a refused MAIL a positive reply means nothing.
            true if refused => {}
            true => *standing = Standing::Accepted,
            false => {
                *standing = match too_many(reply) {
                    Some(fate) if any_accepted => Standing::Later(fate),
                    Some(fate) => Standing::Done(fate),
                    None => Standing::Done(Fate::refused(reply)),
                }
            }
        }
    }

    /// Before anything is sent.
    pub(super) fn decide(&mut self, index: usize, fate: Fate) {
        if let Some(standing @ Standing::Open) = self.standing.get_mut(index) {
            *standing = Standing::Done(fate);
        }
    }

    /// For everybody in this transaction who has no fate yet.
    pub(super) fn decide_all(&mut self, fate: &Fate) {
        for standing in &mut self.standing {
            if matches!(standing, Standing::Open | Standing::Accepted) {
                *standing = Standing::Done(fate.clone());
            }
        }
    }

    /// The mail was taken: whoever was too many is open again. Each transaction has taken somebody, so this ends.
    pub(super) fn reopen(&mut self) {
        for standing in &mut self.standing {
            if matches!(standing, Standing::Later(_)) {
                *standing = Standing::Open;
            }
        }
    }

    pub(super) fn into_fates(self, undecided: &Fate) -> Vec<Fate> {
        let fate = |standing| match standing {
            Standing::Done(fate) | Standing::Later(fate) => fate,
            Standing::Open | Standing::Accepted => undecided.clone(),
        };
        self.standing.into_iter().map(fate).collect()
    }
}

/// RFC 5321 section 4.5.3.1.10: 452 is said of recipients beyond a hundred, by old servers 552; the rest is sent apart.
/// Where a status says something else, it is something else.
fn too_many(reply: &Reply) -> Option<Fate> {
    let said_so = reply.enhanced().map(|code| (code.subject, code.detail) == (5, 3));
    match (reply.code(), said_so) {
        (452, None | Some(true)) | (552, Some(true)) => Some(Fate::deferred("4.5.3", said(reply))),
        _ => None,
    }
}

/// The address as it may be sent without SMTPUTF8: the domain in A-labels where needed. `None` for a local part beyond US-ASCII.
pub(super) fn wire(address: &Address) -> Option<String> {
    let text = if address.as_str().is_ascii() {
        address.as_str().to_owned()
    } else {
        format!("{}@{}", address.local(), address.domain().ascii())
    };
    // `Address` holds no control characters; a line of its own is not made from one in any case.
    (text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control())).then_some(text)
}

/// `esmtp-value = 1*(%d33-60 / %d62-126)`; what was stored otherwise is not handed on.
fn is_value(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'=')
}

/// RFC 3461 section 4: `xtext = *( xchar / hexchar )`.
fn xtext(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' => {
                write!(coded, "+{octet:02X}").ok();
            }
            b'!'..=b'~' => coded.push(char::from(octet)),
            _ => {
                write!(coded, "+{octet:02X}").ok();
            }
        }
    }
    coded
}
