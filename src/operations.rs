//! What an operator can do, once, for console and command line alike.
//!
//! Changes are [`Command`]s: a running server takes them through its control socket, else whoever holds the data
//! directory's lock executes them. Reading is done by the functions of `read`, on the store itself.
//! Every change is audited by the room that makes it, in the transaction that makes it. Secrets are never logged.

mod bypass;
pub mod backup;
mod certificate;
pub mod control;
pub mod quarantine;
mod queue;
mod revocation;
pub mod rewrap;
pub mod row;
pub mod upkeep;

use crate::keys::{Custody, ImportRequest, KeyError, import};
use crate::mail::{Address, Domain};
use crate::pipeline::{Gateway, ReloadError};
use crate::pki::{Certificate, RevocationMode};
use crate::policy::KeyKind;
use crate::queue::{Change, Changed, QueueError, QueueId};
use crate::reason::Reason;
use row::{AnchorRow, CertificateRow, KeyRow};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A change that an operator asks for. One JSON line on the control socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Takes a key and its certificate into the register.
    KeyImport {
        /// Mailboxes that it signs for.
        addresses: Vec<String>,
        /// `individual`, `position`, `organisation` or `system`.
        kind: String,
        /// The file or files.
        files: KeyFiles,
        /// What opens them.
        password: Option<Secret>,
    },
    /// The key is not used until it is unblocked.
    KeyBlock {
        /// Id in the register.
        id: String,
    },
    /// The key may be used again.
    KeyUnblock {
        /// Id in the register.
        id: String,
    },
    /// The private key is destroyed; its certificate stays in the register.
    KeyDestroy {
        /// Id in the register.
        id: String,
    },
    /// Takes certificates of others in.
    CertImport {
        /// DER: one end entity's or more, CAs'.
        certificates: Vec<Vec<u8>>,
        /// Mailboxes that the one end entity's stands for; none: all that it names.
        addresses: Vec<String>,
    },
    /// The certificate neither receives nor verifies until it is unblocked.
    CertBlock {
        /// The first digits, at least 8, of its SHA-256.
        id: String,
    },
    /// The certificate may be used again.
    CertUnblock {
        /// The first digits, at least 8, of its SHA-256.
        id: String,
    },
    /// Stores a trust anchor. Whoever sends this has compared the fingerprint.
    TrustImport {
        /// DER of the certificate.
        certificate: Vec<u8>,
        /// `hard-fail`, `soft-fail` or `none`.
        revocation: String,
        /// Sender domains that it may speak for; empty: any.
        domains: Vec<String>,
    },
    /// Removes a stored trust anchor.
    TrustRemove {
        /// The first digits, at least 8, of the certificate's SHA-256.
        fingerprint: String,
    },
    /// Tries the pending recipients of a message again now.
    QueueRetry {
        /// Queue id.
        id: String,
        /// Who asks.
        operator: String,
    },
    /// Notes in the audit log that an operator takes an original or its evidence out.
    Taken {
        /// Queue id.
        id: String,
        /// Who asks.
        operator: String,
        /// `original` or `evidence`.
        what: String,
    },
    /// Notes in the audit log that a backup was made.
    BackupMade {
        /// Octets of the archive.
        size: u64,
        /// SHA-256 of the database in it.
        database: String,
        /// Who made it.
        operator: String,
    },
    /// Reads configuration, certificates and policy again, all or nothing.
    Reload,
    /// Holds, lets go or deletes mail on its way, recipient by recipient.
    QueueChange {
        /// Queue id.
        id: String,
        /// Addresses; empty: all to whom it applies.
        recipients: Vec<String>,
        /// What to do.
        change: Change,
        /// Who asks.
        operator: String,
        /// Why.
        reason: String,
    },
    /// Lets held mail out to chosen recipients, decided again by the facts of now.
    QuarantineRelease {
        /// Whose mail, by whom, why.
        choice: quarantine::Choice,
        /// The reasons that the operator answers for.
        accept: Vec<String>,
    },
    /// Gives held mail from inside back to its sender.
    QuarantineReject {
        /// Whose mail, by whom, why.
        choice: quarantine::Choice,
    },
    /// Destroys held mail.
    QuarantineDestroy {
        /// Whose mail, by whom, why.
        choice: quarantine::Choice,
    },
    /// Asks for CRLs now.
    RevocationRefresh {
        /// A URL or an issuer; none: all.
        what: Option<String>,
    },
    /// Switches signing off for a while.
    BypassStart {
        /// An own domain; none: all.
        domain: Option<String>,
        /// For so long: 1 to 72.
        hours: u32,
        /// Who asks.
        operator: String,
        /// Why.
        reason: String,
    },
    /// Switches it on again.
    BypassStop {
        /// An own domain that has a bypass of its own; none: whatever is in force.
        domain: Option<String>,
        /// Who asks.
        operator: String,
    },
    /// Takes CRLs in by hand.
    RevocationImport {
        /// DER or PEM, in base64: a list may be large.
        crl: String,
        /// Who asks.
        operator: String,
    },
}

