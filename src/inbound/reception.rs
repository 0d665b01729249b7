//! What a session asks about: TLS, logins, may this be relayed, and what becomes of a message.
//!
//! One implementation asks the gateway, the other stands in the tests. Refusals say no more than the client may know.

use super::Admission;
use super::call_ahead::{Answer, Question};
use super::rates::{What, Who};
use crate::config::{Listener, Rates};
use crate::mail::{Address, Envelope, ReversePath, without_addresses};
use crate::metrics;
use crate::outbound::probe::{Existence, probe};
use crate::pipeline::{self, Arrival, Commitment, Gateway, Snapshot};
use crate::policy::{self, Side};
use crate::smtp::Reply;
use crate::smtp::command::ForwardPath;
use crate::smtp::server::{Attempt, Client, Credentials, Transaction};
use bytes::Bytes;
use rustls::ServerConfig;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

/// The answers to a session's questions.
pub trait Reception: Send + Sync + 'static {
    /// TLS, where the listener has it.
    fn tls(&self) -> Option<Arc<ServerConfig>>;

    /// Whether a name and a password belong together.
    fn log_in(&self, credentials: Credentials) -> impl Future<Output = Attempt> + Send;

    /// Counts errors of the client; a reply if they are too many, which ends the session.
    fn errors(&self, count: u32) -> Option<Reply>;

    /// The client did not wait for its turn and is sent away: for the log.
    fn was_early(&self) {}

    /// The memory of all sessions is spent: for the counters.
    fn no_memory(&self) {}

    /// Whether this reverse-path may begin a transaction.
    ///
    /// # Errors
    /// The reply for the client.
    fn reverse_path(&self, path: &ReversePath, client: &Client) -> Result<(), Reply>;

    /// The recipient as he is stored.
    fn recipient(
        &self,
        path: ForwardPath,
        transaction: &Transaction,
        client: &Client,
    ) -> impl Future<Output = Result<Address, Reply>> + Send;

    /// Takes a message or says why not; dropped when the client is gone.
    fn accept(
        &self,
        client: Client,
        envelope: Envelope,
        content: Bytes,
        commitment: Commitment,
    ) -> impl Future<Output = Reply> + Send;
}

/// Where a session takes place: a snapshot, which stays the same until it ends, and one of its listeners.
#[derive(Clone, Debug)]
pub struct Place {
    /// Taken when the session began.
    pub snapshot: Arc<Snapshot>,
    bound: Arc<Listener>,
    index: usize,
}

impl Place {
    /// The listener that was bound under this name, as the snapshot has it.
    pub fn new(snapshot: Arc<Snapshot>, bound: &Arc<Listener>) -> Self {
        let all = &snapshot.config.listeners;
        let index = all.iter().position(|listener| listener.name == bound.name).unwrap_or(all.len());
        Self { bound: Arc::clone(bound), index, snapshot }
    }

    /// As the configuration of the snapshot has it, not as it was when the socket was bound.
    pub fn listener(&self) -> &Listener {
        self.snapshot.config.listeners.get(self.index).unwrap_or(&self.bound)
    }
}

/// What a client's address gives him.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// He is one of an inside listener's own clients.
    pub trusted: bool,
    /// No limit holds for him.
    pub exempt: bool,
}

impl Standing {
    /// Whether the limits for clients hold.
    pub fn is_limited(self) -> bool {
        !self.trusted && !self.exempt
    }
}

/// The gateway, as one session sees it.
#[derive(Debug)]
pub struct GatewayReception {
    /// Shared parts.
    pub gateway: Arc<Gateway>,
    /// Where the client came in.
    pub place: Place,
    /// The client.
    pub peer: IpAddr,
    /// Counters, and what is known of recipients.
    pub admission: Admission,
    /// What the client's address gives him.
    pub standing: Standing,
}

