-- What encryption needs: others' certificates with what their programs can read, and who got encrypted mail.

ALTER TABLE record ADD COLUMN discreet INTEGER NOT NULL DEFAULT 0;   -- 1: a private key acted on it; notices say nothing that was learned
ALTER TABLE record ADD COLUMN outer_verdict TEXT;                    -- of the mail as it arrived, unopened

ALTER TABLE certificate ADD COLUMN capabilities BLOB;                -- DER of SMIMECapabilities from validly signed mail
ALTER TABLE certificate ADD COLUMN signed INTEGER;                   -- signing time of that mail; NULL: it had none
CREATE INDEX certificate_address_sha256 ON certificate_address (sha256);

-- Mailboxes to which encrypted mail has left: going back to clear needs a permission.
CREATE TABLE correspondent (
    mailbox TEXT PRIMARY KEY,            -- mailbox key
    first_encrypted INTEGER NOT NULL
);
