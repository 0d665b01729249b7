//! Files and values that arguments name.

use super::CliError;
use crate::crypto::Digest;
use crate::limits::Limits;
use crate::pki::{Certificate, Crl, RevocationMode};
use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};

/// `--revocation`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Revocation {
    /// An unknown status makes a certificate unusable
    HardFail,
    /// An unknown status is a warning
    SoftFail,
    /// Status is not looked at
    None,
}

impl Revocation {
    pub(super) fn mode(self) -> RevocationMode {
        match self {
            Self::HardFail => RevocationMode::HardFail,
            Self::SoftFail => RevocationMode::SoftFail,
            Self::None => RevocationMode::None,
        }
    }
}

/// The whole file.
#[expect(clippy::disallowed_methods, reason = "files named by arguments are read here")]
pub(super) fn file(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// Writes a file that did not exist or may be replaced.
#[expect(clippy::disallowed_methods, reason = "files named by arguments are written here")]
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), CliError> {
    std::fs::write(path, content).map_err(|source| CliError::Write { path: path.to_owned(), source })
}

/// The first line of a file. A final CR or LF is not part of a password; other white space is.
pub(super) fn password(path: &Path) -> Result<String, CliError> {
    let text = zeroize::Zeroizing::new(file(path)?);
    let line = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let problem = || CliError::Input {
        path: path.to_owned(),
        problem: "expected text in UTF-8".to_owned(),
        hint: "the first line of the file is the password",
    };
    std::str::from_utf8(line).map(str::to_owned).map_err(|_| problem())
}

/// Every certificate of the files: PEM (several) or DER.
pub(super) fn certificates(paths: &[PathBuf]) -> Result<Vec<Certificate>, CliError> {
    let mut certificates = Vec::new();
    for path in paths {
        let found = match Certificate::bundle(&file(path)?) {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return Err(not_read(path, "expected certificates, found none".to_owned())),
            Err(error) => return Err(not_read(path, error.to_string())),
        };
        certificates.extend(found);
    }
    Ok(certificates)
}

fn not_read(path: &Path, problem: String) -> CliError {
    let hint = "expected PEM (`-----BEGIN CERTIFICATE-----`) or DER; `openssl x509 -in FILE -inform DER -text` shows what it is";
    CliError::Input { path: path.to_owned(), problem, hint }
}

/// Every CRL of the files: PEM (several) or DER.
pub(super) fn crls(paths: &[PathBuf], limits: &Limits) -> Result<Vec<Crl>, CliError> {
    let mut crls = Vec::new();
    for path in paths {
        let found = Crl::bundle(&file(path)?, limits).map_err(|error| CliError::Input {
            path: path.clone(),
            problem: error.to_string(),
            hint: "expected PEM (`-----BEGIN X509 CRL-----`) or DER",
        })?;
        crls.extend(found);
    }
    Ok(crls)
}

/// RFC 3339, or a date, which is its first moment in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let whole_date = text.len() == 10;
    let time = if whole_date { date() } else { text.parse::<Timestamp>().ok() };
    time.ok_or_else(|| "expected a time such as 2026-11-22T03:00:00Z or a date such as 2026-11-22".to_owned())
}

/// A digest that `--allow-weak` names.
pub(super) fn weak_digest(text: &str) -> Result<Digest, String> {
    // MD5 is never computed, so it can't be allowed.
    match text.to_ascii_lowercase().as_str() {
        "sha1" | "sha-1" => Ok(Digest::Sha1),
        _ => Err("expected sha1".to_owned()),
    }
}

/// The message with CRLF line ends. A file whose first line ends in LF alone was saved on a Unix system: every bare LF
/// becomes CRLF. Any other file keeps its bytes, because a bare LF in it is content.
pub(super) fn message(path: &Path) -> Result<Vec<u8>, CliError> {
    Ok(with_crlf(file(path)?))
}

fn with_crlf(bytes: Vec<u8>) -> Vec<u8> {
    let Some(first) = bytes.iter().position(|octet| *octet == b'\n') else { return bytes };
    let before = |at: usize| at.checked_sub(1).and_then(|at| bytes.get(at)).copied();
    if before(first) == Some(b'\r') {
        return bytes;
    }
    let mut converted = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut previous = 0;
    for octet in bytes {
        if octet == b'\n' && previous != b'\r' {
            converted.push(b'\r');
        }
        converted.push(octet);
        previous = octet;
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_saved_with_lf_become_crlf_and_others_keep_their_bytes() {
        let table: [(&[u8], &[u8]); 5] = [
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\nb\nc\r\n", b"a\r\nb\nc\r\n"),
            (b"a\nb\r\nc\n", b"a\r\nb\r\nc\r\n"),
            (b"\n", b"\r\n"),
            (b"", b""),
        ];
        for (from, expected) in table {
            assert_eq!(with_crlf(from.to_vec()), expected, "{from:?}");
        }
    }

    #[test]
    fn times_are_rfc_3339_or_dates() {
        let table = [
            ("2026-11-22T03:00:00Z", Some("2026-11-22T03:00:00Z")),
            ("2026-11-22T10:00:00+07:00", Some("2026-11-22T03:00:00Z")),
            ("2026-11-22", Some("2026-11-22T00:00:00Z")),
            ("22-11-2026", None),
            ("2026-13-01", None),
            ("2026-11-22T03:00:00", None),
            ("now", None),
        ];
        for (text, expected) in table {
            assert_eq!(time(text).ok().map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }
}
