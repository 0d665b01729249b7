//! `segel inspect`: what a message file is worth, layer by layer, and why. Offline unless `--fetch`.

mod content;
mod fetch;
mod keys;
mod people;

use super::local::{self, Opened};
use super::print::Printer;
use super::{CliError, Exit, read};
use crate::config::Config;
use crate::crypto::Digest;
use crate::limits::Limits;
use crate::mail::{Address, BodyType, Envelope, ReversePath, header};
use crate::pki::path::AnchorSource;
use crate::pki::{Certificate, Crl, RevocationMode, TrustAnchor};
use crate::policy::{self, Decision, Facts, RecipientFacts, Side, Treatment, Triggers};
use crate::reason::Reason;
use crate::smime::inspect::{Options, Scope};
use crate::smime::{Fact, Inspected, Need, Step, Verdict, inspect, report};
use bytes::Bytes;
use fetch::Fetcher;
use jiff::Timestamp;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Trust anchors, PEM or DER; a CA that is not self-signed will do
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// Intermediate certificates that are not in the message, PEM or DER
    #[arg(long, value_name = "FILE")]
    untrusted: Vec<PathBuf>,
    /// Certificate revocation lists, PEM or DER
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// A PKCS#12 file whose keys open the message; with -c the gateway's own keys do so too
    #[arg(long, value_name = "FILE.p12")]
    key: Option<PathBuf>,
    /// A file whose first line is the password of `--key`
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// What an unknown revocation status means [default: none; with -c, as each anchor says]
    #[arg(long, value_name = "MODE")]
    revocation: Option<read::Revocation>,
    /// Judges as of this time: RFC 3339 or a date [default: now]
    #[arg(long, value_name = "TIME", value_parser = read::time)]
    at: Option<Timestamp>,
    /// Accepts a weak digest: sha1
    #[arg(long, value_name = "ALG", value_parser = read::weak_digest)]
    allow_weak: Vec<Digest>,
    /// Fetches CRLs that are missing, from where certificates below a trust anchor say they are; `[fetch]` holds with -c
    #[arg(long)]
    fetch: bool,
    /// Writes what was inside an encrypted message that a key opens, else what was signed; as it was
    #[arg(long, value_name = "FILE")]
    write_content: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// The message, as a mail server stores it
    message: PathBuf,
}

/// What answers the inspection's needs: files, and with `-c` the gateway's own.
struct Known {
    anchors: Vec<TrustAnchor>,
    certificates: Vec<Certificate>,
    crls: Vec<Crl>,
    /// Asks for what is missing.
    fetcher: Option<Fetcher>,
    pairs: Vec<keys::Pair>,
    gateway: Option<Opened>,
    revocation: Option<RevocationMode>,
    blocked: Arc<HashSet<[u8; 32]>>,
    limits: Arc<Limits>,
}

/// Exit code 0 only for `valid`.
pub(super) fn run(arguments: &Arguments, config: Option<&Path>, out: &mut Printer) -> Result<Exit, CliError> {
    let config = config.map(super::load).transpose()?;
    let message = Bytes::from(read::message(&arguments.message)?);
    let at = arguments.at.unwrap_or_else(crate::clock::now);
    let known = known(arguments, config.as_ref())?;
    let inspected = judge(&message, &known, arguments, at);
    let action = config.as_ref().map(|config| action(config, &message, &inspected, at));
    if let Some(path) = &arguments.write_content {
        let content = content::inside(&message, &inspected, &known.limits).map_err(|problem| CliError::Input {
            path: arguments.message.clone(),
            problem: problem.to_string(),
            hint: problem.hint(),
        })?;
        read::write(path, &content)?;
    }
    if arguments.json {
        out.json(&report::json(&inspected, action))?;
    } else {
        people::show(&inspected, action, at, out)?;
    }
    Ok(if inspected.verdict == Verdict::Valid { Exit::Yes } else { Exit::No })
}

fn known(arguments: &Arguments, config: Option<&Config>) -> Result<Known, CliError> {
    let limits = Arc::new(config.map_or_else(Limits::default, |config| config.limits.clone()));
    let gateway = config.map(local::open_if_there).transpose()?.flatten();
    let mut crls = read::crls(&arguments.crl, &limits)?;
    let mut anchors = Vec::new();
    // Whoever names an anchor here wants it obeyed, not the configuration's mode for it.
    let mode = if config.is_some() { RevocationMode::HardFail } else { RevocationMode::None };
    for certificate in read::certificates(&arguments.trust)? {
        anchors.push(TrustAnchor {
            certificate,
            revocation: mode,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: crate::pki::Harvesting::default(),
        });
    }
    if let Some(config) = config {
        // The store's as well, if there is one.
        match &gateway {
            Some(opened) => crls.extend(opened.gateway.snapshot().crls.all()),
            None => crls.extend(config.crls.iter().cloned()),
        }
        anchors.extend(config.anchors.iter().cloned());
    }
    if let Some(opened) = &gateway {
        anchors.extend(opened.gateway.directory.anchors());
    }
    let blocked = gateway.as_ref().map(|opened| opened.gateway.directory.blocked()).unwrap_or_default();
    let given = arguments.revocation.map(read::Revocation::mode);
    let revocation = if config.is_some() { given } else { Some(given.unwrap_or(RevocationMode::None)) };
    let pairs = arguments.key.as_deref().map(|file| keys::pairs(file, arguments.password_file.as_deref()));
    Ok(Known {
        pairs: pairs.transpose()?.unwrap_or_default(),
        fetcher: arguments.fetch.then(|| Fetcher::new(config)),
        anchors,
        certificates: read::certificates(&arguments.untrusted)?,
        crls,
        gateway,
        revocation,
        blocked,
        limits,
    })
}

