//! The chain: each row hashes the one before. Rows are never changed; erasing a subject destroys a key elsewhere.

use super::event::{Event, Row};
use crate::seal::{ContentKey, MasterKey, PseudonymKey, WrappedKey};
use crate::store::rows::{groups, placeholders};
use crate::store::{Tx, TxError, values};
use aws_lc_rs::digest;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is needed to write to this gateway's chain.
pub struct ChainWriter {
    name: String,
    master: Arc<MasterKey>,
    pub(super) pseudonyms: PseudonymKey,
    generation: Arc<AtomicU64>,
    /// Keys of subjects, with the transaction in which they were first seen: until another one sees them too, they may
    /// have been rolled back.
    subjects: Mutex<HashMap<String, (u64, ContentKey)>>,
}

impl std::fmt::Debug for ChainWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainWriter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ChainWriter {
    pub(super) fn new(
        name: String,
        master: Arc<MasterKey>,
        pseudonyms: PseudonymKey,
        generation: Arc<AtomicU64>,
    ) -> Self {
        Self { name, master, pseudonyms, generation, subjects: Mutex::new(HashMap::new()) }
    }

    /// The key of a subject, made now if it is new, and whether it may be used without looking again.
    fn subject_key(&self, tx: &mut Tx<'_>, subject: &str) -> Result<Option<ContentKey>, TxError> {
        let generation = self.generation.load(Ordering::SeqCst);
        let seen = self.subjects.lock().unwrap_or_else(PoisonError::into_inner).get(subject).cloned();
        match seen {
            Some((COMMITTED, key)) => return Ok(Some(key)),
            // Inserted in this very transaction.
            Some((same, key)) if same == generation => return Ok(Some(key)),
            _ => {}
        }
        let stored: Option<(String, Option<Vec<u8>>)> =
            tx.optional("SELECT master, wrapped FROM audit_subject WHERE subject = ?", &values![subject])?;
        match stored {
            // It was there before this transaction wrote anything about the subject: it is committed.
            Some((master, Some(bytes))) => {
                let context = key_context(subject);
                let opened = self.master.unwrap_key(&context, &WrappedKey { master, bytes });
                // Without a row there is no deed: then nobody could take or settle this person's mail any more. The fields are
                // sealed under a key that nobody has, and shown as unreadable.
                let key = opened.unwrap_or_else(|error| {
                    tracing::error!(subject, %error, "a key of the audit log is damaged: what is personal in this person's rows is lost.");
                    self.master.new_key(&context).1
                });
                self.remember(subject, COMMITTED, &key);
                Ok(Some(key))
            }
            // Erased: what comes later about the subject is not kept either.
            Some((_, None)) => Ok(None),
            None => {
                let (wrapped, key) = self.master.new_key(&key_context(subject));
                tx.execute(
                    "INSERT INTO audit_subject (subject, master, wrapped) VALUES (?, ?, ?)",
                    &values![subject, wrapped.master, wrapped.bytes],
                )?;
                self.remember(subject, generation, &key);
                Ok(Some(key))
            }
        }
    }

    fn remember(&self, subject: &str, generation: u64, key: &ContentKey) {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        if subjects.len() >= SUBJECTS {
            // Not those of this transaction: found again, they would count as committed.
            let now = self.generation.load(Ordering::SeqCst);
            subjects.retain(|_, (seen, _)| *seen == now);
        }
        subjects.insert(subject.to_owned(), (generation, key.clone()));
    }
}

/// One row as it is stored and hashed.
pub(super) struct Stored {
    pub(super) chain: String,
    pub(super) seq: i64,
    pub(super) prev: Vec<u8>,
    pub(super) hash: Vec<u8>,
    pub(super) at: i64,
    pub(super) event: String,
    pub(super) queue_id: Option<String>,
    pub(super) public: String,
    pub(super) subject: Option<String>,
    pub(super) sealed: Option<Vec<u8>>,
}

/// Writes events, inside the transaction that does what they tell of.
pub fn append(tx: &mut Tx<'_>, writer: &ChainWriter, events: &[Event]) -> Result<(), TxError> {
    if events.is_empty() {
        return Ok(());
    }
    let head: Option<(i64, Vec<u8>)> =
        tx.optional("SELECT seq, hash FROM audit WHERE chain = ? ORDER BY seq DESC LIMIT 1", &values![&writer.name])?;
    let (mut seq, mut prev) = head.unwrap_or((0, GENESIS.to_vec()));
    let at = crate::clock::now().as_microsecond();
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let Row { name, queue_id, public, personal } = event.row();
        let (subject, sealed) = match personal {
            None => (None, None),
            Some((mailbox, fields)) => {
                let subject = subject(&writer.pseudonyms, &mailbox);
                let key = writer.subject_key(tx, &subject)?;
                let sealed = key.map(|key| key.seal_small(name, fields.to_string().as_bytes()));
                (Some(subject), sealed)
            }
        };
        seq += 1;
        let mut row = Stored {
            chain: writer.name.clone(),
            seq,
            prev,
            hash: Vec::new(),
            at,
            event: name.to_owned(),
            queue_id,
            public: public.to_string(),
            subject,
            sealed,
        };
        row.hash = row.compute_hash();
        prev = row.hash.clone();
        rows.push(row);
    }
    insert(tx, &rows)
}

fn insert(tx: &mut Tx<'_>, rows: &[Stored]) -> Result<(), TxError> {
    for group in groups(rows) {
        let sql = format!(
            "INSERT INTO audit (chain, seq, prev, hash, at, event, queue_id, public, subject, sealed) VALUES {}",
            placeholders(group.len(), 10)
        );
        let mut values = Vec::with_capacity(group.len() * 10);
        for row in group {
            values.extend(values![
                &row.chain,
                row.seq,
                &row.prev,
                &row.hash,
                row.at,
                &row.event,
                &row.queue_id,
                &row.public,
                &row.subject,
                &row.sealed,
            ]);
        }
        tx.execute(&sql, &values)?;
    }
    Ok(())
}

impl Stored {
    /// SHA-256 over the version, the hash before, and every column with its length: two different rows never give the
    /// same octets.
    pub(super) fn compute_hash(&self) -> Vec<u8> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut field = |octets: Option<&[u8]>| match octets {
            None => context.update(&[0]),
            Some(octets) => {
                context.update(&[1]);
                context.update(&(octets.len() as u64).to_be_bytes());
                context.update(octets);
            }
        };
        field(Some(b"segel audit row 1"));
        field(Some(&self.prev));
        field(Some(self.chain.as_bytes()));
        field(Some(&self.seq.to_be_bytes()));
        field(Some(&self.at.to_be_bytes()));
        field(Some(self.event.as_bytes()));
        field(self.queue_id.as_deref().map(str::as_bytes));
        field(Some(self.public.as_bytes()));
        field(self.subject.as_deref().map(str::as_bytes));
        field(self.sealed.as_deref());
        context.finish().as_ref().to_vec()
    }
}

/// Whose personal fields these are, without saying it to anybody who lacks the master key.
pub(super) fn subject(pseudonyms: &PseudonymKey, mailbox_key: &str) -> String {
    data_encoding::HEXLOWER.encode(&pseudonyms.of(mailbox_key))
}

/// What a subject's wrapped key is bound to.
pub(super) fn key_context(subject: &str) -> String {
    format!("audit subject {subject}")
}

/// `prev` of a chain's first row.
pub(super) const GENESIS: [u8; 32] = [0; 32];
/// Generation of what is known to be committed.
const COMMITTED: u64 = 0;
/// Subjects whose keys are remembered: some MB.
const SUBJECTS: usize = 20_000;
