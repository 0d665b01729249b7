-- What senders ask for with DSN parameters (RFC 3461), and what they were told.

ALTER TABLE record ADD COLUMN returned TEXT;                             -- RET: FULL | HDRS
ALTER TABLE record ADD COLUMN envelope_id TEXT;                          -- ENVID, as xtext
ALTER TABLE record ADD COLUMN sender_proven INTEGER NOT NULL DEFAULT 1;  -- 0: the reverse-path may be forged, no notice goes there
ALTER TABLE recipient ADD COLUMN warned INTEGER;                         -- when the sender was told of the delay
-- recipient.dsn is `NOTIFY=… ORCPT=…`, as in RCPT; NULL: neither was given.

CREATE INDEX record_notice_for ON record (notice_for) WHERE notice_for IS NOT NULL;
