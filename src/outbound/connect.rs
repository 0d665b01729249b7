//! From a next hop to a connected socket.
//!
//! Tries the addresses that the name resolves to, in their order; never another host or port.

use crate::config::{Destination, NextHop};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// For one address. RFC 5321 leaves it open; Postfix's `smtp_connect_timeout` is 30 s.
const CONNECT: Duration = Duration::from_secs(30);

/// For the look-up of a name.
const LOOKUP: Duration = Duration::from_secs(20);

/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// Why there is no connection. All of them pass with time.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name did not resolve.
    #[error("look-up of `{host}` failed")]
    Lookup {
        /// The next hop's name.
        host: String,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
    /// The look-up took too long.
    #[error("look-up of `{0}` timed out")]
    LookupTimeout(String),
    /// The name has no address.
    #[error("`{0}` has no address")]
    NoAddress(String),
    /// No address answered; the last one's error.
    #[error("connection to `{host}` failed")]
    Connect {
        /// Name and port.
        host: String,
        /// Of the address that was tried last.
        #[source]
        source: std::io::Error,
    },
}

impl ConnectError {
    /// RFC 3463: 4.4.3 directory server failure, 4.4.1 no answer from host.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Lookup { .. } | Self::LookupTimeout(_) | Self::NoAddress(_) => "4.4.3",
            Self::Connect { .. } => "4.4.1",
        }
    }
}

/// Opens a connection.
///
/// # Errors
/// [`ConnectError`]
pub async fn connect(next_hop: &NextHop) -> Result<TcpStream, ConnectError> {
    let (host, port) = match &next_hop.to {
        Destination::Servers(servers) => servers.first().map_or(("", 0), |server| (server.host.as_str(), server.port)),
        Destination::Mx(domain) => return Err(ConnectError::NoAddress(domain.clone())),
    };
    let addresses = timeout(LOOKUP, lookup_host((host, port)))
        .await
        .map_err(|_| ConnectError::LookupTimeout(host.to_owned()))?
        .map_err(|source| ConnectError::Lookup { host: host.to_owned(), source })?;
    let mut last = None;
    for address in addresses.take(ADDRESSES) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%address, %error, "no TCP_NODELAY");
                }
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(std::io::ErrorKind::TimedOut.into()),
        }
    }
    let named = || format!("{host}:{}", port);
    Err(last.map_or_else(|| ConnectError::NoAddress(named()), |source| ConnectError::Connect { host: named(), source }))
}
