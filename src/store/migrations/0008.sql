-- Copies that are their original with something on top: what is below is not stored twice.

ALTER TABLE copy ADD COLUMN top BLOB;        -- sealed with the original's content key, context `copy QID N`; NULL: the copy has content of its own
ALTER TABLE copy ADD COLUMN below INTEGER;   -- with `top`: the octets of the original from here on follow it, and `content` is the original's
