//! Small values in text: sizes, durations, networks, next hops.

use super::{Network, Server};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// `512`, `64KiB`, `25MiB`, `1GiB`: octets. Decimal prefixes (`MB`) are refused, because people mean both by them.
pub fn size(text: &str) -> Option<usize> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

/// `120s`, `5d`, `1h 30m`.
pub fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// `smtp://host:port` or `smtps://host:port`; an IPv6 address stands in brackets.
pub fn server(text: &str) -> Option<Server> {
    let (scheme, authority) = text.split_once("://")?;
    let implicit_tls = match scheme {
        "smtp" => false,
        "smtps" => true,
        _ => return None,
    };
    let (host, port) = authority.rsplit_once(':')?;
    let port = port.bytes().all(|octet| octet.is_ascii_digit()).then(|| port.parse::<u16>().ok())??;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().ok()?.to_string(),
        None if host.parse::<Ipv4Addr>().is_ok() => host.to_owned(),
        None => is_host_name(host).then(|| host.to_ascii_lowercase())?,
    };
    (port != 0).then_some(Server { host, port, implicit_tls })
}

/// RFC 1123 section 2.1, without a final dot; not all digits and dots, which would be a broken IPv4 address.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    text.len() <= 253
        && text.split('.').all(label)
        && text.rsplit('.').next().is_some_and(|last| !last.bytes().all(|octet| octet.is_ascii_digit()))
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Not `address/prefix`.
    Syntax,
    /// Bits after the prefix are set; the network that was probably meant.
    HostBits(Network),
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32`, or one address. IPv4-mapped networks become IPv4.
    ///
    /// # Errors
    /// Not a network, or one with host bits.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let width = width(address);
        let prefix = match prefix {
            None => width,
            Some(text) => text.parse().ok().filter(|prefix| *prefix <= width).ok_or(NetworkError::Syntax)?,
        };
        let network = Self { address, prefix }.canonical();
        let first = network.first();
        if first == network.address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(Self { address: first, ..network }))
        }
    }

    /// Whether `address` lies in it. An IPv4-mapped IPv6 address (a peer of a dual-stack socket) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let this = self.clone().canonical();
        width(address) == width(this.address) && {
            let (first, last) = this.range();
            (first..=last).contains(&number(address))
        }
    }

    /// Whether these networks together hold every IPv4 or every IPv6 address: a list that restricts nobody.
    pub fn cover_everything(networks: &[Self]) -> bool {
        [32, 128].into_iter().any(|bits| {
            let mut ranges: Vec<(u128, u128)> = networks
                .iter()
                .map(|network| network.clone().canonical())
                .filter(|network| width(network.address) == bits)
                .map(|network| network.range())
                .collect();
            ranges.sort_unstable();
            let mut covered: Option<u128> = None;
            for (first, last) in ranges {
                let next = covered.map_or(Some(0), |covered| covered.checked_add(1));
                match next {
                    Some(next) if first <= next => covered = Some(covered.map_or(last, |covered| covered.max(last))),
                    _ => break,
                }
            }
            covered == Some(u128::MAX >> (128 - u32::from(bits)))
        })
    }

    fn canonical(self) -> Self {
        match self.address {
            IpAddr::V6(address) if self.prefix >= 96 => match address.to_ipv4_mapped() {
                Some(address) => Self { address: IpAddr::V4(address), prefix: self.prefix - 96 },
                None => self,
            },
            _ => self,
        }
    }

    fn first(&self) -> IpAddr {
        let (first, _) = self.range();
        match self.address {
            IpAddr::V4(_) => u32::try_from(first).map_or(self.address, |bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(first)),
        }
    }

    /// First and last address, as numbers.
    fn range(&self) -> (u128, u128) {
        let host_bits = u32::from(width(self.address).saturating_sub(self.prefix));
        let host = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let first = number(self.address) & !host;
        (first, first | host)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_octets_with_binary_prefixes() {
        let table = [
            ("512", Some(512)),
            ("64KiB", Some(65_536)),
            ("25MiB", Some(26_214_400)),
            ("25 MiB", Some(26_214_400)),
            ("1GiB", Some(1_073_741_824)),
            ("25MB", None),
            ("25mib", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("99999999999999999999", None),
            ("18446744073709551615GiB", None),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn servers_have_a_host_and_a_port() {
        let table = [
            ("smtp://10.0.0.5:25", Some(("10.0.0.5", 25))),
            ("smtp://Mail.Kabupaten.go.id:2525", Some(("mail.kabupaten.go.id", 2525))),
            ("smtp://[::1]:25", Some(("::1", 25))),
            ("smtp://::1:25", None),
            ("smtp://10.0.0.5", None),
            ("smtp://10.0.0.256:25", None),
            ("smtp://a:0", None),
            ("smtp://a:+25", None),
            ("smtps://a:465", Some(("a", 465))),
            ("10.0.0.5:25", None),
            ("smtp://:25", None),
            ("smtp://a/b:25", None),
        ];
        for (text, expected) in table {
            let found = server(text);
            assert_eq!(found.as_ref().map(|hop| (hop.host.as_str(), hop.port)), expected, "{text}");
        }
        assert_eq!(server("smtp://[::1]:25").unwrap().to_string(), "smtp://[::1]:25");
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let table = [
            ("127.0.0.1/32", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1/32", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "2001:db9::", true),
        ];
        for (network, address, expected) in table {
            let found = Network::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(found, expected, "{address} in {network}");
        }
    }

    #[test]
    fn text_that_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::/129", "a/8", "10.0.0.0/"] {
            assert_eq!(Network::parse(text), Err(NetworkError::Syntax), "{text}");
        }
        let meant = Network { address: "10.0.0.0".parse().unwrap(), prefix: 24 };
        assert_eq!(Network::parse("10.0.0.5/24"), Err(NetworkError::HostBits(meant)));
    }

    #[test]
    fn networks_that_leave_nobody_out_are_seen() {
        let table: [(&[&str], bool); 8] = [
            (&["0.0.0.0/0"], true),
            (&["::/0"], true),
            (&["0.0.0.0/1", "128.0.0.0/1"], true),
            (&["128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2"], true),
            (&["::ffff:0.0.0.0/96"], true),
            (&["10.0.0.0/8", "192.168.0.0/16"], false),
            (&["0.0.0.0/1"], false),
            (&[], false),
        ];
        for (texts, expected) in table {
            let networks: Vec<Network> = texts.iter().map(|text| Network::parse(text).unwrap()).collect();
            assert_eq!(Network::cover_everything(&networks), expected, "{texts:?}");
        }
    }
}
