//! `segel trust`: whom the gateway believes.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, local, read, words};
use crate::config::Config;
use crate::operations::row::AnchorRow;
use crate::operations::{Command, Output};
use crate::pki::Certificate;
use data_encoding::HEXLOWER;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Shows every trust anchor and where it comes from
    List(ListArguments),
    /// Stores a trust anchor; its fingerprint has to be given or typed
    Import(ImportArguments),
    /// Removes a stored trust anchor
    Remove(RemoveArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArguments {
    /// The certificate's SHA-256, in hex, as the CA publishes it
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// What an unknown revocation status means under this anchor
    #[arg(long, value_name = "MODE", default_value = "hard-fail")]
    revocation: read::Revocation,
    /// A sender domain that it may speak for; repeat it for more [default: any]
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// One CA certificate, PEM or DER
    cert: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// The first digits, at least 8, of the certificate's SHA-256
    fingerprint: String,
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::List(arguments) => list(&config, arguments.json, out),
        Subcommands::Import(arguments) => import(&config, arguments, out),
        Subcommands::Remove(arguments) => {
            let output = local::change(&config, Command::TrustRemove { fingerprint: arguments.fingerprint })?;
            changed("removed", output, arguments.json, out)
        }
    }
}

fn list(config: &Config, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    // As they are in force: an anchor of the configuration counts once, as the configuration says.
    let anchors = match local::open_if_there(config)? {
        Some(opened) => opened.gateway.snapshot().anchors.to_vec(),
        None => {
            warning_line(&format!(
                "there is no store `{}` yet: these are the anchors of the configuration alone",
                config.database.display()
            ));
            config.anchors.clone()
        }
    };
    let rows: Vec<AnchorRow> = anchors.iter().map(AnchorRow::of).collect();
    if json {
        for row in &rows {
            out.json(row)?;
        }
        return Ok(Exit::Yes);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let short = row.sha256.get(..16).unwrap_or(&row.sha256).to_owned();
            let until = row.not_after.get(..10).unwrap_or(&row.not_after).to_owned();
            let domains = if row.domains.is_empty() { "any".to_owned() } else { row.domains.join(",") };
            vec![short, row.source, row.origin, row.revocation, domains, until, row.subject]
        })
        .collect();
    let titles = ["sha-256", "from", "origin", "revocation", "domains", "until", "subject"];
    out.table(&titles, &cells, "no trust anchors: every signature is `untrusted`")?;
    Ok(Exit::Yes)
}

fn import(config: &Config, arguments: ImportArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let certificates = read::certificates(std::slice::from_ref(&arguments.cert))?;
    let [certificate] = certificates.as_slice() else {
        return Err(CliError::Input {
            path: arguments.cert,
            problem: format!("expected one certificate, found {}", certificates.len()),
            hint: "a fingerprint vouches for one certificate: import them one by one",
        });
    };
    let sha256 = HEXLOWER.encode(&certificate.sha256());
    let given = match arguments.fingerprint {
        Some(given) => given,
        None => ask(certificate, out)?,
    };
    let digits: String =
        given.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase()).collect();
    if digits != sha256 {
        return Err(CliError::Input {
            path: arguments.cert,
            problem: format!(
                "expected the fingerprint that was given, found SHA-256 {}",
                words::fingerprint(&certificate.sha256())
            ),
            hint: "this is not the certificate that the fingerprint was made of: don't trust it",
        });
    }
    let revocation = match arguments.revocation {
        read::Revocation::HardFail => "hard-fail",
        read::Revocation::SoftFail => "soft-fail",
        read::Revocation::None => "none",
    };
    let command = Command::TrustImport {
        certificate: certificate.der().to_vec(),
        revocation: revocation.to_owned(),
        domains: arguments.domain,
    };
    changed("imported", local::change(config, command)?, arguments.json, out)
}

/// Shows the certificate and lets its fingerprint be typed, on a terminal only.
fn ask(certificate: &Certificate, out: &mut Printer) -> Result<String, CliError> {
    let shown = [
        ("subject", certificate.subject().to_string()),
        ("issuer", certificate.issuer().to_string()),
        ("valid", words::validity(certificate, crate::clock::now())),
    ];
    out.labelled(0, &shown)?;
    if !std::io::stdin().is_terminal() {
        out.labelled(0, &[("SHA-256", words::fingerprint(&certificate.sha256()))])?;
        return Err(CliError::Usage(
            "compare this fingerprint with the one that the CA publishes, then give it with --fingerprint".to_owned(),
        ));
    }
    write!(std::io::stderr(), "SHA-256 as the CA publishes it: ")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn changed(what: &str, output: Output, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    let Output::Anchor { anchor } = output else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    if json {
        out.json(&anchor)?;
        return Ok(Exit::Yes);
    }
    out.line(&format!("{what}: {}", anchor.subject))?;
    out.labelled(
        2,
        &[("SHA-256", anchor.sha256), ("revocation", anchor.revocation), ("domains", anchor.domains.join(", "))],
    )?;
    Ok(Exit::Yes)
}
