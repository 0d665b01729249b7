//! Whether what came is a CRL that may take the place of the one at hand.

use super::crls;
use crate::limits::Limits;
use crate::pki::{Certificate, Crl, Name};
use jiff::{SignedDuration, Timestamp};

/// Clocks differ: a thisUpdate this far ahead is not called future.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Why a CRL is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The octets are something else.
    #[error("{0}")]
    NoCrl(String),
    /// A delta, an indirect CRL, or one with a critical extension that is not understood.
    #[error("a CRL that is not used: a delta, an indirect one, or one with an unknown critical extension")]
    Kind,
    /// No known CA has this name.
    #[error("issued by `{0}`, which is no known CA below a trust anchor")]
    UnknownIssuer(String),
    /// No certificate of this CA verifies it, or none of those that may sign CRLs.
    #[error("no known key of `{0}` verifies its signature")]
    Signature(String),
    /// thisUpdate lies ahead.
    #[error("made in the future, at {0}")]
    Future(Timestamp),
    /// A server gives the list of another CA than the certificate's.
    #[error("issued by `{0}`, not by the CA whose certificates name this place")]
    OtherIssuer(String),
    /// A newer one is at hand.
    #[error("older than the one at hand")]
    Older,
    /// It should have been replaced already, and the one at hand has not yet to be.
    #[error("its time is over, and the one at hand is still in force")]
    Over,
    /// RFC 5280 section 5.2.3: numbers grow, and a CA that has begun to number goes on.
    #[error("another list with the same number, or without one, as the one at hand")]
    Number,
}

/// What came.
pub(super) struct Arrived<'a> {
    pub(super) content: &'a [u8],
    pub(super) at: Timestamp,
    pub(super) limits: &'a Limits,
}

/// A CRL that counts.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) crl: Crl,
    /// Whose key verifies it. `None` only where an operator vouches for the URL and nobody knows the CA yet.
    pub(super) signer: Option<Certificate>,
}

impl Accepted {
    pub(super) fn sha256(&self) -> String {
        data_encoding::HEXLOWER.encode(&crate::crypto::sha256(self.crl.der()))
    }
}

/// Judges it against the one at hand, `signers` that a proven path has given, and the CAs that `by_name` knows. `vouched`: the
/// operator named the URL, so a CA may be one that only mail will bring; its signature is looked at then. A place belongs to
/// one CA: that of the proven path, else that of the list at hand.
pub(super) fn accept(
    arrived: &Arrived<'_>,
    held: Option<&Crl>,
    signers: &[Certificate],
    by_name: impl Fn(&Name) -> Vec<Certificate>,
    vouched: bool,
) -> Result<Accepted, Unusable> {
    let mut found = Crl::bundle(arrived.content, arrived.limits).map_err(|error| Unusable::NoCrl(error.to_string()))?;
    let crl = match (found.pop(), found.is_empty()) {
        (Some(crl), true) => crl,
        _ => return Err(Unusable::NoCrl("expected one CRL, found several".to_owned())),
    };
    if !crl.is_usable() {
        return Err(Unusable::Kind);
    }
    let expected = signers.first().map(Certificate::subject).or_else(|| held.map(Crl::issuer));
    if expected.is_some_and(|expected| !expected.matches(crl.issuer())) {
        return Err(Unusable::OtherIssuer(crl.issuer().to_string()));
    }
    let held = held.filter(|held| held.issuer().matches(crl.issuer()));
    let mut authorities: Vec<Certificate> =
        signers.iter().filter(|signer| signer.subject().matches(crl.issuer())).cloned().collect();
    authorities.extend(by_name(crl.issuer()));
    let signer = authorities.iter().find(|authority| crl.is_signed_by(authority)).cloned();
    let issuer = || crl.issuer().to_string();
    match (&signer, held) {
        (Some(_), _) => {}
        (None, None) if vouched && authorities.is_empty() => {}
        (None, _) if authorities.is_empty() => return Err(Unusable::UnknownIssuer(issuer())),
        (None, _) => return Err(Unusable::Signature(issuer())),
    }
    if crl.this_update() > arrived.at.saturating_add(SKEW).unwrap_or(Timestamp::MAX) {
        return Err(Unusable::Future(crl.this_update()));
    }
    if held.is_some_and(|held| crls::is_older(&crl, held)) {
        return Err(Unusable::Older);
    }
    let is_over = |crl: &Crl| crl.next_update().is_some_and(|next| next < arrived.at);
    if held.is_some_and(|held| is_over(&crl) && !is_over(held)) {
        return Err(Unusable::Over);
    }
    let unnumbered = |held: &Crl| held.number().is_some() && crl.number().is_none();
    let again = |held: &Crl| held.number().is_some() && held.number() == crl.number() && held.der() != crl.der();
    if held.is_some_and(|held| unnumbered(held) || again(held)) {
        return Err(Unusable::Number);
    }
    // One whose time is over clears nobody, but it may still condemn.
    Ok(Accepted { crl, signer })
}
