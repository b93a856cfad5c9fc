//! What MAIL and RCPT carry besides the path: the parameters of RFC 1870, 3030, 3461, 4954, 6152, 6531, as types.

use crate::address::{BadAddress, Mailbox, Path, ReversePath};
use crate::reply::Reply;

/// BODY= of MAIL (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// 7BIT, or nothing said.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// RET= of MAIL (RFC 3461 §4.3): how much of the message a DSN returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header only.
    Hdrs,
}

/// NOTIFY= of RCPT (RFC 3461 §4.1). All false is `NEVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// A DSN when delivered (or relayed to a host without DSN).
    pub success: bool,
    /// A DSN when it failed.
    pub failure: bool,
    /// A DSN when it is late.
    pub delay: bool,
}

/// ORCPT= of RCPT (RFC 3461 §4.2), checked, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orcpt {
    /// `rfc822`, `utf-8` ...
    pub address_type: String,
    /// The address, still in xtext.
    pub xtext: String,
}

/// A MAIL command that has been parsed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFrom {
    /// MAIL FROM address; null for notices.
    pub reverse_path: ReversePath,
    /// SIZE=, in octets (RFC 1870). Saturated: a number past 64 bits is "too big", never small.
    pub size: Option<u64>,
    /// BODY=.
    pub body: BodyKind,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH= (RFC 4954 §5), decoded from xtext, never trusted: a client's claim.
    pub auth: Option<String>,
    /// RET=.
    pub ret: Option<Ret>,
    /// ENVID=, still in xtext, at most 100 characters.
    pub envid: Option<String>,
}

/// A RCPT command that has been parsed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptTo {
    /// The recipient. A bare `<postmaster>` has our host name as its domain (RFC 5321 §4.5.1).
    pub mailbox: Mailbox,
    /// NOTIFY=; `None` when not given (then failures and delays are told, RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT=.
    pub orcpt: Option<Orcpt>,
}

/// ENVID= holds at most 100 characters (RFC 3461 §4.4).
const ENVID: usize = 100;
/// ORCPT= holds at most 500 characters (RFC 3461 §4.2).
const ORCPT: usize = 500;

impl MailFrom {
    /// MAIL without parameters.
    pub fn new(reverse_path: ReversePath) -> MailFrom {
        let body = BodyKind::SevenBit;
        MailFrom { reverse_path, size: None, body, smtputf8: false, auth: None, ret: None, envid: None }
    }

    /// Parses what stands behind `MAIL FROM:`. The error is the reply: 501 syntax, 553 needs SMTPUTF8, 555 unknown.
    pub(crate) fn parse(argument: &str) -> Result<MailFrom, Reply> {
        let (path, rest) = Path::parse(argument).map_err(bad_sender)?;
        let reverse_path = match path {
            Path::Null => ReversePath::Null,
            Path::Mailbox(mailbox) => ReversePath::Mailbox(mailbox),
            Path::Postmaster(_) => return Err(bad_sender(BadAddress("Address without a domain"))),
        };
        let (mut size, mut body, mut smtputf8, mut auth, mut ret, mut envid) =
            (None, None, None, None, None, None);
        for parameter in Parameters::split(rest)? {
            let Parameter { keyword, value } = parameter?;
            match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => once(&mut size, parse_size(value).ok_or_else(|| bad_value("SIZE"))?)?,
                "BODY" => once(&mut body, parse_body(value)?)?,
                "SMTPUTF8" if value.is_none() => once(&mut smtputf8, ())?,
                "SMTPUTF8" => return Err(bad_value("SMTPUTF8")),
                "AUTH" => once(&mut auth, parse_auth(value).ok_or_else(|| bad_value("AUTH"))?)?,
                "RET" => once(&mut ret, parse_ret(value).ok_or_else(|| bad_value("RET"))?)?,
                "ENVID" => once(&mut envid, parse_envid(value).ok_or_else(|| bad_value("ENVID"))?)?,
                _ => return Err(unknown_parameter()),
            }
        }
        if smtputf8.is_none() && reverse_path.mailbox().is_some_and(Mailbox::needs_utf8) {
            return Err(needs_smtputf8());
        }
        let (body, smtputf8) = (body.unwrap_or_default(), smtputf8.is_some());
        Ok(MailFrom { reverse_path, size, body, smtputf8, auth, ret, envid })
    }
}