impl Reception for GatewayReception {
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.place.snapshot.tls.of(self.place.index).cloned()
    }

    async fn log_in(&self, credentials: Credentials) -> Attempt {
        let attempt = self.admission.logins.log_in(&self.gateway, &self.place.snapshot, credentials).await;
        // Who has to try again later was not judged.
        match attempt {
            Attempt::Passed(_) => metrics::login(true),
            Attempt::Failed => metrics::login(false),
            Attempt::Later => {}
        }
        if attempt == Attempt::Failed {
            tracing::info!(listener = %self.place.listener().name, peer = %self.peer, "a login failed");
        }
        attempt
    }

    fn errors(&self, count: u32) -> Option<Reply> {
        if self.within(What::Errors, count, self.rates().errors) {
            return None;
        }
        self.limited("errors");
        tracing::info!(listener = %self.place.listener().name, peer = %self.peer, "too many errors of one client");
        Some(Reply::new(421, 7, 0, "Too many errors, try again later"))
    }

    fn was_early(&self) {
        let (listener, peer) = (&self.place.listener().name, self.peer);
        self.limited("early");
        tracing::warn!(%listener, %peer, "a client did not wait for its turn and was refused");
    }

    fn no_memory(&self) {
        self.limited("memory");
    }

    fn reverse_path(&self, path: &ReversePath, client: &Client) -> Result<(), Reply> {
        let config = &self.place.snapshot.config;
        if self.admission.space.is_short(&config.data_dir, config.limits.free_space) {
            self.limited("space");
            return Err(Reply::new(452, 3, 1, "Insufficient storage, try again later"));
        }
        policy::reverse_path(&config.policy, self.identity(client), path)
            .map_err(|refusal| pipeline::reply::refused(&refusal))?;
        let rates = self.rates();
        let limits = [rates.client.mails, rates.sender.mails, rates.login.mails];
        self.keep_pace(path, client, What::Mails, limits)
    }

    async fn recipient(&self, path: ForwardPath, transaction: &Transaction, client: &Client) -> Result<Address, Reply> {
        let rates = self.rates();
        let limits = [rates.client.recipients, rates.sender.recipients, rates.login.recipients];
        self.keep_pace(transaction.reverse_path(), client, What::Recipients, limits)?;
        match path {
            ForwardPath::Postmaster => Ok(self.place.snapshot.config.notify.postmaster.clone()),
            ForwardPath::Mailbox(address) => {
                pipeline::gather::at_rcpt(&self.gateway, &self.place.snapshot, self.place.listener().side, &address)
                    .map_err(|refusal| pipeline::reply::refused(&refusal))?;
                self.has_room_for_copies(&address, transaction.recipients(), transaction.declared())?;
                self.exists(&address).await?;
                Ok(address)
            }
        }
    }

    async fn accept(&self, client: Client, envelope: Envelope, content: Bytes, commitment: Commitment) -> Reply {
        let protocol = client.protocol();
        let login = self.identity(&client).map(str::to_owned);
        let arrival = Arrival {
            listener: self.place.listener().name.clone(),
            side: self.place.listener().side,
            peer: self.peer,
            helo: client.hello.name,
            tls: client.tls,
            login,
            protocol,
            envelope,
            content,
        };
        pipeline::accept(&self.gateway, &self.place.snapshot, arrival, &commitment).await
    }
}

impl GatewayReception {
    fn limited(&self, limit: &'static str) {
        metrics::limited(&self.place.listener().name, limit);
    }

    fn rates(&self) -> &Rates {
        &self.place.snapshot.config.rates
    }

