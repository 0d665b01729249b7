//! The register of own keys: sealed in the store, indexed in memory, opened on first use.
//!
//! A message does no SQL here: the index is read at opening and after each change, and holds the sealed
//! keys, so that signing and decrypting open them without the store. Every change is one transaction with its audit
//! event. A key that is blocked or destroyed leaves the memory with the index that held it.
//! Failure policy: a row that cannot be read is left out and logged as an error; the others go on.

use super::import;
use super::software::OpenKey;
use super::{Custody, KeyBackend, KeyEntry, KeyError};
use crate::audit::Audit;
use crate::clock;
use crate::cms::recipient_info::{RecipientIdentifier, SealedKey};
use crate::crypto::SignatureAlgorithm;
use crate::mail::{Address, Domain};
use crate::pki::Certificate;
use crate::policy::KeyKind;
use crate::seal::{MasterKey, WrappedKey};
use crate::store::Store;
use change::{Action, Change, Changed};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use zeroize::Zeroizing;

pub use rotation::rewrap;

mod change;
mod recipients;
mod rotation;
mod rows;

/// A key pair to be stored.
pub struct ImportRequest {
    /// What it signs for. Empty: every address that the certificate names.
    pub addresses: Vec<Address>,
    /// Whose it is.
    pub kind: KeyKind,
    /// Who can open it; only `gateway` for now.
    pub custody: Custody,
    /// PKCS#8 PrivateKeyInfo, DER.
    pub key_der: Zeroizing<Vec<u8>>,
    /// The end entity's certificate.
    pub certificate: Certificate,
    /// Its issuers, next one first.
    pub chain: Vec<Certificate>,
}

impl fmt::Debug for ImportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportRequest").field("serial", &self.certificate.serial_hex()).finish_non_exhaustive()
    }
}

/// The register. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    store: Store,
    master: Arc<MasterKey>,
    audit: Audit,
    index: RwLock<Arc<Index>>,
    /// One change at a time, so that an older reading of the store never takes the place of a newer one.
    changing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("entries", &self.index().by_id.len()).finish_non_exhaustive()
    }
}

/// All entries, as of one moment.
#[derive(Default)]
struct Index {
    by_id: HashMap<String, Arc<Held>>,
    /// By mailbox key, those that sign, best first; without destroyed ones.
    by_mailbox: HashMap<String, Vec<Arc<Held>>>,
    /// Keys that decrypt, by mailbox key; without blocked and destroyed ones.
    openers: HashMap<String, Vec<Arc<Held>>>,
    /// Keys of organisations and systems that sign, best first; without destroyed ones.
    substitutes: Vec<Arc<Held>>,
    /// What a RecipientInfo may name them by; without destroyed and blocked ones.
    recipients: recipients::Recipients,
}

/// An entry, what opens it, and the open key once it was used.
struct Held {
    entry: KeyEntry,
    sealed: Option<Sealed>,
    opened: OnceLock<Arc<OpenKey>>,
}

#[derive(PartialEq, Eq)]
struct Sealed {
    wrapped: WrappedKey,
    octets: Vec<u8>,
}

/// What the sealed key is bound to: the purpose and the row, so that it opens nowhere else.
fn context(id: &str) -> String {
    format!("own-key/{id}")
}

/// The id of a certificate's key.
fn id_of(certificate: &Certificate) -> String {
    data_encoding::HEXLOWER.encode(&certificate.sha256()).chars().take(16).collect()
}

