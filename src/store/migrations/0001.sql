-- Times are microseconds since 1970-01-01T00:00:00Z. Addresses are stored as they were written, beside their mailbox key where they are looked up.

-- Sealed content: originals and copies. Up to 128 KiB in `sealed`, larger in `file` below data_dir/content.
-- The seal itself shows damage (AES-256-GCM); its context is `original QID` or `copy QID N`.
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,               -- octets of the plain content
    master TEXT NOT NULL,                -- id of the master key
    wrapped BLOB,                        -- content key, wrapped; NULL: destroyed
    sealed BLOB,
    file TEXT                            -- name below data_dir/content
);
CREATE INDEX content_file ON content (file) WHERE file IS NOT NULL;

-- A message as it was accepted.
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    queue_id TEXT NOT NULL UNIQUE,       -- 60 random bits, base32
    version INTEGER NOT NULL,            -- of this format
    direction TEXT NOT NULL,             -- outgoing | incoming | notice
    received INTEGER NOT NULL,
    listener TEXT NOT NULL,
    peer TEXT NOT NULL,
    helo TEXT NOT NULL,
    reverse_path TEXT,                   -- NULL: null reverse-path
    body TEXT NOT NULL,                  -- 7bit | 8bitmime
    header_from TEXT,                    -- the mailbox in From, if there is exactly one
    message_id TEXT,
    verdict TEXT NOT NULL,
    reasons TEXT NOT NULL,               -- comma-separated codes
    signer TEXT,
    serial TEXT,                         -- of the signer's certificate, hex
    size INTEGER NOT NULL,               -- octets of the original
    original INTEGER NOT NULL REFERENCES content (id),
    details BLOB NOT NULL,               -- sealed JSON: subject, inspect report, decision, extra
    details_master TEXT NOT NULL,
    details_wrapped BLOB,
    policy TEXT NOT NULL,                -- hash of the policy
    rule TEXT NOT NULL,                  -- what fired
    notice_for TEXT,                     -- queue id that a notice is about
    parent TEXT,                         -- queue id that a released mail came from
    final INTEGER                        -- when the last recipient became final
);
CREATE INDEX record_received ON record (received);
CREATE INDEX record_message_id ON record (message_id);
CREATE INDEX record_serial ON record (serial) WHERE serial IS NOT NULL;   -- the look-back after a revocation
-- A release happens once per mail and recipient.
CREATE INDEX record_parent ON record (parent) WHERE parent IS NOT NULL;

-- A finished copy. Every copy is made once; retries send the same bytes.
CREATE TABLE copy (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES record (id),
    content INTEGER NOT NULL REFERENCES content (id),
    number INTEGER NOT NULL,             -- within its record, from 0: part of the seal's context
    treatment TEXT NOT NULL              -- plain | signed | (later) encrypted …
);
CREATE INDEX copy_record ON copy (record);

CREATE TABLE recipient (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES record (id),
    address TEXT NOT NULL,
    dsn TEXT,                            -- NOTIFY and ORCPT, later
    copy INTEGER REFERENCES copy (id),   -- NULL while held
    next_hop TEXT NOT NULL,              -- host:port, or mx:domain later
    state TEXT NOT NULL,                 -- pending | held | delivered | failed | released | destroyed
    class TEXT,                          -- of held: quarantine | awaiting-key | awaiting-revocation | signer-revoked | operator
    reasons TEXT NOT NULL DEFAULT '',
    status TEXT,                         -- of failed: enhanced code; last one while pending
    diagnostic TEXT,                     -- the last reply, sanitised
    released TEXT,                       -- of released: the new queue id
    due INTEGER,                         -- of pending: not before
    tries INTEGER NOT NULL DEFAULT 0,
    lease INTEGER,                       -- of pending: expiry of the lease
    token BLOB,                          -- who holds the lease
    changed INTEGER NOT NULL
);
CREATE INDEX recipient_record ON recipient (record);
CREATE INDEX recipient_due ON recipient (due) WHERE state = 'pending';
CREATE INDEX recipient_held ON recipient (class) WHERE state = 'held';