impl RcptTo {
    /// Parses what stands behind `RCPT TO:`. `smtputf8`: the transaction said SMTPUTF8. `hostname` is the domain of
    /// a bare `<postmaster>`.
    pub(crate) fn parse(argument: &str, smtputf8: bool, hostname: &str) -> Result<RcptTo, Reply> {
        let (path, rest) = Path::parse(argument).map_err(bad_recipient)?;
        let mailbox = match path {
            Path::Mailbox(mailbox) => mailbox,
            Path::Postmaster(local) => {
                Mailbox::parse(&format!("{local}@{hostname}"), true).map_err(bad_recipient)?
            }
            Path::Null => return Err(bad_recipient(BadAddress("Recipient is empty"))),
        };
        let (mut notify, mut orcpt) = (None, None);
        for parameter in Parameters::split(rest)? {
            let Parameter { keyword, value } = parameter?;
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" => once(&mut notify, parse_notify(value).ok_or_else(|| bad_value("NOTIFY"))?)?,
                "ORCPT" => once(&mut orcpt, parse_orcpt(value, smtputf8).ok_or_else(|| bad_value("ORCPT"))?)?,
                _ => return Err(unknown_parameter()),
            }
        }
        if !smtputf8 && mailbox.needs_utf8() {
            return Err(needs_smtputf8());
        }
        Ok(RcptTo { mailbox, notify, orcpt })
    }
}

/// One `KEYWORD[=value]` (RFC 5321 §4.1.2 `esmtp-param`).
struct Parameter<'a> {
    keyword: &'a str,
    value: Option<&'a str>,
}

/// The parameters behind a path.
struct Parameters<'a>(std::str::Split<'a, char>);

impl<'a> Parameters<'a> {
    fn split(rest: &'a str) -> Result<Parameters<'a>, Reply> {
        if !rest.is_empty() && !rest.starts_with(' ') {
            return Err(Reply::new(501, (5, 5, 4), "A space must part address and parameters"));
        }
        Ok(Parameters(rest.split(' ')))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Reply>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.by_ref().find(|text| !text.is_empty())?;
        let (keyword, value) = match text.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (text, None),
        };
        let good_keyword = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let good_value =
            value.is_none_or(|v| !v.is_empty() && !v.contains(|c: char| c == '=' || c.is_control()));
        Some(if good_keyword && good_value {
            Ok(Parameter { keyword, value })
        } else {
            Err(Reply::new(501, (5, 5, 4), "Bad parameter syntax"))
        })
    }
}

/// Sets a parameter that may be given once (RFC 5321 §4.1.1.11 has no meaning for two).
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Reply> {
    if place.is_some() {
        return Err(Reply::new(501, (5, 5, 4), "Parameter given twice"));
    }
    *place = Some(value);
    Ok(())
}

/// RFC 1870 §4: digits only. A number that does not fit is the largest, so that it can only be "too big".
fn parse_size(value: Option<&str>) -> Option<u64> {
    let digits = value?;
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn parse_body(value: Option<&str>) -> Result<BodyKind, Reply> {
    match value.unwrap_or_default().to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyKind::SevenBit),
        "8BITMIME" => Ok(BodyKind::EightBitMime),
        // RFC 3030 §3: BINARYMIME could not be forwarded honestly, so it is not announced.
        "BINARYMIME" => Err(Reply::new(555, (5, 5, 4), "BODY=BINARYMIME is not supported")),
        _ => Err(bad_value("BODY")),
    }
}

/// RFC 4954 §5: a mailbox in xtext, or `<>`.
fn parse_auth(value: Option<&str>) -> Option<String> {
    decode_xtext(value?)
}

fn parse_ret(value: Option<&str>) -> Option<Ret> {
    match value?.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Hdrs),
        _ => None,
    }
}

fn parse_envid(value: Option<&str>) -> Option<String> {
    let xtext = value?;
    decode_xtext(xtext)?;
    (xtext.len() <= ENVID).then(|| xtext.to_owned())
}

/// RFC 3461 §4.1: NEVER alone, or a list of the others.
fn parse_notify(value: Option<&str>) -> Option<Notify> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    let text = value?.to_ascii_uppercase();
    if text == "NEVER" {
        return Some(notify);
    }
    for word in text.split(',') {
        match word {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// RFC 3461 §4.2: `type;xtext`. With SMTPUTF8 a `utf-8` address may hold its characters as they are (RFC 6533 §3).
fn parse_orcpt(value: Option<&str>, smtputf8: bool) -> Option<Orcpt> {
    let text = value?;
    let (address_type, xtext) = text.split_once(';')?;
    let good_type =
        !address_type.is_empty() && address_type.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let raw = smtputf8 && address_type.eq_ignore_ascii_case("utf-8");
    let ascii: String = xtext.chars().filter(|c| !raw || c.is_ascii()).collect();
    if text.len() > ORCPT || !good_type || xtext.is_empty() || decode_xtext(&ascii).is_none() {
        return None;
    }
    Some(Orcpt { address_type: address_type.to_owned(), xtext: xtext.to_owned() })
}

/// Decodes xtext (RFC 3461 §4): `+` and two upper-case hex digits stand for one octet. What it decodes to must be
/// printable, so that no line end can hide in it.
pub fn decode_xtext(text: &str) -> Option<String> {
    let hex = |octet: Option<u8>| match octet? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    };
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'+' => octets.push(hex(rest.next())? << 4 | hex(rest.next())?),
            b'!'..=b'~' if octet != b'=' => octets.push(octet),
            _ => return None,
        }
    }
    let decoded = String::from_utf8(octets).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

