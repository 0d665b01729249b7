//! From a next hop to a connection that is ready for mail.
//!
//! Tries the servers of the next hop in their order, each with all its addresses, until one has greeted, given the TLS that
//! is asked for and taken our login. Where TLS is only welcome, servers whose handshake breaks are tried last, in plain text
//! (RFC 7435). Never connects to anybody else.

use super::Surroundings;
use super::route::{self, RouteError, Target};
use crate::config::{DeliverTls, Destination, NextHop};
use crate::queue::{Outcome, Via};
use crate::smtp::client::{Client, Fate, Phase, Step};
use crate::tls::client::{Proof, describe};
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use zeroize::Zeroize as _;

/// For one address. RFC 5321 leaves it open; Postfix's `smtp_connect_timeout` is 30 s.
const CONNECT: Duration = Duration::from_secs(30);

/// For a handshake.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// No further server is tried after so long: with the last one's own timeouts it stays below a lease.
const TOUR: Duration = Duration::from_secs(300);

/// Mails over one connection; what Postfix and others allow.
const MAILS: u32 = 100;

/// How long one connection is used; Postfix's `smtp_connection_reuse_time_limit`.
const AGE: Duration = Duration::from_secs(300);

/// Octets per write: each has its own timeout.
const BLOCK: usize = 64 << 10;

/// What is said of mail that expires meanwhile.
pub(super) const TOO_LATE: &str = "the mail expired before the next hop had taken it";

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// An open connection to a server of a next hop.
pub struct Connection {
    stream: Box<dyn Stream>,
    pub(super) client: Client,
    input: BytesMut,
    pub(super) mails: u32,
    since: Instant,
    /// When the mail that is being sent expires.
    pub(super) until: Option<Instant>,
    pub(super) target: Target,
    tls: Option<String>,
    pub(super) surroundings: Arc<Surroundings>,
    /// Servers that come after this one, other hosts only.
    pub(super) others: Vec<Target>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("target", &self.target).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// How the dialogue went on until it needed something from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Ready,
    Handshake,
    Broken,
}

/// What TLS has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Where it is offered.
    May,
    Must(Proof),
    /// It broke before: in plain text.
    Never,
}

/// Why one server was of no use.
struct Trouble {
    outcome: Outcome,
    /// It would perhaps do without TLS.
    broken_tls: bool,
    /// It is this gateway: whoever comes after it sends to it.
    own: bool,
}

impl Trouble {
    fn new(target: &Target, fate: Fate) -> Self {
        Self { outcome: outcome(fate, target), broken_tls: false, own: false }
    }

    fn tls(target: &Target, fate: Fate) -> Self {
        Self { broken_tls: true, ..Self::new(target, fate) }
    }
}

/// What is said of a recipient, with the server that it was said by or of.
pub(super) fn outcome(fate: Fate, target: &Target) -> Outcome {
    let named = |diagnostic: String| format!("{diagnostic} ({target})");
    match fate {
        Fate::Delivered { reply } => Outcome::Delivered { reply, via: Via::default() },
        Fate::Deferred { status, diagnostic } => Outcome::Deferred { status, diagnostic: named(diagnostic) },
        Fate::Failed { status, diagnostic } => Outcome::Failed { status, diagnostic: named(diagnostic) },
    }
}

/// Connects to a next hop: the first of its servers that is ready for mail.
///
/// # Errors
/// Why none is, as the fate of whatever was to be delivered: deferred, unless DNS says that there is no way.
pub async fn open(next_hop: &NextHop, surroundings: &Arc<Surroundings>) -> Result<Connection, Outcome> {
    let mut tour = Tour::new(next_hop.tls, surroundings);
    match &next_hop.to {
        Destination::Mx(domain) => {
            let targets = route::exchangers(domain, surroundings).await.map_err(|error| error.outcome())?;
            tour.by_dns = Some(domain);
            if let Some(connection) = tour.each(targets, false).await {
                return Ok(connection);
            }
        }
        Destination::Servers(servers) => {
            for server in servers {
                match route::server(server, surroundings).await {
                    Ok(targets) => {
                        if let Some(connection) = tour.each(targets, false).await {
                            return Ok(connection);
                        }
                    }
                    Err(error) => tour.trouble = Some(error.outcome()),
                }
            }
        }
    }
    tour.end().await
}

