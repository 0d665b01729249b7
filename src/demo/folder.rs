//! The one folder that the demo writes to.

#![expect(clippy::disallowed_methods, reason = "the demo owns the files that it makes")]

use super::{DemoError, failed};
use std::fs;
use std::path::{Path, PathBuf};

/// First line of the configuration; says that a folder may be used again.
pub(super) const MARKER: &str = "# Made by `segel demo`; a new run replaces it and the folders beside it.\n";
/// What a run makes and a later run removes.
const OWN: [&str; 9] =
    ["pki", "data", "inside", "outside", "quarantine", "segel.toml", "policy.toml", "segel.log", "summary.json"];
/// What must exist before the gateway starts.
const FOLDERS: [&str; 5] = ["pki", "data", "inside", "outside", "quarantine"];

/// An empty folder with the demo's sub-folders.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes the folder, or empties one that an earlier run left.
    pub(super) fn make(wanted: Option<&Path>) -> Result<Self, DemoError> {
        let root = match wanted {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("segel-demo-{}", std::process::id())),
        };
        let attempt = |source| failed(format!("make folder `{}`", root.display()), source);
        fs::create_dir_all(&root).map_err(attempt)?;
        let root = root.canonicalize().map_err(attempt)?;
        let folder = Self { root };
        folder.clear()?;
        for name in FOLDERS {
            folder.make_sub(name)?;
        }
        Ok(folder)
    }

    /// The folder itself, absolute.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the folder.
    pub(super) fn sub(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes one file below the folder.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), DemoError> {
        write(&self.sub(name), content)
    }

    /// Reads one file below the folder.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, DemoError> {
        let path = self.sub(name);
        fs::read(&path).map_err(|source| failed(format!("read `{}`", path.display()), source))
    }

    /// A file that takes the gateway's log.
    pub(super) fn log(&self) -> Result<fs::File, DemoError> {
        let path = self.sub("segel.log");
        fs::File::create(&path).map_err(|source| failed(format!("make `{}`", path.display()), source))
    }

    /// `path` relative to the folder, as the summary shows it.
    pub(super) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn make_sub(&self, name: &str) -> Result<(), DemoError> {
        let path = self.sub(name);
        fs::create_dir_all(&path).map_err(|source| failed(format!("make folder `{}`", path.display()), source))
    }

    /// Removes what an earlier run made; refuses a folder that holds anything else.
    fn clear(&self) -> Result<(), DemoError> {
        let attempt = |source| failed(format!("empty folder `{}`", self.root.display()), source);
        let empty = fs::read_dir(&self.root).map_err(attempt)?.next().is_none();
        if empty {
            return Ok(());
        }
        let made_by_us = fs::read_to_string(self.sub("segel.toml")).is_ok_and(|text| text.starts_with(MARKER));
        if !made_by_us {
            return Err(DemoError::Occupied(self.root.clone()));
        }
        for name in OWN {
            let path = self.sub(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).map_err(attempt)?;
            } else if path.exists() {
                fs::remove_file(&path).map_err(attempt)?;
            }
        }
        Ok(())
    }
}

/// Writes one file.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), DemoError> {
    fs::write(path, content).map_err(|source| failed(format!("write `{}`", path.display()), source))
}
