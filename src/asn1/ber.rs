//! The walk over BER: one loop with its own stack, first to check, then (only where something is not DER) to rebuild.

use super::Asn1Error;
use crate::limits::Limits;
use std::borrow::Cow;

/// Identifier and length octets of one value (X.690 sections 8.1.2 and 8.1.3).
pub(super) struct Header {
    /// The first identifier octet.
    pub(super) tag: u8,
    /// Identifier octets.
    pub(super) identifier: usize,
    /// Identifier and length octets together.
    pub(super) size: usize,
    /// Content octets; `None` is the indefinite form.
    pub(super) length: Option<usize>,
    /// Whether the length octets are the ones DER asks for.
    pub(super) minimal: bool,
}

impl Header {
    /// The header at `at`, within `bytes[..end]`; a definite content must fit there too.
    pub(super) fn read(bytes: &[u8], at: usize, end: usize) -> Result<Self, Asn1Error> {
        let malformed = Asn1Error::Malformed(at);
        let window = bytes.get(at..end).ok_or(malformed)?;
        let (&tag, mut rest) = window.split_first().ok_or(malformed)?;
        let mut identifier = 1;
        if tag & 0x1f == 0x1f {
            // Four more octets hold tag numbers up to 2^28; nothing that is in use comes near.
            let last = rest.iter().take(4).position(|octet| octet & 0x80 == 0).ok_or(malformed)?;
            let leading = rest.first().copied().unwrap_or_default();
            // No leading zeros, and numbers up to 30 have the short form (section 8.1.2.4.2).
            if leading == 0x80 || (last == 0 && leading < 31) {
                return Err(malformed);
            }
            identifier += last + 1;
            rest = rest.get(last + 1..).ok_or(malformed)?;
        }
        let (&first, rest) = rest.split_first().ok_or(malformed)?;
        let (octets, length, minimal) = match first {
            0x80 => (0, None, false),
            0xff => return Err(malformed),
            short @ 0..=0x7f => (0, Some(usize::from(short)), true),
            long => {
                let octets = usize::from(long & 0x7f);
                let (value, minimal) = long_length(rest.get(..octets).ok_or(malformed)?).ok_or(malformed)?;
                (octets, Some(value), minimal)
            }
        };
        let size = identifier + 1 + octets;
        match length {
            Some(length) if length > window.len() - size.min(window.len()) => Err(malformed),
            None if tag & 0x20 == 0 => Err(malformed),
            _ => Ok(Self { tag, identifier, size, length, minimal }),
        }
    }
}

/// A length in the long form, and whether it is as short as it can be. `None`: more than a `usize` holds.
fn long_length(octets: &[u8]) -> Option<(usize, bool)> {
    let significant = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len());
    let digits = octets.get(significant..)?;
    if digits.len() > size_of::<usize>() {
        return None;
    }
    let value = digits.iter().fold(0usize, |value, octet| (value << 8) | usize::from(*octet));
    Some((value, significant == 0 && value > 0x7f))
}

/// What a value becomes in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Primitive,
    Constructed,
    /// A constructed string whose segments are joined under a primitive tag.
    Joined(Segments),
    /// A segment of a joined string: only its content is written.
    Segment,
    /// A segment that is constructed itself.
    SegmentGroup,
}

/// The kind of a string in segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segments {
    Octets,
    Bits,
}

impl Segments {
    const fn tag(self) -> u8 {
        match self {
            Self::Octets => 0x04,
            Self::Bits => 0x03,
        }
    }
}

/// A constructed value that is open while its content is walked.
struct Open {
    /// Where its content ends; `None` until end-of-contents octets.
    end: Option<usize>,
    /// Where everything in it must end at the latest.
    bound: usize,
    node: usize,
    tag: u8,
    children: usize,
    first_is_oid: bool,
    shape: Shape,
    segments: Segments,
}