/// Connects to one of these servers, for what another one has put off.
pub(super) async fn open_other(
    targets: Vec<Target>,
    tls: DeliverTls,
    surroundings: &Arc<Surroundings>,
) -> Option<Connection> {
    let mut tour = Tour::new(tls, surroundings);
    match tour.each(targets, false).await {
        Some(connection) => Some(connection),
        None => tour.end().await.ok(),
    }
}

/// The way from server to server.
struct Tour<'a> {
    tls: DeliverTls,
    surroundings: &'a Arc<Surroundings>,
    /// The domain whose exchangers these are.
    by_dns: Option<&'a str>,
    until: Instant,
    /// What was wrong with the last one.
    trouble: Option<Outcome>,
    /// Who did not manage TLS.
    plain: Vec<Target>,
}

impl<'a> Tour<'a> {
    fn new(tls: DeliverTls, surroundings: &'a Arc<Surroundings>) -> Self {
        let until = Instant::now() + TOUR;
        Self { tls, surroundings, by_dns: None, until, trouble: None, plain: Vec::new() }
    }

    /// Those whose TLS broke once more, in plain text.
    async fn end(mut self) -> Result<Connection, Outcome> {
        let plain = std::mem::take(&mut self.plain);
        if let Some(connection) = self.each(plain, true).await {
            return Ok(connection);
        }
        let nobody = || Outcome::Deferred {
            status: "4.4.1".to_owned(),
            diagnostic: "there is no server to connect to".to_owned(),
        };
        Err(self.trouble.unwrap_or_else(nobody))
    }

    /// The first of these that is of use.
    async fn each(&mut self, targets: Vec<Target>, in_plain: bool) -> Option<Connection> {
        let mut targets = targets.into_iter();
        while let Some(target) = targets.next() {
            if Instant::now() > self.until {
                break;
            }
            let wish = if in_plain { Wish::Never } else { self.wish(&target) };
            match reach(&target, wish, self.by_dns.is_some(), self.surroundings).await {
                Ok(mut connection) => {
                    connection.others = targets.filter(|other| other.host != target.host).collect();
                    return Some(connection);
                }
                Err(Trouble { own: true, .. }) => {
                    let here = RouteError::Loop(self.by_dns.unwrap_or_default().to_owned()).outcome();
                    self.trouble.get_or_insert(here);
                    break;
                }
                Err(trouble) => {
                    tracing::debug!(%target, outcome = ?trouble.outcome, "a server of the next hop is of no use now");
                    if trouble.broken_tls && wish == Wish::May && !target.implicit_tls {
                        self.plain.push(target);
                    }
                    self.trouble = Some(trouble.outcome);
                }
            }
        }
        None
    }

    /// A password goes to nobody who is not proven, so who gets one has to be.
    fn wish(&self, target: &Target) -> Wish {
        let settings = target.known.and_then(|known| self.surroundings.tls.settings(known));
        match self.tls {
            _ if settings.is_some_and(|settings| settings.login.is_some()) => Wish::Must(Proof::Server),
            DeliverTls::May => Wish::May,
            DeliverTls::Encrypt => Wish::Must(Proof::Nobody),
            DeliverTls::Verify => Wish::Must(Proof::Server),
        }
    }
}

/// One address: connection, greeting, TLS, login.
async fn reach(
    target: &Target,
    wish: Wish,
    by_dns: bool,
    surroundings: &Arc<Surroundings>,
) -> Result<Connection, Trouble> {
    let stream = dial(target).await?;
    let mut new = Connection {
        stream: Box::new(stream),
        client: Client::new(&surroundings.hostname, &surroundings.limits),
        input: BytesMut::with_capacity(4 << 10),
        mails: 0,
        since: Instant::now(),
        until: None,
        target: target.clone(),
        tls: None,
        surroundings: Arc::clone(surroundings),
        others: Vec::new(),
    };
    let proof = if let Wish::Must(proof) = wish { proof } else { Proof::Nobody };
    if target.implicit_tls {
        new = new.shake_hands(proof).await?;
    }
    if new.drive().await == Ended::Broken {
        return Err(Trouble::new(target, new.client.trouble()));
    }
    if by_dns && new.client.name().is_some_and(|name| name.eq_ignore_ascii_case(&surroundings.hostname)) {
        let fate = Fate::deferred("4.4.6", "this is the gateway itself");
        return Err(Trouble { own: true, ..Trouble::new(target, fate) });
    }
    if !target.implicit_tls && wish != Wish::Never {
        new = new.start_tls(wish, proof).await?;
    }
    new.log_in().await
}

