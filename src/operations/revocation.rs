//! CRLs: asking for them now, taking them in by hand.

use super::{ErrorKind, OperationError, Output};
use crate::clock;
use crate::pipeline::Gateway;
use crate::revocation::{RevocationError, Standing};

impl From<RevocationError> for OperationError {
    fn from(error: RevocationError) -> Self {
        let kind = match error {
            RevocationError::NotFound(_) => ErrorKind::NotFound,
            RevocationError::Disabled(_) | RevocationError::Unusable(_) => ErrorKind::Input,
            RevocationError::Store(_) => ErrorKind::Store,
        };
        let failure = Self::from_error(kind, &error);
        match error {
            RevocationError::NotFound(_) => failure.hint(
                "`segel revocation status` shows the URLs and issuers; a URL becomes known by standing in trust.crls or in a certificate that mail brings",
            ),
            RevocationError::Disabled(_) => failure.hint("`segel revocation import FILE` takes a CRL from a file"),
            RevocationError::Unusable(_) => failure.hint(
                "`openssl crl -text -in FILE` shows who issued it; a CA is known by [[trust.anchor]], `segel trust import` or `segel cert import`",
            ),
            RevocationError::Store(_) => failure,
        }
    }
}

/// Asks now; the rows of those that were asked.
pub(super) async fn refresh(gateway: &Gateway, what: Option<&str>) -> Result<Output, OperationError> {
    let asked = gateway.revocation.refresh(what).await?;
    let rows = gateway.revocation.status(clock::now());
    let was_asked = |location: &Option<String>| location.as_ref().is_some_and(|location| asked.contains(location));
    let sources = rows.into_iter().filter(|row| was_asked(&row.location)).collect();
    Ok(Output::Revocation { sources, warnings: Vec::new() })
}

/// Takes them in; the rows as they are now.
pub(super) async fn import(gateway: &Gateway, crl: &str, operator: &str) -> Result<Output, OperationError> {
    let file = data_encoding::BASE64
        .decode(crl.as_bytes())
        .map_err(|_| OperationError::new(ErrorKind::Input, "the CRL is not in base64"))?;
    let sources = gateway.revocation.import(file, operator).await?;
    let ended = sources.iter().filter(|row| row.state != Standing::Current);
    let warnings = ended
        .map(|row| {
            let until = row.next_update.as_deref().unwrap_or("no nextUpdate");
            format!("the time of this CRL is over ({until}): it can condemn certificates, but clear none")
        })
        .collect();
    Ok(Output::Revocation { sources, warnings })
}