    /// A mail server that is trusted by its address writes for all, whatever its certificate names; whoever logs in, or is let
    /// in by his certificate, is that one.
    fn identity<'a>(&self, client: &'a Client) -> Option<&'a str> {
        if self.standing.trusted { client.login.as_deref() } else { client.identity() }
    }

    /// Counts what the client does.
    fn within(&self, what: What, amount: u32, limit: u32) -> bool {
        !self.standing.is_limited() || self.admission.rates.within(Who::Client(self.peer), what, amount, limit)
    }

    /// One more mail or recipient of this client, sender and login: `limits` in this order. A sender is limited behind a
    /// trusted mail server too: his account may be somebody else's by now.
    fn keep_pace(&self, path: &ReversePath, client: &Client, what: What, limits: [u32; 3]) -> Result<(), Reply> {
        let [of_client, of_sender, of_login] = limits;
        let within = |who: Who<'_>, limit| self.standing.exempt || self.admission.rates.within(who, what, 1, limit);
        let sender = path.mailbox().filter(|_| of_sender > 0).map(Address::mailbox_key);
        let good = self.within(what, 1, of_client)
            && sender.is_none_or(|sender| within(Who::Sender(&sender), of_sender))
            && self.identity(client).is_none_or(|login| within(Who::Login(login), of_login));
        if good {
            return Ok(());
        }
        self.limited("pace");
        Err(Reply::new(450, 7, 1, "Too much at a time, try again later"))
    }

    /// Asks the server that would get the mail (S63). Postmaster is always taken (RFC 5321 section 4.5.1).
    async fn exists(&self, address: &Address) -> Result<(), Reply> {
        let config = &self.place.snapshot.config;
        let own = config.policy.domains.iter().position(|own| own.domain.same(address.domain()));
        let verified = own.and_then(|index| config.verify_recipients.get(index)).copied().unwrap_or(false);
        if self.place.listener().side == Side::Inside || !verified || address.local().eq_ignore_ascii_case("postmaster")
        {
            return Ok(());
        }
        let next_hop = config.next_hop(address.domain());
        let (client, server) = (self.peer, next_hop.to_string());
        let question = Question { client, server, mailbox: address.mailbox_key() };
        let (surroundings, asked) = (Arc::clone(&self.place.snapshot.surroundings), address.clone());
        let names = config.log.addresses;
        let ask = move || async move {
            match probe(&next_hop, &asked, &surroundings).await {
                Existence::Yes => Answer::Yes,
                Existence::No(reply) => {
                    let (recipient, reply) = speak(names, &asked, &reply);
                    tracing::info!(recipient, reply, "a recipient does not exist");
                    Answer::No
                }
                Existence::Unknown(why) => {
                    let (recipient, why) = speak(names, &asked, &why);
                    tracing::warn!(recipient, why, "nobody says whether a recipient exists");
                    Answer::Unknown
                }
            }
        };
        match self.admission.call_ahead.exists(question, ask).await {
            Answer::Yes => Ok(()),
            Answer::No if self.within(What::Unknown, 1, self.rates().unknown) => {
                Err(Reply::new(550, 1, 1, format!("No such recipient: <{address}>")))
            }
            Answer::No => {
                self.limited("unknown-recipients");
                Err(Reply::new(421, 7, 0, "Too many unknown recipients, try again later"))
            }
            Answer::Unknown => Err(Reply::new(450, 4, 3, format!("Cannot tell now whether <{address}> exists"))),
        }
    }

    /// Whoever is not named in the mail has an encrypted copy of his own; who that is shows only later. So many copies of a
    /// large mail are too many for one transaction.
    fn has_room_for_copies(&self, address: &Address, before: &[Address], declared: u64) -> Result<(), Reply> {
        let has_certificate = |one: &&Address| self.gateway.directory.knows(one);
        if self.place.listener().side == Side::Outside
            || declared == 0
            || before.is_empty()
            || !has_certificate(&address)
        {
            return Ok(());
        }
        let copies = before.iter().filter(has_certificate).count() + 1;
        fits(copies, declared, self.place.snapshot.limits.copies).inspect_err(|_| self.limited("copies"))
    }
}

/// Who was asked about and what was said, as far as the log may name him.
fn speak<'a>(names: bool, who: &'a Address, said: &'a str) -> (Option<&'a str>, String) {
    match names {
        true => (Some(who.as_str()), said.to_owned()),
        false => (None, without_addresses(said).into_owned()),
    }
}