impl Command {
    /// Whether mail may wait for what it changes.
    fn changes_facts(&self) -> bool {
        matches!(
            self,
            Self::KeyImport { .. }
                | Self::KeyBlock { .. }
                | Self::KeyUnblock { .. }
                | Self::CertImport { .. }
                | Self::CertBlock { .. }
                | Self::CertUnblock { .. }
                | Self::TrustImport { .. }
                | Self::TrustRemove { .. }
                | Self::Reload
        )
    }
}

/// The files of a key.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "kebab-case")]
pub enum KeyFiles {
    /// PKCS#12.
    Pkcs12(Vec<u8>),
    /// PEM: certificate (and chain), and private key.
    Pem(Vec<u8>, Vec<u8>),
}

impl std::fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFiles(..)")
    }
}

/// Text that is overwritten when it is dropped and never printed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a command has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "output", rename_all = "kebab-case")]
pub enum Output {
    /// The key as it is now.
    Key {
        /// Its row.
        key: KeyRow,
        /// What is odd about it.
        warnings: Vec<String>,
    },
    /// The keys that came in.
    Imported {
        /// Their rows, at least one.
        keys: Vec<KeyRow>,
        /// What is odd about them.
        warnings: Vec<String>,
    },
    /// Certificates of others as they are now.
    Certificates {
        /// Their rows.
        certificates: Vec<CertificateRow>,
        /// What stands against using them now.
        warnings: Vec<String>,
    },
    /// The anchor that came or went.
    Anchor {
        /// Its row.
        anchor: AnchorRow,
    },
    /// Recipients that are due now.
    Retried {
        /// How many.
        recipients: u64,
    },
    /// It stands in the audit log.
    Noted,
    /// Where released mail went.
    Released {
        /// One for each recipient.
        recipients: Vec<quarantine::ReleasedRow>,
    },
    /// Whose mail was given back or destroyed.
    Ended {
        /// Their addresses.
        recipients: Vec<String>,
    },
    /// What holds from now on.
    Reloaded {
        /// Hash of the policy.
        policy: String,
        /// Things worth knowing.
        warnings: Vec<String>,
    },
    /// Recipients of mail on its way, as they are now.
    QueueChanged {
        /// All that were asked for, in the envelope's order.
        recipients: Vec<Changed>,
    },
    /// Emergency bypasses as they are now.
    Bypass {
        /// Those that began or ended.
        bypasses: Vec<crate::bypass::Status>,
    },
    /// CRLs as they are now.
    Revocation {
        /// Their rows.
        sources: Vec<crate::revocation::Status>,
        /// What is odd about them.
        warnings: Vec<String>,
    },
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OperationError {
    /// What kind of failure; callers branch on it.
    pub kind: ErrorKind,
    /// For people, causes included.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The configuration has errors; everything stays as it was.
    Configuration,
    /// What was given can't be used.
    Input,
    /// Nothing has this id.
    NotFound,
    /// No server answers, and one is needed; or one that holds the lock does not answer.
    Server,
    /// Database, disk or master key.
    Store,
}

impl OperationError {
    /// An error without a hint.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether the configuration is at fault.
    pub fn is_configuration(&self) -> bool {
        self.kind == ErrorKind::Configuration
    }

