-- Sealed octets apart from the keys that open them: what is freed here need not be overwritten, only keys must be. `content.sealed` holds those of older rows.
CREATE TABLE sealed (
    content INTEGER PRIMARY KEY REFERENCES content (id),
    octets BLOB NOT NULL
);

-- Copies that are their original with something on top: what is below is not stored twice.

ALTER TABLE copy ADD COLUMN top BLOB;        -- sealed with the original's content key, context `copy QID N`; NULL: the copy has content of its own
ALTER TABLE copy ADD COLUMN below INTEGER;   -- with `top`: the octets of the original from here on follow it, and `content` is the original's
