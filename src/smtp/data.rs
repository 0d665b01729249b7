//! The content of a message on the wire: the receiver behind 354, and the stuffing for a next hop (RFC 5321 section 4.5.2).
//!
//! Only CRLF "." CRLF ends a message. A bare CR, a bare LF or a NUL is never a line end and never passes: the message
//! is read to its real end and refused whole, so that nobody downstream can see two mails where we saw one.

use bytes::{Buf, Bytes, BytesMut};

/// Why a message that was read to its end is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// CR without LF behind it.
    BareCarriageReturn,
    /// LF without CR before it.
    BareLineFeed,
    /// An octet zero.
    Nul,
    /// More octets than announced with `SIZE`, stuffing not counted.
    TooLarge,
    /// The memory of all sessions together is spent.
    Memory,
}

/// What the receiver needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More input. What is left in the buffer is the beginning of something that can't be judged yet.
    Input,
    /// So many octets of memory more: [`Receiver::grant`] or [`Receiver::fail`], then go on.
    Memory(usize),
    /// The end: [`Receiver::finish`].
    Done,
}

/// Smallest step in which memory is asked for.
pub const MEMORY_STEP: usize = 64 << 10;

/// Takes a message off the stream, dots unstuffed.
#[derive(Debug)]
pub struct Receiver {
    content: BytesMut,
    limit: usize,
    granted: usize,
    line_start: bool,
    fault: Option<Fault>,
}

impl Receiver {
    /// `limit`: octets of the content; `granted`: octets of memory that are reserved already.
    pub fn new(limit: usize, granted: usize) -> Self {
        Self { content: BytesMut::with_capacity(granted), limit, granted, line_start: true, fault: None }
    }

    /// Memory that [`Progress::Memory`] asked for is reserved.
    pub fn grant(&mut self, octets: usize) {
        self.granted = self.granted.saturating_add(octets);
        self.content.reserve(self.granted.saturating_sub(self.content.len()));
    }

    /// The rest is swallowed; the first fault stands.
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.content = BytesMut::new();
    }

    /// The content, or why it is refused.
    ///
    /// # Errors
    /// The first [`Fault`] that was found.
    pub fn finish(self) -> Result<Bytes, Fault> {
        self.fault.map_or_else(|| Ok(self.content.freeze()), Err)
    }

    /// Consumes `input` up to the end of the message or as far as it can be judged.
    pub fn receive(&mut self, input: &mut BytesMut) -> Progress {
        if self.fault.is_none() {
            // No more than the limit is ever kept, so no more is asked for.
            let needed = self.content.len().saturating_add(input.len()).min(self.limit);
            if needed > self.granted {
                let step = MEMORY_STEP.max(self.granted).min(self.limit.saturating_sub(self.granted));
                return Progress::Memory(step.max(needed - self.granted));
            }
        }
        let scan = self.scan(input);
        input.advance(scan.consumed);
        if scan.done { Progress::Done } else { Progress::Input }
    }

    /// One pass over `input`: whole runs between stuffed dots are copied at once.
    fn scan(&mut self, input: &[u8]) -> Scan {
        let (mut run, mut at) = (0, 0);
        loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.line_start && rest.first() == Some(&b'.') {
                match (rest.get(1), rest.get(2)) {
                    (Some(b'\r'), Some(b'\n')) => {
                        self.keep(input.get(run..at));
                        return Scan { consumed: at + 3, done: true };
                    }
                    (None, _) | (Some(b'\r'), None) => {
                        self.keep(input.get(run..at));
                        return Scan { consumed: at, done: false };
                    }
                    _ => {
                        self.keep(input.get(run..at));
                        at += 1;
                        run = at;
                        self.line_start = false;
                        continue;
                    }
                }
            }
            let Some(found) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
                self.line_start &= rest.is_empty();
                self.keep(input.get(run..));
                return Scan { consumed: input.len(), done: false };
            };
            let next = at + found;
            self.line_start = false;
            at = match (rest.get(found), rest.get(found + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    self.line_start = true;
                    next + 2
                }
                (Some(b'\r'), None) => {
                    self.keep(input.get(run..next));
                    return Scan { consumed: next, done: false };
                }
                (Some(b'\r'), Some(_)) => {
                    self.fail(Fault::BareCarriageReturn);
                    next + 1
                }
                (Some(b'\n'), _) => {
                    self.fail(Fault::BareLineFeed);
                    next + 1
                }
                _ => {
                    self.fail(Fault::Nul);
                    next + 1
                }
            };
        }
    }

    fn keep(&mut self, run: Option<&[u8]>) {
        let run = run.unwrap_or_default();
        if self.fault.is_some() {
            return;
        }
        if self.content.len() + run.len() > self.limit {
            self.fail(Fault::TooLarge);
        } else {
            self.content.extend_from_slice(run);
        }
    }
}

struct Scan {
    consumed: usize,
    done: bool,
}

/// What content is made of, as far as a next hop cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// CRLF line ends, octets below 128.
    SevenBit,
    /// CRLF line ends, octets above 127 too.
    EightBit,
    /// Bare CR, bare LF or NUL: must not be sent.
    Unsendable,
}

/// Looks through content once before it is sent.
pub fn form(content: &[u8]) -> Form {
    let mut rest = content;
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
        match rest.get(at..at + 2) {
            Some(b"\r\n") => rest = rest.get(at + 2..).unwrap_or_default(),
            _ => return Form::Unsendable,
        }
    }
    if content.is_ascii() { Form::SevenBit } else { Form::EightBit }
}

/// Content as it goes over the wire: stuffed, with a final CRLF and the lone dot. No octet of the content is copied.
pub fn stuffed(content: &Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut from = 0;
    if content.first() == Some(&b'.') {
        pieces.push(Bytes::from_static(b"."));
    }
    for at in memchr::memmem::find_iter(content, b"\r\n.") {
        let dot = at + 2;
        pieces.push(content.slice(from..dot));
        pieces.push(Bytes::from_static(b"."));
        from = dot;
    }
    pieces.push(content.slice(from..));
    let ended = content.is_empty() || content.ends_with(b"\r\n");
    pieces.push(Bytes::from_static(if ended { b".\r\n" } else { b"\r\n.\r\n" }));
    pieces
}

#[cfg(test)]
mod tests;
