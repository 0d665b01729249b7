//! What the scenarios share: a gateway, servers to deliver to, clients, a certificate authority.

pub mod client;
pub mod crl;
pub mod database;
pub mod der;
pub mod dns;
pub mod gateway;
pub mod mta;
pub mod peer;
pub mod pki;
pub mod port;
pub mod process;
pub mod sink;
pub mod tls;

pub use client::{Client, swaks};
pub use dns::Dns;
pub use gateway::{Gateway, Setup};
pub use peer::Peer;
pub use pki::Pki;
pub use sink::{Mail, Sink};

use std::time::Duration;

/// How long anything may take on a machine with other work to do. Nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the test where a program is missing: with a failure on a build machine, with a line elsewhere.
macro_rules! need {
    ($($program:expr),+ $(,)?) => {
        $(if !$crate::support::process::present($program) {
            assert!(std::env::var_os("CI").is_none(), "`{}` is not installed", $program);
            println!("skipped: `{}` is not installed", $program);
            return;
        })+
    };
}

/// A mail with CRLF line ends.
pub fn letter(from: &str, to: &str, id: &str, text: &str) -> Vec<u8> {
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: Halo\r\nDate: Sun, 22 Nov 2026 10:00:00 +0700\r\nMessage-ID: <{id}@test.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

/// All fields `name` of a mail's header section, unfolded, in order.
pub fn fields(mail: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(mail).into_owned();
    let section = text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
    section
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| field.trim_end().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// `mail` without the trace fields on top: `Received` and what the gateway says of a mail, which a relay
/// adds.
pub fn below_trace(mail: &[u8]) -> &[u8] {
    const OURS: [&[u8]; 4] = [b"received:", b"authentication-results:", b"segel-verdict:", b"segel-passed:"];
    let mut rest = mail;
    let mut inside = false;
    loop {
        let line = &rest[..rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1)];
        let folded = line.first().is_some_and(|byte| *byte == b' ' || *byte == b'\t');
        let lower = line.to_ascii_lowercase();
        inside = if folded { inside } else { OURS.iter().any(|name| lower.starts_with(name)) };
        if !inside || line.is_empty() {
            return rest;
        }
        rest = &rest[line.len()..];
    }
}

/// The material made by others, if it is there.
pub fn corpora() -> Option<std::path::PathBuf> {
    let found = std::env::var_os("SEGEL_CORPORA").map(std::path::PathBuf::from);
    if found.is_none() {
        println!("skipped: SEGEL_CORPORA is not set");
    }
    found
}

/// `bytes` with every line end as CRLF.
pub fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut previous = 0;
    for byte in bytes {
        if *byte == b'\n' && previous != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        previous = *byte;
    }
    out
}
