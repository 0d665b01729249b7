//! Ports for servers that must be told theirs before they start.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port for both TCP and UDP that nobody gets by chance before it is used: below those that the kernel gives to whoever
/// names none, and another one each time.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run beside this one begins elsewhere.
    let first = 10_000 + u16::try_from(std::process::id() % 40).unwrap() * 500;
    for _ in 0..500 {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 500;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free from {first} on");
}
