-- Whether a scanner, or an administrator, has said what is known of a blob: one that nobody was asked about is clear, but
-- does not stand for a fresh one that is to be checked.
ALTER TABLE blob ADD COLUMN scanned INTEGER NOT NULL DEFAULT 0;