/// One value of the second pass, in the order of the input.
struct Node {
    at: usize,
    identifier: usize,
    content: (usize, usize),
    parent: Option<usize>,
    shape: Shape,
    /// Octets of the content in the output.
    length: usize,
    /// Unused bits at the end of a joined BIT STRING.
    unused: u8,
}

/// What the walk does with each value.
enum Pass {
    /// Look only; remember whether anything differs from DER.
    Check { der: bool },
    /// Keep every value.
    Build(Vec<Node>),
}

pub(super) fn to_der<'a>(ber: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Asn1Error> {
    let mut check = Walk::new(ber, limits, Pass::Check { der: true });
    check.run()?;
    if matches!(check.pass, Pass::Check { der: true }) {
        return Ok(Cow::Borrowed(ber));
    }
    let mut build = Walk::new(ber, limits, Pass::Build(Vec::new()));
    build.run()?;
    match build.pass {
        Pass::Build(nodes) => emit(ber, nodes).map(Cow::Owned),
        Pass::Check { .. } => Err(Asn1Error::Malformed(0)),
    }
}

struct Walk<'a> {
    ber: &'a [u8],
    limits: &'a Limits,
    pass: Pass,
    stack: Vec<Open>,
    at: usize,
    elements: usize,
    /// Whether the ContentInfo's type has an EncryptedContentInfo.
    encrypted: bool,
}

impl<'a> Walk<'a> {
    fn new(ber: &'a [u8], limits: &'a Limits, pass: Pass) -> Self {
        Self { ber, limits, pass, stack: Vec::new(), at: 0, elements: 0, encrypted: false }
    }

    /// Walks the one value that the input is.
    fn run(&mut self) -> Result<(), Asn1Error> {
        loop {
            self.close_finished();
            if self.stack.is_empty() && self.elements > 0 {
                return if self.at == self.ber.len() { Ok(()) } else { Err(Asn1Error::Trailing) };
            }
            self.step()?;
        }
    }

    fn close_finished(&mut self) {
        while self.stack.last().is_some_and(|open| open.end == Some(self.at)) {
            self.stack.pop();
        }
    }

    /// Takes the value at the current offset, or the end-of-contents octets there.
    fn step(&mut self) -> Result<(), Asn1Error> {
        let at = self.at;
        let bound = self.stack.last().map_or(self.ber.len(), |open| open.bound);
        let header = Header::read(self.ber, at, bound)?;
        if header.tag == 0 {
            return self.end_of_contents(&header);
        }
        self.elements += 1;
        if self.elements > self.limits.asn1_elements || self.stack.len() >= self.limits.asn1_depth {
            return Err(Asn1Error::TooComplex(at));
        }
        let shape = self.shape(&header)?;
        let content = at + header.size;
        if let (Shape::Primitive, Some(length)) = (shape, header.length) {
            self.check_primitive(&header, content, length)?;
        }
        let node = self.keep(&header, shape);
        self.note_child(&header, content);
        if header.tag & 0x20 == 0 {
            self.at = content + header.length.unwrap_or_default();
            return Ok(());
        }
        let segments = match (shape, self.stack.last()) {
            (Shape::Joined(segments), _) => segments,
            (_, Some(open)) => open.segments,
            (_, None) => Segments::Octets,
        };
        let end = header.length.map(|length| content + length);
        self.stack.push(Open {
            end,
            bound: end.unwrap_or(bound),
            node,
            tag: header.tag,
            children: 0,
            first_is_oid: false,
            shape,
            segments,
        });
        self.at = content;
        Ok(())
    }

    fn end_of_contents(&mut self, header: &Header) -> Result<(), Asn1Error> {
        let closes = self.stack.last().is_some_and(|open| open.end.is_none());
        if !closes || header.length != Some(0) || header.size != 2 {
            return Err(Asn1Error::Malformed(self.at));
        }
        self.stack.pop();
        self.at += 2;
        Ok(())
    }

