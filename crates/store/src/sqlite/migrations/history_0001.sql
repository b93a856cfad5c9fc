-- What happened. Losable: written in batches, without a sync of its own.
CREATE TABLE event (
    id        INTEGER NOT NULL PRIMARY KEY,
    at        INTEGER NOT NULL,
    session   TEXT    NOT NULL,
    message   TEXT,
    kind      TEXT    NOT NULL,
    sender    TEXT    NOT NULL,
    recipient TEXT    NOT NULL,
    blame     TEXT    NOT NULL,
    detail    TEXT    NOT NULL
) STRICT;
