//! Writing and reading the archive. Reading trusts nothing: names, kinds, sizes and digests are checked before a file counts.

use super::{CONTENT, DATABASE, DIGEST, Entry, FORMAT, MANIFEST, Manifest, io, is_content_name, no_good};
use crate::operations::{ErrorKind, OperationError};
use aws_lc_rs::digest;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Octets of a manifest: a million content files.
const MANIFEST_MAX: u64 = 256 << 20;
/// Files in an archive: ten times what a manifest of that size names.
const FILES: usize = 10_000_000;

/// An archive that is being written.
pub(super) struct Writer {
    tar: tar::Builder<BufWriter<File>>,
    files: Vec<Entry>,
    made: u64,
}

impl Writer {
    /// `made`: the time of all its files, in seconds.
    pub(super) fn new(file: File, made: u64) -> Self {
        Self { tar: tar::Builder::new(BufWriter::new(file)), files: Vec::new(), made }
    }

    /// Adds an open file; its digest is that of the octets that were written.
    pub(super) fn add(&mut self, name: &str, file: File) -> std::io::Result<()> {
        let size = file.metadata()?.len();
        let mut hashing = Hashing::new(file.take(size));
        self.append(name, size, &mut hashing)?;
        let (sha256, read) = hashing.finish();
        if read != size {
            return Err(std::io::Error::other("it became shorter while it was read"));
        }
        self.files.push(Entry { name: name.to_owned(), size, sha256 });
        Ok(())
    }

    fn append(&mut self, name: &str, size: u64, content: &mut impl Read) -> std::io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(self.made);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        self.tar.append(&header, content)
    }

    /// Adds the manifest and flushes everything to the disk.
    pub(super) fn finish(mut self, mut manifest: Manifest) -> std::io::Result<Manifest> {
        manifest.files = std::mem::take(&mut self.files);
        let text = serde_json::to_vec_pretty(&manifest)?;
        let line = format!("{}  {MANIFEST}\n", hex(&text));
        self.append(MANIFEST, text.len() as u64, &mut text.as_slice())?;
        self.append(DIGEST, line.len() as u64, &mut line.as_bytes())?;
        let mut buffered = self.tar.into_inner()?;
        buffered.flush()?;
        buffered.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(manifest)
    }
}

/// Where what is read goes.
pub(super) enum Unpack<'a> {
    /// Below this folder: the database as `segel.db`, content files below `content`.
    All(&'a Path),
    /// The database alone; the others are read and forgotten.
    Database(&'a Path),
}

/// Reads a whole archive, checks every name, size and digest, and unpacks it into a folder that is there and empty.
///
/// # Errors
/// Whatever is wrong with it; what was unpacked so far does not count then.
pub(super) fn read(file: &Path, to: &Unpack<'_>) -> Result<Manifest, OperationError> {
    let opened = OpenOptions::new()
        .read(true)
        .open(file)
        .map_err(|error| OperationError::new(ErrorKind::Input, format!("cannot read `{}`: {error}", file.display())))?;
    let mut reading = Reading { file, to, found: Vec::new(), names: HashSet::new(), manifest: None, digest: None };
    let mut tar = tar::Archive::new(BufReader::with_capacity(1 << 20, opened));
    let damaged = |error: &std::io::Error| no_good(file, &format!("damaged or cut off: {error}"));
    // Raw: entries that would rename, sparse or lengthen others are entries of their own, and refused by their kind.
    let entries = tar.entries().map_err(|error| damaged(&error))?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        reading.entry(&mut entry)?;
    }
    reading.finish()
}

struct Reading<'a> {
    file: &'a Path,
    to: &'a Unpack<'a>,
    found: Vec<Entry>,
    names: HashSet<String>,
    manifest: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
}

