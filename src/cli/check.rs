//! `segel check`

use super::print::{Printer, warning_line};
use super::{CliError, Exit};
use crate::config::{Config, ConfigError, MasterKeySource};
use crate::seal::{MasterKey, SealError};
use serde_json::json;
use std::io::ErrorKind;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Prints one JSON object per line: errors, then warnings
    #[arg(long)]
    json: bool,
}

/// A master key that is there has to be one; who may not read it, or not now, can't tell.
fn with_master_key(mut config: Config) -> Result<Config, Vec<ConfigError>> {
    let MasterKeySource::File(key) = &config.master_key else { return Ok(config) };
    match MasterKey::open(&config.master_key) {
        Ok(_) => Ok(config),
        Err(SealError::Read { source, .. })
            if source.kind() == ErrorKind::PermissionDenied
                // An encrypted credential is there as long as the service runs.
                || (source.kind() == ErrorKind::NotFound && key.starts_with("/run/credentials")) =>
        {
            let text = format!("the master key `{}` was not looked at: {source}", key.display());
            config.warnings.push(text);
            Ok(config)
        }
        Err(error) => Err(vec![ConfigError {
            file: config.file.clone(),
            line: 1,
            key: "keys.master".to_owned(),
            problem: error.to_string(),
            hint: "it is no key of a certificate; where nothing is stored yet, `openssl rand 32 > master.key` makes one, mode 0600"
                .to_owned(),
        }]),
    }
}

/// Errors are the answer here: they go to standard output with `--json`, else to standard error. Exit code 2 for errors.
pub(super) fn run(arguments: &Arguments, path: &Path, out: &mut Printer) -> Result<Exit, CliError> {
    match crate::config::load(path).and_then(with_master_key) {
        Ok(config) => {
            if arguments.json {
                for warning in &config.warnings {
                    out.json(&json!({"level": "warning", "text": warning}))?;
                }
                out.json(&json!({"level": "ok", "file": path, "policy": config.policy.hash, "rules": config.policy.rules.len(), "tests": config.policy_tests}))?;
                return Ok(Exit::Yes);
            }
            for warning in &config.warnings {
                warning_line(&format!("warning: {warning}"));
            }
            let domains: Vec<&str> = config.policy.domains.iter().map(|own| own.domain.as_str()).collect();
            out.line(&format!("{}: no errors, {} warning(s)", path.display(), config.warnings.len()))?;
            let mut rows = vec![("domains", domains.join(", "))];
            let listeners = config.listeners.iter().map(|listener| {
                let side = match listener.side {
                    crate::policy::Side::Inside => "inside",
                    crate::policy::Side::Outside => "outside",
                };
                format!("{} ({side}) on {}", listener.name, listener.bind)
            });
            rows.push(("listeners", listeners.collect::<Vec<_>>().join("\n")));
            rows.push(("route", config.route.as_ref().map_or_else(|| "mx".to_owned(), ToString::to_string)));
            rows.push(("trust", format!("{} anchor(s), {} CRL(s)", config.anchors.len(), config.crls.len())));
            rows.push(("CRLs from", config.crl_urls.join("\n")));
            let (rules, tests) = (config.policy.rules.len(), config.policy_tests);
            rows.push(("rules", format!("{rules} rule(s), {tests} test(s) passed")));
            rows.push(("policy", config.policy.hash.clone()));
            out.labelled(2, &rows)?;
            Ok(Exit::Yes)
        }
        Err(errors) if arguments.json => {
            for error in &errors {
                out.json(&json!({
                    "level": "error", "file": error.file, "line": error.line, "key": error.key,
                    "problem": error.problem, "hint": error.hint,
                }))?;
            }
            Err(CliError::Config(Vec::new()))
        }
        Err(errors) => Err(CliError::Config(errors)),
    }
}
