//! What an inspection says: values only.

use super::super::verify::{Judged, Signer, tidy};
use super::Verdict;
use super::walk::Found;
use crate::mail::Address;
use crate::mail::header::From;
use crate::pki::{Certificate, Crl};
use crate::reason::Reason;
use bytes::Bytes;
use jiff::Timestamp;
use std::fmt;

/// What a message is and whether it holds.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Of the message as a whole.
    pub verdict: Verdict,
    /// All reasons of the deciding layer and of the whole message, in order, each once.
    pub reasons: Vec<Reason>,
    /// Facts that change nothing: `altered-in-transit`, `micalg-mismatch`, …
    pub warnings: Vec<String>,
    /// What `From` says.
    pub from: From,
    /// Whether a signed layer was found.
    pub signed: bool,
    /// Whether an encrypted layer was found.
    pub encrypted: bool,
    /// Whether an encrypted layer was opened with a private key. Whether what was in it may be used is what `opened` says.
    pub decrypted: bool,
    /// Whether the outermost layer is the whole message.
    pub covers_whole_message: bool,
    /// A signer's revocation status is unknown, and his anchor tolerates that (`soft-fail`).
    pub revocation_soft: bool,
    /// Outermost first.
    pub layers: Vec<Layer>,
    /// Which of the layers decides: the outermost signed one.
    pub deciding: Option<usize>,
    /// What it is, for outgoing mail.
    pub structure: Structure,
    /// Outgoing mail: it is encrypted already. Nothing but its header section can be read without a recipient's private key.
    pub sealed: bool,
    /// What the verdict rests on.
    pub evidence: Evidence,
    /// What was inside, if a key opened it.
    pub opened: Option<Opened>,
    /// Whether a private key was asked to act: then nothing learned inside may show outside (I60).
    pub asked_private_key: bool,
    /// What can be learned from a valid signer.
    pub harvest: Option<Harvest>,
}

/// What was inside the encrypted layers. Never there when one of them is `Integrity::Unproven`.
#[derive(Clone)]
pub struct Opened {
    /// The entity inside the innermost opened layer, as it was read: line ends that are LF alone are CRLF, nothing else is
    /// changed.
    pub entity: Bytes,
    /// For each opened layer, outermost first, the ids of the private keys that open it.
    pub keys: Vec<Vec<String>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// What a valid signer lets us learn about how to encrypt to him (RFC 8551 section 2.5.2 and 2.5.3).
#[derive(Clone, Debug)]
pub struct Harvest {
    /// The mailbox in `From`, which the signer's certificate names.
    pub address: Address,
    /// The signer's certificate.
    pub signer: Certificate,
    /// The certificate to encrypt to: named by the encryption key preference, else the signer's own if it fits.
    pub encryption: Certificate,
    /// DER of SMIMECapabilities, if the signed attributes have them.
    pub capabilities: Option<Vec<u8>>,
    /// When the signer says that he signed.
    pub signing_time: Option<Timestamp>,
    /// The other certificates of the SignedData, to build paths with.
    pub certificates: Vec<Certificate>,
}

/// What outgoing mail already is (O56, O57).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Structure {
    /// Nothing of the following.
    #[default]
    Plain,
    /// The whole message is an S/MIME signature by somebody; whether it holds is another question.
    SmimeSigned,
    /// The whole message is encrypted to somebody with S/MIME. Whether all of it is hidden says `Inspected::sealed`.
    SmimeEncrypted,
    /// PGP/MIME (RFC 3156), really signed or encrypted.
    PgpMime,
    /// DSN, MDN: multipart/report.
    Report,
    /// Not parsable, or ambiguous enough that nothing may be added.
    Broken,
}

/// One cryptographic layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Of this layer and all its signers, in order.
    pub reasons: Vec<Reason>,
    /// Whether it was opened. With `Integrity::Unproven` nobody is told what a key of ours made of it, were it only that a
    /// padding did not fit: it counts as opened, whatever came out, and nothing of it is used.
    pub decrypted: bool,
    /// What protects an opened layer's content.
    pub integrity: Option<Integrity>,
    /// `aes256-gcm` …
    pub content_encryption: Option<String>,
    /// To whom it is encrypted.
    pub recipients: Vec<RecipientSummary>,
    /// One per SignerInfo.
    pub signers: Vec<Signer>,
    /// IMAP part number of the signature or CMS object in the message, where it can be addressed.
    pub part: Option<String>,
}

impl Layer {
    pub(super) fn new(found: &Found, judged: Vec<Judged>) -> Self {
        let signers: Vec<Signer> = judged.into_iter().map(|judged| judged.signer).collect();
        let bound = signers.iter().any(|signer| signer.bound_to_from);
        let mut reasons = found.reasons.clone();
        for reason in signers.iter().flat_map(|signer| &signer.reasons) {
            let about_address = matches!(reason, Reason::NoAddress | Reason::AddressMismatch | Reason::SignedBySender);
            // A second signer under another address is no fault by itself.
            if !(bound && about_address) {
                reasons.push(*reason);
            }
        }
        tidy(&mut reasons);
        Self {
            kind: found.kind,
            reasons,
            decrypted: found.decrypted,
            integrity: found.integrity,
            content_encryption: found.content_encryption.clone(),
            recipients: found.recipients.clone(),
            signers,
            part: found.part.clone(),
        }
    }
}

/// The kinds of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// EnvelopedData.
    Enveloped,
    /// AuthEnvelopedData.
    AuthEnveloped,
    /// multipart/signed.
    SignedDetached,
    /// SignedData with its content inside.
    SignedOpaque,
    /// CompressedData.
    Compressed,
    /// SignedData with certificates and no signature. Never counts as signed.
    CertsOnly,
}

impl LayerKind {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enveloped => "enveloped",
            Self::AuthEnveloped => "auth-enveloped",
            Self::SignedDetached => "signed-detached",
            Self::SignedOpaque => "signed-opaque",
            Self::Compressed => "compressed",
            Self::CertsOnly => "certs-only",
        }
    }

    /// Whether it claims a signature.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::SignedDetached | Self::SignedOpaque)
    }

    /// Whether a key is needed to go on.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Enveloped | Self::AuthEnveloped)
    }
}

/// What proves that a decrypted content was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// Authenticated encryption.
    Authenticated,
    /// A valid signature inside.
    SignedInside,
    /// Nothing.
    Unproven,
}

impl Integrity {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::SignedInside => "signed-inside",
            Self::Unproven => "unproven",
        }
    }
}

/// One recipient of an encrypted layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientSummary {
    /// `rsa-oaep` …
    pub kind: String,
    /// RFC 4514, empty where the recipient is meant by a key identifier.
    pub issuer: String,
    /// Lower-case hex; the key identifier where there is no serial.
    pub serial: String,
}

/// What the verdict rests on, so that it can be computed again.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The time of the check.
    pub at: Option<Timestamp>,
    /// Certificates of the paths, anchors apart.
    pub certificates: Vec<Certificate>,
    /// CRLs of their issuers.
    pub crls: Vec<Crl>,
    /// Anchors that paths ended at.
    pub anchors: Vec<Certificate>,
}