/// Without `--revocation` nobody asks for a proof that the certificates stand; a CRL that is handed over is read all the
/// same, and what it revokes is revoked.
fn judge(message: &Bytes, known: &Known, arguments: &Arguments, at: Timestamp) -> Inspected {
    let inspected = step_through(message.clone(), known, known.revocation, arguments, at);
    if arguments.revocation.is_some() || known.revocation.is_none() || arguments.crl.is_empty() {
        return inspected;
    }
    let checked = step_through(message.clone(), known, Some(RevocationMode::SoftFail), arguments, at);
    let condemned = checked.reasons.iter().any(|reason| matches!(reason, Reason::Revoked | Reason::OnHold));
    if condemned { checked } else { inspected }
}

fn step_through(
    message: Bytes,
    known: &Known,
    revocation: Option<RevocationMode>,
    arguments: &Arguments,
    at: Timestamp,
) -> Inspected {
    let options = Options {
        scope: Scope::Full,
        at,
        anchors: known.anchors.clone().into(),
        revocation,
        allow_weak: arguments.allow_weak.clone(),
        blocked: Arc::clone(&known.blocked),
        limits: Arc::clone(&known.limits),
    };
    // `inspect` ends by itself: it asks at most `gather_rounds` times.
    let mut step = inspect(message, options);
    loop {
        step = match step {
            Step::Done(inspected) => return inspected,
            Step::Need(needs, paused) => paused.resume(needs.iter().map(|need| known.answer(need)).collect()),
        };
    }
}

impl Known {
    fn answer(&self, need: &Need) -> Fact {
        match need {
            Need::ContentKeys { recipients, length } => {
                let stored = self.gateway.as_ref().map(|opened| &opened.gateway.keys);
                Fact::ContentKeys(keys::answer(&self.pairs, stored, recipients, *length))
            }
            Need::Certificates { subject } => {
                let given =
                    self.certificates.iter().filter(|certificate| certificate.subject().matches(subject)).cloned();
                let stored = self.gateway.iter().flat_map(|opened| opened.gateway.directory.by_subject(subject));
                Fact::Certificates(given.chain(stored).collect())
            }
            Need::Crls { issuer, at } => {
                let known = self.crls.iter().filter(|crl| crl.issuer().matches(issuer)).cloned();
                let fetched = self.fetcher.iter().zip(at).flat_map(|(fetcher, at)| fetcher.get(at, &self.limits));
                Fact::Crls(known.chain(fetched).collect())
            }
        }
    }
}

/// What the policy would do with it, if it came from outside for the first domain's postmaster, not seen before.
fn action(config: &Config, message: &[u8], inspected: &Inspected, at: Timestamp) -> &'static str {
    let reverse_path = inspected.from.mailbox().map_or(ReversePath::Null, |from| ReversePath::Mailbox(from.clone()));
    let domain = config.policy.domains.first().map(|own| own.domain.ascii()).unwrap_or_default();
    let recipients = Address::parse(&format!("postmaster@{domain}")).into_iter().collect();
    let facts = Facts {
        side: Side::Outside,
        login: None,
        sender: crate::mail::authentication::SenderAuthentication::default(),
        envelope: Envelope::new(reverse_path, recipients, BodyType::EightBitMime),
        inspected: inspected.clone(),
        from_texts: header::from_texts(message, &config.limits),
        unopened: None,
        own_keys: Vec::new(),
        substitutes: Vec::new(),
        // Whoever holds the key that has opened it.
        recipients: vec![RecipientFacts {
            asked_keys: inspected.opened.iter().flat_map(|opened| opened.keys.concat()).collect(),
            ..RecipientFacts::default()
        }],
        triggers: Triggers::default(),
        already_encrypted: false,
        passed: false,
        returns_opened: false,
        bypass: false,
        first_seen: None,
        again: None,
    };
    match policy::decide(&facts, &config.policy, at) {
        Decision::Refuse(_) => "reject",
        Decision::Defer(_) => "defer",
        Decision::Accept(decided) => match decided.recipients().first().map(|one| &one.treatment) {
            Some(Treatment::Hold { .. }) => "quarantine",
            _ => "deliver",
        },
    }
}
