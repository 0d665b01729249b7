//! The emergency bypass of signing: begun and ended.

use super::queue::checked_reason;
use super::{ErrorKind, OperationError, Output};
use crate::bypass::{BypassError, HOURS};
use crate::clock;
use crate::mail::Domain;
use crate::pipeline::Gateway;

/// # Errors
/// Nothing was changed.
pub(super) async fn start(
    gateway: &Gateway,
    domain: Option<&str>,
    hours: u32,
    operator: String,
    reason: String,
) -> Result<Output, OperationError> {
    let reason = checked_reason(&reason)?;
    if !(1..=HOURS).contains(&hours) {
        let message = format!("expected 1 to {HOURS} hours, found {hours}");
        return Err(OperationError::new(ErrorKind::Input, message).hint("it can be started again when it has ended"));
    }
    let domain = domain.map(|text| own_domain(gateway, text)).transpose()?;
    let started = gateway.bypass.start(domain, hours, reason, operator, clock::now()).await?;
    Ok(Output::Bypass { bypasses: vec![started] })
}

/// # Errors
/// Nothing was changed.
pub(super) async fn stop(gateway: &Gateway, domain: Option<&str>, operator: &str) -> Result<Output, OperationError> {
    // One that was for a domain that is no own domain any more can be ended too.
    let domain = domain.map(domain_name).transpose()?;
    let bypasses = gateway.bypass.stop(domain.as_ref(), operator, clock::now()).await?;
    Ok(Output::Bypass { bypasses })
}

fn domain_name(text: &str) -> Result<Domain, OperationError> {
    Domain::parse(text)
        .map_err(|_| OperationError::new(ErrorKind::Input, format!("expected a mail domain, found `{text}`")))
}

fn own_domain(gateway: &Gateway, text: &str) -> Result<Domain, OperationError> {
    let domain = domain_name(text)?;
    let snapshot = gateway.snapshot();
    if snapshot.config.policy.domain(&domain).is_some() {
        return Ok(domain);
    }
    let names: Vec<&str> = snapshot.config.policy.domains.iter().map(|own| own.domain.as_str()).collect();
    let message = format!("expected an own domain, found `{text}`");
    Err(OperationError::new(ErrorKind::Input, message).hint(format!("own domains are {}", names.join(", "))))
}

impl From<BypassError> for OperationError {
    fn from(error: BypassError) -> Self {
        let failure = |kind| Self::from_error(kind, &error);
        match &error {
            BypassError::InForce { .. } => failure(ErrorKind::Input)
                .hint("`segel bypass stop` ends it; then it can be started again, for another time"),
            BypassError::TooLong { .. } => failure(ErrorKind::Input)
                .hint("start it for fewer hours, or end the domain's own first (`segel bypass stop --domain D`)"),
            BypassError::None(_) => failure(ErrorKind::NotFound).hint("`segel bypass status` shows what is in force"),
            BypassError::Time => failure(ErrorKind::Input),
            BypassError::Store(_) => failure(ErrorKind::Store),
        }
    }
}
