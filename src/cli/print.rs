//! Text for people: tables, blocks of labelled lines, errors with their causes and a hint.

use super::CliError;
use std::io::{self, Write};

/// Standard output. A write that fails ends the command.
pub(super) struct Printer(Box<dyn Write>);

impl Printer {
    pub(super) fn standard() -> Self {
        Self(Box::new(io::stdout().lock()))
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.0, "{text}")?)
    }

    /// Octets as they are.
    pub(super) fn raw(&mut self, octets: &[u8]) -> Result<(), CliError> {
        self.0.write_all(octets)?;
        Ok(self.0.flush()?)
    }

    /// One JSON value on a line of its own.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(&text)
    }

    /// `label  value`, the values in a column; an empty value is left out. Further lines of a value stand below the first.
    pub(super) fn labelled(&mut self, indent: usize, rows: &[(&str, String)]) -> Result<(), CliError> {
        let shown = rows.iter().filter(|(_, value)| !value.is_empty());
        let width = shown.clone().map(|(label, _)| width(label)).max().unwrap_or(0);
        for (label, value) in shown {
            for (index, line) in value.lines().enumerate() {
                let label = if index == 0 { *label } else { "" };
                self.line(&format!(
                    "{:indent$}{label}{:pad$}  {line}",
                    "",
                    "",
                    pad = width.saturating_sub(self::width(label))
                ))?;
            }
        }
        Ok(())
    }

    /// Columns as wide as they need to be, below their titles. No row: `nothing` says so.
    pub(super) fn table(&mut self, titles: &[&str], rows: &[Vec<String>], nothing: &str) -> Result<(), CliError> {
        if rows.is_empty() {
            return self.line(nothing);
        }
        let titles: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
        let mut widths: Vec<usize> = titles.iter().map(|title| width(title)).collect();
        for row in rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = (*column).max(width(cell));
            }
        }
        for row in std::iter::once(&titles).chain(rows) {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, wide)| format!("{cell}{:pad$}", "", pad = wide.saturating_sub(width(cell))));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Characters, not octets: names of people and offices are not always ASCII.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// Writes an error, its causes and a hint to standard error.
pub(super) fn error(error: &CliError, hint: Option<&str>) {
    let mut text = String::new();
    if let CliError::Config(errors) = error {
        for error in errors {
            text.push_str(&format!("{error}\n"));
        }
    }
    text.push_str(&format!("segel: {error}"));
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    if let Some(hint) = hint {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    warning_line(&text);
}

/// Writes a line to standard error.
pub(super) fn warning_line(text: &str) {
    if let Err(error) = writeln!(io::stderr(), "{text}") {
        tracing::debug!(%error, "standard error is closed.");
    }
}

/// Text in lines of at most 96 characters.
pub(super) fn wrapped(text: &str) -> String {
    const WIDTH: usize = 96;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