    /// What this value becomes, from its tag and where it stands.
    fn shape(&self, header: &Header) -> Result<Shape, Asn1Error> {
        let malformed = Err(Asn1Error::Malformed(self.at));
        let constructed = header.tag & 0x20 != 0;
        if let Some(open) = self.stack.last()
            && matches!(open.shape, Shape::Joined(_) | Shape::SegmentGroup)
        {
            // Segments of a string have the tag of the string itself, or OCTET STRING (X.690 sections 8.6.4, 8.7.3, 8.23).
            return match (header.tag & !0x20 == open.segments.tag(), constructed) {
                (true, true) => Ok(Shape::SegmentGroup),
                (true, false) => Ok(Shape::Segment),
                (false, _) => malformed,
            };
        }
        if header.tag & 0xc0 != 0 {
            return Ok(match constructed {
                true if self.is_encrypted_content(header) => Shape::Joined(Segments::Octets),
                true => Shape::Constructed,
                false => Shape::Primitive,
            });
        }
        match (header.tag & 0x1f, constructed) {
            // EXTERNAL, EMBEDDED PDV, SEQUENCE, SET and CHARACTER STRING are always constructed.
            (0x08 | 0x0b | 0x10 | 0x11 | 0x1d, true) => Ok(Shape::Constructed),
            (0x08 | 0x0b | 0x10 | 0x11 | 0x1d, false) => malformed,
            (0x03, true) => Ok(Shape::Joined(Segments::Bits)),
            (0x04 | 0x07 | 0x0c | 0x12..=0x16 | 0x19..=0x1c | 0x1e, true) => Ok(Shape::Joined(Segments::Octets)),
            (_, true) => malformed,
            (_, false) => Ok(Shape::Primitive),
        }
    }

    /// `encryptedContent [0] IMPLICIT OCTET STRING OPTIONAL` (RFC 5652 section 6.1): third field of the SEQUENCE in the
    /// EnvelopedData, AuthEnvelopedData or EncryptedData of the outermost ContentInfo.
    fn is_encrypted_content(&self, header: &Header) -> bool {
        self.encrypted
            && header.tag == 0xa0
            && self.stack.len() == 4
            && self.stack.last().is_some_and(|open| open.tag == 0x30 && open.children == 2 && open.first_is_oid)
    }

    fn check_primitive(&self, header: &Header, content: usize, length: usize) -> Result<(), Asn1Error> {
        let longest = match header.tag {
            0x02 | 0x0a => self.limits.asn1_integer,
            0x06 | 0x0d => self.limits.asn1_oid,
            _ => return Ok(()),
        };
        if length > longest { Err(Asn1Error::TooComplex(content)) } else { Ok(()) }
    }

    /// Counts the value in its parent, and takes the ContentInfo's type from its first field.
    fn note_child(&mut self, header: &Header, content: usize) {
        let depth = self.stack.len();
        let Some(parent) = self.stack.last_mut() else { return };
        if parent.children == 0 && header.tag == 0x06 {
            parent.first_is_oid = true;
            if depth == 1 && parent.tag == 0x30 {
                let end = content + header.length.unwrap_or_default();
                let oid = self.ber.get(content..end).unwrap_or_default();
                self.encrypted = ENCRYPTED_TYPES.contains(&oid);
            }
        }
        parent.children += 1;
    }

    /// Remembers what differs from DER, or the value itself; gives the index of its node.
    fn keep(&mut self, header: &Header, shape: Shape) -> usize {
        let at = self.at;
        match &mut self.pass {
            Pass::Check { der } => {
                *der &= header.minimal && matches!(shape, Shape::Primitive | Shape::Constructed);
                0
            }
            Pass::Build(nodes) => {
                let content = at + header.size;
                nodes.push(Node {
                    at,
                    identifier: header.identifier,
                    content: (content, content + header.length.unwrap_or_default()),
                    parent: self.stack.last().map(|open| open.node),
                    shape,
                    length: 0,
                    unused: 0,
                });
                nodes.len() - 1
            }
        }
    }
}

