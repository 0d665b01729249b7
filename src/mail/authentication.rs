//! Who has sent a mail, as far as SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989) tell: the results as values, and as
//! resinfo of `Authentication-Results` (RFC 8601).

use super::Domain;

/// One result word of RFC 8601 section 2.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthResult {
    /// Nothing to go by was published or found.
    None,
    /// Proven.
    Pass,
    /// Disproven.
    Fail,
    /// SPF `~all`.
    SoftFail,
    /// Nothing said either way, or a signature that can't be used.
    Neutral,
    /// Proven, and not good enough for us.
    Policy,
    /// A look-up failed: later it may be known.
    TempError,
    /// What was published or written can't be read.
    PermError,
}

impl AuthResult {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// SPF of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spf {
    /// What came out.
    pub result: AuthResult,
    /// The domain that was asked: of MAIL FROM, or of EHLO where that is null.
    pub domain: String,
    /// It is the one of EHLO.
    pub helo: bool,
}

/// One DKIM signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// What came out.
    pub result: AuthResult,
    /// `d=`
    pub domain: String,
    /// `s=`
    pub selector: String,
    /// The first characters of `b=`, in base64: they tell signatures of one domain apart (RFC 6008).
    pub start: String,
    /// Why it is not `pass`.
    pub reason: Option<&'static str>,
}

/// DMARC of the domain in `From`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmarc {
    /// What came out.
    pub result: AuthResult,
    /// The domain in `From`.
    pub from: String,
    /// What its owner asks for: `none`, `quarantine`, `reject`; nothing where he has published nothing.
    pub policy: Option<&'static str>,
}

/// What is known about who has sent a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderAuthentication {
    /// SPF, where it was asked.
    pub spf: Option<Spf>,
    /// Each signature, in the order of the fields.
    pub dkim: Vec<Dkim>,
    /// DMARC, where `From` is one mailbox.
    pub dmarc: Option<Dmarc>,
}

impl SenderAuthentication {
    /// Whether DMARC proves that mail with this domain in `From` is its owner's.
    pub fn proves_from(&self, domain: &Domain) -> bool {
        let proven = |dmarc: &Dmarc| dmarc.result == AuthResult::Pass && same(&dmarc.from, domain);
        self.dmarc.as_ref().is_some_and(proven)
    }

    /// Whether the domain in the reverse-path has let this client send, or has signed the mail: then a notice to it does
    /// not go to somebody whose name was forged.
    pub fn proves_reverse_path(&self, domain: &Domain) -> bool {
        let sent = |spf: &Spf| spf.result == AuthResult::Pass && !spf.helo && same(&spf.domain, domain);
        let signed = |dkim: &Dkim| dkim.result == AuthResult::Pass && same(&dkim.domain, domain);
        self.spf.as_ref().is_some_and(sent) || self.dkim.iter().any(signed) || self.proves_from(domain)
    }

    /// Resinfo for `Authentication-Results`, one for each result. Texts of others are made safe.
    pub fn resinfo(&self) -> Vec<String> {
        let mut results = Vec::new();
        if let Some(spf) = &self.spf {
            let property = if spf.helo { "smtp.helo" } else { "smtp.mailfrom" };
            results.push(format!("spf={} {property}={}", spf.result.word(), value(&spf.domain)));
        }
        for dkim in &self.dkim {
            let reason = dkim.reason.map(|reason| format!(" reason=\"{reason}\"")).unwrap_or_default();
            let (domain, selector) = (value(&dkim.domain), value(&dkim.selector));
            let mut text = format!("dkim={}{reason} header.d={domain} header.s={selector}", dkim.result.word());
            if !dkim.start.is_empty() {
                text.push_str(&format!(" header.b={}", value(&dkim.start)));
            }
            results.push(text);
        }
        if let Some(dmarc) = &self.dmarc {
            let policy = dmarc.policy.map(|policy| format!(" policy.dmarc={policy}")).unwrap_or_default();
            results.push(format!("dmarc={} header.from={}{policy}", dmarc.result.word(), value(&dmarc.from)));
        }
        results
    }
}

fn same(text: &str, domain: &Domain) -> bool {
    Domain::parse(text).is_ok_and(|found| found.same(domain))
}

/// Octets of a value: a domain name has up to 253.
const VALUE: usize = 255;

/// `value` of RFC 2045 without what could end it; empty text in quotes.
fn value(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || ".-_+/=:[]@".contains(*c);
    let safe: String = text.chars().take(VALUE).filter(allowed).collect();
    match safe.is_empty() || safe.contains(['/', '=', ':', '[', ']', '@']) {
        true => format!("\"{safe}\""),
        false => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spf: AuthResult, dkim: AuthResult, dmarc: AuthResult) -> SenderAuthentication {
        SenderAuthentication {
            spf: Some(Spf { result: spf, domain: "a.example".to_owned(), helo: false }),
            dkim: vec![Dkim {
                result: dkim,
                domain: "B.example".to_owned(),
                selector: "s1".to_owned(),
                start: "AbC+/=12".to_owned(),
                reason: None,
            }],
            dmarc: Some(Dmarc { result: dmarc, from: "c.example".to_owned(), policy: Some("reject") }),
        }
    }

    #[test]
    fn s67_results_are_written_as_rfc_8601_has_them() {
        let all = found(AuthResult::SoftFail, AuthResult::Pass, AuthResult::Fail);
        assert_eq!(
            all.resinfo(),
            [
                "spf=softfail smtp.mailfrom=a.example",
                "dkim=pass header.d=B.example header.s=s1 header.b=\"AbC+/=12\"",
                "dmarc=fail header.from=c.example policy.dmarc=reject",
            ]
        );
        assert!(SenderAuthentication::default().resinfo().is_empty());
        let mut forged = all;
        forged.dkim[0].domain = "x.example; dmarc=pass\r\nEvil: 1 (\"".to_owned();
        assert_eq!(
            forged.resinfo()[1],
            "dkim=pass header.d=\"x.exampledmarc=passEvil:1\" header.s=s1 header.b=\"AbC+/=12\""
        );
    }

    #[test]
    fn s67_only_a_pass_of_the_same_domain_proves() {
        use AuthResult::{Fail, Neutral, None as Nothing, Pass, Policy, TempError};
        let domain = |text: &str| Domain::parse(text).unwrap();
        for (spf, dkim, dmarc, path, from) in [
            (Pass, Fail, Fail, "a.example", None),
            (Fail, Pass, Fail, "b.EXAMPLE", None),
            (Fail, Fail, Pass, "c.example", Some("c.example")),
        ] {
            let results = found(spf, dkim, dmarc);
            assert!(results.proves_reverse_path(&domain(path)) && !results.proves_reverse_path(&domain("d.example")));
            assert_eq!(results.proves_from(&domain("c.example")), from.is_some());
        }
        for word in [Nothing, Fail, Neutral, Policy, TempError] {
            let results = found(word, word, word);
            for name in ["a.example", "b.example", "c.example"] {
                assert!(!results.proves_reverse_path(&domain(name)) && !results.proves_from(&domain(name)));
            }
        }
    }
}