-- The bytes a verdict rests on, shared by content: certificates and CRLs by SHA-256.
CREATE TABLE evidence (
    sha256 BLOB PRIMARY KEY,
    kind TEXT NOT NULL,                  -- certificate | crl | ocsp
    der BLOB NOT NULL
);
CREATE TABLE record_evidence (
    record INTEGER NOT NULL REFERENCES record (id),
    sha256 BLOB NOT NULL REFERENCES evidence (sha256),
    role TEXT NOT NULL,                  -- certificate | anchor | revocation
    PRIMARY KEY (record, sha256, role)
);

-- First sight of mail that was deferred for revocation-unknown.
CREATE TABLE deferral (
    digest BLOB PRIMARY KEY,             -- SHA-256 of reverse-path and message below our trace fields
    first_seen INTEGER NOT NULL
);
CREATE INDEX deferral_first_seen ON deferral (first_seen);

-- Own keys.
CREATE TABLE own_key (
    id TEXT PRIMARY KEY,                 -- first 16 hex digits of the certificate's SHA-256
    kind TEXT NOT NULL,                  -- individual | position | organisation | system
    custody TEXT NOT NULL,               -- gateway | owner | token | remote
    state TEXT NOT NULL,                 -- active | blocked | destroyed
    certificate BLOB NOT NULL,
    chain BLOB NOT NULL,                 -- concatenated DER
    master TEXT NOT NULL,
    wrapped BLOB,
    sealed BLOB,                         -- PKCS#8, sealed; NULL: destroyed or elsewhere
    reference TEXT,                      -- token URI or remote name
    imported INTEGER NOT NULL,
    changed INTEGER NOT NULL
);
CREATE TABLE own_key_address (
    mailbox TEXT NOT NULL,               -- mailbox key
    address TEXT NOT NULL,
    own_key TEXT NOT NULL REFERENCES own_key (id),
    PRIMARY KEY (mailbox, own_key)
);

-- Stored trust anchors and others' certificates.
CREATE TABLE anchor (
    sha256 BLOB PRIMARY KEY,
    der BLOB NOT NULL,
    purposes TEXT NOT NULL,              -- email, tsa
    revocation TEXT NOT NULL,
    domains TEXT NOT NULL,
    imported INTEGER NOT NULL
);
CREATE TABLE certificate (
    sha256 BLOB PRIMARY KEY,
    der BLOB NOT NULL,
    trust TEXT NOT NULL,                 -- imported | trusted | seen
    source TEXT NOT NULL,
    blocked INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL
);
CREATE TABLE certificate_address (
    mailbox TEXT NOT NULL,
    address TEXT NOT NULL,
    sha256 BLOB NOT NULL REFERENCES certificate (sha256),
    binding TEXT NOT NULL,               -- certificate | operator
    PRIMARY KEY (mailbox, sha256)
);

-- The audit log: one chain per writer.
CREATE TABLE audit (
    chain TEXT NOT NULL,
    seq INTEGER NOT NULL,
    prev BLOB NOT NULL,                  -- hash of the entry before
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,                 -- name
    queue_id TEXT,
    public TEXT NOT NULL,                -- JSON without personal data
    subject TEXT,                        -- whose personal fields these are
    sealed BLOB,                         -- personal fields; the chain hashes the ciphertext
    PRIMARY KEY (chain, seq)
);
CREATE INDEX audit_queue_id ON audit (queue_id);
CREATE INDEX audit_subject_rows ON audit (subject) WHERE subject IS NOT NULL;
CREATE TABLE audit_subject (
    subject TEXT PRIMARY KEY,            -- HMAC of the mailbox key
    master TEXT NOT NULL,
    wrapped BLOB                         -- NULL: erased
);
CREATE TABLE audit_checkpoint (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    heads TEXT NOT NULL,                 -- JSON: chain → seq, hash
    signature BLOB NOT NULL,
    key TEXT NOT NULL
);

-- Values of this installation: the name of its audit chain.
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
-- Keys of the gateway itself (not certificates'): the one that signs checkpoints.
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    public BLOB NOT NULL,
    master TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    sealed BLOB NOT NULL
);