/// envelopedData, encryptedData and id-ct-authEnvelopedData.
const ENCRYPTED_TYPES: [&[u8]; 3] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17],
];

/// Writes the values with the lengths that they have now.
fn emit(ber: &[u8], mut nodes: Vec<Node>) -> Result<Vec<u8>, Asn1Error> {
    join_bits(ber, &mut nodes)?;
    // Children stand after their parents, so going backwards every length is final when it is added up.
    for index in (0..nodes.len()).rev() {
        let Some(node) = nodes.get_mut(index) else { continue };
        match node.shape {
            Shape::Primitive | Shape::Segment => node.length = node.content.1 - node.content.0,
            Shape::Joined(Segments::Bits) => node.length += 1,
            Shape::Joined(Segments::Octets) | Shape::Constructed | Shape::SegmentGroup => {}
        }
        let (parent, total) = (node.parent, total_length(node));
        if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
            parent.length += total;
        }
    }
    let mut out = Vec::with_capacity(nodes.first().map_or(0, total_length));
    for node in &nodes {
        if !matches!(node.shape, Shape::Segment | Shape::SegmentGroup) {
            let identifier = ber.get(node.at..node.at + node.identifier).unwrap_or_default();
            let start = out.len();
            out.extend_from_slice(identifier);
            if matches!(node.shape, Shape::Joined(_))
                && let Some(tag) = out.get_mut(start)
            {
                *tag &= !0x20;
            }
            write_length(&mut out, node.length);
        }
        match node.shape {
            Shape::Joined(Segments::Bits) => out.push(node.unused),
            Shape::Primitive | Shape::Segment => {
                out.extend_from_slice(ber.get(node.content.0..node.content.1).unwrap_or_default());
            }
            _ => {}
        }
    }
    Ok(out)
}

/// Takes the unused-bits octet off every segment of a BIT STRING and remembers the last one of each string.
fn join_bits(ber: &[u8], nodes: &mut [Node]) -> Result<(), Asn1Error> {
    let mut string = None;
    for index in 0..nodes.len() {
        let Some(node) = nodes.get_mut(index) else { continue };
        let (at, (start, end)) = (node.at, node.content);
        match (node.shape, string) {
            (Shape::Joined(segments), _) => string = (segments == Segments::Bits).then_some(index),
            (Shape::Segment, Some(joined)) => {
                let malformed = Asn1Error::Malformed(at);
                node.content.0 += 1;
                let unused = *ber.get(start..end).and_then(<[u8]>::first).ok_or(malformed)?;
                let joined: &mut Node = nodes.get_mut(joined).ok_or(malformed)?;
                // Only the last segment may have unused bits (X.690 section 8.6.4).
                if joined.unused != 0 || unused > 7 {
                    return Err(malformed);
                }
                joined.unused = unused;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Octets that the value takes in the output, header included.
fn total_length(node: &Node) -> usize {
    match node.shape {
        Shape::Segment | Shape::SegmentGroup => node.length,
        _ => node.identifier + 1 + length_octets(node.length) + node.length,
    }
}

/// Octets after the first one of a DER length.
const fn length_octets(length: usize) -> usize {
    if length < 0x80 { 0 } else { size_of::<usize>() - (length.leading_zeros() as usize) / 8 }
}

pub(super) fn write_length(out: &mut Vec<u8>, length: usize) {
    let octets = length_octets(length);
    if octets == 0 {
        out.push(length.to_be_bytes().last().copied().unwrap_or_default());
        return;
    }
    out.push(0x80 | octets.to_be_bytes().last().copied().unwrap_or_default());
    let bytes = length.to_be_bytes();
    out.extend_from_slice(bytes.get(bytes.len() - octets..).unwrap_or_default());
}
