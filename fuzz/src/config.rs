//! The operator's file: either a configuration, or errors that say where.

use std::path::Path;

/// `data` as the content of a configuration file. What it names lies nowhere.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Files that it names are opened: none that exists may be, for some never end.
    if text.contains('/') || text.contains("..") || text.contains('\\') {
        return;
    }
    let lines = text.lines().count() + 1;
    if let Err(errors) = segel::config::from_text(Path::new("/nonexistent/segel.toml"), text) {
        assert!(!errors.is_empty());
        for error in errors {
            assert!(error.line >= 1 && error.line <= lines, "line {} of {lines}", error.line);
            assert!(!error.problem.is_empty());
        }
    }
}
