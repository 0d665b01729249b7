//! SPF, DKIM and DMARC of incoming mail by `mail-auth`, on the octets as they came (S67).
//!
//! Asked of DNS alone, and never for what stands inside an encrypted layer. A look-up that fails is `temperror`, which
//! proves nothing. Where our reading of `From` and the library's differ, DMARC is `permerror`: two readers could see two authors.

mod dkim;

use super::super::{Arrival, Snapshot};
use crate::config::Authenticate;
use crate::mail::authentication::{AuthResult, Dkim, Dmarc, SenderAuthentication, Spf};
use crate::mail::header::From;
use crate::mail::{Domain, ReversePath};
use crate::policy::Side;
use bytes::Bytes;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, MessageAuthenticator, SpfOutput, SpfResult,
};
use std::net::IpAddr;
use std::time::Duration;

/// For all look-ups together; half of what one message has for look-ups.
const DEADLINE: Duration = Duration::from_secs(10);
/// DKIM signatures of one mail that are looked at. Postfix's opendkim stops at 10, mail rarely has 3.
const SIGNATURES: usize = 10;
/// Names in `h=` of a signature that is looked at. Each is searched among those before it and among all fields; signers that
/// sign fields twice so that nobody adds one have 60.
const SIGNED: usize = 200;
/// Octets above which a mail is hashed away from the other sessions.
const LARGE: usize = 256 << 10;

/// What is known about who has sent the mail. Nothing for mail from inside, and where the operator does not ask.
pub(super) async fn sender(snapshot: &Snapshot, arrival: &Arrival, from: &From) -> SenderAuthentication {
    let asked = match snapshot.config.authenticate {
        Authenticate::Never => false,
        Authenticate::Remote => !arrival.peer.to_canonical().is_loopback(),
        Authenticate::Always => true,
    };
    let Some(resolver) = snapshot.resolver.tokio().filter(|_| asked && arrival.side == Side::Outside) else {
        return SenderAuthentication::default();
    };
    let question = Question {
        authenticator: MessageAuthenticator(resolver.clone()),
        hostname: snapshot.config.hostname.clone(),
        peer: arrival.peer,
        helo: arrival.helo.clone(),
        reverse_path: arrival.envelope.reverse_path.clone(),
        content: arrival.content.clone(),
        from: match from {
            From::Mailbox(address) => Some(address.domain().clone()),
            From::Several(_) | From::Ambiguous(_) | From::Unreadable(_) | From::Absent => None,
        },
        fields: snapshot.limits.header_fields,
    };
    let unanswered = question.unanswered();
    // A task of its own: what a library does with a hostile mail must not take the session along.
    match tokio::time::timeout(DEADLINE, tokio::spawn(question.ask())).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::error!(%error, "the sender's authentication broke down.");
            unanswered
        }
        Err(_) => unanswered,
    }
}

struct Question {
    authenticator: MessageAuthenticator,
    hostname: String,
    peer: IpAddr,
    helo: String,
    reverse_path: ReversePath,
    content: Bytes,
    /// The domain in `From`, where everybody reads the same there.
    from: Option<Domain>,
    /// The most header fields of a mail whose signatures are looked at.
    fields: usize,
}

/// Leaves out what would cost more than it can prove: the library knows no bounds, and nobody can stop it. Whether any
/// signature may be looked at.
fn bound(message: &mut AuthenticatedMessage<'_>, fields: usize) -> bool {
    message.dkim_headers.retain(|signature| signature.header.h.len() <= SIGNED);
    message.dkim_headers.truncate(SIGNATURES);
    message.headers.len() <= fields
}

impl Question {
    /// What is said when DNS gives no answer in time.
    fn unanswered(&self) -> SenderAuthentication {
        let (domain, helo) = self.spf_identity();
        let spf = Spf { result: AuthResult::TempError, domain, helo };
        let dmarc = self.from.as_ref().map(|from| Dmarc {
            result: AuthResult::TempError,
            from: from.ascii().to_owned(),
            policy: None,
        });
        SenderAuthentication { spf: Some(spf), dkim: Vec::new(), dmarc }
    }

    fn spf_identity(&self) -> (String, bool) {
        match &self.reverse_path {
            ReversePath::Mailbox(path) => (path.domain().ascii().to_owned(), false),
            ReversePath::Null => (self.helo.clone(), true),
        }
    }

    async fn ask(self) -> SenderAuthentication {
        let (domain, helo) = self.spf_identity();
        let path = self.reverse_path.mailbox().map(|path| format!("{}@{}", path.local(), path.domain().ascii()));
        let asked = match &path {
            Some(path) => SpfParameters::verify_mail_from(self.peer, &self.helo, &self.hostname, path),
            None => SpfParameters::verify_ehlo(self.peer, &self.helo, &self.hostname),
        };
        let spf = self.authenticator.verify_spf(asked).await;
        let parse = || AuthenticatedMessage::parse(&self.content);
        let parsed = if self.content.len() > LARGE { tokio::task::block_in_place(parse) } else { parse() };
        let mut found = SenderAuthentication {
            spf: Some(Spf { result: spf_word(spf.result()), domain: domain.clone(), helo }),
            ..SenderAuthentication::default()
        };
        let Some(mut message) = parsed else { return found };
        if !bound(&mut message, self.fields) {
            return found;
        }
        let mut usable: Vec<DkimOutput<'_>> = Vec::new();
        for output in self.authenticator.verify_dkim(&message).await {
            let against = match output.result() {
                DkimResult::Pass => dkim::objection(&output, &message, &self.authenticator).await,
                _ => None,
            };
            found.dkim.extend(signature(&output, against));
            // What is not `pass` for us is none for DMARC either.
            if against.is_none() {
                usable.push(output);
            }
        }
        found.dmarc = self.dmarc(&message, &usable, &domain, &spf).await;
        found
    }

