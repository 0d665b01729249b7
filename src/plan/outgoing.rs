//! Copies of outgoing mail: in clear, shared by all who get it so, and encrypted.
//!
//! Signed first, encrypted second (O11). One signature serves all who get one; who gets none, or a form of his own, has
//! another copy. Recipients who stand in `To` or `Cc` share an encrypted copy where they read one
//! algorithm alike; a hidden one has a copy of his own, in which nobody else is named (O35, O40).

use super::{Copies, Copy, PlanError, Source, Transformed, algorithm_for, boundary, mark, trigger};
use crate::crypto::{ContentCipher, SignatureAlgorithm};
use crate::mail::canonical::{self, Canonical, Form};
use crate::policy::{self, Decided, EncryptTo, SignedForm, Signing, Treatment};
use crate::smime::encrypt::{self, To};
use crate::smime::sign::{self, Prepared};
use bytes::Bytes;
use std::borrow::Cow;

/// Copies that wait for their signature.
#[derive(Debug)]
pub struct ToSign {
    key: String,
    algorithm: SignatureAlgorithm,
    prepared: Prepared,
    outer: Vec<u8>,
    entity: Vec<u8>,
    micalg: &'static str,
    boundary: String,
    shares: Vec<(Form, Share)>,
    /// Those that nobody signs.
    copies: Copies,
}

/// The copies of a mail that is signed for some of its recipients, up to the point where the key has to act. `treatment` is
/// the name of copies that are neither signed nor encrypted.
pub(super) fn signed(
    signing: &Signing,
    decided: &Decided,
    source: &Source<'_>,
    treatment: &'static str,
) -> Result<ToSign, PlanError> {
    let content = without_triggers(decided, source);
    let Canonical { mut outer, entity, form } =
        canonical::canonical(&content, source.limits).map_err(PlanError::Structure)?;
    if mark::has(&outer, "DKIM-Signature") {
        outer = mark::without_dkim(&outer, source.own);
    }
    let (plain, shares) = shares(decided, form);
    let groups = shares.iter().map(|(_, share)| share).chain([&plain]).map(|share| share.groups.len()).sum();
    fits(groups, entity.len(), source)?;
    let mut copies = none(decided);
    if !plain.is_empty() {
        // Beside copies that are made anew this one tells no more than they do.
        let content = without_own_dkim(without_hidden(Cow::Borrowed(&content)), source);
        unsigned_copies(plain, &mut copies, &content, groups, source, treatment)?;
    }
    let certificate = &signing.key.certificate;
    let (algorithm, digest) = algorithm_for(&certificate.key_info())
        .ok_or_else(|| PlanError::Key(data_encoding::HEXLOWER.encode(&certificate.sha256())))?;
    let signer = sign::Signer {
        certificate: certificate.clone(),
        chain: signing.key.chain.clone(),
        encryption: signing.key.encryption.clone(),
        algorithm,
        digest,
    };
    let prepared = sign::prepare(&entity, &signer, source.now, false).map_err(PlanError::Encoding)?;
    let mut fields = String::from(source.received);
    if let Some(sender) = &signing.sender {
        outer = mark::without(&outer, "Sender");
        fields.push_str(&format!("Sender: <{}>\r\n", sender.as_str()));
    }
    Ok(ToSign {
        key: signing.key.id.clone(),
        algorithm,
        prepared,
        outer: mark::rewrite(&outer, source.hostname, &fields, source.limits),
        entity,
        micalg: digest.micalg(),
        boundary: boundary(&source.random),
        shares,
        copies,
    })
}

impl ToSign {
    /// The id of the key that must sign.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it must sign.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The DER of the signed attributes.
    pub fn to_be_signed(&self) -> &[u8] {
        self.prepared.to_be_signed()
    }