async fn dial(target: &Target) -> Result<TcpStream, Trouble> {
    let refused = |why: String| Trouble::new(target, Fate::deferred("4.4.1", format!("no connection: {why}")));
    match timeout(CONNECT, TcpStream::connect((target.address, target.port))).await {
        Ok(Ok(stream)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%target, %error, "no TCP_NODELAY");
            }
            Ok(stream)
        }
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused("no answer in time".to_owned())),
    }
}

impl Connection {
    /// TLS over what is there.
    async fn shake_hands(mut self, proof: Proof) -> Result<Self, Trouble> {
        let target = &self.target;
        let broken = |why: String| Trouble::tls(target, Fate::deferred("4.7.5", format!("TLS failed: {why}")));
        let clients = &self.surroundings.tls;
        let (config, name) =
            clients.handshake(&target.host, target.known, proof).map_err(|error| broken(error.to_string()))?;
        let connecting = TlsConnector::from(config).connect(name, self.stream);
        let stream = match timeout(HANDSHAKE, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(broken(error.to_string())),
            Err(_) => return Err(broken("no answer in time".to_owned())),
        };
        self.tls = Some(describe(stream.get_ref().1, proof));
        self.stream = Box::new(stream);
        Ok(self)
    }

    /// STARTTLS where it is offered; what its lack means depends on the wish.
    async fn start_tls(mut self, wish: Wish, proof: Proof) -> Result<Self, Trouble> {
        let lacking = |target: &Target, what: &str| Trouble::new(target, Fate::deferred("4.7.4", what));
        if !self.client.capabilities().start_tls {
            return match wish {
                Wish::Must(_) => {
                    Err(lacking(&self.target, "TLS is required here, and the next hop does not offer STARTTLS"))
                }
                _ => Ok(self),
            };
        }
        self.client.start_tls();
        match self.drive().await {
            Ended::Broken => return Err(Trouble::tls(&self.target, self.client.trouble())),
            Ended::Ready => {
                let refusal = self.client.tls_refusal().unwrap_or_default();
                let what = format!("TLS is required here, and the next hop refused STARTTLS: {refusal}");
                return match wish {
                    Wish::Must(_) => Err(lacking(&self.target, &what)),
                    _ => Ok(self),
                };
            }
            Ended::Handshake => {}
        }
        self = self.shake_hands(proof).await?;
        self.client.secured();
        match self.drive().await {
            Ended::Ready => Ok(self),
            _ => Err(Trouble::tls(&self.target, self.client.trouble())),
        }
    }

    /// AUTH where we have a login here.
    async fn log_in(mut self) -> Result<Self, Trouble> {
        let surroundings = Arc::clone(&self.surroundings);
        let settings = self.target.known.and_then(|known| surroundings.tls.settings(known));
        let Some((name, password)) = settings.and_then(|settings| settings.login.as_ref()) else { return Ok(self) };
        if !self.tls.as_deref().is_some_and(|tls| tls.ends_with(" verified")) {
            let why = "a password goes only to a server that TLS has proven, and this one is not";
            return Err(Trouble::new(&self.target, Fate::deferred("4.7.0", why)));
        }
        self.client.authenticate(name, password);
        match self.drive().await {
            Ended::Ready => Ok(self),
            _ => Err(Trouble::new(&self.target, self.client.trouble())),
        }
    }

    /// Who takes the mail, and how it goes there.
    pub(super) fn via(&self) -> Via {
        Via { host: self.target.host.clone(), tls: self.tls.clone(), dsn: self.client.capabilities().dsn }
    }

    /// This connection if it can take another mail; else says goodbye.
    pub(super) async fn keep(mut self) -> Option<Self> {
        let fresh = self.mails < MAILS && self.since.elapsed() < AGE;
        if fresh && self.client.next(&mut self.input) == Step::Ready && self.input.is_empty() {
            return Some(self);
        }
        self.quit().await;
        None
    }

    /// Says goodbye and closes; the answer is not waited for.
    pub async fn quit(mut self) {
        self.client.quit();
        let output = self.client.output().split();
        let closing = timeout(Phase::Command.timeout(), async {
            self.stream.write_all(&output).await?;
            self.stream.shutdown().await
        });
        if !matches!(closing.await, Ok(Ok(()))) {
            tracing::debug!("next hop had closed already");
        }
    }

    /// Whether it is of no more use: the next hop has closed, or said something that nobody asked for, since the last
    /// mail; or it is too old.
    pub async fn is_stale(&mut self) -> bool {
        if self.since.elapsed() > AGE {
            return true;
        }
        self.read_now(&mut ReadBuf::new(&mut [0; 1])).await.is_ready()
    }

