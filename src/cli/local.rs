//! Where a command runs: through the control socket of a running server, else here with the data directory's lock.

use super::print::{Printer, warning_line};
use super::{CliError, Exit};
use crate::config::Config;
use crate::operations::{Command, ErrorKind, OperationError, Output, control, execute};
use crate::pipeline::{Gateway, OpenError};
use crate::store::{Lock, LockError, StoreError};
use std::path::Path;
use std::sync::Arc;

/// Runs a future to its end.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// A runtime and the gateway's store, opened for reading. The runtime drives the store, so both live together.
pub(super) struct Opened {
    runtime: tokio::runtime::Runtime,
    pub(super) gateway: Arc<Gateway>,
}

impl Opened {
    /// Runs a future to its end on the store's runtime.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

/// Opens the store for reading. A server may run beside it. Nothing is made: no directory, no key, no database.
pub(super) fn open(config: &Config) -> Result<Opened, CliError> {
    let missing = || {
        OperationError::new(ErrorKind::Store, format!("no store `{}`", config.database.display()))
            .hint("`segel serve` or the first `segel key import` makes it; if one should be there, look at gateway.data_dir in the configuration")
    };
    open_if_there(config)?.ok_or_else(|| missing().into())
}

/// As [`open`]; nothing where there is no database yet, for commands that can answer from the configuration alone.
pub(super) fn open_if_there(config: &Config) -> Result<Option<Opened>, CliError> {
    match std::fs::metadata(&config.database) {
        // A file of no octets is what SQLite leaves where it was stopped while making a database.
        Ok(found) if found.len() == 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("cannot read store `{}`: {error}", config.database.display());
            return Err(OperationError::new(ErrorKind::Store, message).hint(NOT_OPENED).into());
        }
    }
    need_master_key(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let gateway = runtime.block_on(Gateway::open_to_read(config.clone())).map_err(|error| not_opened(&error))?;
    Ok(Some(Opened { runtime, gateway: Arc::new(gateway) }))
}

/// The store's key is never made anew beside a store that is there: it could open nothing in it.
fn need_master_key(config: &Config) -> Result<(), OperationError> {
    let path = config.master_key.path();
    match path.try_exists() {
        Ok(true) => Ok(()),
        // A folder that may not be entered: opening the key says so.
        Err(_) => Ok(()),
        Ok(false) => {
            let message =
                format!("store `{}` is there, but not its master key `{}`", config.database.display(), path.display());
            Err(OperationError::new(ErrorKind::Store, message)
                .hint("put back the copy of the master key; without it nobody can open what the store holds"))
        }
    }
}

const NOT_OPENED: &str = "run this as the gateway's user or as root; the log of `segel serve` may say more";

fn not_opened(error: &OpenError) -> OperationError {
    match error {
        OpenError::Store(damaged @ StoreError::Damaged(_)) => OperationError::from_error(ErrorKind::Store, damaged),
        OpenError::Store(older @ StoreError::OlderSchema { .. }) => OperationError::from_error(ErrorKind::Store, older)
            .hint("start the gateway of this version; it keeps a copy of the database as it was (docs/backup.md)"),
        OpenError::OtherMasterKey(other) => OperationError::from_error(ErrorKind::Store, other).hint(other.hint()),
        other => OperationError::from_error(ErrorKind::Store, other).hint(NOT_OPENED),
    }
}

/// Makes a change, wherever it has to be made.
pub(super) fn change(config: &Config, command: Command) -> Result<Output, CliError> {
    Ok(wait(change_async(config, command))??)
}

async fn change_async(config: &Config, command: Command) -> Result<Output, OperationError> {
    if let Some(output) = control::send(&config.control_socket(), &command).await? {
        return Ok(output);
    }
    let _lock = Lock::take(&config.data_dir).map_err(|error: LockError| {
        OperationError::from_error(ErrorKind::Server, &error)
            .hint("another process works on this data directory; try again when it has ended")
    })?;
    if std::fs::metadata(&config.database).is_ok_and(|found| found.len() > 0) {
        need_master_key(config)?;
    }
    let gateway = Arc::new(Gateway::open(config.clone()).await.map_err(|error| not_opened(&error))?);
    // Who holds the lock knows that nobody delivers: leases that a dead server left would stand in the way.
    if matches!(command, Command::QueueRetry { .. } | Command::QueueChange { .. }) {
        let voided = gateway.queue.void_leases().await;
        voided.map_err(|error| OperationError::from_error(ErrorKind::Store, &error))?;
    }
    crate::operations::backup::tell_restored(&gateway).await?;
    let done = execute(&gateway, command).await;
    // Not `Gateway::close`: that says that the gateway stopped, and it never ran.
    gateway.store.clone().close().await;
    done
}

/// `segel reload`: needs a server. Of a file that has errors it hears too: that its configuration is not the one on disk is
/// for its log, its counters and its alerts.
pub(super) fn reload(path: &Path, out: &mut Printer) -> Result<Exit, CliError> {
    let loaded = crate::config::load(path);
    let socket = match &loaded {
        Ok(config) => config.control_socket(),
        Err(_) => crate::config::control_socket(path).unwrap_or_default(),
    };
    let answer = wait(control::send(&socket, &Command::Reload));
    let answer = match loaded {
        Ok(_) => answer??,
        // Its own account is that of its machine and its user; the file is shown as it is seen from here.
        Err(errors) => match answer {
            Ok(Ok(Some(done))) => Some(done),
            _ => return Err(CliError::Config(errors)),
        },
    };
    let Some(Output::Reloaded { policy, warnings }) = answer else {
        let error = OperationError::new(ErrorKind::Server, format!("no server answers at `{}`", socket.display()));
        return Err(error.hint("it reads everything when it starts: `segel serve`").into());
    };
    for warning in warnings {
        warning_line(&format!("warning: {warning}"));
    }
    out.line(&format!("reloaded; policy {policy}"))?;
    Ok(Exit::Yes)
}

/// Who asks, for the audit log.
pub(super) fn operator() -> String {
    let name = |variable| std::env::var(variable).ok().filter(|name: &String| !name.is_empty());
    name("SUDO_USER").or_else(|| name("USER")).or_else(|| name("LOGNAME")).unwrap_or_else(own_uid)
}

/// Where the environment names nobody, as in a container: the owner of this process.
fn own_uid() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
