//! The one HTTP client: asks for CRLs where certificates say they are, and for nothing else.
//!
//! Guarded (P07): scheme, port, the address after resolving, size, time and redirects are bounded; no cookies, no
//! credentials, nothing but GET. It connects to exactly the address that was checked, so a name can't change its meaning in
//! between. What comes back proves nothing by itself: whoever asked verifies it.

mod connection;
mod guard;
mod tls;

pub use guard::Denied;

use crate::config::{self, Config};
use crate::dns::Resolver;
use bytes::Bytes;
use guard::Target;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// For one address; a server that is there answers within a round trip.
const CONNECT: Duration = Duration::from_secs(5);
/// From the request to the first octet of the answer.
const FIRST_BYTE: Duration = Duration::from_secs(15);
/// For everything, redirects included. Mail waits less: see `pipeline::gather`.
const TOTAL: Duration = Duration::from_secs(60);
/// P07: a CA's server redirects once, to its mirror or to https.
const REDIRECTS: usize = 3;
/// Requests at a time, in all and for one host.
const AT_ONCE: usize = 16;
const AT_ONCE_FOR_HOST: usize = 4;
/// Hosts whose requests are counted; those that nobody asks are forgotten.
const HOSTS: usize = 256;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// `fetch.enabled = false`.
    #[error("nothing is fetched (fetch.enabled)")]
    Disabled,
    /// Where it leads is not asked.
    #[error("not asked: {0}")]
    Denied(#[from] Denied),
    /// The host's name has no address.
    #[error("cannot resolve `{host}`: {problem}")]
    Name {
        /// The host.
        host: String,
        /// What the name service says.
        problem: String,
    },
    /// No connection, or it broke.
    #[error("no connection to {host}: {problem}")]
    Connection {
        /// The host.
        host: String,
        /// What the system says.
        problem: String,
    },
    /// The server could not prove itself.
    #[error("TLS with {host}: {problem}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        problem: String,
    },
    /// Nothing came for too long.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// Another status than 200 and 304.
    #[error("the server answers {0}")]
    Status(u16),
    /// More redirects than allowed, or one that leads nowhere.
    #[error("{0}")]
    Redirect(&'static str),
    /// Larger than it may be.
    #[error("larger than {0} octets")]
    TooLarge(usize),
    /// No HTTP, or less than was promised.
    #[error("broken answer: {0}")]
    Broken(String),
}

/// What the server said about the last answer, so that it can say that nothing is new (RFC 9110 section 13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`
    pub etag: Option<String>,
    /// `Last-Modified`
    pub modified: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: the content, whatever type it claims.
    Content(Bytes, Validators),
    /// 304: it is what it was.
    NotModified,
}

/// The client. Cheap to clone; clones share its bounds.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: config::Fetch,
    resolver: Resolver,
    tls: tls::Tls,
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Client {
    /// As the configuration says.
    pub fn new(config: &Config, resolver: &Resolver) -> Self {
        Self::with(config.fetch.clone(), config.tls_ca.clone(), resolver.clone())
    }

    /// With these settings; `ca` are CAs that prove https servers, DER, empty for the system's.
    pub fn with(settings: config::Fetch, ca: Vec<Vec<u8>>, resolver: Resolver) -> Self {
        Self(Arc::new(Inner {
            settings,
            resolver,
            tls: tls::Tls::new(ca),
            all: Arc::new(Semaphore::new(AT_ONCE)),
            hosts: Mutex::default(),
        }))
    }

    /// Whether it asks anybody.
    pub fn is_enabled(&self) -> bool {
        self.0.settings.enabled
    }

    /// Asks for `url`; an answer of more than `most` octets is refused. With `known`, the server may say that nothing is new.
    ///
    /// # Errors
    /// Nothing was had.
    pub async fn get(&self, url: &str, known: &Validators, most: usize) -> Result<Answer, FetchError> {
        if !self.0.settings.enabled {
            return Err(FetchError::Disabled);
        }
        timeout(TOTAL, self.follow(url, known, most)).await.unwrap_or(Err(FetchError::Slow(TOTAL)))
    }

    async fn follow(&self, url: &str, known: &Validators, most: usize) -> Result<Answer, FetchError> {
        let mut target = guard::target(url, &self.0.settings)?;
        for _ in 0..=REDIRECTS {
            let _permits = self.permits(&target.host).await?;
            match self.ask(&target, known, most).await? {
                connection::Reply::Answer(answer) => return Ok(answer),
                connection::Reply::Redirect(location) => {
                    let next = target.url.join(&location).map_err(|_| FetchError::Redirect("a redirect to no URL"))?;
                    target = guard::target(next.as_str(), &self.0.settings)?;
                }
            }
        }
        Err(FetchError::Redirect("too many redirects"))
    }

    async fn ask(&self, target: &Target, known: &Validators, most: usize) -> Result<connection::Reply, FetchError> {
        let stream = self.connect(target).await?;
        let absolute = self.0.settings.proxy.is_some() && !target.tls;
        let stream = match target.tls {
            true => self.0.tls.wrap(stream, &target.host).await?,
            false => connection::Stream::Plain(stream),
        };
        connection::get(stream, target, absolute, known, most).await
    }

    /// A connection to an address that was checked, or to the proxy.
    async fn connect(&self, target: &Target) -> Result<tokio::net::TcpStream, FetchError> {
        let settings = &self.0.settings;
        if let Some(proxy) = &settings.proxy {
            let (host, port) = guard::proxy(proxy)?;
            let addresses = self.resolve(&host).await?;
            let stream = connection::connect(&addresses, port, &host).await?;
            return if target.tls { connection::tunnel(stream, target).await } else { Ok(stream) };
        }
        let addresses = self.resolve(&target.host).await?;
        let allowed = guard::allowed(&addresses, settings)?;
        connection::connect(&allowed, target.port, &target.host).await
    }

    async fn resolve(&self, host: &str) -> Result<Vec<std::net::IpAddr>, FetchError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        self.0
            .resolver
            .addresses(bare)
            .await
            .map_err(|error| FetchError::Name { host: host.to_owned(), problem: error.to_string() })
    }

    /// One of all requests, and one of this host's.
    async fn permits(&self, host: &str) -> Result<[OwnedSemaphorePermit; 2], FetchError> {
        let own = {
            let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.len() >= HOSTS {
                hosts.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            }
            Arc::clone(hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_FOR_HOST))))
        };
        let ended = |_| FetchError::Broken("the client has ended".to_owned());
        let of_host = own.acquire_owned().await.map_err(ended)?;
        let of_all = Arc::clone(&self.0.all).acquire_owned().await.map_err(ended)?;
        Ok([of_host, of_all])
    }
}

#[cfg(test)]
mod tests;
