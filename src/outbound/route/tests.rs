use super::{Host, RouteError, Target, cut, literal, reachable, sorted, usable};
use crate::dns::{DnsError, Exchanger, is_public};
use std::net::IpAddr;

fn exchangers(list: &[(u16, &str)]) -> Vec<Exchanger> {
    list.iter().map(|(preference, host)| Exchanger { preference: *preference, host: (*host).to_owned() }).collect()
}

/// Name, preference, and addresses, `?` for no answer.
fn hosts(list: &[(u16, &str, &str)]) -> Vec<Host> {
    let addresses = |text: &str| match text {
        "?" => Err(DnsError::Temporary("SERVFAIL".to_owned())),
        "" => Err(DnsError::NoRecords),
        text => Ok(text.split(' ').map(|one| one.parse().unwrap()).collect()),
    };
    let host = |(preference, name, text): &(u16, &str, &str)| Host {
        preference: *preference,
        name: (*name).to_owned(),
        addresses: addresses(text),
    };
    list.iter().map(host).collect()
}

#[test]
fn c10_exchangers_are_sorted_by_preference() {
    #[track_caller]
    fn check(list: &[(u16, &str)], expected: &str) {
        let found = sorted(exchangers(list), |_| 0);
        assert_eq!(found.iter().map(|one| one.host.as_str()).collect::<Vec<_>>().join(" "), expected);
    }
    check(&[(20, "b"), (10, "a"), (65535, "d"), (30, "c"), (0, "z")], "z a b c d");
    check(&[], "");
    // A number that is always the last changes nothing, one that is always 0 turns them round.
    assert_eq!(sorted(exchangers(&[(5, "a"), (5, "b")]), |below| below - 1)[0].host, "a");
    assert_eq!(sorted(exchangers(&[(5, "a"), (5, "b")]), |_| 0)[0].host, "b");
}

#[test]
fn c10_equals_come_first_equally_often() {
    let mut first = std::collections::BTreeMap::new();
    for _ in 0..3000 {
        let list = exchangers(&[(10, "a"), (10, "b"), (10, "c"), (20, "d")]);
        let found = sorted(list, super::random);
        assert_eq!(found[3].host, "d");
        *first.entry(found[0].host.clone()).or_insert(0) += 1;
    }
    assert!(first.len() == 3 && first.values().all(|count| (800..1200).contains(count)), "{first:?}");
}

#[test]
fn c11_the_root_alone_is_a_null_mx() {
    assert_eq!(usable(exchangers(&[(0, "")])), None);
    assert_eq!(usable(exchangers(&[(0, ""), (10, "a")])), Some(exchangers(&[(10, "a")])));
}

#[test]
fn c12_own_preference_and_worse_are_cut() {
    #[track_caller]
    fn check(list: &[(u16, &str, &str)], expected: Option<&str>) {
        let own: IpAddr = "198.51.100.1".parse().unwrap();
        let is_own =
            |host: &Host| host.name == "gate.example" || host.addresses.iter().flatten().any(|one| *one == own);
        let left = cut(hosts(list), is_own);
        let names = left.map(|left| left.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" "));
        assert_eq!(names.as_deref(), expected);
    }
    check(&[(10, "a", "192.0.2.1"), (20, "b", "")], Some("a b"));
    check(&[(10, "a", "192.0.2.1"), (20, "gate.example", ""), (20, "b", "192.0.2.2"), (30, "c", "")], Some("a"));
    check(&[(10, "a", "192.0.2.1"), (20, "b", "192.0.2.9 198.51.100.1"), (30, "c", "192.0.2.3")], Some("a"));
    check(&[(10, "gate.example", "192.0.2.1"), (20, "b", "192.0.2.2")], None);
    check(&[(10, "a", "192.0.2.1"), (10, "b", "198.51.100.1")], None);
}

#[test]
fn c13_only_addresses_of_the_internet_are_reached() {
    #[track_caller]
    fn check(list: &[(u16, &str, &str)], expected: Result<&str, &str>) {
        let found = reachable("mitra.example", &hosts(list), |address| is_public(*address));
        let text = found
            .map(|found| found.iter().map(|(name, address)| format!("{name}={address}")).collect::<Vec<_>>().join(" "));
        assert_eq!(text.as_deref().map_err(RouteError::status), expected);
    }
    check(&[(1, "a", "1.1.1.1 10.0.0.1 2606:4700::1"), (2, "b", "9.9.9.9")], Ok("a=1.1.1.1 a=2606:4700::1 b=9.9.9.9"));
    check(&[(1, "a", "?"), (2, "b", "9.9.9.9")], Ok("b=9.9.9.9"));
    check(&[(1, "a", "127.0.0.1"), (2, "b", "169.254.169.254")], Err("5.4.4"));
    check(&[(1, "a", "127.0.0.1"), (2, "b", "?")], Err("4.4.3"));
    check(&[(1, "a", ""), (2, "b", "")], Err("5.4.4"));
}

#[test]
fn c10_address_literals() {
    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(literal(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
    }
    check("[192.0.2.1]", Some("192.0.2.1"));
    check("[IPv6:2001:db8::1]", Some("2001:db8::1"));
    check("[ipv6:::ffff:192.0.2.1]", Some("192.0.2.1"));
    for text in ["192.0.2.1", "[x:1]", "[]", "mitra.example", "[192.0.2.1"] {
        check(text, None);
    }
}

#[test]
fn targets_are_named() {
    let mut target = Target {
        host: "mx1.example".to_owned(),
        address: "192.0.2.1".parse().unwrap(),
        port: 25,
        implicit_tls: false,
        known: None,
    };
    assert_eq!(target.to_string(), "mx1.example[192.0.2.1]:25");
    target.host = "192.0.2.1".to_owned();
    assert_eq!(target.to_string(), "[192.0.2.1]:25");
}