/// Base64 makes four octets of three.
fn fits(copies: usize, declared: u64, most: usize) -> Result<(), Reply> {
    let octets = u64::try_from(copies).unwrap_or(u64::MAX).saturating_mul(declared / 3).saturating_mul(4);
    if copies > 1 && octets > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(Reply::new(
            452,
            5,
            3,
            "Too many encrypted copies of so large a mail, send the rest in another transaction",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fits;
    use crate::crypto::ContentCipher;
    use crate::mail::{Address, Domain};
    use crate::pipeline::reply::refused;
    use crate::policy::{DomainPolicy, Encrypt, IncomingPolicy, Policy, Side, Sign, Substitute, Unvouched, recipient};
    use crate::smtp::Reply;
    use crate::smtp::command::{Command, ForwardPath};

    fn may_relay(policy: &Policy, side: Side, address: &Address) -> Result<(), Reply> {
        recipient(policy, side, address).map_err(|refusal| refused(&refusal))
    }

    #[test]
    fn o40_many_copies_of_a_large_mail_are_too_many_for_one_transaction() {
        let most = 256 << 20;
        for (copies, declared, expected) in [
            (1, 400 << 20, true),
            (2, 20 << 20, true),
            (10, 25 << 20, false),
            (1000, 100 << 10, true),
            (1000, u64::MAX, false),
        ] {
            let answer = fits(copies, declared, most);
            assert_eq!(answer.is_ok(), expected, "{copies} x {declared}");
            assert!(answer.is_ok() || answer.unwrap_err().to_line().starts_with("452 4.5.3"));
        }
    }

    fn policy() -> Policy {
        let domain = |name: &str| DomainPolicy {
            domain: Domain::parse(name).unwrap(),
            sign: Sign::Never,
            encrypt: Encrypt::Never,
            content_encryption: ContentCipher::Aes256Cbc,
            substitute: Substitute::None,
            unvouched: Unvouched::Refuse,
        };
        Policy {
            hostname: "gate.example".to_owned(),
            domains: vec![domain("own.example"), domain("xn--bcher-kva.example")],
            authorise: Vec::new(),
            rules: Vec::new(),
            allow_downgrade: Vec::new(),
            incoming: IncomingPolicy::default(),
            hash: String::new(),
        }
    }

    /// Whether `RCPT TO:<path>` from outside is taken.
    fn taken(path: &str) -> bool {
        match Command::parse(format!("RCPT TO:<{path}>").as_bytes()) {
            Ok(Command::Rcpt(ForwardPath::Mailbox(address), _)) => {
                let answer = may_relay(&policy(), Side::Outside, &address);
                assert!(answer.as_ref().is_ok_and(|()| true) || answer.unwrap_err().code() == 550);
                may_relay(&policy(), Side::Outside, &address).is_ok()
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(error.reply().is_permanent());
                false
            }
        }
    }

    #[test]
    fn s60_no_open_relay() {
        for path in [
            "u@elsewhere.example",
            "u%elsewhere.example@own.example",
            "u%elsewhere.example",
            "elsewhere.example!u@own.example",
            "elsewhere.example!u",
            "\"u@elsewhere.example\"@own.example",
            "\"u%elsewhere.example\"@own.example",
            "u@own.example@elsewhere.example",
            "u@elsewhere.example@own.example",
            "@own.example:u@elsewhere.example",
            "@own.example,@other.example:u@elsewhere.example",
            "u@[192.0.2.1]",
            "u@[127.0.0.1]",
            "u@own.example.elsewhere.example",
            "u@sub.own.example",
            "u@notown.example",
            "u@own.example,elsewhere.example",
            "u@",
            "u",
            "\"own.example\"@elsewhere.example",
            "u@xn--bcher-kvb.example",
        ] {
            assert!(!taken(path), "{path}");
        }
        for path in [
            "u@own.example",
            "U@OWN.Example",
            "\"a b\"@own.example",
            "@x.example:u@own.example",
            "u@XN--bcher-kva.example",
        ] {
            assert!(taken(path), "{path}");
        }
        let address = Address::parse("u@elsewhere.example").unwrap();
        assert!(may_relay(&policy(), Side::Inside, &address).is_ok());
    }
}
