-- The emergency bypass of signing.
CREATE TABLE bypass (
    id TEXT PRIMARY KEY,
    domain TEXT,                         -- an own domain; NULL: all
    reason TEXT NOT NULL,
    operator TEXT NOT NULL,
    started INTEGER NOT NULL,            -- microseconds, as all times
    until INTEGER NOT NULL,
    seen INTEGER NOT NULL,               -- how far it had come when it was looked at last: a clock that is set back adds nothing
    ended INTEGER,
    ended_by TEXT,                       -- an operator, or `time`
    told INTEGER NOT NULL DEFAULT 0      -- 1: that it began, 2: that it ended
);
