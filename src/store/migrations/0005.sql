-- Held mail that the security team has not been told of yet: too much was held at once, a digest follows.
CREATE TABLE alert (
    record INTEGER PRIMARY KEY REFERENCES record (id),
    since INTEGER NOT NULL
);
-- Whatever waits for the same thing, oldest first.
CREATE INDEX recipient_waiting ON recipient (class, record) WHERE state = 'held';
-- The proof of delivery: which server took it.
ALTER TABLE recipient ADD COLUMN host TEXT;
