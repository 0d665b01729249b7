//! Files that the configuration names: read within a bound, certificates and keys taken out of PEM.

use super::parse::Findings;
use super::settings::TlsIdentity;
use crate::pki::Certificate;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use zeroize::Zeroizing;

/// Octets of a certificate, key or password file.
const MOST: usize = 1 << 20;

/// What to do about a file that this user may not read.
pub(super) const DENIED: &str = "the file has to be readable for who runs this: the packaged service is the user and group `segel` \
                                 (`chgrp segel FILE` and `chmod 640 FILE`), and needs `x` on the folders above it";

/// The file's content, at most `most` octets.
pub(super) fn read(
    key: &str,
    written: &Spanned<String>,
    directory: &Path,
    most: usize,
    hint: &str,
    findings: &mut Findings<'_>,
) -> Option<(PathBuf, Vec<u8>)> {
    use std::io::Read;
    let path = directory.join(written.get_ref());
    let mut content = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "this module is the reader of the operator's files")]
    let file = std::fs::File::open(&path);
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let (problem, hint) = match file.and_then(|file| file.take(bound).read_to_end(&mut content)) {
        Ok(length) if length <= most => return Some((path, content)),
        Ok(_) => (format!("expected at most {} MiB, found more in `{}`", most >> 20, path.display()), hint),
        Err(error) => {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let problem = format!("expected a readable file `{}`, found: {error}", path.display());
            (problem, if denied { DENIED } else { hint })
        }
    };
    findings.error(written.span().start, key, problem, hint);
    None
}

/// Certificates, PEM or DER; at least one.
pub(super) fn certificates(
    key: &str,
    written: &Spanned<String>,
    directory: &Path,
    findings: &mut Findings<'_>,
) -> Vec<Vec<u8>> {
    let hint = "PEM (`-----BEGIN CERTIFICATE-----`, several are allowed) or DER; the path is relative to this configuration file";
    let Some((path, content)) = read(key, written, directory, MOST, hint, findings) else { return Vec::new() };
    match Certificate::bundle(&content) {
        Ok(list) if !list.is_empty() => list.iter().map(|one| one.der().to_vec()).collect(),
        found => {
            let why = found.err().map(|error| format!(": {error}")).unwrap_or_default();
            let problem = format!("expected certificates, found none in `{}`{why}", path.display());
            findings.error(written.span().start, key, problem, hint);
            Vec::new()
        }
    }
}

/// An unencrypted private key in PEM: PKCS#8, PKCS#1 or SEC 1.
pub(super) fn private_key(
    key: &str,
    written: &Spanned<String>,
    directory: &Path,
    findings: &mut Findings<'_>,
) -> Option<Arc<Zeroizing<Vec<u8>>>> {
    let hint =
        "an unencrypted private key in PEM, readable by the service alone (0600 and its own, or 0640 and its group's)";
    let (path, content) = read(key, written, directory, MOST, hint, findings)?;
    let content = Zeroizing::new(content);
    match PrivateKeyDer::from_pem_slice(&content) {
        Ok(found) => Some(Arc::new(Zeroizing::new(found.secret_der().to_vec()))),
        Err(_) => {
            let (found, hint) = instead_of_a_key(&content).unwrap_or(("none", hint));
            let problem = format!("expected a private key in PEM, found {found} in `{}`", path.display());
            findings.error(written.span().start, key, problem, hint);
            None
        }
    }
}

/// What people put where a private key is asked for, and how they make one of it.
fn instead_of_a_key(content: &[u8]) -> Option<(&'static str, &'static str)> {
    let has = |text: &str| memchr::memmem::find(content, text.as_bytes()).is_some();
    if has("ENCRYPTED") {
        Some(("an encrypted one", "`openssl pkey -in FILE -out KEY.pem` takes the passphrase off"))
    } else if has("-----BEGIN CERTIFICATE-----") {
        Some(("a certificate", "the private key is the file that begins with `-----BEGIN PRIVATE KEY-----` or alike"))
    } else if content.first() == Some(&0x30) {
        let hint = "DER or PKCS#12: `openssl pkcs12 -in FILE.p12 -nodes -nocerts -out KEY.pem`, or \
                    `openssl pkey -inform DER -in FILE -out KEY.pem`";
        Some(("no PEM", hint))
    } else {
        None
    }
}

/// A certificate with its key: both or neither, and one for the other.
pub(super) fn identity(
    table: &str,
    certificate: Option<&Spanned<String>>,
    key: Option<&Spanned<String>>,
    directory: &Path,
    findings: &mut Findings<'_>,
) -> Option<TlsIdentity> {
    let (names, empty) = ([format!("{table}.certificate"), format!("{table}.key")], |text: &&Spanned<String>| {
        !text.get_ref().is_empty()
    });
    let [certificate_key, key_key] = &names;
    match (certificate.filter(empty), key.filter(empty)) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate_key, certificate, directory, findings);
            let secret = private_key(key_key, key, directory, findings)?;
            if chain.is_empty() {
                return None;
            }
            let identity = TlsIdentity { chain, key: secret };
            match crate::config::settings::fits(&identity) {
                Ok(()) => Some(identity),
                Err(problem) => {
                    let hint = "the certificate of this key comes first in its file, its chain after it";
                    findings.error(key.span().start, key_key, problem, hint);
                    None
                }
            }
        }
        (Some(one), None) | (None, Some(one)) => {
            let missing = if certificate.is_some() { key_key } else { certificate_key };
            findings.error(
                one.span().start,
                missing,
                "expected a file, found nothing",
                "a certificate and its key go together",
            );
            None
        }
    }
}

/// The first line of a file: a password.
pub(super) fn password(
    key: &str,
    written: &Spanned<String>,
    directory: &Path,
    findings: &mut Findings<'_>,
) -> Option<Arc<Zeroizing<String>>> {
    let hint = "a file with the password in its first line, readable by the service alone (0600 and its own, or 0640 and its group's)";
    let (path, content) = read(key, written, directory, MOST, hint, findings)?;
    let content = Zeroizing::new(content);
    let line = content.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match str::from_utf8(line) {
        Ok(text) if !text.is_empty() && !text.contains('\0') => Some(Arc::new(Zeroizing::new(text.to_owned()))),
        _ => {
            let problem = format!("expected a password in the first line of `{}`, found none", path.display());
            findings.error(written.span().start, key, problem, hint);
            None
        }
    }
}