    /// What has come by now: octets, the end or an error of the stream; never waits for more.
    async fn read_now(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        poll_fn(|context| Poll::Ready(Pin::new(&mut self.stream).poll_read(context, buffer))).await
    }

    /// Whether it was opened in other surroundings than these: they may ask for more.
    pub fn is_of(&self, surroundings: &Arc<Surroundings>) -> bool {
        Arc::ptr_eq(&self.surroundings, surroundings)
    }

    /// Runs the dialogue until it is ready for a mail or a handshake, or broken.
    pub(super) async fn drive(&mut self) -> Ended {
        loop {
            let step = self.client.next(&mut self.input);
            let mut output = self.client.output().split();
            if !output.is_empty() {
                let written = self.write(&output, Phase::Command).await;
                // There may have been a password in it.
                output.as_mut().zeroize();
                if let Err(problem) = written {
                    self.client.lost(problem);
                    continue;
                }
            }
            match step {
                Step::Ready => return Ended::Ready,
                Step::Handshake => return Ended::Handshake,
                Step::Broken => return Ended::Broken,
                Step::Read(phase) => match timeout(self.patience(phase), self.stream.read_buf(&mut self.input)).await {
                    Ok(Ok(0)) => self.client.lost("connection closed by the next hop"),
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => self.client.lost(&format!("connection lost: {error}")),
                    Err(_) if self.patience(phase).is_zero() => self.client.lost(TOO_LATE),
                    Err(_) => self.client.lost("the next hop did not answer in time"),
                },
                // Nobody was asked anything: taken for the answer to the final dot, it would lose a mail or bounce it.
                Step::Content(_) if self.has_spoken().await => {
                    self.client.lost("the next hop spoke before it had the mail");
                }
                Step::Content(pieces) => match self.content(pieces).await {
                    Ok(()) => self.client.content_sent(),
                    Err(problem) => self.client.lost(problem),
                },
            }
        }
    }

    /// Whether something has arrived that nobody has looked at.
    async fn has_spoken(&mut self) -> bool {
        let mut octets = [0; 1024];
        let mut buffer = ReadBuf::new(&mut octets);
        if let Poll::Ready(Ok(())) = self.read_now(&mut buffer).await {
            self.input.extend_from_slice(buffer.filled());
        }
        !self.input.is_empty()
    }

    /// Everything but the end of the data, and then that: only from there on delivery is possible.
    async fn content(&mut self, mut pieces: Vec<Bytes>) -> Result<(), &'static str> {
        let end = pieces.pop().unwrap_or_default();
        let small: usize = pieces.iter().map(Bytes::len).sum();
        if small <= BLOCK {
            // One packet for a small mail.
            let mut whole = pieces.concat();
            whole.extend_from_slice(&end);
            self.client.content_ending();
            return self.write(&whole, Phase::DataBlock).await;
        }
        let mut gathered = BytesMut::with_capacity(BLOCK);
        for piece in pieces {
            // Many small pieces are gathered, large ones go as they are.
            if piece.len() < BLOCK / 4 {
                gathered.extend_from_slice(&piece);
            } else {
                self.write(&gathered.split(), Phase::DataBlock).await?;
                self.write(&piece, Phase::DataBlock).await?;
            }
            if gathered.len() >= BLOCK {
                self.write(&gathered.split(), Phase::DataBlock).await?;
            }
        }
        self.write(&gathered, Phase::DataBlock).await?;
        if self.has_spoken().await {
            return Err("the next hop spoke before it had the mail");
        }
        self.client.content_ending();
        self.write(&end, Phase::DataBlock).await
    }

    /// How long is waited: after the end of the data as long as the phase allows, however late it is.
    fn patience(&self, phase: Phase) -> Duration {
        let left = self.until.filter(|_| !self.client.committed());
        let left = left.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(phase.timeout(), |left| left.min(phase.timeout()))
    }

    async fn write(&mut self, octets: &[u8], phase: Phase) -> Result<(), &'static str> {
        for block in octets.chunks(BLOCK) {
            let patience = self.patience(phase);
            let writing = async {
                self.stream.write_all(block).await?;
                // TLS keeps octets back until it is told.
                self.stream.flush().await
            };
            match timeout(patience, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err("connection lost while sending"),
                Err(_) => return Err("the next hop does not read"),
            }
        }
        Ok(())
    }
}
