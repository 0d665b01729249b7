//! A server on loopback that answers what the test says, octet by octet.

use super::{Answer, Client, Denied, FetchError, Validators, guard};
use crate::config::{Dns, Fetch, Network};
use crate::dns::Resolver;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn settings(private: &[&str], ports: &[u16]) -> Fetch {
    let allow_private = private.iter().map(|text| Network::parse(text).unwrap()).collect();
    Fetch { enabled: true, allow_private, ports: ports.to_vec(), proxy: None }
}

fn client(settings: Fetch) -> Client {
    Client::with(settings, Vec::new(), Resolver::new(&Dns { servers: vec![([127, 0, 0, 1], 9).into()] }))
}

/// Answers one connection after another with these octets; what it was asked.
async fn server(answers: Vec<Vec<u8>>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            heard.lock().unwrap().push(String::from_utf8(request).unwrap());
            let text = String::from_utf8_lossy(&answer).replace("PORT", &port.to_string());
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.ok();
        }
    });
    (port, asked)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"a\"\r\n\r\n{body}", body.len()).into_bytes()
}

async fn get(answers: &[&[u8]], known: &Validators) -> (Result<Answer, FetchError>, Vec<String>) {
    let (port, asked) = server(answers.iter().map(|answer| answer.to_vec()).collect()).await;
    let client = client(settings(&["127.0.0.1/32"], &[80, port]));
    let answer = client.get(&format!("http://127.0.0.1:{port}/a.crl?b=c#d"), known, 1000).await;
    let asked = asked.lock().unwrap().clone();
    (answer, asked)
}

#[test]
fn p07_addresses_that_are_asked() {
    #[track_caller]
    fn check(url: &str, private: &[&str], expected: Result<(), Denied>) {
        let found = guard::target(url, &settings(private, &[80, 443])).map(drop);
        assert_eq!(found, expected, "{url}");
    }
    fn denied(address: &str) -> Result<(), Denied> {
        Err(Denied::Private(address.parse().unwrap()))
    }
    check("http://crl.example/a.crl", &[], Ok(()));
    check("HTTPS://crl.example/a.crl", &[], Ok(()));
    check("http://1.1.1.1/", &[], Ok(()));
    check("http://[2606:4700::1111]/", &[], Ok(()));
    for address in [
        "127.0.0.1",
        "127.8.9.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
    ] {
        check(&format!("http://{address}/"), &[], denied(address));
    }
    for address in [
        "::1",
        "::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:a00:1::",
        "2002:7f00:1::1",
        "2001::1",
    ] {
        check(&format!("http://[{address}]/"), &[], denied(address));
    }
    // The forms that older resolvers take for addresses.
    for (written, meant) in
        [("2130706433", "127.0.0.1"), ("0x7f.1", "127.0.0.1"), ("0177.0.0.1", "127.0.0.1"), ("10.1", "10.0.0.1")]
    {
        check(&format!("http://{written}/"), &[], denied(meant));
    }
    check("http://127.0.0.1/", &["127.0.0.0/8"], Ok(()));
    check("http://[::ffff:127.0.0.1]/", &["127.0.0.0/8"], Ok(()));
    check("http://127.0.0.1/", &["10.0.0.0/8"], denied("127.0.0.1"));
    check("ldap://crl.example/cn=a", &[], Err(Denied::Scheme));
    check("file:///etc/passwd", &[], Err(Denied::Scheme));
    check("http://user@crl.example/", &[], Err(Denied::Credentials));
    check("http://:secret@crl.example/", &[], Err(Denied::Credentials));
    check("http://crl.example:25/", &[], Err(Denied::Port(25)));
    check("not a URL", &[], Err(Denied::NoUrl));
    check(&format!("http://crl.example/{}", "a".repeat(3000)), &[], Err(Denied::NoUrl));
}

#[test]
fn p07_of_a_name_only_public_addresses_are_connected_to() {
    let settings = settings(&[], &[80]);
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<std::net::IpAddr>>();
    let mixed = addresses(&["10.0.0.1", "1.1.1.1", "::1"]);
    assert_eq!(guard::allowed(&mixed, &settings).unwrap(), addresses(&["1.1.1.1"]));
    let private = addresses(&["169.254.169.254"]);
    assert_eq!(guard::allowed(&private, &settings), Err(Denied::Private(private[0])));
}

