-- What expires, and who was told. One row for each certificate and the role it has here.
CREATE TABLE expiry_told (
    subject TEXT PRIMARY KEY,            -- role and SHA-256 of the certificate
    step INTEGER NOT NULL,               -- days before its end that the last warning was for; 0: it has ended
    told INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Whether a certificate or list is the evidence of any record.
CREATE INDEX record_evidence_sha256 ON record_evidence (sha256);
-- Records that are removed some time after they are final, oldest first.
CREATE INDEX record_final ON record (final) WHERE final IS NOT NULL;
