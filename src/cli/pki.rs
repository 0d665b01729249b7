//! `segel pki verify`: path validation alone, for those who want to know what is wrong with a certificate.

use super::print::{Printer, wrapped};
use super::{CliError, Exit, read, words};
use crate::limits::Limits;
use crate::mail::Address;
use crate::pki::path::{AnchorSource, PathReport, PathRequest, PolicyInputs, TrustAnchor, validate};
use crate::pki::{Certificate, Purpose, RevocationMode};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Validates the path from a certificate to a trust anchor (RFC 5280) and says what is wrong with it
    Verify(Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Trust anchors, PEM or DER; a CA that is not self-signed will do
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// Intermediate certificates, PEM or DER
    #[arg(long, value_name = "FILE")]
    untrusted: Vec<PathBuf>,
    /// Certificate revocation lists, PEM or DER
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// What an unknown revocation status means
    #[arg(long, value_name = "MODE", default_value = "none")]
    revocation: read::Revocation,
    /// Judges as of this time: RFC 3339 or a date [default: now]
    #[arg(long, value_name = "TIME", value_parser = read::time)]
    at: Option<Timestamp>,
    /// What the certificate is wanted for
    #[arg(long, value_name = "PURPOSE", default_value = "any")]
    purpose: WantedFor,
    /// An address that the certificate has to name
    #[arg(long, value_name = "ADDR", value_parser = address)]
    email: Option<Address>,
    /// A certificate policy that is acceptable (RFC 5280 section 6.1.1 d)
    #[arg(long, value_name = "OID", value_parser = oid)]
    policy: Vec<der::asn1::ObjectIdentifier>,
    /// The path has to be valid for a policy
    #[arg(long)]
    explicit_policy: bool,
    /// Policies are not mapped
    #[arg(long)]
    inhibit_mapping: bool,
    /// anyPolicy is not taken for every policy
    #[arg(long)]
    inhibit_any_policy: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// The certificate, PEM or DER; further certificates in the file count as intermediates
    cert: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WantedFor {
    Any,
    EmailSign,
    EmailEncrypt,
    Ocsp,
    Tsa,
    TlsServer,
    TlsClient,
}

impl WantedFor {
    fn purpose(self) -> Purpose {
        match self {
            Self::Any => Purpose::Any,
            Self::EmailSign => Purpose::EmailSign,
            Self::EmailEncrypt => Purpose::EmailEncrypt,
            Self::Ocsp => Purpose::Ocsp,
            Self::Tsa => Purpose::Tsa,
            Self::TlsServer => Purpose::TlsServer,
            Self::TlsClient => Purpose::TlsClient,
        }
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|_| "expected a mail address such as siti@kabupaten.go.id".to_owned())
}

fn oid(text: &str) -> Result<der::asn1::ObjectIdentifier, String> {
    der::asn1::ObjectIdentifier::new(text)
        .map_err(|_| "expected an object identifier such as 2.23.140.1.5.1.1".to_owned())
}

/// Exit code 0 only for a valid path.
pub(super) fn verify(arguments: &Arguments, out: &mut Printer) -> Result<Exit, CliError> {
    let limits = Limits::default();
    let mode = arguments.revocation.mode();
    let anchors: Vec<TrustAnchor> = read::certificates(&arguments.trust)?
        .into_iter()
        .map(|certificate| TrustAnchor {
            certificate,
            revocation: mode,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: crate::pki::Harvesting::default(),
        })
        .collect();
    let mut file = read::certificates(std::slice::from_ref(&arguments.cert))?.into_iter();
    let Some(end_entity) = file.next() else {
        return Err(CliError::Failed("the file holds no certificate".to_owned()));
    };
    let mut untrusted = read::certificates(&arguments.untrusted)?;
    untrusted.extend(file);
    let crls = read::crls(&arguments.crl, &limits)?;
    let at = arguments.at.unwrap_or_else(crate::clock::now);
    let report = validate(&PathRequest {
        end_entity: &end_entity,
        untrusted: &untrusted,
        anchors: &anchors,
        crls: &crls,
        at,
        purpose: arguments.purpose.purpose(),
        address: arguments.email.as_ref(),
        revocation: Some(mode),
        crl_grace: std::time::Duration::ZERO,
        policy: &PolicyInputs {
            policies: arguments.policy.clone(),
            explicit: arguments.explicit_policy,
            inhibit_mapping: arguments.inhibit_mapping,
            inhibit_any: arguments.inhibit_any_policy,
        },
        allow_weak: &[],
        limits: &limits,
    });
    if arguments.json {
        out.json(&to_json(&report))?;
    } else {
        people(arguments, &end_entity, &report, at, out)?;
    }
    Ok(if report.is_valid() { Exit::Yes } else { Exit::No })
}

fn to_json(report: &PathReport) -> Value {
    let names = |names: &[crate::pki::Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let chain: Vec<Value> = report
        .chain
        .iter()
        .map(|certificate| {
            json!({
                "subject": certificate.subject().to_string(),
                "issuer": certificate.issuer().to_string(),
                "serial": certificate.serial_hex(),
                "not_before": certificate.not_before().to_string(),
                "not_after": certificate.not_after().to_string(),
                "sha256": data_encoding::HEXLOWER.encode(&certificate.sha256()),
            })
        })
        .collect();
    json!({
        "schema": 1,
        "valid": report.is_valid(),
        "reasons": report.reasons,
        "chain": chain,
        "revocation": {
            "status": words::status(report.revocation.status),
            "source": report.revocation.source.map(words::source),
            "time": report.revocation.time.map(|time| time.to_string()),
            "reason": report.revocation.reason,
            "serial": report.revocation.serial,
        },
        "warnings": report.warnings,
        "missing_issuers": names(&report.missing_issuers),
        "missing_crls": names(&report.missing_crls),
    })
}

fn people(
    arguments: &Arguments,
    end_entity: &Certificate,
    report: &PathReport,
    at: Timestamp,
    out: &mut Printer,
) -> Result<(), CliError> {
    let purpose = match arguments.purpose.purpose() {
        Purpose::Any => String::new(),
        purpose => format!(" for {}", words::purpose(purpose)),
    };
    let verdict = if report.is_valid() {
        format!("VALID{purpose}")
    } else {
        format!("NOT VALID{purpose}: {}", words::codes(&report.reasons))
    };
    out.line(&verdict)?;
    out.line("")?;
    out.labelled(
        2,
        &[
            ("certificate", end_entity.subject().to_string()),
            ("issuer", end_entity.issuer().to_string()),
            ("serial", end_entity.serial_hex()),
            ("addresses", words::addresses(end_entity)),
            ("key", words::key(&end_entity.key_info())),
            ("valid", words::validity(end_entity, at)),
            ("judged at", format!("{at:.0}")),
            ("revocation", words::revocation(&report.revocation)),
            ("warnings", report.warnings.join(", ")),
        ],
    )?;
    out.line("")?;
    out.line("Path")?;
    path(report, at, out)?;
    for name in &report.missing_issuers {
        out.line(&format!("  ?  no certificate of {name} was given"))?;
    }
    for name in report.missing_crls.iter().filter(|_| arguments.revocation.mode() != RevocationMode::None) {
        out.line(&format!("  ?  no current CRL of {name} was given"))?;
    }
    why(&report.reasons, out)
}

fn path(report: &PathReport, at: Timestamp, out: &mut Printer) -> Result<(), CliError> {
    let anchor = report.anchor.as_ref().map(|anchor| anchor.certificate.sha256());
    for (index, certificate) in report.chain.iter().enumerate() {
        let role = if anchor == Some(certificate.sha256()) { "  <- trust anchor" } else { "" };
        out.line(&format!("  {}  {}{role}", index + 1, certificate.subject()))?;
        out.line(&format!("     serial {}, {}", certificate.serial_hex(), words::validity(certificate, at)))?;
    }
    Ok(())
}

/// Each reason with its meaning and what to do about it.
pub(super) fn why(reasons: &[crate::reason::Reason], out: &mut Printer) -> Result<(), CliError> {
    if reasons.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.line("Why")?;
    for code in reasons {
        let (meaning, advice) = words::reason(*code);
        out.line(&format!("  {code}"))?;
        out.labelled(2, &[("", wrapped(&format!("{meaning}."))), ("", wrapped(advice))])?;
    }
    Ok(())
}
