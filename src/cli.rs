//! The command line: one file per subcommand, each of which prints and says how it ended.
//!
//! Exit codes: 0 done or yes, 1 the answer is no, 2 usage or configuration, 3 it could not be done. Results go to
//! standard output, everything else to standard error. Nothing is decided here: `operations` and the pure modules do that.

mod audit;
mod bypass;
mod backup;
mod cert;
mod check;
mod explain;
mod health;
mod inspect;
mod key;
mod local;
mod log;
mod login;
mod pki;
mod print;
mod quarantine;
mod queue;
mod read;
mod revocation;
mod trust;
mod words;

use crate::config::{Config, ConfigError};
use crate::operations::OperationError;
use crate::server::StartError;
use clap::{Parser, Subcommand};
use print::Printer;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// S/MIME mail gateway: signs mail on its way out, judges it on its way in, holds what is revoked.
#[derive(Debug, Parser)]
#[command(name = "segel", version, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file [default: $SEGEL_CONFIG, else /etc/segel/segel.toml]
    #[arg(short = 'c', value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Shows the main job on this machine with nothing configured
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
    /// Runs the gateway; SIGHUP reloads, SIGTERM drains and stops
    Serve,
    /// Checks the configuration: what is wrong, where, and what to write instead
    Check(check::Arguments),
    /// Says what a message file is worth, layer by layer, and why
    Inspect(inspect::Arguments),
    /// Works on certificates alone
    #[command(subcommand)]
    Pki(pki::Subcommands),
    /// Says what would happen to a mail, with which key, and why; nothing is sent
    Explain(explain::Arguments),
    /// Own keys: import, list, block, unblock, destroy; the master key: rewrap
    #[command(subcommand)]
    Key(key::Subcommands),
    /// Others' certificates: import, list, show, block, unblock
    #[command(subcommand)]
    Cert(cert::Subcommands),
    /// Trust anchors: list, import, remove
    #[command(subcommand)]
    Trust(trust::Subcommands),
    /// CRLs: status, refresh, import
    #[command(subcommand)]
    Revocation(revocation::Subcommands),
    /// Mail on its way: list, show, retry, hold, release, delete
    #[command(subcommand)]
    Queue(queue::QueueSubcommands),
    /// Mail that is held: list, show, evidence, release, reject, destroy
    #[command(subcommand)]
    Quarantine(quarantine::Subcommands),
    /// The audit log: verify, search, export
    #[command(subcommand)]
    Audit(audit::Subcommands),
    /// Emergency: lets mail leave unsigned for some hours: start, stop, status
    #[command(subcommand)]
    Bypass(bypass::Subcommands),
    /// Puts all data but the master key into one file, also while the gateway runs; `backup verify FILE` proves one good
    Backup(backup::Arguments),
    /// Puts a backup in the place of lost data; the mail that waited in it is held
    Restore(backup::RestoreArguments),
    /// Prints the lines of the configuration that let somebody log in with a password
    Login(login::Arguments),
    /// Asks the running gateway whether it can take mail
    Health(health::Arguments),
    /// Makes the running gateway read certificates, keys and policy again, all or nothing
    Reload,
}

#[cfg(feature = "demo")]
#[derive(Debug, clap::Args)]
struct DemoArguments {
    /// Ends after the scenarios, with exit code 0 only if each had the expected outcome
    #[arg(long)]
    once: bool,
    /// Keeps certificates, mail and a summary in this directory [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Yes,
    No,
}

