//! Bodies on the wire: the dot receiver with its line-ending policy, the BDAT counter, the dot stuffer.

/// What happens to a bare CR or bare LF in a body (a setting per listener, as Postfix has it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// The rest is consumed, the message answered `554 5.6.0`; nothing is kept.
    #[default]
    Reject,
    /// Made CRLF. A line that is a lone dot between bare newlines is stuffed content, never an end.
    Normalize,
}
