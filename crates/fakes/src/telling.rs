//! Addresses and logins that tell a fake what to do, so that a dialogue explains itself.
//!
//! The sign is the part behind the last `+` of the local part, else the whole local part: `bob+550@example.com`,
//! `slow@example.com`. A sign that is not in the table means nothing special. Never found in the product.
//!
//! | sign | at RCPT (and for a login, at AUTH) |
//! |---|---|
//! | `NNN`, 400 to 599 | that reply code |
//! | `dotNNN` | next hop only: taken at RCPT, that code in reply to the final dot |
//! | `dropdot` | next hop only: the message is kept, the connection cut instead of the reply |
//! | `slow` | the answer comes after `slow` of the behaviour |
//! | `hang` | no answer ever |
//! | `down`, `drop` | the connection is cut |
//! | `later` | `451` |
//! | `busy` | `421`, and the connection is closed |
//! | `full` | `552 5.2.2` |
//! | `disabled` | `550 5.2.1` |
//! | `relay` | `550 5.7.1`, the delegate's relaying denied |
//! | `toomany` | `452 4.5.3`, unless it is the first recipient of its transaction |
//! | `garbage` | a line that is no reply |

/// What an address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// This reply code.
    Code(u16),
    /// This reply code, but only for the final dot.
    Dot(u16),
    /// Kept, then cut instead of the reply to the dot.
    DropDot,
    /// A late answer.
    Slow,
    /// No answer.
    Hang,
    /// A cut.
    Drop,
    /// `451`.
    Later,
    /// `421` and closed.
    Busy,
    /// `552 5.2.2`.
    Full,
    /// `550 5.2.1`.
    Disabled,
    /// `550 5.7.1`.
    Relay,
    /// `452 4.5.3`.
    TooMany,
    /// No reply at all, but octets.
    Garbage,
}

impl Sign {
    /// The sign in an address or a login name.
    pub fn of(address: &str) -> Option<Sign> {
        let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
        let sign = local.rsplit_once('+').map_or(local, |(_, sign)| sign).to_ascii_lowercase();
        let code = |digits: &str| digits.parse().ok().filter(|code| (400..600).contains(code));
        if let Some(digits) = sign.strip_prefix("dot")
            && let Some(code) = code(digits)
        {
            return Some(Sign::Dot(code));
        }
        if let Some(code) = code(&sign) {
            return Some(Sign::Code(code));
        }
        Some(match sign.as_str() {
            "dropdot" => Sign::DropDot,
            "slow" => Sign::Slow,
            "hang" => Sign::Hang,
            "down" | "drop" => Sign::Drop,
            "later" => Sign::Later,
            "busy" => Sign::Busy,
            "full" => Sign::Full,
            "disabled" => Sign::Disabled,
            "relay" => Sign::Relay,
            "toomany" => Sign::TooMany,
            "garbage" => Sign::Garbage,
            _ => return None,
        })
    }
}

/// A plausible reply for a bare code.
pub(crate) fn reply_for(code: u16) -> String {
    match code {
        421 => "421 4.3.2 Service not available, closing transmission channel".into(),
        450 => "450 4.2.1 Mailbox busy, try again later".into(),
        452 => "452 4.3.1 Insufficient system storage".into(),
        454 => "454 4.7.0 Temporary authentication failure".into(),
        530 => "530 5.7.0 Authentication required".into(),
        534 => "534 5.7.9 Authentication mechanism is too weak".into(),
        535 => "535 5.7.8 Authentication credentials invalid".into(),
        550 => "550 5.1.1 User unknown".into(),
        552 => "552 5.3.4 Message too big for system".into(),
        554 => "554 5.7.1 Message refused by content policy".into(),
        code => format!("{code} {}.0.0 As the address asked", code / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_stands_behind_the_plus_or_alone() {
        assert_eq!(Sign::of("bob+550@example.com"), Some(Sign::Code(550)));
        assert_eq!(Sign::of("bob+dot554@example.com"), Some(Sign::Dot(554)));
        assert_eq!(Sign::of("slow@example.com"), Some(Sign::Slow));
        assert_eq!(Sign::of("down"), Some(Sign::Drop));
        assert_eq!(Sign::of("bob@example.com"), None);
        assert_eq!(Sign::of("bob+200@example.com"), None);
        assert_eq!(Sign::of("dot@example.com"), None);
    }
}
