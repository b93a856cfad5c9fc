//! What an EHLO reply offers (RFC 5321 §4.1.1.1), seen from the client's side.

/// Extensions that a peer offered. Unknown keywords are kept by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// STARTTLS.
    pub starttls: bool,
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// DSN.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// SIZE: `Some(0)` and a bare SIZE mean no limit told.
    pub size: Option<u64>,
    /// AUTH mechanisms, upper case, in the peer's order (`AUTH=` of old servers joined in).
    pub auth: Vec<String>,
    /// Other keywords with their arguments, as sent (XCLIENT, XFORWARD ...).
    pub other: Vec<String>,
}
