//! Distribution points: what a certificate says about where its CRLs are, and what a CRL says about its scope
//! (RFC 5280 sections 4.2.1.13 and 5.2.5). Compared, and told to those who fetch; never fetched here.

use super::{Certificate, Name};
use crate::asn1::{Asn1Error, Fields, read_tlv, tag, write_tlv};

/// Reasons that a CRL covers, as the bits of ReasonFlags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reasons(u16);

impl Reasons {
    /// keyCompromise (1) to aACompromise (8).
    pub(super) const ALL: Self = Self(0x01fe);
    pub(super) const NONE: Self = Self(0);

    /// `ReasonFlags ::= BIT STRING { unused (0), keyCompromise (1), ... aACompromise (8) }`, its content octets.
    pub(super) fn read(content: &[u8]) -> Self {
        Self(named_bits(content) & Self::ALL.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `self` has a reason that `other` lacks.
    pub(super) const fn adds_to(self, other: Self) -> bool {
        self.0 & !other.0 != 0
    }
}

/// The first 16 bits of a named-bit BIT STRING, bit 0 lowest; empty for anything unreadable.
pub(super) fn named_bits(content: &[u8]) -> u16 {
    let Some((unused, octets)) = content.split_first() else { return 0 };
    if *unused > 7 {
        return 0;
    }
    octets
        .iter()
        .take(2)
        .enumerate()
        .fold(0, |bits, (index, octet)| bits | u16::from(octet.reverse_bits()) << (8 * index))
}

/// A name of a distribution point, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PointName {
    /// A directoryName, or nameRelativeToCRLIssuer expanded; the name's matching key.
    Directory(bytes::Bytes),
    /// Any other GeneralName, octet by octet.
    Other(Vec<u8>),
}

/// ```text
/// DistributionPointName ::= CHOICE {
///     fullName                [0]     GeneralNames,
///     nameRelativeToCRLIssuer [1]     RelativeDistinguishedName }
/// ```
pub(super) fn point_names(content: &[u8], issuer: &Name) -> Result<Vec<PointName>, Asn1Error> {
    let (choice, rest) = read_tlv(content)?;
    if !rest.is_empty() {
        return Err(Asn1Error::Trailing);
    }
    if choice.tag == tag::context(1) {
        let rdns = Fields::within(issuer.der(), tag::SEQUENCE)?.rest();
        let full = write_tlv(tag::SEQUENCE, &[rdns, &write_tlv(tag::SET, choice.content)].concat());
        return Ok(vec![directory(&full)?]);
    }
    if choice.tag != tag::context(0) {
        return Err(Asn1Error::Malformed(0));
    }
    let mut names = Vec::new();
    let mut fields = Fields::new(choice.content);
    while let Some(name) = fields.next_any()? {
        names.push(if name.tag == tag::context(4) {
            directory(name.content)?
        } else {
            PointName::Other(name.whole.to_vec())
        });
    }
    Ok(names)
}

/// Points of one certificate whose addresses are told. Real ones have one or two.
const MOST_POINTS: usize = 8;

/// Addresses of one point, and octets of one address.
const MOST_NAMES: usize = 4;
const LONGEST: usize = 2048;

/// For each distribution point of the certificate the `http` and `https` addresses where its CRL is; any one of a point's
/// will do. Where there is none in the whole certificate, the `ldap` ones: nobody is asked there, but an operator has to hear
/// of it. Points of indirect CRLs and other schemes are left out.
pub(super) fn addresses(certificate: &Certificate) -> Vec<Vec<String>> {
    let points = certificate.distribution_points().unwrap_or_default();
    let named = |schemes: &[&str]| -> Vec<Vec<String>> {
        let names = points.iter().take(MOST_POINTS).filter_map(|point| point.read(certificate.issuer()).ok().flatten());
        let of_point = |(names, _): (Vec<PointName>, Reasons)| -> Vec<String> {
            names.iter().filter_map(|name| address(name, schemes)).take(MOST_NAMES).collect()
        };
        names.map(of_point).filter(|addresses| !addresses.is_empty()).collect()
    };
    let asked = named(&["http", "https"]);
    if asked.is_empty() { named(&["ldap", "ldaps"]) } else { asked }
}

/// `uniformResourceIdentifier [6] IA5String`, where it is of one of these schemes.
fn address(name: &PointName, schemes: &[&str]) -> Option<String> {
    let PointName::Other(der) = name else { return None };
    let (name, _) = read_tlv(der).ok()?;
    let text = std::str::from_utf8(name.content).ok().filter(|text| text.len() <= LONGEST && text.is_ascii())?;
    let scheme = text.split_once("://")?.0;
    let is_one = schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (name.tag == tag::context_primitive(6) && is_one).then(|| text.to_owned())
}

fn directory(der: &[u8]) -> Result<PointName, Asn1Error> {
    let name = Name::from_der(der).map_err(|_| Asn1Error::Malformed(0))?;
    Ok(PointName::Directory(name.key().clone()))
}