    /// Puts the signature in, then encrypts.
    pub fn finish(self, signature: &[u8]) -> Result<Copies, PlanError> {
        let Self { prepared, outer, mut entity, micalg, boundary, shares, mut copies, .. } = self;
        let last = shares.len().saturating_sub(1);
        for (place, (form, share)) in shares.into_iter().enumerate() {
            let content = (form == Form::Opaque).then_some(entity.as_slice());
            let der = prepared.assemble_with(signature, content).map_err(PlanError::Encoding)?;
            let around = |outer: &[u8]| match form {
                Form::Clear => canonical::multipart_signed(outer, &entity, &der, micalg, &boundary),
                Form::Opaque => canonical::pkcs7_mime(outer, "signed-data", &der),
            };
            if !share.encrypts() {
                share.add_to(&mut copies, || (around(&outer), "signed"), b"", b"")?;
                continue;
            }
            let signed = around(b"");
            drop(der);
            if place == last {
                // A large mail is in memory once less while it is encrypted.
                entity = Vec::new();
            }
            share.add_to(&mut copies, || ([&outer[..], &signed].concat(), "signed"), &outer, &signed)?;
        }
        Ok(copies)
    }
}

/// The copies of a mail that nobody signs here.
pub(super) fn unsigned(decided: &Decided, source: &Source<'_>, treatment: &'static str) -> Result<Copies, PlanError> {
    let content = without_triggers(decided, source);
    let share = Share::of(decided, |_| true);
    let content = if share.encrypts() { without_hidden(content) } else { content };
    let content = match share.encrypts() || !decided.removals().is_empty() {
        true => without_own_dkim(content, source),
        false => content,
    };
    let mut copies = none(decided);
    let groups = share.groups.len();
    unsigned_copies(share, &mut copies, &content, groups, source, treatment)?;
    Ok(copies)
}

/// `groups` is how many encrypted copies the whole mail has.
fn unsigned_copies(
    share: Share,
    copies: &mut Copies,
    content: &[u8],
    groups: usize,
    source: &Source<'_>,
    treatment: &'static str,
) -> Result<(), PlanError> {
    let clear = || (mark::rewrite(content, source.hostname, source.received, source.limits), treatment);
    if !share.encrypts() {
        return share.add_to(copies, clear, b"", b"");
    }
    let parts = canonical::as_it_is(content, source.limits).map_err(PlanError::Structure)?;
    fits(groups, parts.entity.len(), source)?;
    let outer = mark::rewrite(&parts.outer, source.hostname, source.received, source.limits);
    share.add_to(copies, clear, &outer, &parts.entity)
}

fn none(decided: &Decided) -> Copies {
    Copies { copies: Vec::new(), by_recipient: vec![None; decided.recipients().len()] }
}

/// Who gets no signature, and who gets one in which form. What can't be signed in clear is signed opaque for all.
fn shares(decided: &Decided, form: Form) -> (Share, Vec<(Form, Share)>) {
    let plain = Share::of(decided, |signature| signature.is_none());
    let shares = match form {
        Form::Opaque => vec![(Form::Opaque, Share::of(decided, |signature| signature.is_some()))],
        Form::Clear => vec![
            (Form::Clear, Share::of(decided, |signature| signature == Some(SignedForm::Clear))),
            (Form::Opaque, Share::of(decided, |signature| signature == Some(SignedForm::Opaque))),
        ],
    };
    (plain, shares.into_iter().filter(|(_, share)| !share.is_empty()).collect())
}

/// Who gets which copy, of those whose copies are signed alike.
#[derive(Debug)]
struct Share {
    /// Places in the envelope of those who get it in clear.
    clear: Vec<usize>,
    groups: Vec<Group>,
}

