//! The only holder of certificates' private keys: import, custody, signing, opening content keys.
//!
//! A key comes in through [`import`] (PKCS#12 or PEM), is checked, sealed under the master key and
//! kept in the [`register`]; [`software`] signs and decrypts with it in memory. It never leaves again, in no
//! form: there is no export, and neither keys nor passwords are logged or shown.
//! Failure policy: what could neither sign nor decrypt is refused at import, and a key that cannot be opened now
//! is an error, never a reason to leave mail unsigned in silence. What fails inside a decryption is no error: it gives
//! random octets, so that nobody can ask the key questions (RFC 3218).

use crate::cms::recipient_info::SealedKey;
use crate::crypto::SignatureAlgorithm;
use crate::mail::Address;
use crate::pki::Certificate;
use crate::policy::KeyKind;
use crate::store::StoreError;
use zeroize::Zeroizing;

mod dkim;
mod pbes2;
mod pem;
pub mod pkcs12;
pub mod software;

pub mod import;
pub mod master;
pub mod register;

pub use dkim::{Dkim, DkimError};
pub use import::Imported;
pub use register::{ImportRequest, Keys};

/// Who can open a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// The gateway, with the master key.
    Gateway,
    /// The owner's passphrase is needed too.
    Owner,
    /// A PKCS#11 token holds it.
    Token,
    /// A remote signing service holds it.
    Remote,
}

impl Custody {
    /// The word in the database and in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Owner => "owner",
            Self::Token => "token",
            Self::Remote => "remote",
        }
    }

    /// The custody with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Gateway, Self::Owner, Self::Token, Self::Remote].into_iter().find(|custody| custody.name() == name)
    }
}

/// A row of the register, without the key.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    /// First 16 hex digits of the certificate's SHA-256.
    pub id: String,
    /// The addresses it is for, each of them named by the certificate.
    pub addresses: Vec<Address>,
    /// Whose it is.
    pub kind: KeyKind,
    /// Who can open it.
    pub custody: Custody,
    /// The end entity's certificate.
    pub certificate: Certificate,
    /// Its issuers, as far as they were imported with it; the next issuer first.
    pub chain: Vec<Certificate>,
    /// The certificate lets it sign mail.
    pub can_sign: bool,
    /// The certificate lets others encrypt mail to it.
    pub can_decrypt: bool,
    /// An operator has blocked it: it signs and opens nothing until it is unblocked.
    pub blocked: bool,
    /// The private key is gone for good; the record stays.
    pub destroyed: bool,
    /// When it was imported.
    pub imported: jiff::Timestamp,
}

/// Why a certificate's key can be used for no mail (RFC 8550 section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// RSA below 2048 bits.
    #[error("expected an RSA key of at least 2048 bits, found {0} bits")]
    ShortKey(usize),
    /// Neither RSA nor a curve that its certificate lets it be used on: P-256 and P-384; P-521 and X25519 to decrypt.
    #[error("expected an RSA, P-256 or P-384 key, or a P-521 or X25519 key to decrypt with")]
    KeyType,
    /// keyUsage is there and allows neither signing nor, by keys of this kind, decrypting.
    #[error(
        "expected key usage digitalSignature or nonRepudiation to sign, or keyEncipherment (RSA) or keyAgreement \
         (elliptic curves) to decrypt, found neither"
    )]
    KeyUsage,
    /// extKeyUsage is there and allows no mail.
    #[error("expected extended key usage emailProtection, found only others")]
    ExtendedKeyUsage,
    /// A CA's certificate.
    #[error("expected an end entity's certificate, found a CA's")]
    Authority,
}

/// Why a key could not be imported, found, changed or used. Never holds a password or key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key has this id.
    #[error("no key `{0}`")]
    NotFound(String),
    /// The id stands in the register already.
    #[error("key `{0}` is there already")]
    Exists(String),
    /// The key was blocked by an operator.
    #[error("key `{0}` is blocked")]
    Blocked(String),
    /// The key was destroyed.
    #[error("key `{0}` is destroyed")]
    Destroyed(String),
    /// No certificate has the key's public key.
    #[error("key and certificate do not belong together")]
    Mismatch,
    /// The file could not be decrypted or its MAC is another.
    #[error("cannot open the {0}: wrong password or damaged file")]
    Password(String),
    /// The file is encrypted and no password was given.
    #[error("`{0}` is encrypted: expected a password")]
    PasswordNeeded(&'static str),
    /// The structure breaks its standard.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A bound on size, number or key derivation was passed.
    #[error("too much {0}")]
    TooComplex(&'static str),
    /// The file holds no private key.
    #[error("expected a private key, found none")]
    NoKey,
    /// The file holds no certificate.
    #[error("expected a certificate, found none")]
    NoCertificate,
    /// Nothing proves that the unencrypted content of a PKCS#12 file is what was written.
    #[error("expected a PKCS#12 file with a MAC, found one without that is not wholly encrypted")]
    NoIntegrity,
    /// Encryption that is too weak to be read here. `convert` is what turns it into one that is not.
    #[error(
        "`{algorithm}` is outdated encryption, expected PBES2 with AES\n  hint: convert the file with\n  {convert}"
    )]
    Legacy {
        /// Name or OID.
        algorithm: String,
        /// A command line of OpenSSL.
        convert: &'static str,
    },
    /// An algorithm, custody or container that is not implemented.
    #[error("{0}")]
    Unsupported(String),
    /// The certificate lets its key neither sign nor decrypt mail.
    #[error("certificate `{serial}` can be used for no mail")]
    Unfit {
        /// Its serial number, hex.
        serial: String,
        /// Why not.
        #[source]
        why: Unfit,
    },
    /// RFC 8550 section 3: a signature under this address would be a wrong name.
    #[error("the certificate does not name `{address}`, it names {named}")]
    AddressNotNamed {
        /// What was asked for.
        address: String,
        /// What the certificate has.
        named: String,
    },
    /// The certificate names no mail address at all.
    #[error("the certificate names no mail address")]
    NoAddress,
    /// The key refused to sign, or cannot sign with this algorithm.
    #[error("the key could not sign")]
    Signing,
    /// The key is of a kind that cannot open what is sealed in this way. Anybody can see that.
    #[error("the key cannot open what is encrypted in this way")]
    CannotDecrypt,
    /// It could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    /// The database could not be read or written.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A row does not hold what was once written there.
    #[error("key `{id}` in the store is damaged: {what}")]
    Damaged {
        /// Which row.
        id: String,
        /// Which column.
        what: &'static str,
    },
}

/// Signs and decrypts with a private key that stays behind it: software, token, remote.
pub trait KeyBackend: Send + Sync {
    /// Signature over `message`, which the backend hashes. ECDSA as DER. Blocks: call it on the CPU pool.
    ///
    /// # Errors
    /// The key is not there, blocked, destroyed, or cannot sign with this algorithm.
    fn sign(&self, key: &str, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The content key of `length` octets that is in `sealed`. **Whatever is wrong with the ciphertext** (padding,
    /// length, unwrapping, a point that is not on the curve) gives random octets of that length, other ones each time:
    /// there is no failure that anybody could learn from (RFC 3218 section 2.3.2). Blocks: call it on the CPU pool.
    ///
    /// # Errors
    /// What is known without the private key: it is not there, blocked or destroyed, or of a kind that cannot open this.
    fn content_key(&self, key: &str, sealed: &SealedKey, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

#[cfg(test)]
pub(crate) mod tests;
