//! What the operator has set, as checked values.

use super::Side;
use super::matching::readings;
use crate::crypto::ContentCipher;
use crate::mail::header::Comparable;
use crate::mail::{Address, Domain};
use crate::reason::Reason;
use std::time::Duration;

/// `sign` of a domain or rule: whether mail of its senders must leave signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A sender without a usable key is refused.
    Required,
    /// A sender without a usable key passes unsigned.
    WhenPossible,
    /// Nobody is signed for.
    Never,
}

/// `encrypt` of a domain. Without a known certificate of a recipient, encrypting is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encrypt {
    /// Never in clear.
    Required,
    /// Encrypted to whoever's certificate is known.
    WhenPossible,
    /// Always in clear.
    Never,
}

impl Sign {
    /// The words in the configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("required", Self::Required), ("when-possible", Self::WhenPossible), ("never", Self::Never)];

    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        word(&Self::WORDS, self)
    }
}

impl Encrypt {
    /// The words in the configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("required", Self::Required), ("when-possible", Self::WhenPossible), ("never", Self::Never)];

    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        word(&Self::WORDS, self)
    }
}

impl SignedForm {
    /// The words in the configuration.
    pub const WORDS: [(&'static str, Self); 2] = [("clear", Self::Clear), ("opaque", Self::Opaque)];

    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        word(&Self::WORDS, self)
    }
}

/// The word that stands for a value. Each has one.
fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word)
}

/// `substitute` of a domain: who signs for a sender without a key of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitute {
    /// Nobody.
    None,
    /// The organisation's certificate.
    Organisation,
    /// The system's certificate.
    System,
}

/// `unvouched` of a domain: an own address in `From` that the reverse-path does not vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unvouched {
    /// `550 5.7.1`.
    Refuse,
    /// Relayed without a signature.
    PassUnsigned,
}

/// What happens to incoming mail for one reason, weakest first: of several reasons the strongest treatment wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncomingTreatment {
    /// Delivered, with the verdict in its header section.
    Deliver,
    /// Held for the security team.
    Quarantine,
    /// Refused in the dialogue.
    Reject,
}

impl IncomingTreatment {
    /// The words in the configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("deliver", Self::Deliver), ("quarantine", Self::Quarantine), ("reject", Self::Reject)];

    /// The word in the configuration and in `inspect --json`'s `action`.
    pub fn name(self) -> &'static str {
        word(&Self::WORDS, self)
    }
}

/// `[[domain]]` as far as decisions go.
#[derive(Clone, Debug)]
pub struct DomainPolicy {
    /// Its name.
    pub domain: Domain,
    /// Signing of what its senders write.
    pub sign: Sign,
    /// Encrypting of what its senders write.
    pub encrypt: Encrypt,
    /// How it is encrypted to recipients who have not announced what they can read.
    pub content_encryption: ContentCipher,
    /// Who signs where a sender has no key.
    pub substitute: Substitute,
    /// What happens where the reverse-path is another's.
    pub unvouched: Unvouched,
}

/// `[[authorise]]`: who may write as whom.
#[derive(Clone, Debug)]
pub struct Authorise {
    /// Who.
    pub by: Voucher,
    /// The mailboxes, and for a login also whole domains, that he may write as.
    pub from: Vec<Pattern>,
}

/// What vouches for a `From`.
#[derive(Clone, Debug)]
pub enum Voucher {
    /// The reverse-path.
    Envelope(Address),
    /// The identity of an authenticated client.
    Login(String),
}

/// `[incoming]`.
#[derive(Clone, Debug)]
pub struct IncomingPolicy {
    /// Reasons that the operator gave a treatment; the others have the default.
    pub treatments: Vec<(Reason, IncomingTreatment)>,
    /// Mail from outside that claims an own domain and does not prove it.
    pub own_domain: IncomingTreatment,
    /// How long mail whose revocation status is unknown is deferred.
    pub defer_for: Duration,
    /// How long it is then held for a fresh CRL.
    pub hold_for: Duration,
}

/// Whom a rule or a list means.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// One mailbox.
    Mailbox(Address),
    /// Everybody in this domain, written `@mitra.example`.
    Domain(Domain),
}

