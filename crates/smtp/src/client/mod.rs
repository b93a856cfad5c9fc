//! The client's side of an SMTP session as a state machine without I/O: callouts, AUTH and delivery alike.
