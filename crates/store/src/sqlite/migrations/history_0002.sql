-- Recipients that a delegate accepted. Losable: what is lost is asked again. Times are microseconds since 1970.
CREATE TABLE verdict (
    delegate TEXT    NOT NULL,
    address  TEXT    NOT NULL,                -- case-folded
    code     INTEGER NOT NULL,                -- the delegate's reply
    enhanced TEXT    NOT NULL,                -- X.Y.Z, or empty
    text     TEXT    NOT NULL,
    refresh  INTEGER NOT NULL,                -- asked again then
    until    INTEGER NOT NULL,                -- good until then
    doubted  INTEGER NOT NULL,
    PRIMARY KEY (delegate, address)
) STRICT, WITHOUT ROWID;
