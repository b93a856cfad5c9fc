-- What the download pages show and count.
ALTER TABLE share ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE share ADD COLUMN cap INTEGER;                   -- downloads of each file by each link; NULL: any number
ALTER TABLE blob ADD COLUMN checked TEXT NOT NULL DEFAULT 'clear'; -- by a scanner: clear, waiting, found
CREATE INDEX blob_unchecked ON blob (created) WHERE checked = 'waiting';

CREATE TABLE fetched (
    token     BLOB    NOT NULL,
    position  INTEGER NOT NULL,
    downloads INTEGER NOT NULL,
    PRIMARY KEY (token, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE sender_link (
    token   BLOB    NOT NULL PRIMARY KEY,                   -- SHA-256 of it
    message BLOB    NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sender_link_by_message ON sender_link (message);
