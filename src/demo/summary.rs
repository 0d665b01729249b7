//! `summary.json`: the outcomes for programs, one object per recipient; and the same as lines to read.

use super::folder::Folder;
use super::scenario::Direction;
use super::{DemoError, failed};
use serde::Serialize;
use std::fmt;

/// One recipient of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The scenario's name.
    pub scenario: String,
    /// Which way the mail went.
    pub direction: Direction,
    /// The address in `From`.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The outcome that is right.
    pub expected: String,
    /// The outcome, read off what arrived.
    pub outcome: String,
    /// What `segel inspect` says of what arrived.
    pub verdict: Option<String>,
    /// Its reasons.
    pub reasons: Vec<String>,
    /// The stored mail, relative to the demo's folder.
    pub file: Option<String>,
    /// What went in, for the reader.
    #[serde(skip)]
    pub about: &'static str,
    /// Why, for the reader.
    #[serde(skip)]
    pub why: String,
}

impl Row {
    /// Whether the outcome is the right one.
    pub fn as_expected(&self) -> bool {
        self.outcome == self.expected
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.as_expected() { "ok  " } else { "BAD " };
        write!(f, "  {mark}{:<48}{:<13}{}", self.about, self.outcome, self.why)?;
        if self.as_expected() { Ok(()) } else { write!(f, "; expected {}", self.expected) }
    }
}

/// Writes `summary.json`.
pub(super) fn write(folder: &Folder, rows: &[Row]) -> Result<(), DemoError> {
    let text = serde_json::to_vec_pretty(rows)
        .map_err(|error| failed("write `summary.json`", std::io::Error::other(error)))?;
    folder.write("summary.json", &text)
}
