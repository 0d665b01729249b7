//! What a session asks about: may this be relayed, and what becomes of a message.
//!
//! One implementation asks the gateway, the other stands in the tests. Refusals say no more than the client may know.

use crate::config::Listener;
use crate::mail::{Address, Envelope, ReversePath};
use crate::pipeline::{self, Arrival, Commitment, Gateway, Snapshot};
use crate::policy::Side;
use crate::smtp::Reply;
use crate::smtp::command::ForwardPath;
use crate::smtp::server::Hello;
use bytes::Bytes;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

/// The answers to a session's questions.
pub trait Reception: Send + Sync + 'static {
    /// Whether this reverse-path may begin a transaction.
    ///
    /// # Errors
    /// The reply for the client.
    fn reverse_path(&self, path: &ReversePath) -> Result<(), Reply>;

    /// The recipient as he is stored. `before` are those taken already, `declared` the octets of the mail as far as the
    /// client has said.
    ///
    /// # Errors
    /// The reply for the client.
    fn recipient(&self, path: ForwardPath, before: &[Address], declared: u64) -> Result<Address, Reply>;

    /// Takes a message or says why not; dropped when the client is gone.
    fn accept(
        &self,
        hello: Hello,
        envelope: Envelope,
        content: Bytes,
        commitment: Commitment,
    ) -> impl Future<Output = Reply> + Send;
}

/// The gateway, as one session sees it: its snapshot stays the same until the session ends.
#[derive(Debug)]
pub struct GatewayReception {
    /// Shared parts.
    pub gateway: Arc<Gateway>,
    /// Taken when the session began.
    pub snapshot: Arc<Snapshot>,
    /// Where the client came in.
    pub listener: Arc<Listener>,
    /// The client.
    pub peer: IpAddr,
}

impl Reception for GatewayReception {
    fn reverse_path(&self, _path: &ReversePath) -> Result<(), Reply> {
        // Who may use which address is decided with the message at hand: a null or foreign path is never wrong by itself.
        Ok(())
    }

    fn recipient(&self, path: ForwardPath, before: &[Address], declared: u64) -> Result<Address, Reply> {
        match path {
            ForwardPath::Postmaster => Ok(self.snapshot.config.notify.postmaster.clone()),
            ForwardPath::Mailbox(address) => {
                pipeline::gather::at_rcpt(&self.gateway, &self.snapshot, self.listener.side, &address)
                    .map_err(|refusal| pipeline::reply::refused(&refusal))?;
                self.has_room_for_copies(&address, before, declared)?;
                Ok(address)
            }
        }
    }

    async fn accept(&self, hello: Hello, envelope: Envelope, content: Bytes, commitment: Commitment) -> Reply {
        let arrival = Arrival {
            listener: self.listener.name.clone(),
            side: self.listener.side,
            peer: self.peer,
            helo: hello.name,
            tls: None,
            login: None,
            protocol: if hello.extended { "ESMTP" } else { "SMTP" },
            envelope,
            content,
        };
        pipeline::accept(&self.gateway, &self.snapshot, arrival, &commitment).await
    }
}

impl GatewayReception {
    /// Whoever is not named in the mail has an encrypted copy of his own; who that is shows only later. So many copies of a
    /// large mail are too many for one transaction.
    fn has_room_for_copies(&self, address: &Address, before: &[Address], declared: u64) -> Result<(), Reply> {
        let has_certificate = |one: &&Address| self.gateway.directory.knows(one);
        if self.listener.side == Side::Outside || declared == 0 || before.is_empty() || !has_certificate(&address) {
            return Ok(());
        }
        let copies = before.iter().filter(has_certificate).count() + 1;
        fits(copies, declared, self.snapshot.limits.copies)
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
