//! The extensions that Segel itself reads (RFC 5280 section 4.2). certval reads its own share from the same octets.
//!
//! An extension that cannot be read permits nothing: no key usage, no purpose, no CA.

use crate::asn1::{Asn1Error, Fields, tag};
use crate::crypto::key;
use crate::pki::Name;
use crate::pki::distribution::{PointName, Reasons, named_bits, point_names};

/// `Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`
pub(in crate::pki) struct Extension<'a> {
    pub(in crate::pki) oid: String,
    pub(in crate::pki) critical: bool,
    pub(in crate::pki) value: &'a [u8],
}

/// Extensions of one structure. Real certificates have a dozen, and each is compared with all others.
const MOST_EXTENSIONS: usize = 256;

impl<'a> Extension<'a> {
    /// The members of `Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension`; a second one of a kind is malformed, and
    /// so are more than 256.
    pub(in crate::pki) fn list(der: &'a [u8]) -> Result<Vec<Self>, Asn1Error> {
        let mut found: Vec<Self> = Vec::new();
        let mut fields = Fields::within(der, tag::SEQUENCE)?;
        while let Some(field) = fields.next_any()? {
            let mut parts = Fields::within(field.whole, tag::SEQUENCE)?;
            let oid = key::oid(parts.required(tag::OID)?.content).map_err(|_| Asn1Error::Malformed(0))?;
            let critical = parts.optional(tag::BOOLEAN)?.is_some_and(|flag| flag.content != [0]);
            let value = parts.required(tag::OCTET_STRING)?.content;
            if !parts.is_empty() || found.len() >= MOST_EXTENSIONS || found.iter().any(|other| other.oid == oid) {
                return Err(Asn1Error::Malformed(0));
            }
            found.push(Self { oid, critical, value });
        }
        Ok(found)
    }
}

/// The bits of keyUsage (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// digitalSignature
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// nonRepudiation (contentCommitment)
    pub const NON_REPUDIATION: Self = Self(1 << 1);
    /// keyEncipherment
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// keyAgreement
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// keyCertSign
    pub const KEY_CERT_SIGN: Self = Self(1 << 5);
    /// cRLSign
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// Whether one of these bits is set.
    pub const fn has(self, any_of: Self) -> bool {
        self.0 & any_of.0 != 0
    }

    /// Both sets together.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One entry of cRLDistributionPoints (RFC 5280 section 4.2.1.13).
#[derive(Clone, Debug)]
pub(in crate::pki) struct DistributionPoint {
    der: Vec<u8>,
}

impl DistributionPoint {
    /// Names and reasons of the point; relative names are completed with the certificate's issuer. `None` for a point whose
    /// CRL comes from another issuer (an indirect CRL).
    ///
    /// ```text
    /// DistributionPoint ::= SEQUENCE {
    ///      distributionPoint       [0]     DistributionPointName OPTIONAL,
    ///      reasons                 [1]     ReasonFlags OPTIONAL,
    ///      cRLIssuer               [2]     GeneralNames OPTIONAL }
    /// ```
    pub(in crate::pki) fn read(&self, issuer: &Name) -> Result<Option<(Vec<PointName>, Reasons)>, Asn1Error> {
        let mut fields = Fields::within(&self.der, tag::SEQUENCE)?;
        let names = match fields.optional(tag::context(0))? {
            Some(field) => point_names(field.content, issuer)?,
            None => Vec::new(),
        };
        let reasons =
            fields.optional(tag::context_primitive(1))?.map_or(Reasons::ALL, |field| Reasons::read(field.content));
        let indirect = fields.optional(tag::context(2))?.is_some();
        if !fields.is_empty() {
            return Err(Asn1Error::Trailing);
        }
        Ok((!indirect).then_some((names, reasons)))
    }
}

/// rfc822Name subtrees of nameConstraints: a mailbox, a host, or a domain with a leading dot.
#[derive(Clone, Debug, Default)]
pub(in crate::pki) struct MailConstraints {
    pub(in crate::pki) permitted: Vec<String>,
    pub(in crate::pki) excluded: Vec<String>,
}

/// What is kept of a certificate's extensions.
pub(super) struct Extensions {
    pub(super) subject_key_identifier: Option<Vec<u8>>,
    pub(super) authority_key_identifier: Option<Vec<u8>>,
    pub(super) is_ca: bool,
    pub(super) has_basic_constraints: bool,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<Vec<String>>,
    pub(super) distribution_points: Result<Vec<DistributionPoint>, Asn1Error>,
    pub(super) mail_constraints: MailConstraints,
    /// Content of subjectAltName.
    pub(super) alternative_names: Vec<u8>,
    /// Whether subjectAltName is there and is no list of names.
    pub(super) unreadable_names: bool,
}

