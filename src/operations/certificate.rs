//! What an operator does with others' certificates.

use super::row::CertificateRow;
use super::{ErrorKind, OperationError, Output, address};
use crate::directory::{DirectoryError, Listed};
use crate::pipeline::Gateway;
use crate::pki::Certificate;
use crate::reason::Reason;

pub(super) async fn import(
    gateway: &Gateway,
    certificates: &[Vec<u8>],
    addresses: &[String],
) -> Result<Output, OperationError> {
    let input = |message: String| OperationError::new(ErrorKind::Input, message);
    let read = |der: &Vec<u8>| Certificate::from_der(der).map_err(|error| input(error.to_string()));
    let certificates = certificates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let addresses = addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let taken = gateway.directory.import_certificates(&certificates, &addresses).await?;
    let rows: Vec<CertificateRow> = taken.iter().map(|listed| CertificateRow::of(gateway, listed)).collect();
    let warnings = rows.iter().flat_map(warnings).collect();
    Ok(Output::Certificates { certificates: rows, warnings })
}

pub(super) fn one(gateway: &Gateway, listed: &Listed) -> Output {
    Output::Certificates { certificates: vec![CertificateRow::of(gateway, listed)], warnings: Vec::new() }
}

/// What stands against using it now: better heard at once than from the first mail that waits.
fn warnings(row: &CertificateRow) -> Vec<String> {
    let reasons = row.reasons.iter().filter_map(|code| Reason::from_code(code));
    if row.role == CertificateRow::ISSUER {
        let untrusted = row.reasons.iter().any(|code| code == Reason::Untrusted.code());
        let told = format!(
            "the CA `{}` now helps to find paths, which does not make it trusted; an anchor is named under \
             [[trust.anchor]] or taken in with `segel trust import`",
            row.subject
        );
        return if untrusted { vec![told] } else { Vec::new() };
    }
    reasons.map(|reason| will_not_receive(reason, row)).collect()
}

fn will_not_receive(reason: Reason, row: &CertificateRow) -> String {
    let (issuer, to) = (&row.issuer, row.addresses.join(", "));
    match reason {
        Reason::Untrusted => format!(
            "nothing is encrypted to {to} with this certificate: no trust anchor issues it (issuer `{issuer}`); name its \
             root under [[trust.anchor]] or take it in with `segel trust import`, and an intermediate CA with `segel cert import`"
        ),
        Reason::RevocationUnknown => format!(
            "mail that is to be encrypted to {to} is deferred: no current CRL says whether this certificate is revoked; those \
             of `{issuer}` and of the CAs above it are fetched where the certificates name an http URL, else add them to \
             trust.crls or take them in with `segel revocation import`"
        ),
        Reason::Expired => format!(
            "nothing is encrypted to {to} with this certificate: it, or its CA's, has ended (at {})",
            row.not_after
        ),
        Reason::NotYetValid => format!(
            "nothing is encrypted to {to} with this certificate yet: it, or its CA's, begins later (at {})",
            row.not_before
        ),
        Reason::Revoked => {
            format!("nothing is encrypted to {to} with this certificate: its CA has revoked it")
        }
        Reason::BlockedLocally => {
            format!("this certificate is blocked and stays so; `segel cert unblock {}` lets it be used", row.id)
        }
        other => format!("nothing is encrypted to {to} with this certificate: {other}"),
    }
}

impl From<DirectoryError> for OperationError {
    fn from(error: DirectoryError) -> Self {
        let kind = match error {
            DirectoryError::NotFound(_) | DirectoryError::UnknownCertificate(_) => ErrorKind::NotFound,
            DirectoryError::Store(_) | DirectoryError::Damaged { .. } => ErrorKind::Store,
            _ => ErrorKind::Input,
        };
        let failure = Self::from_error(kind, &error);
        match error {
            DirectoryError::UnknownCertificate(_) => failure.hint("`segel cert list` shows the ids"),
            DirectoryError::AmbiguousCertificate(_) => failure.hint("give more digits"),
            DirectoryError::Unfit { .. } => {
                failure.hint("its owner receives encrypted mail with another certificate: ask for that one")
            }
            DirectoryError::AddressNotNamed { .. } => failure.hint(
                "what is encrypted to it is for whom it names; leave --address out, or ask for a certificate with this address",
            ),
            DirectoryError::NoAddress(_) => failure.hint(
                "bind it with --address once its owner has shown that the mailbox is his; that is the registration officer's word",
            ),
            DirectoryError::NotOne(_) => failure.hint("import certificates with --address one by one"),
            _ => failure,
        }
    }
}
