//! SASL payloads: PLAIN (RFC 4616), LOGIN, base64 as RFC 4954 wants it. Nothing is decided here.
