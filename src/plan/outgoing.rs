//! Copies of outgoing mail: in clear, shared by all who get it so, and encrypted.
//!
//! Signed first, encrypted second (O11). Recipients who stand in `To` or `Cc` share an encrypted copy where they read one
//! algorithm alike; a hidden one has a copy of his own, in which nobody else is named (O35, O40).

use super::{Copies, Copy, PlanError, Source, Transformed, algorithm_for, boundary, mark, trigger};
use crate::crypto::{ContentCipher, SignatureAlgorithm};
use crate::mail::canonical::{self, Canonical, Form};
use crate::policy::{self, Decided, EncryptTo, Signing, Treatment};
use crate::smime::encrypt::{self, To};
use crate::smime::sign::{self, Prepared};
use bytes::Bytes;
use std::borrow::Cow;

/// An encrypted copy to be made.
#[derive(Clone, Debug)]
struct Group {
    cipher: ContentCipher,
    to: Vec<To>,
    /// Who gets it, as places in the envelope.
    recipients: Vec<usize>,
}

/// Who gets which copy.
#[derive(Debug)]
pub(super) struct Share {
    /// Places in the envelope of those who get it in clear.
    clear: Vec<usize>,
    groups: Vec<Group>,
    recipients: usize,
    /// Octets that all encrypted copies together may have.
    most: usize,
}

/// Copies that wait for their signature.
#[derive(Debug)]
pub struct ToSign {
    key: String,
    algorithm: SignatureAlgorithm,
    prepared: Prepared,
    outer: Vec<u8>,
    entity: Vec<u8>,
    form: Form,
    micalg: &'static str,
    boundary: String,
    share: Share,
}

impl Share {
    pub(super) fn of(decided: &Decided, source: &Source<'_>) -> Self {
        let (mut clear, mut visible, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (place, recipient) in decided.recipients().iter().enumerate() {
            match &recipient.treatment {
                Treatment::Deliver(policy::Form::Encrypted(to)) if to.hidden => groups.push(Group::alone(place, to)),
                Treatment::Deliver(policy::Form::Encrypted(to)) => visible.push((place, &**to)),
                Treatment::Deliver(_) => clear.push(place),
                Treatment::Hold { .. } => {}
            }
        }
        groups.extend(together(&visible));
        Self { clear, groups, recipients: decided.recipients().len(), most: source.limits.copies }
    }

    fn encrypts(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Base64 makes four octets of three, and a line end of every 76.
    fn fits(&self, octets: usize) -> Result<(), PlanError> {
        let each = octets.saturating_add(octets / 5 * 2);
        match self.groups.len().saturating_mul(each) > self.most {
            true if self.groups.len() > 1 => Err(PlanError::TooManyCopies(self.groups.len())),
            _ => Ok(()),
        }
    }

    /// `clear` makes the copy in clear; `entity` is what is encrypted, `outer` stays around it.
    fn copies(
        self,
        clear: impl FnOnce() -> (Vec<u8>, &'static str),
        outer: &[u8],
        entity: &[u8],
    ) -> Result<Copies, PlanError> {
        let mut copies = Copies { copies: Vec::new(), by_recipient: vec![None; self.recipients] };
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
        Ok(copies)
    }
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

/// Copies that nobody signs here.
pub(super) fn unsigned(decided: &Decided, source: &Source<'_>, treatment: &'static str) -> Result<Copies, PlanError> {
    let share = Share::of(decided, source);
    let content = without_triggers(decided, source);
    let content = if share.encrypts() { without_hidden(content) } else { content };
    let content = match share.encrypts() || !decided.removals().is_empty() {
        true => without_own_dkim(content, source),
        false => content,
    };
    let clear = || (mark::rewrite(&content, source.hostname, source.received, source.limits), treatment);
    if !share.encrypts() {
        return share.copies(clear, b"", b"");
    }
    let parts = canonical::as_it_is(&content, source.limits).map_err(PlanError::Structure)?;
    share.fits(parts.entity.len())?;
    let outer = mark::rewrite(&parts.outer, source.hostname, source.received, source.limits);
    share.copies(clear, &outer, &parts.entity)
}

/// Copies of one signed mail, up to the point where the key has to act.
pub(super) fn signed(signing: &Signing, decided: &Decided, source: &Source<'_>) -> Result<ToSign, PlanError> {
    let content = without_triggers(decided, source);
    let Canonical { mut outer, entity, form } =
        canonical::canonical(&content, source.limits).map_err(PlanError::Structure)?;
    if mark::has(&outer, "DKIM-Signature") {
        outer = mark::without_dkim(&outer, source.own);
    }
    let share = Share::of(decided, source);
    share.fits(entity.len())?;
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
    let prepared = sign::prepare(&entity, &signer, source.now, form == Form::Opaque).map_err(PlanError::Encoding)?;
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
        form,
        micalg: digest.micalg(),
        boundary: boundary(&source.random),
        share,
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
        let Self { prepared, outer, entity, form, micalg, boundary, share, .. } = self;
        let der = prepared.assemble(signature).map_err(PlanError::Encoding)?;
        let around = |outer: &[u8]| match form {
            Form::Clear => canonical::multipart_signed(outer, &entity, &der, micalg, &boundary),
            Form::Opaque => canonical::pkcs7_mime(outer, "signed-data", &der),
        };
        if !share.encrypts() {
            return share.copies(|| (around(&outer), "signed"), b"", b"");
        }
        let signed = around(b"");
        // A large mail is in memory once less while it is encrypted.
        drop((entity, der));
        share.copies(|| ([&outer[..], &signed].concat(), "signed"), &outer, &signed)
    }
}
