//! A whole message through `smime::inspect`, with facts answered at random: it ends within its rounds, and nothing is `valid`
//! that was not signed by somebody whose key is in the material, over what another reader shows.

mod material;

pub use material::Material;

use super::Choices;
use bytes::Bytes;
use segel::limits::Limits;
use segel::pki::path::AnchorSource;
use segel::pki::{Harvesting, RevocationMode, TrustAnchor};
use segel::smime::inspect::{ContentKey, Inspected, Integrity, Layer, LayerKind, Scope};
use segel::smime::{Fact, Need, Options, Step, Verdict, inspect};
use std::sync::{Arc, LazyLock};
use zeroize::Zeroizing;

/// The material in `$SEGEL_FUZZ_PKI`, which `seed.sh` makes. Without it nothing is trusted, so nothing may be valid.
static MATERIAL: LazyLock<Material> = LazyLock::new(Material::from_environment);

/// `data` as a message; its last octets choose the facts.
pub fn check(data: &[u8]) {
    check_with(&MATERIAL, data);
}

/// The same with other anchors, certificates, CRLs and keys; gives the verdict.
pub fn check_with(material: &Material, data: &[u8]) -> Verdict {
    let (message, choices) = Choices::split(data);
    let message = Bytes::copy_from_slice(message);
    let question = Question::new(material, choices);
    let (inspected, answers) = question.ask(&message, Scope::Full);
    consistent(&inspected, &answers);
    if inspected.verdict == Verdict::Valid {
        deserved(material, &question, &message, &inspected, &answers);
    }
    let (again, _) = question.ask(&message, Scope::Full);
    assert_eq!(
        (again.verdict, &again.reasons),
        (inspected.verdict, &inspected.reasons),
        "the same facts, another verdict"
    );
    let (structure, answers) = question.ask(&message, Scope::Structure);
    assert!(answers.rounds == 0, "mail from inside needs no facts");
    assert!(structure.verdict == Verdict::None && structure.reasons.is_empty() && structure.opened.is_none());
    inspected.verdict
}

/// What is asked, and what will be answered.
struct Question<'a> {
    material: &'a Material,
    seed: u64,
    revocation: RevocationMode,
    in_time: bool,
}

/// What was answered.
#[derive(Default)]
struct Answers {
    rounds: usize,
    crls: usize,
    keys: usize,
}

impl<'a> Question<'a> {
    fn new(material: &'a Material, mut choices: Choices) -> Self {
        let modes = [RevocationMode::None, RevocationMode::SoftFail, RevocationMode::HardFail];
        let revocation = modes[choices.below(3)];
        // Mostly a time at which the certificates are valid.
        let in_time = choices.below(8) != 0;
        Self { material, revocation, in_time, seed: choices.0 }
    }

    fn options(&self, scope: Scope) -> Options {
        let anchors = self.material.anchor.iter().map(|certificate| TrustAnchor {
            certificate: certificate.clone(),
            revocation: RevocationMode::HardFail,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: Harvesting::default(),
        });
        let at = if self.in_time { self.material.at } else { jiff::Timestamp::UNIX_EPOCH };
        Options {
            scope,
            at,
            anchors: anchors.collect(),
            revocation: Some(self.revocation),
            allow_weak: Vec::new(),
            blocked: Arc::default(),
            limits: Arc::new(Limits::default()),
        }
    }

    fn ask(&self, message: &Bytes, scope: Scope) -> (Inspected, Answers) {
        let mut answers = Answers::default();
        let mut choices = Choices(self.seed);
        let (mut subjects, mut issuers) = (Vec::new(), Vec::new());
        let options = self.options(scope);
        let limits = options.limits.clone();
        let mut step = inspect(message.clone(), options);
        loop {
            match step {
                Step::Done(inspected) => return (inspected, answers),
                Step::Need(needs, paused) => {
                    answers.rounds += 1;
                    assert!(answers.rounds <= limits.gather_rounds, "more rounds than allowed");
                    assert!(!needs.is_empty());
                    for need in &needs {
                        // Never twice the same.
                        let (known, name) = match need {
                            Need::Certificates { subject } => (&mut subjects, subject),
                            Need::Crls { issuer, at: None } => (&mut issuers, issuer),
                            Need::ContentKeys { .. } => {
                                assert!(needs.len() == 1, "content keys are asked for alone");
                                continue;
                            }
                            Need::Crls { .. } => continue,
                        };
                        assert!(!known.contains(name), "asked twice for {name}");
                        known.push(name.clone());
                    }
                    let facts = needs.iter().map(|need| self.answer(need, &mut choices, &mut answers)).collect();
                    step = paused.resume(facts);
                }
            }
        }
    }