    async fn dmarc(
        &self,
        message: &AuthenticatedMessage<'_>,
        signatures: &[DkimOutput<'_>],
        path: &str,
        spf: &SpfOutput,
    ) -> Option<Dmarc> {
        let from = self.from.as_ref()?;
        let words = |result, policy| Some(Dmarc { result, from: from.ascii().to_owned(), policy });
        let same = |text: &String| {
            text.rsplit_once('@').and_then(|(_, domain)| Domain::parse(domain).ok()).is_some_and(|one| one.same(from))
        };
        if message.from.is_empty() || !message.from.iter().all(same) {
            return words(AuthResult::PermError, None);
        }
        let found = self.authenticator.verify_dmarc(DmarcParameters::new(message, signatures, path, spf)).await;
        words(dmarc_word(&found), found.dmarc_record().and(policy_word(found.policy())))
    }
}

fn signature(output: &DkimOutput<'_>, against: Option<&'static str>) -> Option<Dkim> {
    let signature = output.signature()?;
    let (result, reason) = match output.result() {
        DkimResult::Pass if against.is_some() => (AuthResult::Policy, against),
        DkimResult::Pass => (AuthResult::Pass, None),
        DkimResult::Neutral(_) => (AuthResult::Fail, Some("the signature does not verify")),
        DkimResult::Fail(_) => (AuthResult::Fail, Some("the signature does not verify")),
        DkimResult::PermError(_) => (AuthResult::PermError, Some("no usable key")),
        DkimResult::TempError(_) => (AuthResult::TempError, Some("the key could not be looked up")),
        DkimResult::None => (AuthResult::None, None),
    };
    let start: String = data_encoding::BASE64.encode(signature.b.get(..6).unwrap_or_default());
    Some(Dkim { result, domain: signature.d.clone(), selector: signature.s.clone(), start, reason })
}

fn spf_word(result: SpfResult) -> AuthResult {
    match result {
        SpfResult::Pass => AuthResult::Pass,
        SpfResult::Fail => AuthResult::Fail,
        SpfResult::SoftFail => AuthResult::SoftFail,
        SpfResult::Neutral => AuthResult::Neutral,
        SpfResult::TempError => AuthResult::TempError,
        SpfResult::PermError => AuthResult::PermError,
        SpfResult::None => AuthResult::None,
    }
}

/// One aligned pass is enough; without one, a look-up that failed leaves it open, and without a record there is nothing.
fn dmarc_word(found: &DmarcOutput) -> AuthResult {
    let results = [found.dkim_result(), found.spf_result()];
    let any = |wanted: fn(&DmarcResult) -> bool| results.iter().any(|result| wanted(result));
    if any(|result| matches!(result, DmarcResult::Pass)) {
        AuthResult::Pass
    } else if any(|result| matches!(result, DmarcResult::TempError(_))) {
        AuthResult::TempError
    } else if any(|result| matches!(result, DmarcResult::PermError(_))) {
        AuthResult::PermError
    } else if found.dmarc_record().is_some() {
        AuthResult::Fail
    } else {
        AuthResult::None
    }
}

fn policy_word(policy: Policy) -> Option<&'static str> {
    match policy {
        Policy::None => Some("none"),
        Policy::Quarantine => Some("quarantine"),
        Policy::Reject => Some("reject"),
        Policy::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{SIGNATURES, SIGNED, bound};
    use mail_auth::AuthenticatedMessage;

    #[test]
    fn s67_signatures_that_only_cost_time_are_left_out() {
        let signature = |names: usize| {
            let names: Vec<String> = (0..names).map(|number| format!("x{number}")).collect();
            format!(
                "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from:{}; bh=AAAA; b=AAAA\r\n",
                names.join(":")
            )
        };
        let check = |header: &str, fields: usize, left: usize, looked_at: bool| {
            let text = format!("From: a@b.example\r\n{header}\r\nText\r\n");
            let mut message = AuthenticatedMessage::parse(text.as_bytes()).unwrap();
            let result = bound(&mut message, fields);
            assert_eq!((message.dkim_headers.len(), result), (left, looked_at));
        };
        check(&signature(20), 100, 1, true);
        check(&format!("{}{}", signature(SIGNED), signature(20)), 100, 1, true);
        check(&signature(100_000), 100, 0, true);
        check(&signature(1).repeat(50), 100, SIGNATURES, true);
        check(&format!("{}{}", signature(1), "X: y\r\n".repeat(100)), 100, 1, false);
    }
}
