//! The configuration file → checked values. The only reader of files that the operator wrote.
use crate::limits::Limits;
use crate::mail::Address;
use crate::pki::{Crl, TrustAnchor};
use crate::policy::{Policy, Side};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
/// A next hop, `smtp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    pub host: String,
    pub port: u16,
}
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: String,
    pub bind: SocketAddr,
    pub side: Side,
    pub clients: Vec<Network>,
}
/// `192.0.2.0/24`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}
impl Network {
    pub fn contains(&self, _address: IpAddr) -> bool {
        todo!()
    }
}
/// Everything, checked. What a session begins with, it keeps.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    pub hostname: String,
    pub data_dir: PathBuf,
    pub accept_deadline: Duration,
    /// File of the SQLite database.
    pub database: PathBuf,
    pub master_key: MasterKeySource,
    pub listeners: Vec<Listener>,
    pub policy: Policy,
    /// Next hop per own domain, in the order of `policy.domains`.
    pub deliver_to: Vec<NextHop>,
    /// Next hop of everything else.
    pub route: NextHop,
    pub anchors: Vec<TrustAnchor>,
    pub crls: Vec<Crl>,
    pub status_grace: Duration,
    pub limits: Limits,
    pub queue_expire: Duration,
    pub queue_warn: Duration,
    pub postmaster: Address,
    pub console: SocketAddr,
    /// Things that are accepted but worth knowing, for `check` and the log.
    pub warnings: Vec<String>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /** credential, or a file that must exist */
    File(PathBuf),
    /** made when missing, mode 0600, with a warning */
    Generated(PathBuf),
}
/// path:line: key: expected …, found … ; hint
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: `{key}`: {problem}\n  hint: {hint}", file = file.display())]
pub struct ConfigError {
    pub file: PathBuf,
    pub line: usize,
    pub key: String,
    pub problem: String,
    pub hint: String,
}
/// All errors that were found, not only the first.
pub fn load(_file: &Path) -> Result<Config, Vec<ConfigError>> {
    todo!()
}
