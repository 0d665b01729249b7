//! Checkpoints: the heads of all chains, signed. They show when rows at the end were cut off.

use super::AuditError;
use crate::seal::{MasterKey, WrappedKey};
use crate::store::{Store, Tx, TxError, Write, values};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sqlx::query_as;
use std::collections::BTreeMap;

/// A checkpoint as it is stored, and as it goes to the log.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Checkpoint {
    /// Microseconds since 1970.
    pub at: i64,
    /// Chain → (seq, hash in hex).
    pub heads: BTreeMap<String, (i64, String)>,
    /// Ed25519 over `segel audit checkpoint 1`, a zero octet, `at` in decimal, a zero octet, and `heads` as JSON; in hex.
    pub signature: String,
    /// The public key, in hex.
    pub key: String,
}

/// Signs the heads as they are now; the last checkpoint, if nothing has happened since: a later one would say no more.
pub(super) async fn make(store: &Store, master: &MasterKey) -> Result<Checkpoint, AuditError> {
    let key = signing_key(store, master).await?;
    let rows: Vec<(String, i64, Vec<u8>)> = query_as(
        "SELECT a.chain, a.seq, a.hash FROM (SELECT DISTINCT chain FROM audit) c \
         JOIN audit a ON a.chain = c.chain AND a.seq = (SELECT max(seq) FROM audit WHERE chain = c.chain)",
    )
    .fetch_all(store.readers())
    .await?;
    let heads: BTreeMap<_, _> =
        rows.into_iter().map(|(chain, seq, hash)| (chain, (seq, data_encoding::HEXLOWER.encode(&hash)))).collect();
    let text = serde_json::to_string(&heads)?;
    let public = data_encoding::HEXLOWER.encode(key.public_key().as_ref());
    let last: Option<(i64, String, Vec<u8>, String)> =
        query_as("SELECT at, heads, signature, key FROM audit_checkpoint ORDER BY id DESC LIMIT 1")
            .fetch_optional(store.readers())
            .await?;
    // One whose signature no longer holds is not leaned on.
    let same = |(at, last, signature, by): &(i64, String, Vec<u8>, String)| {
        *last == text && *by == public && holds(key.public_key().as_ref(), *at, last, signature)
    };
    if let Some((at, _, signature, key)) = last.filter(same) {
        return Ok(Checkpoint { at, heads, signature: data_encoding::HEXLOWER.encode(&signature), key });
    }
    let at = crate::clock::now().as_microsecond();
    let signature = key.sign(&signed_octets(at, &text)).as_ref().to_vec();
    store.write(Insert { at, heads: text.clone(), signature: signature.clone(), key: public.clone() }).await?;
    let signature = data_encoding::HEXLOWER.encode(&signature);
    // The copy that somebody who rewrites the database can't reach.
    tracing::info!(at, heads = %text, %signature, key = %public, "checkpoint of the audit log.");
    Ok(Checkpoint { at, heads, signature, key: public })
}

/// Whether the signature fits.
pub(super) fn holds(public: &[u8], at: i64, heads: &str, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(&signed_octets(at, heads), signature).is_ok()
}

fn signed_octets(at: i64, heads: &str) -> Vec<u8> {
    [b"segel audit checkpoint 1\0", at.to_string().as_bytes(), b"\0", heads.as_bytes()].concat()
}

async fn signing_key(store: &Store, master: &MasterKey) -> Result<Ed25519KeyPair, AuditError> {
    let select = "SELECT master, wrapped, sealed FROM secret WHERE name = 'audit-checkpoint'";
    let mut row: Option<(String, Vec<u8>, Vec<u8>)> = query_as(select).fetch_optional(store.readers()).await?;
    if row.is_none() {
        let pair = Ed25519KeyPair::generate().map_err(|_| AuditError::Key)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| AuditError::Key)?;
        let (wrapped, sealed) = master.seal(CONTEXT, pkcs8.as_ref());
        store
            .write(InsertKey { public: pair.public_key().as_ref().to_vec(), wrapped, sealed: sealed.to_vec() })
            .await?;
        row = query_as(select).fetch_optional(store.readers()).await?;
    }
    let (master_id, bytes, sealed) = row.ok_or(AuditError::Key)?;
    let pkcs8 = master.open_sealed(CONTEXT, &WrappedKey { master: master_id, bytes }, &sealed)?;
    Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| AuditError::Key)
}

struct Insert {
    at: i64,
    heads: String,
    signature: Vec<u8>,
    key: String,
}

impl Write for Insert {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        tx.execute(
            "INSERT INTO audit_checkpoint (at, heads, signature, key) VALUES (?, ?, ?, ?)",
            &values![self.at, &self.heads, &self.signature, &self.key],
        )?;
        Ok(())
    }
}

struct InsertKey {
    public: Vec<u8>,
    wrapped: WrappedKey,
    sealed: Vec<u8>,
}

impl Write for InsertKey {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        tx.execute(
            "INSERT INTO secret (name, public, master, wrapped, sealed) VALUES ('audit-checkpoint', ?, ?, ?, ?) \
             ON CONFLICT (name) DO NOTHING",
            &values![&self.public, &self.wrapped.master, &self.wrapped.bytes, &self.sealed],
        )?;
        Ok(())
    }
}

pub(super) const CONTEXT: &str = "secret audit-checkpoint";