/// RFC 3463 §3.2: bad sender's mailbox address syntax.
fn bad_sender(bad: BadAddress) -> Reply {
    Reply::new(501, (5, 1, 7), bad.0)
}

/// RFC 3463 §3.2: bad destination mailbox address syntax.
fn bad_recipient(bad: BadAddress) -> Reply {
    Reply::new(501, (5, 1, 3), bad.0)
}

fn bad_value(keyword: &'static str) -> Reply {
    Reply::new(501, (5, 5, 4), format!("Bad value of {keyword}"))
}

fn unknown_parameter() -> Reply {
    Reply::new(555, (5, 5, 4), "Parameter not recognized")
}

/// RFC 6531 §3.5.
fn needs_smtputf8() -> Reply {
    Reply::new(553, (5, 6, 7), "Address needs SMTPUTF8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(text: &str) -> Result<MailFrom, u16> {
        MailFrom::parse(text).map_err(|reply| reply.code)
    }

    fn rcpt(text: &str) -> Result<RcptTo, u16> {
        RcptTo::parse(text, false, "gate.example").map_err(|reply| reply.code)
    }

    #[test]
    fn parameters_of_mail_are_read() {
        let all = mail("<a@b> size=10 BODY=8bitmime SMTPUTF8 AUTH=c+2Bd@e RET=HDRS ENVID=x+3Dy").unwrap();
        assert_eq!(all.reverse_path.as_str(), "a@b");
        assert_eq!((all.size, all.body, all.smtputf8), (Some(10), BodyKind::EightBitMime, true));
        assert_eq!(
            (all.auth.as_deref(), all.ret, all.envid.as_deref()),
            (Some("c+d@e"), Some(Ret::Hdrs), Some("x+3Dy"))
        );
        assert_eq!(mail("<> AUTH=<>").unwrap().auth.as_deref(), Some("<>"));
        assert_eq!(mail("<> SIZE=99999999999999999999999999").unwrap().size, Some(u64::MAX));
    }

    #[test]
    fn faults_in_mail_parameters_have_their_codes() {
        for (text, code) in [
            ("<a@b> X", 555),
            ("<a@b> X=1", 555),
            ("<a@b> NOTIFY=NEVER", 555),
            ("<a@b> BODY=BINARYMIME", 555),
            ("<a@b> BODY=9BIT", 501),
            ("<a@b> SIZE=-1", 501),
            ("<a@b> SIZE=+1", 501),
            ("<a@b> SIZE=", 501),
            ("<a@b> SIZE", 501),
            ("<a@b> SIZE=1 SIZE=1", 501),
            ("<a@b> SMTPUTF8=1", 501),
            ("<a@b> SMTPUTF8 SMTPUTF8", 501),
            ("<a@b> RET=SOME", 501),
            ("<a@b> ENVID=a+zz", 501),
            ("<a@b> ENVID=a+0D+0A", 501),
            ("<a@b> AUTH=a+2", 501),
            ("<a@b>SIZE=1", 501),
            ("<a@b> -X=1", 501),
            ("<postmaster>", 501),
            ("<jörg@b>", 553),
        ] {
            assert_eq!(mail(text).unwrap_err(), code, "{text}");
        }
        assert!(mail(&format!("<> ENVID={}", "a".repeat(100))).is_ok());
        assert_eq!(mail(&format!("<> ENVID={}", "a".repeat(101))), Err(501));
    }

    #[test]
    fn parameters_of_rcpt_are_read_and_checked() {
        let full = rcpt("<a@b> NOTIFY=success,DELAY ORCPT=rfc822;x+40y").unwrap();
        assert_eq!(full.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!(full.orcpt, Some(Orcpt { address_type: "rfc822".into(), xtext: "x+40y".into() }));
        assert_eq!(rcpt("<Postmaster>").unwrap().mailbox.as_str(), "Postmaster@gate.example");
        for text in [
            "<>",
            "<a>",
            "<a@b> NOTIFY=NEVER,DELAY",
            "<a@b> NOTIFY=",
            "<a@b> NOTIFY=x",
            "<a@b> ORCPT=rfc822",
            "<a@b> ORCPT=;x",
            "<a@b> ORCPT=rfc822;a+",
            "<a@b> ORCPT=rfc822;a ORCPT=rfc822;a",
            "<a@b> ORCPT=utf-8;jörg@b",
        ] {
            assert_eq!(rcpt(text), Err(501), "{text}");
        }
        assert_eq!(rcpt("<a@b> SIZE=1"), Err(555));
        assert_eq!(rcpt("<jörg@b>"), Err(553));
        assert!(RcptTo::parse("<jörg@b> ORCPT=utf-8;jörg@b", true, "h").is_ok());
    }
}