impl Keys {
    /// Reads the register. Keys are opened when they are first used.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(store: Store, master: Arc<MasterKey>, audit: Audit) -> Result<Self, KeyError> {
        let index = RwLock::new(Arc::new(Index::default()));
        let keys = Self(Arc::new(Inner { store, master, audit, index, changing: tokio::sync::Mutex::new(()) }));
        keys.reload().await?;
        Ok(keys)
    }

    /// Reads the register again. Keys that did not change stay open.
    ///
    /// # Errors
    /// The store cannot be read; then everything stays as it was.
    pub async fn reload(&self) -> Result<(), KeyError> {
        let _one = self.0.changing.lock().await;
        self.read().await
    }

    async fn read(&self) -> Result<(), KeyError> {
        let held = rows::load(&self.0.store).await?;
        let next = Arc::new(Index::new(held, &self.index()));
        *self.0.index.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.0.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks, seals and stores a key pair, with its audit event.
    ///
    /// # Errors
    /// `Mismatch`, `Unfit`, `AddressNotNamed`, `NoAddress` for a pair that cannot be used for these addresses; `Exists`
    /// unless the stored one was destroyed; custody other than `gateway`; the store.
    pub async fn import(&self, request: ImportRequest) -> Result<KeyEntry, KeyError> {
        if request.custody != Custody::Gateway {
            let custody = request.custody.name();
            return Err(KeyError::Unsupported(format!("custody `{custody}` is not there yet, expected `gateway`")));
        }
        let uses = import::check(&OpenKey::from_pkcs8(&request.key_der)?, &request.certificate)?;
        let addresses = addresses(&request)?;
        let id = id_of(&request.certificate);
        let (wrapped, octets) = self.0.master.seal(&context(&id), &request.key_der);
        let entry = KeyEntry {
            id: id.clone(),
            addresses,
            kind: request.kind,
            custody: request.custody,
            certificate: request.certificate,
            chain: request.chain,
            can_sign: uses.sign,
            can_decrypt: uses.decrypt,
            blocked: false,
            destroyed: false,
            imported: clock::now(),
        };
        let sealed = Sealed { wrapped, octets: octets.to_vec() };
        match self.change(Action::Import { entry: Box::new(entry), sealed }).await? {
            Changed::Done => self.find(&id),
            Changed::Nothing => Err(KeyError::Exists(id)),
        }
    }

    async fn change(&self, action: Action) -> Result<Changed, KeyError> {
        let _one = self.0.changing.lock().await;
        let change = Change { audit: self.0.audit.clone(), at: clock::now(), action };
        let (what, id) = change.action.describe();
        let changed = self.0.store.write(change).await?;
        self.read().await?;
        if changed == Changed::Done {
            tracing::info!(key = %id, "{what}");
        }
        Ok(changed)
    }

    /// Every entry, destroyed ones too, in the order of import.
    pub fn list(&self) -> Vec<KeyEntry> {
        let mut entries: Vec<_> = self.index().by_id.values().map(|held| held.entry.clone()).collect();
        entries.sort_by(|a, b| a.imported.cmp(&b.imported).then_with(|| a.id.cmp(&b.id)));
        entries
    }

    /// The entry with this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn find(&self, id: &str) -> Result<KeyEntry, KeyError> {
        let index = self.index();
        index.by_id.get(id).map(|held| held.entry.clone()).ok_or_else(|| KeyError::NotFound(id.to_owned()))
    }

    /// The keys imported for this very mailbox (`Address::same_mailbox`) that can sign, best first: not blocked before blocked, a
    /// person's before a position's, an organisation's and a system's, the certificate that began last first.
    /// Nothing for any other address: a wrong name never signs.
    pub fn for_mailbox(&self, address: &Address) -> Vec<KeyEntry> {
        let index = self.index();
        let held = index.by_mailbox.get(&address.mailbox_key());
        held.into_iter().flatten().map(|held| held.entry.clone()).collect()
    }

    /// The keys whose certificates others could encrypt to for this mailbox: they can decrypt and hold at `now`, the one that
    /// began last first.
    pub fn encryption_keys(&self, address: &Address, now: jiff::Timestamp) -> Vec<KeyEntry> {
        let index = self.index();
        let held = index.openers.get(&address.mailbox_key()).into_iter().flatten().map(|held| &held.entry);
        let holds = |entry: &&KeyEntry| entry.certificate.not_before() <= now && now < entry.certificate.not_after();
        let mut current: Vec<KeyEntry> = held.filter(holds).cloned().collect();
        current.sort_by_key(|entry| std::cmp::Reverse(entry.certificate.not_before()));
        current
    }

    /// The organisation's or system's keys with an address in `domain`, best first; none for other kinds.
    pub fn substitutes(&self, domain: &Domain, kind: KeyKind) -> Vec<KeyEntry> {
        let index = self.index();
        let fits = |entry: &KeyEntry| {
            entry.kind == kind && entry.addresses.iter().any(|address| address.domain().same(domain))
        };
        index.substitutes.iter().filter(|held| fits(&held.entry)).map(|held| held.entry.clone()).collect()
    }

    /// The keys that a RecipientInfo means, best first, at most 16: by issuer and serial number, or by the
    /// subjectKeyIdentifier (that of RFC 5280 section 4.2.1.2 method 1 where the certificate has none). Expired, revoked
    /// and replaced ones too: mail that was encrypted to them is still there. Not those that are blocked or destroyed.
    pub fn for_recipient(&self, identifier: &RecipientIdentifier) -> Vec<KeyEntry> {
        self.index().recipients.find(identifier)
    }

    /// Stops a key from signing and decrypting, until it is unblocked. A key that is blocked already stays so without an event.
    ///
    /// # Errors
    /// `NotFound`, `Destroyed`, the store.
    pub async fn block(&self, id: &str) -> Result<KeyEntry, KeyError> {
        self.switch(Action::Block { id: id.to_owned() }, id).await
    }

    /// Lets a blocked key sign and decrypt again.
    ///
    /// # Errors
    /// `NotFound`, `Destroyed`, the store.
    pub async fn unblock(&self, id: &str) -> Result<KeyEntry, KeyError> {
        self.switch(Action::Unblock { id: id.to_owned() }, id).await
    }

    async fn switch(&self, action: Action, id: &str) -> Result<KeyEntry, KeyError> {
        self.change(action).await?;
        let entry = self.find(id)?;
        match entry.destroyed {
            true => Err(KeyError::Destroyed(entry.id)),
            false => Ok(entry),
        }
    }

    /// Destroys the private key for good; certificate and record stay. The store overwrites the deleted octets.
    ///
    /// # Errors
    /// `NotFound`, `Destroyed` if it was already, the store.
    pub async fn destroy(&self, id: &str) -> Result<KeyEntry, KeyError> {
        let changed = self.change(Action::Destroy { id: id.to_owned() }).await?;
        let entry = self.find(id)?;
        match changed {
            Changed::Done => Ok(entry),
            Changed::Nothing => Err(KeyError::Destroyed(entry.id)),
        }
    }

    fn opened(&self, id: &str) -> Result<Arc<OpenKey>, KeyError> {
        let index = self.index();
        let held = index.by_id.get(id).ok_or_else(|| KeyError::NotFound(id.to_owned()))?;
        if held.entry.destroyed {
            return Err(KeyError::Destroyed(id.to_owned()));
        }
        if held.entry.blocked {
            return Err(KeyError::Blocked(id.to_owned()));
        }
        if let Some(open) = held.opened.get() {
            return Ok(Arc::clone(open));
        }
        let sealed = held.sealed.as_ref().ok_or(KeyError::Damaged { id: id.to_owned(), what: "sealed" })?;
        let key_der = self.0.master.open_sealed(&context(id), &sealed.wrapped, &sealed.octets)?;
        let open = OpenKey::from_pkcs8(&key_der)?;
        // Two threads may open it at once; the first one's is kept.
        Ok(Arc::clone(held.opened.get_or_init(|| Arc::new(open))))
    }
}

