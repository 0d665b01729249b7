//! What the file may say: one type per table, every key optional, unknown keys refused.
//!
//! Only shapes are decided here (text, number, list); what a value means is `check`'s part.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A value with its place, or nothing.
pub(super) type Value<T> = Option<Spanned<T>>;
/// A table with its place, or nothing.
pub(super) type Section<T> = Option<Spanned<T>>;
/// A list whose entries have places of their own.
pub(super) type List = Value<Vec<Spanned<String>>>;

/// `segel.toml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub gateway: Section<Gateway>,
    pub store: Section<Store>,
    pub keys: Section<Keys>,
    #[serde(default)]
    pub listener: Vec<Spanned<Listener>>,
    pub tls: Section<Tls>,
    #[serde(default)]
    pub domain: Vec<Spanned<Domain>>,
    #[serde(default)]
    pub authorise: Vec<Spanned<Authorise>>,
    #[serde(default)]
    pub login: Vec<Spanned<Login>>,
    pub outbound: Section<Outbound>,
    #[serde(default)]
    pub route: Vec<Spanned<Route>>,
    #[serde(default)]
    pub server: Vec<Spanned<Server>>,
    pub signing: Section<Signing>,
    pub encryption: Section<Encryption>,
    /// Reason codes and five keys of its own: names are checked by `check`.
    #[serde(default)]
    pub incoming: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    pub trust: Section<Trust>,
    pub fetch: Section<Fetch>,
    pub dns: Section<Dns>,
    pub limits: Section<Limits>,
    pub queue: Section<Queue>,
    pub quarantine: Section<Quarantine>,
    pub notify: Section<Notify>,
    pub policy: Section<Policy>,
    pub console: Section<Console>,
    pub log: Section<Log>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub hostname: Value<String>,
    pub data_dir: Value<String>,
    pub accept_deadline: Value<String>,
    pub drain_delay: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub url: Value<String>,
    pub keep: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub master: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub name: Value<String>,
    pub bind: Value<String>,
    pub side: Value<String>,
    pub clients: List,
    pub tls: Value<String>,
    pub require_tls: Value<bool>,
    pub client_ca: Value<String>,
    pub client_crls: List,
    pub auth: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub certificate: Value<String>,
    pub key: Value<String>,
    pub ca: Value<String>,
    #[serde(default)]
    pub also: Vec<Spanned<TlsIdentity>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsIdentity {
    pub certificate: Value<String>,
    pub key: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub name: Value<String>,
    pub password: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Domain {
    pub name: Value<String>,
    pub deliver_to: Value<OneOrMore>,
    pub deliver_tls: Value<String>,
    pub verify_recipients: Value<bool>,
    #[serde(default)]
    pub dkim: Vec<Spanned<Dkim>>,
    pub sign: Value<String>,
    pub encrypt: Value<String>,
    pub content_encryption: Value<String>,
    pub substitute: Value<String>,
    pub unvouched: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorise {
    pub login: Value<String>,
    pub envelope: Value<String>,
    pub header: Value<String>,
    pub from: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outbound {
    pub route: Value<OneOrMore>,
    pub tls: Value<String>,
    pub port: Value<u16>,
    pub own: List,
    pub allow_private: List,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub domain: Value<String>,
    pub to: Value<OneOrMore>,
    pub tls: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub host: Value<String>,
    pub port: Value<u16>,
    pub ca: Value<String>,
    pub fingerprint: Value<String>,
    pub name: Value<String>,
    pub certificate: Value<String>,
    pub key: Value<String>,
    pub login: Value<String>,
    pub password_file: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dkim {
    pub selector: Value<String>,
    pub key: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signing {
    pub status_grace: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encryption {
    pub allow_downgrade: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    pub crls: List,
    #[serde(default)]
    pub anchor: Vec<Spanned<Anchor>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Anchor {
    pub file: Value<String>,
    #[serde(rename = "for")]
    pub purposes: List,
    pub revocation: Value<String>,
    pub domains: List,
    pub harvest: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    pub enabled: Value<bool>,
    pub allow_private: List,
    pub ports: Value<Vec<u16>>,
    pub proxy: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    pub servers: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub message: Value<String>,
    pub message_inside: Value<String>,
    pub recipients: Value<u32>,
    pub copies: Value<String>,
    pub memory: Value<String>,
    pub free_space: Value<String>,
    pub connections: Value<u32>,
    pub client: Section<ClientLimits>,
    pub sender: Section<RateLimits>,
    pub login: Section<RateLimits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientLimits {
    pub connections: Value<u32>,
    pub mails: Value<u32>,
    pub recipients: Value<u32>,
    pub unknown: Value<u32>,
    pub errors: Value<u32>,
    pub exempt: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimits {
    pub mails: Value<u32>,
    pub recipients: Value<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    pub expire: Value<String>,
    pub warn: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quarantine {
    pub keep: Value<String>,
    pub tell_recipients: Value<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    pub postmaster: Value<String>,
    pub security: List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub file: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Console {
    pub bind: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub format: Value<String>,
    pub level: Value<String>,
    pub addresses: Value<bool>,
}

/// `policy.toml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    #[serde(default)]
    pub rule: Vec<Spanned<Rule>>,
    #[serde(default)]
    pub test: Vec<Spanned<Test>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub name: Value<String>,
    #[serde(rename = "match")]
    pub conditions: Section<Match>,
    pub then: Section<Then>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Match {
    pub side: Value<String>,
    pub from: Value<OneOrMore>,
    pub to: Value<OneOrMore>,
    pub subject: Value<String>,
    pub header: Section<HeaderField>,
    pub reasons: List,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderField {
    pub name: Value<String>,
    pub value: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    pub sign: Value<String>,
    pub form: Value<String>,
    pub encrypt: Value<String>,
    pub action: Value<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    pub name: Value<String>,
    pub given: Section<Given>,
    pub expect: Section<Expect>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub side: Value<String>,
    pub from: Value<String>,
    pub to: Value<String>,
    pub reverse_path: Value<String>,
    pub login: Value<String>,
    pub subject: Value<String>,
    pub header: Section<HeaderField>,
    pub reasons: List,
    pub signed: Value<bool>,
    pub key: Value<String>,
    pub certificate: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub rule: Value<String>,
    pub sign: Value<String>,
    pub form: Value<String>,
    pub encrypt: Value<String>,
    pub action: Value<String>,
    pub signed: Value<bool>,
    pub encrypted: Value<bool>,
}

/// One text, or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}
