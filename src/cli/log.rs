//! Where the log goes and what a line looks like: standard error, in the format of `[log]`.

use crate::config::{Log, LogFormat, LogLevel};
use std::io::{self, Write};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// INFO an operation done, WARN recovered, ERROR needs an operator.
pub(super) fn set_up(log: &Log) {
    let format = log.format.unwrap_or(match crate::systemd::stderr_is_the_journal() {
        true => LogFormat::Journal,
        false => LogFormat::Text,
    });
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false);
    let levels = tracing_subscriber::registry().with(levels(log.level));
    let done = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(levels.with(lines.with_writer(io::stderr))),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            tracing::subscriber::set_global_default(levels.with(lines.with_writer(io::stderr)))
        }
        LogFormat::Journal => {
            let lines = lines.without_time().with_level(false).with_writer(Journal);
            tracing::subscriber::set_global_default(levels.with(lines))
        }
    };
    if done.is_err() {
        tracing::debug!("logging was set up before.");
    }
}

/// Libraries are not debugged by operators.
fn levels(level: LogLevel) -> Targets {
    let (own, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::INFO),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
    };
    Targets::new().with_default(others).with_target("segel", own)
}

/// Standard error, each line with its priority in front (sd-daemon(3)): the journal takes it off and keeps it.
struct Journal;

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Prefixed;

    fn make_writer(&'a self) -> Prefixed {
        Prefixed("<6>")
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Prefixed {
        Prefixed(match *about.level() {
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            Level::DEBUG | Level::TRACE => "<7>",
        })
    }
}

struct Prefixed(&'static str);

impl Write for Prefixed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut text = Vec::with_capacity(octets.len() + 2 * self.0.len());
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            text.extend_from_slice(self.0.as_bytes());
            text.extend_from_slice(line);
        }
        io::stderr().write_all(&text)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