impl Share {
    fn of(decided: &Decided, wanted: impl Fn(Option<SignedForm>) -> bool) -> Self {
        let (mut clear, mut visible, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (place, recipient) in decided.recipients().iter().enumerate().filter(|(_, one)| wanted(one.signature)) {
            match &recipient.treatment {
                Treatment::Deliver(policy::Form::Encrypted(to)) if to.hidden => groups.push(Group::alone(place, to)),
                Treatment::Deliver(policy::Form::Encrypted(to)) => visible.push((place, &**to)),
                Treatment::Deliver(_) => clear.push(place),
                Treatment::Hold { .. } => {}
            }
        }
        groups.extend(together(&visible));
        Self { clear, groups }
    }

    fn encrypts(&self) -> bool {
        !self.groups.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.clear.is_empty()
    }

    /// `clear` makes the copy in clear; `entity` is what is encrypted, `outer` stays around it.
    fn add_to(
        self,
        copies: &mut Copies,
        clear: impl FnOnce() -> (Vec<u8>, &'static str),
        outer: &[u8],
        entity: &[u8],
    ) -> Result<(), PlanError> {
        if !self.clear.is_empty() {
            let (bytes, treatment) = clear();
            copies.add(Copy { content: Transformed { bytes: Bytes::from(bytes) }, treatment }, &self.clear);
        }
        for group in self.groups {
            let der = encrypt::encrypt(entity, group.cipher, &group.to).map_err(PlanError::Encryption)?;
            let bytes = canonical::pkcs7_mime(outer, encrypt::smime_type(group.cipher), &der);
            let content = Transformed { bytes: Bytes::from(bytes) };
            copies.add(Copy { content, treatment: "encrypted" }, &group.recipients);
        }
        Ok(())
    }
}

/// An encrypted copy to be made.
#[derive(Clone, Debug)]
struct Group {
    cipher: ContentCipher,
    to: Vec<To>,
    /// Who gets it, as places in the envelope.
    recipients: Vec<usize>,
}

impl Group {
    fn alone(place: usize, to: &EncryptTo) -> Self {
        let cipher = to.ciphers.first().copied().unwrap_or(ContentCipher::Aes256Cbc);
        Self { cipher, to: vec![To { key: to.key.clone(), oaep: to.oaep }], recipients: vec![place] }
    }
}

/// One copy if one algorithm suits all, else one for each algorithm (O35).
fn together(visible: &[(usize, &EncryptTo)]) -> Vec<Group> {
    let Some((_, first)) = visible.first() else { return Vec::new() };
    let suits_all = |cipher: &ContentCipher| visible.iter().all(|(_, to)| to.ciphers.contains(cipher));
    let common = first.ciphers.iter().copied().find(suits_all);
    let mut groups: Vec<Group> = Vec::new();
    for (place, to) in visible {
        let alone = Group::alone(*place, to);
        let cipher = common.unwrap_or(alone.cipher);
        match groups.iter_mut().find(|group| group.cipher == cipher) {
            Some(group) => {
                group.recipients.push(*place);
                let same = |known: &To| known.key.certificate().der() == to.key.certificate().der();
                if !group.to.iter().any(same) {
                    group.to.extend(alone.to);
                }
            }
            None => groups.push(Group { cipher, ..alone }),
        }
    }
    groups
}

/// Whether so many encrypted copies of so many octets are allowed. Base64 makes four octets of three, and a line end of every
/// 76.
fn fits(groups: usize, octets: usize, source: &Source<'_>) -> Result<(), PlanError> {
    let each = octets.saturating_add(octets / 5 * 2);
    match groups.saturating_mul(each) > source.limits.copies {
        true if groups > 1 => Err(PlanError::TooManyCopies(groups)),
        _ => Ok(()),
    }
}

/// The content without the tags and fields that made rules fire.
fn without_triggers<'a>(decided: &Decided, source: &Source<'a>) -> Cow<'a, [u8]> {
    match decided.removals() {
        removals if removals.is_empty() => Cow::Borrowed(source.content),
        removals => Cow::Owned(trigger::remove(source.content, removals, source.limits)),
    }
}

/// Without the fields that name hidden recipients: where one of them has a copy of his own, nobody else hears of him (O40).
/// Mail that is passed as it is keeps even these.
fn without_hidden(mut content: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    for name in ["Bcc", "Resent-Bcc"] {
        if mark::has(&content, name) {
            content = Cow::Owned(mark::without(&content, name));
        }
    }
    content
}

/// Without the inside server's DKIM signatures for own domains: they would not verify any more.
fn without_own_dkim<'a>(content: Cow<'a, [u8]>, source: &Source<'_>) -> Cow<'a, [u8]> {
    match mark::has(&content, "DKIM-Signature") {
        true => Cow::Owned(mark::without_dkim(&content, source.own)),
        false => content,
    }
}
