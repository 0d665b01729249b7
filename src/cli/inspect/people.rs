//! The inspection in plain words: the verdict, then each layer, then why.

use super::super::pki::why;
use super::super::print::Printer;
use super::super::{CliError, words};
use crate::mail::Address;
use crate::mail::header::From;
use crate::reason::Reason;
use crate::smime::inspect::{Integrity, Layer, LayerKind, Signer};
use crate::smime::{Inspected, Verdict};
use jiff::Timestamp;

pub(super) fn show(
    inspected: &Inspected,
    action: Option<&str>,
    at: Timestamp,
    out: &mut Printer,
) -> Result<(), CliError> {
    out.line(&headline(inspected))?;
    out.line("")?;
    let action = match action {
        Some("deliver") => "deliver, marked with the verdict",
        Some("quarantine") => "quarantine: held until an operator decides",
        Some("reject") => "reject: the sender's server is told no",
        Some("defer") => "defer: the sender's server is asked to try again",
        Some(other) => other,
        None => "",
    };
    out.labelled(
        2,
        &[
            ("from", from(&inspected.from)),
            ("covers", covers(inspected).to_owned()),
            ("judged at", format!("{at:.0}")),
            ("policy says", action.to_owned()),
            ("warnings", inspected.warnings.join(", ")),
        ],
    )?;
    for (index, layer) in inspected.layers.iter().enumerate() {
        out.line("")?;
        show_layer(index, layer, inspected, at, out)?;
    }
    let mut reasons = inspected.reasons.clone();
    for reason in inspected.layers.iter().flat_map(|layer| &layer.reasons) {
        if !reasons.contains(reason) {
            reasons.push(*reason);
        }
    }
    why(&reasons, out)
}

fn headline(inspected: &Inspected) -> String {
    match inspected.verdict {
        Verdict::Valid => match inspected.from.mailbox() {
            Some(from) => format!("VALID: signed by {} and not changed since", from.as_str()),
            None => "VALID".to_owned(),
        },
        Verdict::None if inspected.decrypted => "NONE: encrypted and opened; nobody has signed it".to_owned(),
        Verdict::None if inspected.encrypted => "NONE: encrypted; who wrote it can't be told from outside".to_owned(),
        Verdict::None => "NONE: no S/MIME signature; anybody could have written it".to_owned(),
        Verdict::Invalid => format!("INVALID: {}", words::codes(&inspected.reasons)),
        Verdict::Indeterminate => format!("INDETERMINATE: {}", words::codes(&inspected.reasons)),
    }
}

fn from(from: &From) -> String {
    match from {
        From::Mailbox(address) => address.as_str().to_owned(),
        From::Absent => "no From field".to_owned(),
        From::Several(addresses) => {
            format!("several: {}", addresses.iter().map(Address::as_str).collect::<Vec<_>>().join(", "))
        }
        From::Unreadable(error) => format!("unreadable: {error}"),
        From::Ambiguous(why) => format!("ambiguous: {why}"),
    }
}

fn covers(inspected: &Inspected) -> &'static str {
    match (inspected.layers.is_empty(), inspected.covers_whole_message) {
        (true, _) => "",
        (false, true) => "the whole message",
        (false, false) => "a part of the message only",
    }
}

