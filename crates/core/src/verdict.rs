//! Verdicts: what a delegate's answer means (FACTS section 7 is the specification).
//!
//! Promise 3: three values; only an allow-list means "no"; whatever no row names is Unavailable.

use vouchsafe_smtp::Reply;

/// What a source of truth said of a recipient or a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, with the source's words.
    Accept(Reply),
    /// No, with the source's words and the reply for our client.
    Reject {
        /// The source's own words.
        said: Reply,
        /// What our client is told.
        tell: Reply,
    },
    /// Cannot tell now; never shown as a refusal nor remembered as one.
    Unavailable {
        /// What happened, to whom, in words for the log.
        cause: String,
        /// The delegate refuses *us* (or its configuration is at fault): the administrator must act.
        alert: bool,
    },
}
