//! Which addresses are of the Internet, by the special-purpose registries (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks that are nobody's on the Internet, and their leading bits.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Here the metadata servers of clouds are too.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// Whether an address is one of the Internet's: not private, loopback, link-local, shared, multicast, for documentation,
/// nor an IPv6 address that leads to such an IPv4 one.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> bool {
    let within = |&(network, bits): &(Ipv4Addr, u32)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        address.to_bits() & mask == network.to_bits()
    };
    !SPECIAL_V4.iter().any(within)
}

fn v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // RFC 6052: networks with NAT64 reach the IPv4 Internet through it.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && embedded(g, h),
        // RFC 3056: 6to4.
        (0x2002, high) => embedded(high, c),
        // IETF protocols (Teredo among them), documentation (RFC 3849, 9637).
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // RFC 4291 section 2.4: what is given out as global unicast.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn c13_addresses_of_the_internet() {
        #[track_caller]
        fn check(expected: bool, addresses: &[&str]) {
            for address in addresses {
                assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
            }
        }
        check(true, &["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "9.255.255.255", "223.255.255.255"]);
        check(true, &["2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "2400:cb00::1"]);
        check(false, &["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.31.0.1"]);
        check(false, &["192.168.0.1", "198.19.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"]);
        check(
            false,
            &["::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1"],
        );
        check(false, &["64:ff9b::7f00:1", "2002:7f00:1::1", "2001::1", "2001:db8::1", "fec0::1", "64:ff9b:1::1"]);
    }
}
