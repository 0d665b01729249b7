use super::{Address, Domain};

fn same(one: &str, other: &str) -> bool {
    let (one, other) = (Address::parse(one).unwrap(), Address::parse(other).unwrap());
    assert_eq!(one.same_mailbox(&other), one.mailbox_key() == other.mailbox_key(), "{one} {other}");
    one.same_mailbox(&other)
}

#[test]
fn s09_long_quoted_and_routed_paths_are_accepted_unchanged() {
    let local = "l".repeat(64);
    let domain = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(63));
    assert_eq!(domain.len(), 255);
    for text in [
        format!("{local}@example.org"),
        format!("a@{domain}"),
        format!("{}@{}", local, domain.get(..189).unwrap()),
        "\"a b\"@d".to_owned(),
        "\"a\\\"b\\\\c\"@d.example".to_owned(),
        "\"\"@d".to_owned(),
        "a@[192.0.2.1]".to_owned(),
        "a@[IPv6:2001:db8::1]".to_owned(),
        "siti@pemkab.例え.example".to_owned(),
        "用户@example.org".to_owned(),
        "bounces+1234=a.b=c@em1.example".to_owned(),
    ] {
        let address = Address::parse(&text).unwrap();
        assert_eq!(address.as_str(), text);
        assert_eq!(format!("{}@{}", address.local(), address.domain()), text);
    }
    for (path, mailbox) in [
        ("<@x:u@d>", "u@d"),
        ("<@a.example,@b.example:u@d>", "u@d"),
        ("<@[IPv6:2001:db8::1]:u@d>", "u@d"),
        ("<u@d>", "u@d"),
        ("<\"a b\"@d>", "\"a b\"@d"),
    ] {
        assert_eq!(Address::parse_path(path).unwrap().as_str(), mailbox, "{path}");
    }
    for path in ["<>", "<@x>", "<@x:>", "<@x,:u@d>", "<@:u@d>", "<u@d", "<@x u@d>"] {
        assert!(Address::parse_path(path).is_err(), "{path}");
    }
}

#[test]
fn s10_mailboxes_are_compared_by_their_normal_form() {
    for (one, other) in [
        ("UsEr@Example.ORG", "user@example.org"),
        ("a@例え.example", "a@xn--r8jz45g.example"),
        ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
        ("\"user\"@d", "user@d"),
        ("\"us\\er\"@d", "USER@d"),
        ("\"a b\"@d", "\"A\\ b\"@d"),
        ("a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]"),
        ("用户@d.example", "用户@D.example"),
    ] {
        assert!(same(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("user+tag@d", "user@d"),
        ("u.ser@d", "user@d"),
        ("\"a b\"@d", "ab@d"),
        ("Ünal@d.example", "ünal@d.example"),
        ("u@d.example", "u@d.examples"),
        ("u@kabupaten.go.id", "u@kаbupaten.go.id"), // Cyrillic а
        ("\"a@b\"@c", "a@b"),
    ] {
        assert!(!same(one, other), "{one} {other}");
    }
    let written = Address::parse("UsEr@Example.ORG").unwrap();
    assert_eq!((written.as_str(), written.domain().ascii()), ("UsEr@Example.ORG", "example.org"));
}

#[test]
fn i58_what_is_no_address_is_refused_whole() {
    for text in [
        "",
        "@",
        "a",
        "a@",
        "@d",
        "a@b@c",
        "a@d.",
        "a@.d",
        "a@d..e",
        ".a@d",
        "a.@d",
        "a..b@d",
        "a b@d",
        " a@d",
        "a@d ",
        "a@d\0.evil.example",
        "a\0@d",
        "a@d\n",
        "a\r\n@d",
        "*@*",
        "a@*.d",
        "\"a@d",
        "\"a\"b@d",
        "\"a\n\"@d",
        "<a@d>",
        "a@[192.0.2.256]",
        "a@[]",
        "a@[IPv6:zz]",
        "a@d,b@d",
        "a(c)@d",
        "a@d(c)",
        "a@-d",
        "a@d-",
        "a@kabu\u{ad}paten.go.id",
        "a@ｇｏ.id",
        "a@go。id",
        "a@\u{202e}go.id",
        "a@go.id\u{200b}",
        "a\u{8c}@d",
        "\"a\u{85}\"@d",
    ] {
        assert!(Address::parse(text).is_err(), "{text:?}");
    }
    assert!(Address::parse(&format!("{}@d", "a".repeat(300))).is_err());
    assert!(Domain::parse(&"a.".repeat(200)).is_err());
    assert!(Address::parse("a@d\0").unwrap_err().to_string().contains("\\u{0}"), "shown escaped");
}

/// What is short in U-labels may be longer than any domain in A-labels, which is how it is sent.
#[test]
fn a_domain_that_is_too_long_in_a_labels_is_none() {
    assert!(Domain::parse(&format!("{}id", "ü.".repeat(31))).is_ok());
    assert!(Domain::parse(&format!("{}id", "ü.".repeat(60))).is_err());
}
