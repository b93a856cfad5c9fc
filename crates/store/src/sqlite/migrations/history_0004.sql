-- What is looked for in the history: kind, session and addresses as trigrams, so that a part of an address is found
-- among millions without reading them all. Positions are not kept: what is found is checked against the event.
CREATE VIRTUAL TABLE event_text USING fts5(text, tokenize = 'trigram', detail = none, content = '', contentless_delete = 1);
INSERT INTO event_text (rowid, text)
    SELECT id, '<' || substr(kind, 1, 1) || substr(kind, 3, 1) || ' ' || session || ' ' || sender || ' ' || recipient FROM event;
CREATE INDEX event_by_message ON event (message) WHERE message IS NOT NULL;
-- Serves trials, too.
CREATE INDEX event_by_kind ON event (kind);
DROP INDEX event_trial;

-- Figures of ten minutes each. Losable.
CREATE TABLE slot (
    at   INTEGER NOT NULL PRIMARY KEY,
    text TEXT    NOT NULL                     -- word=value
) STRICT;
