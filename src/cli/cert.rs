//! `segel cert`: certificates of others.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, local, read, words};
use crate::config::Config;
use crate::directory::Listed;
use crate::mail::Address;
use crate::operations::row::{CapabilitiesRow, CertificateRow};
use crate::operations::{Command, OperationError, Output};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommands {
    /// Takes somebody's certificate in, to encrypt to; CA certificates in the file help to find paths
    Import(ImportArguments),
    /// Shows every certificate and what it is good for now
    List(ListArguments),
    /// Shows all that is known of one certificate
    Show(ShowArguments),
    /// Stops a certificate from receiving and verifying
    Block(IdArguments),
    /// Lets a blocked certificate be used again
    Unblock(IdArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArguments {
    /// A mailbox that it stands for; repeat it for more. Binds a certificate that names no address, as the registration
    /// officer [default: all that it names]
    #[arg(long, value_name = "ADDR")]
    address: Vec<String>,
    /// Prints one JSON object per certificate
    #[arg(long)]
    json: bool,
    /// PEM (several are allowed) or DER
    cert: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Only those that stand for this mailbox
    #[arg(long, value_name = "ADDR", value_parser = address)]
    address: Option<Address>,
    /// Prints one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// Prints one JSON object
    #[arg(long, conflicts_with = "pem")]
    json: bool,
    /// Prints the certificate in PEM
    #[arg(long)]
    pem: bool,
    /// The first digits, at least 8, of the certificate's SHA-256
    id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct IdArguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// The first digits, at least 8, of the certificate's SHA-256
    id: String,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|_| "expected a mail address such as budi@kota.example".to_owned())
}

pub(super) fn run(command: Subcommands, config: Config, out: &mut Printer) -> Result<Exit, CliError> {
    match command {
        Subcommands::Import(arguments) => import(&config, arguments, out),
        Subcommands::List(arguments) => list(&config, &arguments, out),
        Subcommands::Show(arguments) => show(&config, &arguments, out),
        Subcommands::Block(arguments) => {
            let output = local::change(&config, Command::CertBlock { id: arguments.id })?;
            changed("blocked", output, arguments.json, out)
        }
        Subcommands::Unblock(arguments) => {
            let output = local::change(&config, Command::CertUnblock { id: arguments.id })?;
            changed("unblocked", output, arguments.json, out)
        }
    }
}

/// Certificates in one file: what a line of the control socket has room for.
const MOST_IN_FILE: usize = 1000;

fn import(config: &Config, arguments: ImportArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let certificates = read::certificates(std::slice::from_ref(&arguments.cert))?;
    if certificates.len() > MOST_IN_FILE {
        return Err(CliError::Input {
            path: arguments.cert,
            problem: format!("expected at most {MOST_IN_FILE} certificates, found {}", certificates.len()),
            hint: "import them in several files",
        });
    }
    let command = Command::CertImport {
        certificates: certificates.iter().map(|certificate| certificate.der().to_vec()).collect(),
        addresses: arguments.address,
    };
    changed("imported", local::change(config, command)?, arguments.json, out)
}

fn changed(what: &str, output: Output, json: bool, out: &mut Printer) -> Result<Exit, CliError> {
    let Output::Certificates { certificates, warnings } = output else {
        return Err(CliError::Failed("the server gave an answer to another question".to_owned()));
    };
    for warning in &warnings {
        warning_line(&format!("warning: {warning}"));
    }
    for row in &certificates {
        if json {
            out.json(row)?;
            continue;
        }
        out.line(&format!("{what}: certificate {}", row.id))?;
        out.labelled(
            2,
            &[
                ("stands for", stands_for(row)),
                ("subject", row.subject.clone()),
                ("issuer", row.issuer.clone()),
                ("serial", row.serial.clone()),
                ("valid", format!("{} to {}", row.not_before, row.not_after)),
                ("state", state(row)),
            ],
        )?;
    }
    Ok(Exit::Yes)
}

fn list(config: &Config, arguments: &ListArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let directory = &opened.gateway.directory;
    let digests = match &arguments.address {
        Some(address) => directory.digests_for(address),
        None => directory.digests(),
    };
    let rows = digests
        .iter()
        .filter_map(|sha256| directory.listed(sha256))
        .map(|listed| CertificateRow::of(&opened.gateway, &listed));
    if arguments.json {
        for row in rows {
            out.json(&row)?;
        }
        return Ok(Exit::Yes);
    }
    let cells: Vec<Vec<String>> = rows
        .map(|row| {
            let until = row.not_after.get(..10).unwrap_or(&row.not_after).to_owned();
            let (whom, state) = (stands_for(&row), state(&row));
            vec![row.id, whom, row.trust, row.source, until, state, row.subject, row.issuer]
        })
        .collect();
    let nothing = "no certificates; `segel cert import` takes one in, and validly signed mail brings its own";
    out.table(&["id", "address", "trust", "from", "until", "state", "subject", "issuer"], &cells, nothing)?;
    Ok(Exit::Yes)
}

fn show(config: &Config, arguments: &ShowArguments, out: &mut Printer) -> Result<Exit, CliError> {
    let opened = local::open(config)?;
    let listed: Listed = opened.gateway.directory.find(&arguments.id).map_err(OperationError::from)?;
    if arguments.pem {
        out.raw(listed.certificate.to_pem().as_bytes())?;
        return Ok(Exit::Yes);
    }
    let row = CertificateRow::of(&opened.gateway, &listed);
    if arguments.json {
        out.json(&row)?;
        return Ok(Exit::Yes);
    }
    let certificate = &listed.certificate;
    let chain: Vec<String> =
        opened.gateway.directory.issuers(certificate).iter().map(|issuer| issuer.subject().to_string()).collect();
    out.line(&format!("certificate {}", row.id))?;
    out.labelled(
        2,
        &[
            ("stands for", stands_for(&row)),
            ("names", if certificate.is_ca() { String::new() } else { words::addresses(certificate) }),
            ("subject", row.subject.clone()),
            ("issuer", row.issuer.clone()),
            ("serial", row.serial.clone()),
            ("key", words::key(&certificate.key_info())),
            ("valid", words::validity(certificate, crate::clock::now())),
            ("SHA-256", words::fingerprint(&certificate.sha256())),
            ("trust", row.trust.clone()),
            ("from", format!("{}, {}", row.source, row.added)),
            ("can read", row.capabilities.as_ref().map_or_else(String::new, can_read)),
            ("known issuers", chain.join("\n")),
            ("state", state(&row)),
        ],
    )?;
    let reasons: Vec<_> = row.reasons.iter().filter_map(|code| crate::reason::Reason::from_code(code)).collect();
    super::pki::why(&reasons, out)?;
    Ok(Exit::Yes)
}

fn can_read(known: &CapabilitiesRow) -> String {
    let mut parts = known.ciphers.clone();
    if known.oaep {
        parts.push("rsa-oaep".to_owned());
    }
    let what = if parts.is_empty() { "nothing that is known here".to_owned() } else { parts.join(", ") };
    match &known.signing_time {
        Some(time) => format!("{what} (said at {time})"),
        None => what,
    }
}

fn stands_for(row: &CertificateRow) -> String {
    match row.binding.as_deref() {
        None => "a CA, for paths".to_owned(),
        Some("operator") => format!("{} (bound by the operator)", row.addresses.join(",")),
        Some(_) => row.addresses.join(","),
    }
}

/// `usable`, or why not.
fn state(row: &CertificateRow) -> String {
    if row.blocked {
        "blocked".to_owned()
    } else if row.reasons.is_empty() {
        "usable".to_owned()
    } else {
        format!("not usable: {}", row.reasons.join(", "))
    }
}
