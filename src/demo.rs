//! The demo: the gateway's main job on one machine, with nothing configured.
//!
//! Makes a certificate authority, stands in for the government's mail server and for the Internet, starts the gateway
//! as the program it is (`segel serve`), sends real mail with a real client library, and says what went in, what came
//! out and why, in four acts: signing, verifying, encrypting, decrypting. Everything it makes lies below one folder; every socket is on the loopback interface.
//!
//! It never looks into the gateway: what it reports is read off the mail that arrived, as its recipient reads it with his
//! own key, and off the command line's answers. If a step can't be done the demo ends with an error; an outcome that is not the expected one is shown and
//! makes the exit code 1.

mod authority;
mod folder;
mod gateway;
mod letter;
mod outcome;
mod reading;
mod scenario;
mod sink;
mod summary;

use authority::{Authority, HIDDEN_PARTNER, OTHER_PARTNER, PARTNER};
use folder::Folder;
use gateway::Gateway;
use outcome::Stage;
use scenario::Act;
use sink::Sink;
use std::io::{self, Write};
use std::path::PathBuf;

pub use summary::Row;

/// The domain that the gateway stands before.
const DOMAIN: &str = "kabupaten.go.id";

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// End after the scenarios instead of running on.
    pub once: bool,
    /// Where to put everything; a new folder among the temporary files if absent.
    pub dir: Option<PathBuf>,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The folder holds something that the demo did not make.
    #[error("`{0}` is not empty and was not made by the demo")]
    Occupied(PathBuf),
    /// A file or socket.
    #[error("cannot {attempt}")]
    Io {
        /// What was attempted, on what.
        attempt: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A certificate, key or revocation list could not be made.
    #[error("cannot make the certificates")]
    Certificate(#[from] rcgen::Error),
    /// A file that the demo made is refused by the product's own reader.
    #[error("cannot use the certificate of `{0}`")]
    Unusable(String),
    /// A demo mail could not be signed.
    #[error("cannot sign the mail of scenario `{0}`")]
    Signature(String),
    /// A demo mail could not be encrypted.
    #[error("cannot encrypt the mail of scenario `{0}`")]
    Encryption(String),
    /// The gateway did not start, or a command failed.
    #[error("`segel {command}` failed: {output}")]
    Command {
        /// Its arguments.
        command: String,
        /// What it said.
        output: String,
    },
    /// The mail client could not talk to the gateway.
    #[error("cannot send the mail of scenario `{scenario}`")]
    Client {
        /// The scenario's name.
        scenario: String,
        /// What the client says.
        #[source]
        source: lettre::transport::smtp::Error,
    },
    /// A mail that had its 250 is neither delivered nor held.
    #[error("the mail of scenario `{scenario}` to `{to}` was accepted and did not arrive")]
    Lost {
        /// The scenario's name.
        scenario: String,
        /// The recipient.
        to: String,
    },
}

/// Runs the demo and tells it on standard output; true if every outcome was the expected one. Without `once` it returns
/// when the gateway is stopped.
///
/// # Errors
/// What keeps the demo from being shown; an unexpected outcome is no error.
pub fn run(args: Args) -> Result<bool, DemoError> {
    tell(&args, &mut io::stdout().lock())
}

fn tell(args: &Args, out: &mut impl Write) -> Result<bool, DemoError> {
    let folder = Folder::make(args.dir.as_deref())?;
    say(out, format_args!("\nSegel demo. Everything it makes lies in {}\n", folder.root().display()))?;

    let people = Authority::make()?.write(&folder)?;
    let inside = Sink::start("the government's mail server", folder.sub("inside"))?;
    let outside = Sink::start("the Internet", folder.sub("outside"))?;
    folder.write("segel.toml", configuration(&inside, &outside).as_bytes())?;
    folder.write("policy.toml", scenario::POLICY.as_bytes())?;
    let gateway = Gateway::start(&folder, &people)?;
    introduce(out, &gateway, &inside, &outside)?;

    let stage = Stage { gateway: &gateway, inside: &inside, outside: &outside, folder: &folder, people: &people };
    let mut rows = Vec::new();
    for act in Act::ALL {
        say(out, format_args!("\n{:<54}{:<13}because", act.title(), "became"))?;
        if act == Act::Encrypting {
            make_known(out, &gateway, &folder)?;
        }
        for scenario in scenario::all(&people, act)? {
            for row in outcome::play(&scenario, &stage)? {
                say(out, format_args!("{row}"))?;
                rows.push(row);
            }
        }
    }
    summary::write(&folder, &rows)?;
    conclude(out, &folder, &rows)?;
    if args.once {
        gateway.stop()?;
    } else {
        invite(out, &gateway, &folder)?;
        gateway.wait()?;
    }
    Ok(!rows.is_empty() && rows.iter().all(Row::as_expected))
}

/// Whose mail can be encrypted: two certificates are imported, a third has come with signed mail.
fn make_known(out: &mut impl Write, gateway: &Gateway, folder: &Folder) -> Result<(), DemoError> {
    for address in [OTHER_PARTNER, HIDDEN_PARTNER] {
        gateway.import(folder, address)?;
        say(out, format_args!("  --  an operator runs: segel cert import pki/{address}.pem"))?;
    }
    match gateway.has_learned(PARTNER)? {
        true => {
            say(out, format_args!("  --  nobody imports the certificate of {PARTNER}: it came with her signed mail"))
        }
        false => say(
            out,
            format_args!("  --  nobody knows the certificate of {PARTNER}, though it came with her signed mail"),
        ),
    }
}

fn say(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> Result<(), DemoError> {
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|source| failed("write the report", source))
}

/// An error of the system, with what was attempted.
fn failed(attempt: impl Into<String>, source: io::Error) -> DemoError {
    DemoError::Io { attempt: attempt.into(), source }
}

/// The smallest configuration that does the whole job.
fn configuration(inside: &Sink, outside: &Sink) -> String {
    format!(
        "{marker}\n\
         [gateway]\n\
         hostname = \"gerbang.{DOMAIN}\"\n\
         data_dir = \"data\"\n\n\
         [[listener]]\n\
         name = \"dalam\"                       # from the government's mail server, on its way out\n\
         bind = \"127.0.0.1:0\"\n\
         side = \"inside\"\n\
         clients = [\"127.0.0.1/32\"]\n\n\
         [[listener]]\n\
         name = \"luar\"                        # from the Internet, on its way in\n\
         bind = \"127.0.0.1:0\"\n\
         side = \"outside\"\n\n\
         [[domain]]\n\
         name = \"{DOMAIN}\"\n\
         deliver_to = \"smtp://{inside}\"\n\
         sign = \"required\"\n\n\
         [outbound]\n\
         route = \"smtp://{outside}\"\n\n\
         [trust]\n\
         crls = [\"pki/crl.der\", \"pki/root-crl.der\"]\n\
         [[trust.anchor]]\n\
         file = \"pki/root.pem\"\n\
         revocation = \"hard-fail\"\n\n\
         [policy]\n\
         file = \"policy.toml\"\n\n\
         [notify]\n\
         postmaster = \"postmaster@{DOMAIN}\"\n\n\
         [console]\n\
         bind = \"127.0.0.1:0\"\n",
        marker = folder::MARKER,
        inside = inside.address(),
        outside = outside.address(),
    )
}

fn introduce(out: &mut impl Write, gateway: &Gateway, inside: &Sink, outside: &Sink) -> Result<(), DemoError> {
    for (what, address, does) in [
        ("gateway, inside", gateway.inside(), "takes mail of the government on its way out"),
        ("gateway, outside", gateway.outside(), "takes mail of the Internet on its way in"),
        ("stand-in mail server", inside.address(), "receives for the government"),
        ("stand-in Internet", outside.address(), "receives for everybody else"),
    ] {
        say(out, format_args!("  {what:<22}{:<18}{does}", address.to_string()))?;
    }
    Ok(())
}

fn conclude(out: &mut impl Write, folder: &Folder, rows: &[Row]) -> Result<(), DemoError> {
    let good = rows.iter().filter(|row| row.as_expected()).count();
    say(out, format_args!("\n{good} of {} outcomes are the expected ones. To see for yourself:\n", rows.len()))?;
    let root = folder.root().display();
    say(out, format_args!("  {root}/summary.json   the list above, to read by program"))?;
    say(out, format_args!("  {root}/outside/       what the Internet received; inside/ and quarantine/ likewise"))?;
    let first = |outcome: &str| rows.iter().find(|row| row.outcome == outcome && row.file.is_some());
    if let Some(file) = first("signed").and_then(|row| row.file.as_deref()) {
        say(out, format_args!("\nAnybody can verify what was signed:\n"))?;
        say(
            out,
            format_args!(
                "  openssl cms -verify -CAfile {root}/pki/root.pem -purpose smimesign -in {root}/{file} -out /dev/null"
            ),
        )?;
    }
    if let Some(row) = first("encrypted") {
        let (file, to) = (row.file.as_deref().unwrap_or_default(), &row.to);
        say(
            out,
            format_args!("\nTo read what was encrypted to {to} you need her key. For this once it lies in pki/:\n"),
        )?;
        say(
            out,
            format_args!(
                "  openssl cms -decrypt -recip {root}/pki/{to}.pem -inkey {root}/pki/{to}.key.pem -in {root}/{file} | \
                 openssl cms -verify -CAfile {root}/pki/root.pem -purpose smimesign"
            ),
        )?;
    }
    Ok(())
}

fn invite(out: &mut impl Write, gateway: &Gateway, folder: &Folder) -> Result<(), DemoError> {
    say(
        out,
        format_args!(
            "\nThe gateway runs on. Send mail of your own:\n\n  swaks --server {} --from {} --to {} --header 'Subject: Halo'\n\n\
             It arrives in {}/outside, signed, and encrypted where the recipient's certificate is known\n\
             (to {PARTNER}, for instance). Ctrl-C ends the demo.",
            gateway.inside(),
            authority::STAFF,
            authority::UNCERTIFIED,
            folder.root().display(),
        ),
    )
}
