//! `segel backup` and `segel restore`: all of a gateway's data in one file, except the master key.

use super::print::{Printer, warning_line};
use super::{CliError, Exit, config_path, load, local};
use crate::config::{Config, MasterKeySource};
use crate::operations::backup::{Made, Manifest, Restore, create, restore, verify};
use crate::operations::{Command, ErrorKind, OperationError};
use crate::seal::MasterKey;
use crate::store::backup::known_schema;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
    /// The archive to make: a tar file, mode 0600. It must not be there yet
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommands {
    /// Proves that a backup is good, without touching any data: every digest, the database, and every key in it if the
    /// master key is at hand
    Verify(VerifyArguments),
}

#[derive(Debug, clap::Args)]
struct VerifyArguments {
    /// The archive
    file: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The archive
    file: PathBuf,
    /// Where the data goes [default: gateway.data_dir of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keeps data that is there in DIR/before-restore-TIME instead of refusing
    #[arg(long)]
    move_aside: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn backup(arguments: Arguments, given: Option<&Path>, out: &mut Printer) -> Result<Exit, CliError> {
    if let Some(Subcommands::Verify(arguments)) = arguments.command {
        return check(&arguments, given, out);
    }
    let file = arguments.file.ok_or_else(|| CliError::Usage("name the file to make".to_owned()))?;
    let config = load(&config_path(given))?;
    let made = local::wait(create(&config, &file))??;
    note(&config, &made);
    for name in &made.manifest.missing {
        warning_line(&format!("warning: content `{name}` is gone from the store; the mail it belongs to is damaged"));
    }
    let (MasterKeySource::File(key) | MasterKeySource::Generated(key)) = &config.master_key;
    if arguments.json {
        let mut value = describe(&file, &made.manifest);
        if let Some(object) = value.as_object_mut() {
            object.insert("size".to_owned(), made.size.into());
            object.insert("master_key_file".to_owned(), key.display().to_string().into());
        }
        out.json(&value)?;
        return Ok(Exit::Yes);
    }
    out.line(&format!("backup: {}", file.display()))?;
    let mut rows = facts(&made.manifest);
    rows.insert(0, ("size", format!("{} octets", made.size)));
    out.labelled(2, &rows)?;
    out.line(&format!(
        "the master key is NOT in it. Without `{}` nobody can open this backup.\n\
         Keep a copy of that file apart from the backups: on paper or a medium in a safe, never on the same disk.\n\
         Test the backup: segel backup verify {}",
        key.display(),
        file.display()
    ))?;
    Ok(Exit::Yes)
}

/// The audit log hears of it. The backup is good without that.
fn note(config: &Config, made: &Made) {
    // An older store would be brought up to date by opening it; that is the start's business.
    if made.manifest.schema < known_schema() {
        return;
    }
    let database = made.manifest.files.first().map(|entry| entry.sha256.clone()).unwrap_or_default();
    let command = Command::BackupMade { size: made.size, database, operator: local::operator() };
    if let Err(error) = local::change(config, command) {
        warning_line(&format!("warning: the backup is made, but the audit log could not be told: {error}"));
    }
}

fn describe(file: &Path, manifest: &Manifest) -> serde_json::Value {
    json!({
        "file": file.display().to_string(), "made": manifest.made, "version": manifest.version,
        "schema": manifest.schema, "master_key": manifest.master_key, "files": manifest.files.len(),
        "waiting": manifest.waiting, "missing": manifest.missing,
    })
}

fn facts(manifest: &Manifest) -> Vec<(&'static str, String)> {
    vec![
        ("as of", manifest.made.clone()),
        ("made by", format!("Segel {}, schema {}", manifest.version, manifest.schema)),
        ("files", manifest.files.len().to_string()),
        ("waiting", format!("{} recipients", manifest.waiting)),
        ("master key", manifest.master_key.clone().unwrap_or_else(|| "none: nothing in it is sealed".to_owned())),
    ]
}

fn check(arguments: &VerifyArguments, given: Option<&Path>, out: &mut Printer) -> Result<Exit, CliError> {
    // Without a configuration the archive alone is checked: it may lie on another machine.
    let named = given.is_some() || std::env::var_os("SEGEL_CONFIG").is_some_and(|path| !path.is_empty());
    let path = config_path(given);
    let config = if named || path.exists() { Some(load(&path)?) } else { None };
    let found = local::wait(verify(&arguments.file, config.as_ref().map(|config| &config.master_key)))??;
    let good = found.keys.is_none_or(|keys| keys.left == 0) && found.manifest.missing.is_empty();
    if arguments.json {
        let mut value = describe(&arguments.file, &found.manifest);
        if let Some(object) = value.as_object_mut() {
            object.insert("good".to_owned(), good.into());
            object.insert("keys_opened".to_owned(), found.keys.map(|keys| keys.done).into());
            object.insert("keys_damaged".to_owned(), found.keys.map(|keys| keys.left).into());
        }
        out.json(&value)?;
        return Ok(if good { Exit::Yes } else { Exit::No });
    }
    out.line(&format!("`{}` is whole", arguments.file.display()))?;
    let mut rows = facts(&found.manifest);
    rows.push(("opens as", format!("schema {}", found.schema)));
    rows.push((
        "keys",
        match found.keys {
            Some(keys) => format!("{} open with the master key, {} do not", keys.done, keys.left),
            None => {
                "not tried: the master key is not at hand; name a configuration that has it with `-c FILE`".to_owned()
            }
        },
    ));
    if !found.manifest.missing.is_empty() {
        rows.push(("damage", format!("{} contents were gone when it was made", found.manifest.missing.len())));
    }
    out.labelled(2, &rows)?;
    Ok(if good { Exit::Yes } else { Exit::No })
}

pub(super) fn run_restore(
    arguments: RestoreArguments,
    given: Option<&Path>,
    out: &mut Printer,
) -> Result<Exit, CliError> {
    let (data_dir, database, key) = match &arguments.data_dir {
        Some(folder) => (folder.clone(), folder.join("segel.db"), None),
        None => {
            let config = load(&config_path(given))?;
            (config.data_dir, config.database, Some(config.master_key))
        }
    };
    let request = Restore {
        file: arguments.file,
        data_dir,
        database,
        move_aside: arguments.move_aside,
        operator: local::operator(),
    };
    let done = local::wait(restore(&request))??;
    let fits = key.as_ref().map(|source| fits(source, done.manifest.master_key.as_deref()));
    if arguments.json {
        let mut value = describe(&request.file, &done.manifest);
        if let Some(object) = value.as_object_mut() {
            object.insert("held".to_owned(), done.held.into());
            object.insert("data_dir".to_owned(), request.data_dir.display().to_string().into());
            object.insert("aside".to_owned(), done.aside.as_ref().map(|path| path.display().to_string()).into());
            object.insert("master_key_fits".to_owned(), fits.as_ref().map(Result::is_ok).into());
        }
        out.json(&value)?;
        return Ok(Exit::Yes);
    }
    out.line(&format!("restored into `{}`: the state of {}", request.data_dir.display(), done.manifest.made))?;
    if let Some(aside) = &done.aside {
        out.line(&format!("what was there: {}", aside.display()))?;
    }
    let id = done.manifest.master_key.as_deref().unwrap_or_default();
    match fits {
        Some(Ok(())) => {}
        Some(Err(problem)) => {
            warning_line(&format!("warning: {problem}; before the start put back master key `{id}`"));
        }
        None => out.line(&format!("it opens with master key {id}; put it where the configuration says"))?,
    }
    out.line(&format!(
        "held: {} recipients. Nothing leaves by itself: it may have been delivered after the backup.\n\
         Start the gateway, look at it with `segel quarantine list`, then\n    \
         segel queue release ID --reason TEXT\n    segel queue release --restored --reason TEXT     for all of it",
        done.held
    ))?;
    Ok(Exit::Yes)
}

/// Whether the master key that the configuration means opens the store.
fn fits(source: &MasterKeySource, id: Option<&str>) -> Result<(), OperationError> {
    let (MasterKeySource::File(path) | MasterKeySource::Generated(path)) = source;
    let failed = |message: String| Err(OperationError::new(ErrorKind::Store, message));
    match MasterKey::open(&MasterKeySource::File(path.clone())) {
        Ok((key, _)) if id.is_none_or(|id| id == key.id()) => Ok(()),
        Ok((key, _)) => failed(format!("`{}` holds another master key, `{}`", path.display(), key.id())),
        Err(error) => failed(OperationError::from_error(ErrorKind::Store, &error).message),
    }
}