impl Extensions {
    /// `der` is the content of the `[3]` field; without it there is no extension.
    pub(super) fn read(der: Option<&[u8]>) -> Result<Self, Asn1Error> {
        let mut read = Self {
            subject_key_identifier: None,
            authority_key_identifier: None,
            is_ca: false,
            has_basic_constraints: false,
            key_usage: None,
            extended_key_usage: None,
            distribution_points: Ok(Vec::new()),
            mail_constraints: MailConstraints::default(),
            alternative_names: Vec::new(),
            unreadable_names: false,
        };
        for extension in der.map_or(Ok(Vec::new()), Extension::list)? {
            read.take(&extension);
        }
        Ok(read)
    }

    fn take(&mut self, extension: &Extension<'_>) {
        let value = extension.value;
        match extension.oid.as_str() {
            "2.5.29.14" => self.subject_key_identifier = subject_key_identifier(value).ok(),
            "2.5.29.35" => self.authority_key_identifier = authority_key_identifier(value).ok().flatten(),
            "2.5.29.19" => {
                self.has_basic_constraints = true;
                self.is_ca = is_ca(value).unwrap_or(false);
            }
            "2.5.29.15" => self.key_usage = Some(key_usage(value).unwrap_or(KeyUsage(0))),
            "2.5.29.37" => self.extended_key_usage = Some(extended_key_usage(value).unwrap_or_default()),
            "2.5.29.31" => self.distribution_points = distribution_points(value),
            "2.5.29.30" => self.mail_constraints = mail_constraints(value).unwrap_or_default(),
            "2.5.29.17" => match alternative_names(value) {
                Ok(names) => self.alternative_names = names,
                Err(_) => self.unreadable_names = true,
            },
            _ => {}
        }
    }
}

/// `SubjectAltName ::= SEQUENCE SIZE (1..MAX) OF GeneralName`
fn alternative_names(der: &[u8]) -> Result<Vec<u8>, Asn1Error> {
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    let names = fields.rest().to_vec();
    while fields.next_any()?.is_some() {}
    Ok(names)
}

fn subject_key_identifier(der: &[u8]) -> Result<Vec<u8>, Asn1Error> {
    Ok(Fields::within(der, tag::OCTET_STRING)?.rest().to_vec())
}

/// `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] KeyIdentifier OPTIONAL, ... }`
fn authority_key_identifier(der: &[u8]) -> Result<Option<Vec<u8>>, Asn1Error> {
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    Ok(fields.optional(tag::context_primitive(0))?.map(|field| field.content.to_vec()))
}

/// `BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER (0..MAX) OPTIONAL }`
fn is_ca(der: &[u8]) -> Result<bool, Asn1Error> {
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    Ok(fields.optional(tag::BOOLEAN)?.is_some_and(|flag| flag.content == [0xff]))
}

fn key_usage(der: &[u8]) -> Result<KeyUsage, Asn1Error> {
    Ok(KeyUsage(named_bits(Fields::within(der, tag::BIT_STRING)?.rest())))
}

/// `ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId`
fn extended_key_usage(der: &[u8]) -> Result<Vec<String>, Asn1Error> {
    let mut purposes = Vec::new();
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    while !fields.is_empty() {
        let oid = fields.required(tag::OID)?;
        purposes.push(key::oid(oid.content).map_err(|_| Asn1Error::Malformed(0))?);
    }
    Ok(purposes)
}

fn distribution_points(der: &[u8]) -> Result<Vec<DistributionPoint>, Asn1Error> {
    let mut points = Vec::new();
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    while !fields.is_empty() {
        points.push(DistributionPoint { der: fields.required(tag::SEQUENCE)?.whole.to_vec() });
    }
    Ok(points)
}

/// ```text
/// NameConstraints ::= SEQUENCE {
///      permittedSubtrees       [0]     GeneralSubtrees OPTIONAL,
///      excludedSubtrees        [1]     GeneralSubtrees OPTIONAL }
/// GeneralSubtree ::= SEQUENCE { base GeneralName, minimum [0] ..., maximum [1] ... }
/// ```
fn mail_constraints(der: &[u8]) -> Result<MailConstraints, Asn1Error> {
    let mut fields = Fields::within(der, tag::SEQUENCE)?;
    let permitted = fields.optional(tag::context(0))?;
    let excluded = fields.optional(tag::context(1))?;
    let mail = |subtrees: Option<crate::asn1::Tlv<'_>>| {
        let mut found = Vec::new();
        let mut fields = Fields::new(subtrees.map_or(&[][..], |tlv| tlv.content));
        while !fields.is_empty() {
            let mut subtree = Fields::new(fields.required(tag::SEQUENCE)?.content);
            if let Some(base) = subtree.optional(tag::context_primitive(1))? {
                found.push(String::from_utf8_lossy(base.content).into_owned());
            }
        }
        Ok::<_, Asn1Error>(found)
    };
    Ok(MailConstraints { permitted: mail(permitted)?, excluded: mail(excluded)? })
}