    /// Mostly the truth, sometimes nothing, sometimes the answer to another question.
    fn answer(&self, need: &Need, choices: &mut Choices, answers: &mut Answers) -> Fact {
        let material = self.material;
        match need {
            _ if choices.below(12) == 0 => Fact::Certificates(material.certificates.clone()),
            Need::Certificates { .. } if choices.below(6) == 0 => Fact::Certificates(Vec::new()),
            Need::Certificates { .. } => Fact::Certificates(material.certificates.clone()),
            Need::Crls { .. } if choices.below(4) == 0 => Fact::Crls(Vec::new()),
            Need::Crls { .. } => {
                answers.crls += 1;
                Fact::Crls(material.crls.clone())
            }
            Need::ContentKeys { recipients, length } => {
                let mut found = Vec::new();
                if choices.coin() {
                    let wrong = Zeroizing::new(vec![0x5a; *length + choices.below(2)]);
                    found.push(ContentKey { key: "wrong".to_owned(), octets: wrong });
                }
                if choices.below(8) != 0 {
                    found.extend(material.content_keys(recipients, *length));
                }
                answers.keys += found.len();
                Fact::ContentKeys(found)
            }
        }
    }
}

/// What holds for every message.
fn consistent(found: &Inspected, answers: &Answers) {
    let limits = Limits::default();
    assert!(found.layers.len() <= limits.layers, "{} layers", found.layers.len());
    assert_eq!(found.signed, found.deciding.is_some());
    assert_eq!(found.deciding, found.layers.iter().position(|layer| layer.kind.is_signed()));
    match (found.reasons.is_empty(), found.signed) {
        (true, false) => assert_eq!(found.verdict, Verdict::None),
        (true, true) => assert_eq!(found.verdict, Verdict::Valid),
        (false, _) => assert!(!matches!(found.verdict, Verdict::Valid | Verdict::None), "{:?}", found.reasons),
    }
    assert!(found.reasons.is_sorted(), "{:?}", found.reasons);
    assert!(answers.keys > 0 || !(found.decrypted || found.asked_private_key), "opened without a key");
    let opened = |layer: &Layer| layer.decrypted;
    let unproven = found.layers.iter().any(|layer| layer.integrity == Some(Integrity::Unproven));
    assert!(!(unproven && (found.opened.is_some() || found.verdict == Verdict::Valid)), "unproven and shown");
    assert!(found.opened.is_none() || found.layers.iter().any(opened));
    assert!(found.harvest.is_none() || found.verdict == Verdict::Valid, "learned from what is not valid");
    for layer in &found.layers {
        assert!(layer.kind.is_signed() || layer.signers.is_empty());
        assert!(layer.kind.is_encrypted() || !layer.decrypted);
        assert!(layer.integrity.is_none() || layer.decrypted);
    }
}

/// What must be true of a valid message, by other means than those that found it valid.
fn deserved(material: &Material, question: &Question<'_>, message: &[u8], found: &Inspected, answers: &Answers) {
    assert!(question.in_time, "valid before any certificate was");
    let anchor = material.anchor.as_ref().expect("nothing is valid without an anchor");
    let deciding = found.deciding.expect("valid, so signed");
    let layer = &found.layers[deciding];
    assert!(!layer.signers.is_empty() && layer.reasons.is_empty() && found.covers_whole_message);
    assert!(layer.signers.iter().any(|signer| signer.bound_to_from));
    for signer in &layer.signers {
        let certificate = signer.certificate.as_ref().expect("a signer without a certificate");
        let ours = |known: &segel::pki::Certificate| known.der() == certificate.der();
        assert!(material.certificates.iter().any(ours), "signed by nobody that we know");
        assert!(signer.chain.last().is_some_and(|last| last.der() == anchor.der()));
        let revoked = material.revoked.iter().any(ours);
        assert!(!(revoked && question.revocation != RevocationMode::None && answers.crls > 0), "revoked and valid");
    }
    assert!(question.revocation != RevocationMode::HardFail || answers.crls > 0, "status unknown and valid");
    let from = found.from.mailbox().expect("valid, so there is one author");
    assert!(["siti@example.id", "budi@example.id"].contains(&from.as_str().to_ascii_lowercase().as_str()), "{from}");
    let around = &found.layers[..deciding];
    if around.iter().all(|layer| layer.kind.is_encrypted()) && around.len() < 2 {
        let shown = match (around, &found.opened) {
            ([], _) => message,
            // What is opened last may lie deeper than what decides.
            (_, Some(opened)) if opened.keys.len() == 1 => &opened.entity[..],
            _ => return,
        };
        shows_what_was_signed(material, shown, layer.kind);
    }
}

/// What `mail-parser` finds where the content must be is one of the contents that were signed.
fn shows_what_was_signed(material: &Material, message: &[u8], kind: LayerKind) {
    let parsed = mail_parser::MessageParser::default().parse(message).expect("mail-parser reads it");
    let root = parsed.root_part();
    match kind {
        LayerKind::SignedDetached => {
            let first = root.sub_parts().and_then(|parts| parsed.part(*parts.first()?)).expect("a part");
            let (start, end) = (first.raw_header_offset() as usize, first.raw_end_offset() as usize);
            assert!(material.is_known(&message[start..end]), "{:?}", String::from_utf8_lossy(&message[start..end]));
        }
        LayerKind::SignedOpaque => {
            let der = segel::asn1::ber_to_der(root.contents(), &Limits::default()).expect("CMS");
            assert!(material.is_in(&der), "none of the signed contents");
        }
        other => panic!("{other:?} decides"),
    }
}
