-- Small records by kind: administrators, their sessions and tokens, versions of the settings, the audit log.
CREATE TABLE record (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    text TEXT NOT NULL,                       -- JSON; its owner's business
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