#[tokio::test]
async fn p07_asks_plainly_and_reads_what_comes() {
    let (answer, asked) = get(&[&ok("hello")], &Validators::default()).await;
    let validators = Validators { etag: Some("\"a\"".to_owned()), modified: None };
    assert_eq!(answer, Ok(Answer::Content("hello".into(), validators.clone())));
    let request = asked[0].to_ascii_lowercase();
    assert!(request.starts_with("get /a.crl?b=c http/1.1\r\n"), "{request}");
    for field in ["cookie", "authorization", "accept-encoding", "referer", "if-none-match"] {
        assert!(!request.contains(field), "{request}");
    }
    let (answer, asked) = get(&[b"HTTP/1.1 304 Not Modified\r\n\r\n"], &validators).await;
    assert_eq!(answer, Ok(Answer::NotModified));
    assert!(asked[0].to_ascii_lowercase().contains("if-none-match: \"a\""), "{asked:?}");
    // Nobody said that anything was known.
    let (answer, _) = get(&[b"HTTP/1.1 304 Not Modified\r\n\r\n"], &Validators::default()).await;
    assert_eq!(answer, Err(FetchError::Redirect("a redirect to nowhere")));
}

#[tokio::test]
async fn p07_broken_answers_are_errors() {
    let none = Validators::default();
    let large = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(1001));
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n", "a".repeat(1001));
    for (answer, expected) in [
        (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], FetchError::Status(404)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", FetchError::TooLarge(1000)),
        (large.as_bytes(), FetchError::TooLarge(1000)),
        (chunked.as_bytes(), FetchError::TooLarge(1000)),
    ] {
        assert_eq!(get(&[answer], &none).await.0, Err(expected), "{}", String::from_utf8_lossy(answer));
    }
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
        b"220 smtp.example ESMTP\r\n",
        b"",
    ] {
        let (found, _) = get(&[answer], &none).await;
        assert!(matches!(found, Err(FetchError::Broken(_))), "{found:?}");
    }
}

#[tokio::test]
async fn p07_redirects_are_followed_three_times_and_checked_each_time() {
    let none = Validators::default();
    let to = |location: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    let (here, away) = (to("/b"), to("http://127.0.0.1:PORT/c"));
    let (answer, asked) = get(&[&here, &away, &here, &ok("end")], &none).await;
    assert!(matches!(answer, Ok(Answer::Content(body, _)) if body == "end"));
    assert_eq!(asked.len(), 4);
    let (answer, _) = get(&[&here, &here, &here, &here, &ok("never")], &none).await;
    assert_eq!(answer, Err(FetchError::Redirect("too many redirects")));
    for (location, expected) in [
        ("http://169.254.169.254/latest/meta-data/", Denied::Private("169.254.169.254".parse().unwrap())),
        ("http://[::1]/", Denied::Private("::1".parse().unwrap())),
        ("file:///etc/passwd", Denied::Scheme),
        ("http://127.0.0.1:1/", Denied::Port(1)),
        ("http://a@127.0.0.1:PORT/", Denied::Credentials),
    ] {
        let (answer, asked) = get(&[&to(location), &ok("never")], &none).await;
        assert_eq!((answer, asked.len()), (Err(FetchError::Denied(expected)), 1), "{location}");
    }
}

#[tokio::test]
async fn p07_a_private_server_hears_nothing() {
    let (port, asked) = server(vec![ok("secret")]).await;
    let url = format!("http://127.0.0.1:{port}/");
    let found = client(settings(&[], &[port])).get(&url, &Validators::default(), 1000).await;
    assert_eq!(found, Err(FetchError::Denied(Denied::Private("127.0.0.1".parse().unwrap()))));
    let off = Fetch { enabled: false, ..settings(&["127.0.0.1/32"], &[port]) };
    assert_eq!(client(off).get(&url, &Validators::default(), 1000).await, Err(FetchError::Disabled));
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn p07_a_proxy_is_asked_in_absolute_form() {
    let (port, asked) = server(vec![ok("by proxy")]).await;
    let proxied = Fetch { proxy: Some(format!("http://127.0.0.1:{port}")), ..settings(&[], &[80]) };
    let client = client(proxied);
    let answer = client.get("http://crl.example/a.crl", &Validators::default(), 1000).await;
    assert!(matches!(answer, Ok(Answer::Content(body, _)) if body == "by proxy"));
    let asked = asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("GET http://crl.example/a.crl HTTP/1.1\r\n"), "{asked:?}");
    // What it resolves is its own affair, but a literal address is not.
    let denied = client.get("http://10.0.0.1/", &Validators::default(), 1000).await;
    assert_eq!(denied, Err(FetchError::Denied(Denied::Private("10.0.0.1".parse().unwrap()))));
}
