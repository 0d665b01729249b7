-- CRLs that were fetched or imported. They are public, so they lie in clear. One row for each place they come from.
CREATE TABLE crl (
    -- The URL; `import:` and the SHA-256 of the list for one that an operator brought.
    location    TEXT PRIMARY KEY NOT NULL,
    -- `fetched`: a certificate names the URL; `configured`: trust.crls does; `imported`.
    origin      TEXT NOT NULL,
    -- The list, and the certificate that its signature was verified with; DER.
    der         BLOB,
    signer      BLOB,
    -- What the server said about it.
    etag        TEXT,
    modified    TEXT,
    -- Times in microseconds: last had from there, last asked for, last needed, to be asked for again.
    fetched     INTEGER,
    asked       INTEGER,
    needed      INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    -- Since it was last had, and why the last one.
    failures    INTEGER NOT NULL DEFAULT 0,
    error       TEXT
) STRICT, WITHOUT ROWID;
