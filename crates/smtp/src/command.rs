//! A command line taken apart: verb and argument (RFC 5321 §4.1). What an argument means is told by
//! [`crate::params`] and the verb files of [`crate::server`]; whether it may come now, by the machine.
//!
//! Proof: `transcripts/server/syntax_*`.

/// The verbs we know, whether or not we do them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
    Auth,
    XClient,
    /// Known by RFC 5321 and others, not done here: 502.
    Absent,
    /// A browser, or something that makes it talk to us.
    Http,
    /// A header that only a named proxy may send, and never here.
    Proxy,
    /// Anything else: 500.
    Unknown,
}

/// One command line, without its CRLF and the blanks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Command<'a> {
    /// What is to be done.
    pub(crate) verb: Verb,
    /// The rest, without the blank behind the verb.
    pub(crate) argument: &'a str,
}

impl<'a> Command<'a> {
    /// Never fails: what is not a command is [`Verb::Unknown`].
    pub(crate) fn parse(line: &'a str) -> Command<'a> {
        let line = line.trim_end_matches([' ', '\t']);
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        Command { verb: verb(word), argument }
    }
}

/// Verbs are ASCII and may come in any case (RFC 5321 §2.4).
fn verb(word: &str) -> Verb {
    const VERBS: [(&str, Verb); 30] = [
        ("RCPT", Verb::Rcpt),
        ("MAIL", Verb::Mail),
        ("DATA", Verb::Data),
        ("BDAT", Verb::Bdat),
        ("EHLO", Verb::Ehlo),
        ("HELO", Verb::Helo),
        ("QUIT", Verb::Quit),
        ("RSET", Verb::Rset),
        ("NOOP", Verb::Noop),
        ("AUTH", Verb::Auth),
        ("STARTTLS", Verb::StartTls),
        ("XCLIENT", Verb::XClient),
        ("PROXY", Verb::Proxy),
        ("VRFY", Verb::Vrfy),
        ("HELP", Verb::Help),
        ("EXPN", Verb::Absent),
        ("SEND", Verb::Absent),
        ("SOML", Verb::Absent),
        ("SAML", Verb::Absent),
        ("TURN", Verb::Absent),
        ("ETRN", Verb::Absent),
        ("ATRN", Verb::Absent),
        ("BURL", Verb::Absent),
        ("GET", Verb::Http),
        ("POST", Verb::Http),
        ("PUT", Verb::Http),
        ("HEAD", Verb::Http),
        ("CONNECT", Verb::Http),
        ("OPTIONS", Verb::Http),
        ("HOST:", Verb::Http),
    ];
    VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map_or(Verb::Unknown, |(_, verb)| *verb)
}

/// The text behind `FROM:` or `TO:`. Strict about the colon (no blank before it), tolerant of one blank behind it,
/// as many senders put one there.
pub(crate) fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = argument.split_at_checked(keyword.len())?;
    let rest = word.eq_ignore_ascii_case(keyword).then_some(rest)?.strip_prefix(':')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_come_in_any_case_with_blanks_behind() {
        assert_eq!(Command::parse("mAiL FROM:<> "), Command { verb: Verb::Mail, argument: "FROM:<>" });
        assert_eq!(Command::parse("QUIT\t "), Command { verb: Verb::Quit, argument: "" });
        assert_eq!(Command::parse("Host: x").verb, Verb::Http);
        assert_eq!(Command::parse("MAILX").verb, Verb::Unknown);
        assert_eq!(Command::parse("").verb, Verb::Unknown);
        assert_eq!(Command::parse(" QUIT").verb, Verb::Unknown);
    }

    #[test]
    fn the_colon_stands_at_its_place() {
        assert_eq!(after_keyword("from:<a@b>", "FROM"), Some("<a@b>"));
        assert_eq!(after_keyword("FROM: <a@b>", "FROM"), Some("<a@b>"));
        assert_eq!(after_keyword("FROM :<a@b>", "FROM"), None);
        assert_eq!(after_keyword("FROM", "FROM"), None);
        assert_eq!(after_keyword("é", "TO"), None);
    }
}
