//! Tells systemd how the service is doing: `sd_notify(3)`, a datagram to the socket that `NOTIFY_SOCKET` names.
//!
//! Without that variable nothing is sent. A manager that does not listen never stops the gateway: it is told of in the log.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long the manager may take to make room for a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything listens.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}\n"));
}

/// The start takes longer than the manager was told, and goes on: it may take so long from now on.
pub fn still_starting(status: &str, more: Duration) {
    tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={status}\n", more.as_micros()));
}

/// The configuration is being read again; [`ready`] follows, whatever came of it (`Type=notify-reload`).
pub fn reloading() {
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_micros()));
}

/// The service has begun to stop.
pub fn stopping(status: &str) {
    tell(&format!("STOPPING=1\nSTATUS={status}\n"));
}

/// What `systemctl status` shows.
pub fn status(status: &str) {
    tell(&format!("STATUS={status}\n"));
}

/// Alive and of use.
pub fn watchdog() {
    tell("WATCHDOG=1\n");
}

/// How often systemd wants to hear [`watchdog`]; `None` if it does not, or wants to hear it of another process.
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let own = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID").is_some_and(|id| id == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| own && *micros > 0).map(Duration::from_micros)
}

/// Whether standard error is the journal (systemd.exec(5), `JOURNAL_STREAM`: device and inode).
pub fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(found) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream == OsStr::new(&format!("{}:{}", found.st_dev, found.st_ino))
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&socket, state.as_bytes()) {
        tracing::warn!(%error, ?socket, "systemd could not be told.");
    }
}

/// `@` begins the name of an abstract socket.
fn send(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the mail for long.
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(state, &address)?;
    Ok(())
}

/// `CLOCK_MONOTONIC`, by which systemd tells this reload from an earlier one.
fn monotonic_micros() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000)
}

#[cfg(test)]
mod tests {
    use super::send;
    use std::ffi::OsStr;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn a_path_and_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("segel-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for (receiver, socket) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into()),
        ] {
            send(&socket, b"READY=1\n").unwrap();
            let mut buffer = [0; 64];
            let read = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..read], b"READY=1\n");
        }
        assert!(send(OsStr::new("/no/such/socket"), b"READY=1\n").is_err());
    }
}
