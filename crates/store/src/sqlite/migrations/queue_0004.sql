-- Detached files. A blob is octets, once for equal content; a share is one message's files with their life; a link
-- leads to a share and is known by the digest of its token. All of a message's rows come with its acceptance.
ALTER TABLE message ADD COLUMN link_key BLOB;  -- tokens follow from it; NULL: nothing detached
ALTER TABLE message ADD COLUMN sharing TEXT;  -- JSON: who has a token of his own

CREATE TABLE form (
    message BLOB    NOT NULL,
    route   TEXT    NOT NULL,
    content INTEGER NOT NULL,                 -- octets of the content it is made from
    recipe  BLOB    NOT NULL,
    PRIMARY KEY (message, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    name    TEXT    NOT NULL PRIMARY KEY,
    sha256  BLOB    NOT NULL,
    size    INTEGER NOT NULL,
    key     BLOB    NOT NULL,                 -- what it is encrypted with, encrypted; empty: it is not
    doomed  INTEGER NOT NULL,                 -- 1: no share names it; the object goes, then the row
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_by_content ON blob (sha256, size) WHERE doomed = 0;
CREATE INDEX blob_doomed ON blob (name) WHERE doomed = 1;

CREATE TABLE share (
    message   BLOB    NOT NULL PRIMARY KEY,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    sender    TEXT    NOT NULL,               -- reverse path, empty for <>
    owner     TEXT    NOT NULL,               -- who is charged: user
    domain    TEXT    NOT NULL,               -- who is charged: domain
    size      INTEGER NOT NULL,               -- octets of its files
    known     INTEGER NOT NULL,               -- 1: the sender may be mailed
    hold      INTEGER NOT NULL,
    revoked   INTEGER,
    access    TEXT    NOT NULL,               -- link, code
    password  TEXT,                           -- Argon2id
    reminded  INTEGER NOT NULL,
    receipted INTEGER NOT NULL,
    asked     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX share_by_end ON share (expires);
CREATE INDEX share_by_owner ON share (owner, size);
CREATE INDEX share_by_domain ON share (domain, size);

CREATE TABLE attachment (
    message    BLOB    NOT NULL,
    position   INTEGER NOT NULL,
    blob       TEXT    NOT NULL,
    file_name  TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    downloads  INTEGER NOT NULL,
    PRIMARY KEY (message, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_by_blob ON attachment (blob);

CREATE TABLE link (
    token      BLOB    NOT NULL PRIMARY KEY,  -- SHA-256 of it
    message    BLOB    NOT NULL,
    recipients TEXT    NOT NULL,              -- JSON
    revoked    INTEGER,
    downloads  INTEGER NOT NULL,
    last       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX link_by_message ON link (message);

-- Each line holds a digest of itself and of the line before it: a line that was taken out or changed is seen.
CREATE TABLE audit (
    number  INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    who     TEXT    NOT NULL,
    message BLOB,
    detail  TEXT    NOT NULL,
    chain   TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;

CREATE TABLE upload (
    name   TEXT NOT NULL PRIMARY KEY,
    upload TEXT NOT NULL
) STRICT, WITHOUT ROWID;