impl Pattern {
    /// Reads `rina@mitra.example` or `@mitra.example`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).ok().map(Self::Domain),
            None => Address::parse(text).ok().map(Self::Mailbox),
        }
    }

    /// Whether it means this address.
    pub fn matches(&self, address: &Address) -> bool {
        match self {
            Self::Mailbox(mailbox) => mailbox.same_mailbox(address),
            Self::Domain(domain) => domain.same(address.domain()),
        }
    }

    /// Whether everybody whom `other` means is meant by this.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (one, Self::Mailbox(mailbox)) => one.matches(mailbox),
            (Self::Domain(domain), Self::Domain(other)) => domain.same(other),
            (Self::Mailbox(_), Self::Domain(_)) => false,
        }
    }

    /// As it is compared, for the policy's hash.
    pub fn key(&self) -> String {
        match self {
            Self::Mailbox(mailbox) => mailbox.mailbox_key(),
            Self::Domain(domain) => format!("@{}", domain.ascii()),
        }
    }
}

/// `then.form`: how a signature is put on the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedForm {
    /// `multipart/signed`: every program shows the text.
    Clear,
    /// `application/pkcs7-mime`: nobody on the way can take the text apart, and only programs with S/MIME show it.
    Opaque,
}

/// A `[[rule]]` of the policy file. All that is written must match; the first rule that matches a recipient holds for him.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, in records and in `explain`.
    pub name: String,
    /// The side that its mail comes from.
    pub side: Side,
    /// The mailbox in `From`; empty: any.
    pub from: Vec<Pattern>,
    /// The recipient; empty: any.
    pub to: Vec<Pattern>,
    /// Inside: a tag in `Subject`, without regard to case. It is removed from the mail.
    pub subject: Option<String>,
    /// Inside: a field and its value, without regard to case. It is removed from the mail.
    pub field: Option<(String, String)>,
    /// Outside: one of these was found; empty: whatever was.
    pub reasons: Vec<Reason>,
    /// Inside: in the place of the domain's `sign`.
    pub sign: Option<Sign>,
    /// Inside: in which form it is signed, where it is.
    pub form: Option<SignedForm>,
    /// Inside: in the place of the domain's `encrypt`.
    pub encrypt: Option<Encrypt>,
    /// Outside: the treatment of the reasons that it names; without any, of the whole mail.
    pub action: Option<IncomingTreatment>,
}

impl Rule {
    /// Whether it can be decided when the recipient is named, before the mail is there.
    pub fn needs_envelope_only(&self) -> bool {
        self.from.is_empty() && self.subject.is_none() && self.field.is_none() && self.reasons.is_empty()
    }

    /// Whether side and recipient, the parts known at `RCPT`, match.
    pub fn matches_envelope(&self, side: Side, to: &Address) -> bool {
        self.side == side && (self.to.is_empty() || self.to.iter().any(|one| one.matches(to)))
    }

    /// Whether all mail that `other` matches is matched by this rule already.
    pub fn catches_all_of(&self, other: &Self) -> bool {
        let covers = |own: &[Pattern], theirs: &[Pattern]| {
            own.is_empty() || (!theirs.is_empty() && theirs.iter().all(|one| own.iter().any(|own| own.covers(one))))
        };
        let tag = |tag: &String| {
            other.subject.as_ref().is_some_and(|theirs| Comparable::of(theirs).contains(&Comparable::of(tag)))
        };
        let field = |(name, value): &(String, String)| {
            let same = |(other, found): &(String, String)| {
                other.eq_ignore_ascii_case(name) && readings(found) == readings(value)
            };
            other.field.as_ref().is_some_and(same)
        };
        let reasons = self.reasons.is_empty()
            || (!other.reasons.is_empty() && other.reasons.iter().all(|one| self.reasons.contains(one)));
        self.side == other.side
            && covers(&self.from, &other.from)
            && covers(&self.to, &other.to)
            && self.subject.iter().all(tag)
            && self.field.iter().all(field)
            && reasons
    }
}

/// Everything that `decide` needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The authserv-id, and the name in `Received`.
    pub hostname: String,
    /// Own domains.
    pub domains: Vec<DomainPolicy>,
    /// Who may be signed for besides himself.
    pub authorise: Vec<Authorise>,
    /// The rules of the policy file, in its order.
    pub rules: Vec<Rule>,
    /// Recipients to whom mail may leave in clear again although encrypted mail has left for them.
    pub allow_downgrade: Vec<Pattern>,
    /// Treatment of incoming mail.
    pub incoming: IncomingPolicy,
    /// SHA-256 over all of this, in hex: it stands in every decision.
    pub hash: String,
}

