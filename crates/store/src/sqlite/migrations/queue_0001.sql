-- The queue: one row a message, one row a delivery (message, route). Recipients live in the delivery's row, so that
-- an attempt is one row read and one row written. Times are microseconds since 1970.
CREATE TABLE message (
    id          BLOB    NOT NULL PRIMARY KEY, -- UUID v7
    received_at INTEGER NOT NULL,
    size        INTEGER NOT NULL,             -- head and body
    first       INTEGER NOT NULL,             -- its deliveries have the ids first .. first + deliveries - 1
    deliveries  INTEGER NOT NULL,
    meta        TEXT    NOT NULL,             -- JSON: origin and MAIL
    segment     INTEGER,                      -- small: where the record lies
    offset      INTEGER,
    length      INTEGER NOT NULL,             -- octets of the record or of the file
    file        TEXT,                         -- large: name under bodies/
    crc         INTEGER,                      -- CRC32C of the file
    head        BLOB                          -- head of a large one
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    id          INTEGER NOT NULL PRIMARY KEY,
    message     BLOB    NOT NULL,
    first       INTEGER NOT NULL,             -- as in message
    deliveries  INTEGER NOT NULL,
    route       TEXT    NOT NULL,             -- relay, or domain:NAME
    attempts    INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    pending     INTEGER NOT NULL,             -- recipients still to be tried
    held        INTEGER NOT NULL,             -- recipients kept for the administrator
    recipients  TEXT    NOT NULL              -- JSON: those that are pending or held
) STRICT;

CREATE TABLE user (
    name          TEXT    NOT NULL PRIMARY KEY,
    password_hash TEXT    NOT NULL,           -- Argon2id
    created       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE value (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