impl KeyBackend for Keys {
    fn sign(&self, key: &str, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let open = self.opened(key)?;
        // RFC 8550 section 4.4.2: whoever verified it would have to refuse it.
        match self.index().by_id.get(key).is_some_and(|held| held.entry.can_sign) {
            true => open.sign(algorithm, message),
            false => Err(KeyError::Signing),
        }
    }

    fn content_key(&self, key: &str, sealed: &SealedKey, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.opened(key)?.content_key(sealed, length)
    }
}

impl Index {
    fn new(rows: Vec<Held>, before: &Self) -> Self {
        let mut held: Vec<Arc<Held>> = rows.into_iter().map(|row| Arc::new(row.keep_open(before))).collect();
        held.sort_by_cached_key(|held| rank(&held.entry));
        let mut index = Self::default();
        for held in held {
            index.by_id.insert(held.entry.id.clone(), Arc::clone(&held));
            if held.entry.destroyed {
                continue;
            }
            if !held.entry.blocked {
                index.recipients.add(&held);
            }
            if held.entry.can_decrypt && !held.entry.blocked {
                for address in &held.entry.addresses {
                    index.openers.entry(address.mailbox_key()).or_default().push(Arc::clone(&held));
                }
            }
            if !held.entry.can_sign {
                continue;
            }
            for address in &held.entry.addresses {
                index.by_mailbox.entry(address.mailbox_key()).or_default().push(Arc::clone(&held));
            }
            if matches!(held.entry.kind, KeyKind::Organisation | KeyKind::System) {
                index.substitutes.push(held);
            }
        }
        index
    }
}

/// Smallest first in `for_mailbox`.
fn rank(entry: &KeyEntry) -> impl Ord + use<> {
    let kind = match entry.kind {
        KeyKind::Individual => 0,
        KeyKind::Position => 1,
        KeyKind::Organisation => 2,
        KeyKind::System => 3,
    };
    (entry.blocked, kind, std::cmp::Reverse(entry.certificate.not_before()), entry.id.clone())
}

impl Held {
    /// Takes over the open key of the same row, if it is still the same and may sign.
    fn keep_open(mut self, before: &Index) -> Self {
        if let Some(old) = before.by_id.get(&self.entry.id)
            && !self.entry.blocked
            && !self.entry.destroyed
            && self.sealed == old.sealed
            && let Some(open) = old.opened.get()
        {
            self.opened = OnceLock::from(Arc::clone(open));
        }
        self
    }
}

/// The addresses to store: those asked for, each of which the certificate must name (RFC 8550 section 3), else all it names.
fn addresses(request: &ImportRequest) -> Result<Vec<Address>, KeyError> {
    let named = request.certificate.addresses();
    if named.is_empty() {
        return Err(KeyError::NoAddress);
    }
    let asked = if request.addresses.is_empty() { named } else { &request.addresses };
    let mut addresses: Vec<Address> = Vec::new();
    for address in asked {
        if !request.certificate.names_address(address) {
            let named: Vec<_> = named.iter().map(|address| format!("`{}`", address.as_str())).collect();
            return Err(KeyError::AddressNotNamed { address: address.as_str().to_owned(), named: named.join(", ") });
        }
        if !addresses.iter().any(|seen| seen.same_mailbox(address)) {
            addresses.push(address.clone());
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests;