fn show_layer(
    index: usize,
    layer: &Layer,
    inspected: &Inspected,
    at: Timestamp,
    out: &mut Printer,
) -> Result<(), CliError> {
    let decides =
        if inspected.deciding == Some(index) && inspected.layers.len() > 1 { " (this layer decides)" } else { "" };
    out.line(&format!("Layer {}: {}{decides}", index + 1, kind(layer.kind)))?;
    let recipients = layer
        .recipients
        .iter()
        .map(|recipient| format!("{} for serial {} of {}", recipient.kind, recipient.serial, recipient.issuer));
    let integrity = layer.integrity.map(|integrity| match integrity {
        Integrity::Authenticated => "proven by the encryption itself",
        Integrity::SignedInside => "proven by the signature inside",
        Integrity::Unproven => "not proven: it could have been changed on its way",
    });
    out.labelled(
        2,
        &[
            ("found", if layer.reasons.is_empty() { String::new() } else { words::codes(&layer.reasons) }),
            ("part", layer.part.clone().unwrap_or_default()),
            ("cipher", layer.content_encryption.clone().unwrap_or_default()),
            ("opened", opened(index, inspected)),
            ("integrity", integrity.unwrap_or_default().to_owned()),
            ("encrypted to", recipients.collect::<Vec<_>>().join("\n")),
        ],
    )?;
    for signer in &layer.signers {
        show_signer(signer, at, out)?;
    }
    Ok(())
}

/// Whether and by which keys a layer was opened; nothing for layers that need none.
fn opened(index: usize, inspected: &Inspected) -> String {
    let Some(layer) = inspected.layers.get(index).filter(|layer| layer.kind.is_encrypted()) else {
        return String::new();
    };
    if !layer.decrypted {
        return "no".to_owned();
    }
    let outside = inspected.layers.iter().take(index).filter(|layer| layer.decrypted).count();
    match inspected.opened.as_ref().and_then(|opened| opened.keys.get(outside)) {
        Some(keys) => format!("with key {}", keys.join(", ")),
        None => "what came out is not shown".to_owned(),
    }
}

fn kind(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Enveloped => "encrypted",
        LayerKind::AuthEnveloped => "encrypted, with its own proof of integrity",
        LayerKind::SignedDetached => "signed, the signature beside the text",
        LayerKind::SignedOpaque => "signed, the text inside the signature",
        LayerKind::Compressed => "compressed",
        LayerKind::CertsOnly => "certificates without a signature",
    }
}

fn show_signer(signer: &Signer, at: Timestamp, out: &mut Printer) -> Result<(), CliError> {
    // A signature that verifies can still prove nothing: its certificate may be revoked, or speak for somebody else.
    let broken = signer.reasons.iter().any(|reason| matches!(reason, Reason::Altered | Reason::BadSignature));
    let result = match signer.verdict {
        Verdict::Valid => "holds".to_owned(),
        _ if broken => format!("does not hold: {}", words::codes(&signer.reasons)),
        verdict => format!("{}: {}", verdict.name(), words::codes(&signer.reasons)),
    };
    let address = match (&signer.address, signer.bound_to_from) {
        (Some(address), true) => format!("{}, as in From", address.as_str()),
        (Some(address), false) => format!("{}, which is not the one in From", address.as_str()),
        (None, _) => "none in the certificate".to_owned(),
    };
    let algorithm = match (signer.signature, signer.digest) {
        (Some(signature), Some(digest)) => format!("{} with {}", signature.name(), digest.name()),
        (Some(signature), None) => signature.name().to_owned(),
        (None, Some(digest)) => format!("unknown, with {}", digest.name()),
        (None, None) => "unknown".to_owned(),
    };
    let mut rows = vec![("signature", result), ("address", address)];
    match &signer.certificate {
        Some(certificate) => rows.extend([
            ("subject", certificate.subject().to_string()),
            ("issuer", certificate.issuer().to_string()),
            ("serial", certificate.serial_hex()),
            ("key", words::key(&certificate.key_info())),
            ("valid", words::validity(certificate, at)),
        ]),
        None => rows.push(("certificate", format!("not found: {}", signer.identifier))),
    }
    let names: Vec<String> = signer.chain.iter().map(|certificate| certificate.subject().to_string()).collect();
    rows.extend([
        ("algorithm", algorithm),
        ("signed at", signer.signing_time.map(|time| format!("{time} (says the signer)")).unwrap_or_default()),
        ("revocation", words::revocation(&signer.revocation)),
        ("path", names.join("\n-> ")),
    ]);
    out.line("  Signer")?;
    out.labelled(4, &rows)
}