impl Policy {
    /// The own domain with this name.
    pub fn domain(&self, domain: &Domain) -> Option<&DomainPolicy> {
        self.domains.iter().find(|own| own.domain.same(domain))
    }

    /// Whether `[[authorise]]` lets this reverse-path write as this mailbox.
    pub fn authorises(&self, reverse_path: &Address, from: &Address) -> bool {
        self.authorise
            .iter()
            .filter(|entry| matches!(&entry.by, Voucher::Envelope(envelope) if envelope.same_mailbox(reverse_path)))
            .any(|entry| entry.from.iter().any(|allowed| allowed.matches(from)))
    }

    /// Whether an authenticated client stands for a whole domain.
    pub fn login_is_server(&self, login: &str) -> bool {
        let named = |entry: &&Authorise| matches!(&entry.by, Voucher::Login(name) if name == login);
        let domain = |entry: &Authorise| entry.from.iter().any(|one| matches!(one, Pattern::Domain(_)));
        self.authorise.iter().filter(named).any(domain)
    }

    /// Whether an authenticated client may use this address: its own, or one that `[[authorise]]` names for it.
    pub fn login_may_use(&self, login: &str, address: &Address) -> bool {
        let own = Address::parse(login).is_ok_and(|own| own.same_mailbox(address));
        let named = |entry: &&Authorise| matches!(&entry.by, Voucher::Login(name) if name == login);
        own || self.authorise.iter().filter(named).any(|entry| entry.from.iter().any(|one| one.matches(address)))
    }
}

impl IncomingPolicy {
    /// Whether a rule may deliver mail for this reason. Not where the house itself has said no, where nobody could judge what a
    /// reader would see, and where opened text may have been rigged to send itself away.
    pub const fn may_be_delivered_by_rule(reason: Reason) -> bool {
        !matches!(
            reason,
            Reason::SenderNotAuthorised
                | Reason::BlockedLocally
                | Reason::IntegrityUnproven
                | Reason::Malformed
                | Reason::TooComplex
        )
    }

    /// The treatment of one reason where a rule holds for the recipient: the rule's for the reasons that it names, and never
    /// weaker than the table's for those that no rule delivers.
    pub fn treatment_under(&self, reason: Reason, rule: Option<&Rule>) -> IncomingTreatment {
        let table = self.treatment(reason);
        match rule.filter(|rule| rule.reasons.contains(&reason)).and_then(|rule| rule.action) {
            Some(action) if Self::may_be_delivered_by_rule(reason) => action,
            Some(action) => action.max(table),
            None => table,
        }
    }

    /// What a reason means where the operator said nothing.
    ///
    /// `revocation-unknown` stands for what follows after `defer_for`.
    pub const fn default_treatment(reason: Reason) -> IncomingTreatment {
        match reason {
            Reason::Revoked
            | Reason::OnHold
            | Reason::BlockedLocally
            | Reason::RevocationUnknown
            | Reason::IntegrityUnproven
            | Reason::Malformed
            | Reason::TooComplex
            | Reason::SenderNotAuthorised => IncomingTreatment::Quarantine,
            Reason::Altered
            | Reason::BadSignature
            | Reason::Untrusted
            | Reason::Expired
            | Reason::NotYetValid
            | Reason::NotForMail
            | Reason::NoAddress
            | Reason::AddressMismatch
            | Reason::SignedBySender
            | Reason::WeakAlgorithm
            | Reason::Partial
            | Reason::Ambiguous
            | Reason::Unsupported
            | Reason::Undecryptable
            | Reason::PolicyConstraint
            | Reason::KeyLocked
            | Reason::NoRecipientCertificate
            | Reason::NoSigningKey => IncomingTreatment::Deliver,
        }
    }

    /// What the operator set for this reason, if he did.
    pub fn explicit(&self, reason: Reason) -> Option<IncomingTreatment> {
        self.treatments.iter().rev().find(|(named, _)| *named == reason).map(|(_, treatment)| *treatment)
    }

    /// The treatment of one reason.
    pub fn treatment(&self, reason: Reason) -> IncomingTreatment {
        self.explicit(reason).unwrap_or(match reason {
            Reason::SenderNotAuthorised => self.own_domain,
            other => Self::default_treatment(other),
        })
    }
}

impl Default for IncomingPolicy {
    fn default() -> Self {
        Self {
            treatments: Vec::new(),
            own_domain: IncomingTreatment::Quarantine,
            defer_for: Duration::from_secs(3600),
            hold_for: Duration::from_secs(86_400),
        }
    }
}