/// Why a command did not end.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("the configuration has {} error(s)", .0.len())]
    Config(Vec<ConfigError>),
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}`: {problem}")]
    Input { path: PathBuf, problem: String, hint: &'static str },
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
    #[error("the gateway did not start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Operation(error) if error.is_configuration() => 2,
            _ => 3,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Input { hint, .. } => Some((*hint).to_owned()),
            Self::Operation(error) => error.hint.clone(),
            Self::Start(error) => error.downcast_ref::<StartError>().and_then(StartError::hint).map(str::to_owned),
            _ => None,
        }
    }
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // Help and version are answers, not errors; clap writes each where it belongs.
            let code = if message.use_stderr() { 2 } else { 0 };
            return if message.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(3) };
        }
    };
    // Nearly every command opens keys or mail. What stands against it is told by the one that runs for long.
    let against = crate::seal::memory::harden();
    let mut printer = Printer::standard();
    match run(arguments, &against, &mut printer) {
        Ok(Exit::Yes) => ExitCode::SUCCESS,
        Ok(Exit::No) => ExitCode::from(1),
        // Whoever closed the pipe (`| head`) has read enough.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error, error.hint().as_deref());
            ExitCode::from(error.code())
        }
    }
}

fn run(arguments: Arguments, against: &[String], out: &mut Printer) -> Result<Exit, CliError> {
    let given = arguments.config.as_deref();
    match arguments.command {
        #[cfg(feature = "demo")]
        Subcommands::Demo(arguments) => demo(arguments),
        Subcommands::Serve => serve(&config_path(given), against),
        Subcommands::Check(arguments) => check::run(&arguments, &config_path(given), out),
        Subcommands::Inspect(arguments) => inspect::run(&arguments, given, out),
        Subcommands::Pki(pki::Subcommands::Verify(arguments)) => pki::verify(&arguments, out),
        Subcommands::Explain(arguments) => explain::run(&arguments, load(&config_path(given))?, out),
        Subcommands::Key(command) => key::run(command, load(&config_path(given))?, out),
        Subcommands::Cert(command) => cert::run(command, load(&config_path(given))?, out),
        Subcommands::Trust(command) => trust::run(command, load(&config_path(given))?, out),
        Subcommands::Revocation(command) => revocation::run(command, load(&config_path(given))?, out),
        Subcommands::Queue(command) => queue::queue(command, load(&config_path(given))?, out),
        Subcommands::Quarantine(command) => quarantine::run(command, load(&config_path(given))?, out),
        Subcommands::Audit(command) => audit::run(command, load(&config_path(given))?, out),
        Subcommands::Bypass(command) => bypass::run(command, load(&config_path(given))?, out),
        Subcommands::Backup(arguments) => backup::backup(arguments, given, out),
        Subcommands::Restore(arguments) => backup::run_restore(arguments, given, out),
        Subcommands::Login(arguments) => login::run(&arguments, out),
        Subcommands::Health(arguments) => health::run(&arguments, &config_path(given), out),
        Subcommands::Reload => local::reload(&config_path(given), out),
    }
}

/// The configuration file that is meant.
fn config_path(given: Option<&Path>) -> PathBuf {
    match given {
        Some(path) => path.to_owned(),
        None => std::env::var_os("SEGEL_CONFIG")
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from("/etc/segel/segel.toml"), PathBuf::from),
    }
}

fn load(path: &Path) -> Result<Config, CliError> {
    crate::config::load(path).map_err(CliError::Config)
}

fn serve(path: &Path, against: &[String]) -> Result<Exit, CliError> {
    let failed = |error| CliError::Start(Box::new(error));
    let process = crate::server::Process::new().map_err(failed)?;
    let config = load(path)?;
    log::set_up(&config.log);
    for problem in against {
        tracing::warn!("{problem}.");
    }
    process.run(config).map_err(failed)?;
    Ok(Exit::Yes)
}

#[cfg(feature = "demo")]
fn demo(arguments: DemoArguments) -> Result<Exit, CliError> {
    let arguments = crate::demo::Args { once: arguments.once, dir: arguments.dir };
    match crate::demo::run(arguments) {
        Ok(true) => Ok(Exit::Yes),
        Ok(false) => Ok(Exit::No),
        Err(error) => Err(CliError::Start(Box::new(error))),
    }
}
