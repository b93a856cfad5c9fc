-- Recipients of one route may get different forms: a delivery names its own by number, and a link the files that are not
-- in the form of its recipients. Until now a message had one form, kept once for each route.
CREATE TABLE numbered (
    message BLOB    NOT NULL,
    number  INTEGER NOT NULL,
    content INTEGER NOT NULL,                 -- octets of the content it is made from
    recipe  BLOB    NOT NULL,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;
INSERT INTO numbered SELECT message, 0, content, recipe FROM form
    WHERE route = (SELECT min(other.route) FROM form other WHERE other.message = form.message);

ALTER TABLE delivery ADD COLUMN form INTEGER; -- NULL: the content as it is
UPDATE delivery SET form = 0
    WHERE EXISTS (SELECT 1 FROM form WHERE form.message = delivery.message AND form.route = delivery.route);

DROP TABLE form;
ALTER TABLE numbered RENAME TO form;

ALTER TABLE link ADD COLUMN files TEXT;       -- JSON: positions of the files it leads to; NULL: all
