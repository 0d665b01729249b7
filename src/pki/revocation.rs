use jiff::Timestamp;
/// How an anchor's certificates are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    HardFail,
    SoftFail,
    None,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    Revoked,
    OnHold,
    Unknown,
    NotChecked,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Crl,
    Ocsp,
}
/// The status of one path: the worst of its certificates, and what says so.
#[derive(Clone, Debug)]
pub struct RevocationStatus {
    pub status: Status,
    pub source: Option<Source>,
    /// thisUpdate for good; revocationDate for revoked and on hold.
    pub time: Option<Timestamp>,
    /// `keyCompromise` … as RFC 5280 spells them.
    pub reason: Option<&'static str>,
    /// DER of the CRL (or OCSP response) that decided.
    pub evidence: Option<bytes::Bytes>,
    /// Serial (hex) of the certificate that is revoked: leaf or intermediate.
    pub serial: Option<String>,
}
