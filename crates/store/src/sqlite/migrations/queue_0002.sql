-- The guard's counters. Whom one is for is known by a keyed digest alone; the key is the value `guard_key`.
CREATE TABLE guard (
    kind    TEXT    NOT NULL,                 -- account, address, network, recipients, known
    digest  BLOB    NOT NULL,
    charged INTEGER NOT NULL,
    until   INTEGER NOT NULL,                 -- cleared then, microseconds since 1970
    PRIMARY KEY (kind, digest)
) STRICT, WITHOUT ROWID;