impl Reading<'_> {
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), OperationError> {
        let bad = |problem: &str| no_good(self.file, problem);
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(bad(&format!("`{name}` is no ordinary file")));
        }
        if self.digest.is_some() {
            return Err(bad(&format!("`{name}` stands behind its end")));
        }
        match name.as_str() {
            MANIFEST | DIGEST if size > MANIFEST_MAX => Err(bad("its manifest is too large")),
            DIGEST => {
                self.digest = Some(self.small(entry)?);
                Ok(())
            }
            _ if self.manifest.is_some() => Err(bad(&format!("`{name}` stands behind its manifest"))),
            MANIFEST => {
                self.manifest = Some(self.small(entry)?);
                Ok(())
            }
            _ => self.unpack(&name, size, entry),
        }
    }

    fn small(&self, entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, OperationError> {
        let mut octets = Vec::new();
        entry.read_to_end(&mut octets).map_err(|error| no_good(self.file, &error.to_string()))?;
        Ok(octets)
    }

    fn unpack(&mut self, name: &str, size: u64, entry: &mut impl Read) -> Result<(), OperationError> {
        let content = name.strip_prefix(CONTENT).and_then(|rest| rest.strip_prefix('/'));
        if name != DATABASE && !content.is_some_and(is_content_name) {
            return Err(no_good(self.file, &format!("`{}` is no name of a file in a backup", name.escape_debug())));
        }
        if self.names.len() >= FILES || !self.names.insert(name.to_owned()) {
            return Err(no_good(self.file, &format!("`{name}` stands in it twice")));
        }
        let target = match self.to {
            Unpack::All(folder) => Some(folder.join(name)),
            Unpack::Database(folder) => (name == DATABASE).then(|| folder.join(name)),
        };
        let mut hashing = Hashing::new(entry);
        let copied = match target {
            None => std::io::copy(&mut hashing, &mut std::io::sink())
                .map_err(|error| no_good(self.file, &error.to_string()))?,
            Some(path) => {
                let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let mut made = made.map_err(|error| io("make", &path, &error))?;
                let copied = std::io::copy(&mut hashing, &mut made);
                let copied = copied.and_then(|copied| made.sync_all().map(|()| copied));
                copied.map_err(|error| io("unpack", &path, &error))?
            }
        };
        if copied != size {
            return Err(no_good(self.file, &format!("it ends within `{name}`")));
        }
        let (sha256, size) = hashing.finish();
        self.found.push(Entry { name: name.to_owned(), size, sha256 });
        Ok(())
    }

    fn finish(self) -> Result<Manifest, OperationError> {
        let bad = |problem: &str| no_good(self.file, problem);
        let (Some(text), Some(digest)) = (self.manifest, self.digest) else {
            return Err(bad("it was cut off: its manifest is missing"));
        };
        if digest != format!("{}  {MANIFEST}\n", hex(&text)).into_bytes() {
            return Err(bad("its manifest was changed"));
        }
        let format = serde_json::from_slice::<serde_json::Value>(&text)
            .ok()
            .and_then(|value| value.get("format")?.as_u64())
            .ok_or_else(|| bad("its manifest can't be read"))?;
        if format != u64::from(FORMAT) {
            return Err(bad(&format!("its format is {format}, this version reads {FORMAT}")));
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| bad("its manifest can't be read"))?;
        if let Some((expected, found)) =
            manifest.files.iter().zip(&self.found).find(|(expected, found)| expected != found)
        {
            return Err(bad(&match expected.name == found.name {
                true => format!("`{}` was changed", expected.name),
                false => format!("`{}` stands where its manifest names `{}`", found.name, expected.name),
            }));
        }
        if manifest.files.len() != self.found.len() {
            return Err(bad("it holds other files than its manifest names"));
        }
        if !manifest.files.iter().any(|entry| entry.name == DATABASE) {
            return Err(bad("its database is missing"));
        }
        Ok(manifest)
    }
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, octets).as_ref())
}

/// Digests what passes through.
struct Hashing<R> {
    inner: R,
    context: digest::Context,
    read: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, context: digest::Context::new(&digest::SHA256), read: 0 }
    }

    fn finish(self) -> (String, u64) {
        (data_encoding::HEXLOWER.encode(self.context.finish().as_ref()), self.read)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.context.update(buffer.get(..read).unwrap_or_default());
        self.read = self.read.saturating_add(read as u64);
        Ok(read)
    }
}
