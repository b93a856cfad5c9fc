-- What was done with the files of one message.
CREATE INDEX audit_of_message ON audit (message, number);