    /// An error and its causes.
    pub fn from_error(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        Self::new(kind, with_causes(error))
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<KeyError> for OperationError {
    fn from(error: KeyError) -> Self {
        let kind = match error {
            KeyError::NotFound(_) => ErrorKind::NotFound,
            KeyError::Seal(_) | KeyError::Store(_) => ErrorKind::Store,
            _ => ErrorKind::Input,
        };
        let failure = Self::from_error(kind, &error);
        match error {
            KeyError::NotFound(_) => failure.hint("`segel key list` shows the ids"),
            KeyError::PasswordNeeded(_) => failure.hint("name a file that holds the password with --password-file"),
            KeyError::Password(_) => {
                failure.hint("the password is the first line of the file that --password-file names; without it, none")
            }
            KeyError::Malformed(_) => {
                failure.hint("give FILE.p12, or two PEM files: the certificate first, then its private key")
            }
            KeyError::AddressNotNamed { .. } => failure.hint(
                "receivers would see another name than the sender's; ask the CA for a certificate with this address",
            ),
            _ => failure,
        }
    }
}

/// Makes a change.
///
/// # Errors
/// Nothing was changed.
pub async fn execute(gateway: &Arc<Gateway>, command: Command) -> Result<Output, OperationError> {
    let changes = command.changes_facts();
    let output = change(gateway, command).await?;
    if changes {
        gateway.note_change();
    }
    Ok(output)
}

async fn change(gateway: &Arc<Gateway>, command: Command) -> Result<Output, OperationError> {
    let unchanged = |entry| Output::Key { key: KeyRow::of(gateway, &entry), warnings: Vec::new() };
    match command {
        Command::KeyImport { addresses, kind, files, password } => {
            import_key(gateway, &addresses, &kind, &files, password.as_ref()).await
        }
        Command::KeyBlock { id } => Ok(unchanged(gateway.keys.block(&id).await?)),
        Command::KeyUnblock { id } => Ok(unchanged(gateway.keys.unblock(&id).await?)),
        Command::KeyDestroy { id } => Ok(unchanged(gateway.keys.destroy(&id).await?)),
        Command::CertImport { certificates, addresses } => {
            certificate::import(gateway, &certificates, &addresses).await
        }
        Command::CertBlock { id } => Ok(certificate::one(gateway, &gateway.directory.block(&id).await?)),
        Command::CertUnblock { id } => Ok(certificate::one(gateway, &gateway.directory.unblock(&id).await?)),
        Command::TrustImport { certificate, revocation, domains } => {
            import_anchor(gateway, &certificate, &revocation, &domains).await
        }
        Command::TrustRemove { fingerprint } => {
            let anchor = gateway.directory.remove_anchor(&fingerprint).await?;
            gateway.refresh_trust().await;
            Ok(Output::Anchor { anchor: AnchorRow::of(&anchor) })
        }
        Command::QueueRetry { id, operator } => retry(gateway, &id, &operator).await,
        Command::Taken { id, operator, what } => {
            let queue_id = queue_id(&id)?.to_string();
            let event = crate::audit::Event::OperatorRead { queue_id, operator, what };
            let noted = gateway.audit.record(vec![event]).await;
            noted.map_err(|error| OperationError::from_error(ErrorKind::Store, &error))?;
            Ok(Output::Noted)
        }
        Command::BackupMade { size, database, operator } => backup::note(gateway, size, database, operator).await,
        Command::Reload => reload(gateway).await,
        Command::QuarantineRelease { choice, accept } => quarantine::release(gateway, &choice, &accept).await,
        Command::QuarantineReject { choice } => quarantine::reject(gateway, &choice).await,
        Command::QuarantineDestroy { choice } => quarantine::destroy(gateway, &choice).await,
        Command::QueueChange { id, recipients, change, operator, reason } => {
            queue::change(gateway, &id, &recipients, change, operator, reason).await
        }
        Command::BypassStart { domain, hours, operator, reason } => {
            bypass::start(gateway, domain.as_deref(), hours, operator, reason).await
        }
        Command::BypassStop { domain, operator } => bypass::stop(gateway, domain.as_deref(), &operator).await,
        Command::RevocationRefresh { what } => revocation::refresh(gateway, what.as_deref()).await,
        Command::RevocationImport { crl, operator } => revocation::import(gateway, &crl, &operator).await,
    }
}

async fn import_key(
    gateway: &Gateway,
    addresses: &[String],
    kind: &str,
    files: &KeyFiles,
    password: Option<&Secret>,
) -> Result<Output, OperationError> {
    let kind = KeyKind::from_name(kind).ok_or_else(|| {
        OperationError::new(
            ErrorKind::Input,
            format!("expected individual, position, organisation or system, found `{kind}`"),
        )
    })?;
    let addresses = addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let password = password.map(|secret| secret.0.as_str());
    let imported = match files {
        KeyFiles::Pkcs12(file) => import::pkcs12(file, password.unwrap_or_default())?,
        KeyFiles::Pem(certificate, key) => import::pem(certificate, key, password)?,
    };
    let import::Import { pairs, mut warnings } = imported;
    let (mut keys, mut refused): (Vec<KeyRow>, Vec<KeyError>) = (Vec::new(), Vec::new());
    for pair in pairs {
        let request = ImportRequest {
            addresses: addresses.clone(),
            kind,
            custody: Custody::Gateway,
            key_der: pair.key_der,
            certificate: pair.certificate,
            chain: pair.chain,
        };
        match gateway.keys.import(request).await {
            Ok(entry) => keys.push(KeyRow::of(gateway, &entry)),
            Err(error @ (KeyError::Store(_) | KeyError::Seal(_))) => return Err(error.into()),
            Err(error) => refused.push(error),
        }
    }
    if keys.is_empty() {
        return Err(refused.into_iter().next().unwrap_or(KeyError::NoKey).into());
    }
    warnings.extend(refused.iter().map(|error| format!("a key was left out: {}", with_causes(error))));
    for key in &keys {
        let reasons = key.reasons.iter().filter_map(|code| Reason::from_code(code));
        warnings.extend(reasons.map(|reason| will_not_sign(reason, key)));
    }
    Ok(Output::Imported { keys, warnings })
}

/// What the operator should hear at once, not from the first sender whose mail comes back.
fn will_not_sign(reason: Reason, key: &KeyRow) -> String {
    let issuer = &key.issuer;
    match reason {
        Reason::Untrusted => format!(
            "this key will not sign: no trust anchor issues its certificate (issuer `{issuer}`); name its root under \
             [[trust.anchor]] or take it in with `segel trust import`, and an intermediate CA with the key's file"
        ),
        Reason::RevocationUnknown => format!(
            "this key will not sign, mail from its owner is deferred: no current CRL says whether its certificate is \
             revoked; those of `{issuer}` and of the CAs above it are fetched where the certificates name an http URL, \
             else add them to trust.crls or take them in with `segel revocation import`"
        ),
        Reason::Expired => {
            format!("this key will not sign: its certificate, or its CA's, has ended (at {})", key.not_after)
        }
        Reason::NotYetValid => {
            format!("this key will not sign yet: its certificate, or its CA's, begins later (at {})", key.not_before)
        }
        Reason::Revoked => "this key will not sign: its CA has revoked the certificate".to_owned(),
        other => format!("this key will not sign: {other}"),
    }
}

fn address(text: &str) -> Result<Address, OperationError> {
    Address::parse(text)
        .map_err(|_| OperationError::new(ErrorKind::Input, format!("expected a mail address, found `{text}`")))
}

async fn import_anchor(
    gateway: &Gateway,
    certificate: &[u8],
    revocation: &str,
    domains: &[String],
) -> Result<Output, OperationError> {
    let input = |message: String| OperationError::new(ErrorKind::Input, message);
    let certificate = Certificate::from_der(certificate).map_err(|error| input(error.to_string()))?;
    let revocation = match revocation {
        "hard-fail" => RevocationMode::HardFail,
        "soft-fail" => RevocationMode::SoftFail,
        "none" => RevocationMode::None,
        other => return Err(input(format!("expected hard-fail, soft-fail or none, found `{other}`"))),
    };
    let domain =
        |text: &String| Domain::parse(text).map_err(|_| input(format!("expected a mail domain, found `{text}`")));
    let domains = domains.iter().map(domain).collect::<Result<Vec<_>, _>>()?;
    let anchor = gateway.directory.import_anchor(certificate, revocation, domains).await?;
    gateway.refresh_trust().await;
    Ok(Output::Anchor { anchor: AnchorRow::of(&anchor) })
}

async fn reload(gateway: &Arc<Gateway>) -> Result<Output, OperationError> {
    gateway.reload().await.map_err(|errors| {
        // The store that can't be read, at the end of the gateway for instance, is no error of the configuration.
        let of_store = |error: &ReloadError| matches!(error, ReloadError::Open(_));
        let kind = if errors.iter().any(of_store) { ErrorKind::Store } else { ErrorKind::Configuration };
        let line = |error: &ReloadError| if of_store(error) { with_causes(error) } else { error.to_string() };
        let lines: Vec<String> = errors.iter().map(line).collect();
        OperationError::new(kind, format!("nothing was reloaded\n{}", lines.join("\n")))
    })?;
    let snapshot = gateway.snapshot();
    Ok(Output::Reloaded { policy: snapshot.config.policy.hash.clone(), warnings: snapshot.config.warnings.clone() })
}

async fn retry(gateway: &Gateway, id: &str, operator: &str) -> Result<Output, OperationError> {
    let id = queue_id(id)?;
    let recipients = gateway.queue.retry(&id, operator).await.map_err(|error| {
        let absent = matches!(error, QueueError::NotFound(_));
        OperationError::from_error(if absent { ErrorKind::NotFound } else { ErrorKind::Store }, &error)
    })?;
    Ok(Output::Retried { recipients })
}

/// # Errors
/// Not a queue id.
pub fn queue_id(text: &str) -> Result<QueueId, OperationError> {
    QueueId::parse(text).ok_or_else(|| {
        OperationError::new(ErrorKind::Input, format!("expected a queue id, found `{text}`")).hint(
            "it stands in the 250, in Received and in Segel-Verdict; `segel queue list` shows those of mail on its way",
        )
    })
}
