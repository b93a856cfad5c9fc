//! A login at an IMAP server without I/O: greeting, CAPABILITY, then AUTHENTICATE PLAIN or LOGIN (RFC 9051). Lines come
//! in, lines to say go out.
//!
//! Bounded and strict: only CRLF ends a line, [`LINE`] octets at the most, [`LINES`] of them; a literal, a foreign tag or
//! anything else out of step ends the session. A credential goes quoted where that is safe, else as a literal, so that no
//! octet of it can end a line. Proof: the tests below, `tests/imap.rs`.

use vouchsafe_core::verdict::{Condition, ImapAnswer};
use vouchsafe_smtp::Secret;
use vouchsafe_smtp::reply::printable;
use vouchsafe_smtp::sasl::{Plain, encode_base64, encode_plain};

/// Octets of a line.
const LINE: usize = 8 * 1024;
/// Lines of an answer.
const LINES: usize = 200;

/// What comes of what was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Say this; the text is what a trace may show of it.
    Say(Secret, &'static str),
    /// Greeted, and it is known what is offered: a login may begin.
    Open,
    /// The answer to the login.
    Answered(ImapAnswer),
    /// The server takes its leave.
    Bye(String),
    /// Out of step.
    Garbage(String),
}

#[derive(Debug)]
enum State {
    Greeting,
    Capability,
    Ready,
    /// What is still to be said, one part for each `+`; then the tagged answer is awaited.
    LoggingIn(Vec<Secret>),
    Over,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    input: Vec<u8>,
    lines: usize,
    tag: u32,
    plain: bool,
    initial: bool,
    login: bool,
}

impl Machine {
    pub(super) fn new() -> Machine {
        Machine {
            state: State::Greeting,
            input: Vec::new(),
            lines: 0,
            tag: 0,
            plain: false,
            initial: false,
            login: true,
        }
    }

    /// Octets came.
    pub(super) fn receive(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// True if a login may begin and the server has said nothing since.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready) && self.input.is_empty()
    }

    /// Whether passwords are taken here at all.
    pub(super) fn takes_passwords(&self) -> bool {
        self.plain || self.login
    }

    /// Begins the login: what to say first. An error: nothing was said.
    pub(super) fn log_in(&mut self, user: &str, password: &Secret) -> Result<(Secret, &'static str), String> {
        if !matches!(self.state, State::Ready) {
            return Err("the session is not idle".to_owned());
        }
        let odd = |octets: &[u8]| {
            octets.is_empty() || octets.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
        };
        if odd(user.as_bytes()) || odd(password.expose()) {
            return Err("the credentials are empty or hold CR, LF or NUL".to_owned());
        }
        self.tag += 1;
        self.lines = 0;
        let (said, shown, rest) = if self.plain {
            let plain =
                Plain { authzid: String::new(), authcid: user.to_owned(), password: password.clone() };
            let response = encode_plain(&plain).map_err(|bad| bad.0.to_owned())?;
            let response = encode_base64(response.expose());
            match self.initial {
                true => (
                    format!("a{} AUTHENTICATE PLAIN {response}\r\n", self.tag),
                    "AUTHENTICATE PLAIN ***",
                    vec![],
                ),
                false => {
                    let rest = vec![Secret::new(format!("{response}\r\n"))];
                    (format!("a{} AUTHENTICATE PLAIN\r\n", self.tag), "AUTHENTICATE PLAIN", rest)
                }
            }
        } else if self.login {
            let mut parts = vec![format!("a{} LOGIN ", self.tag).into_bytes()];
            string(user.as_bytes(), &mut parts);
            last(&mut parts).push(b' ');
            string(password.expose(), &mut parts);
            last(&mut parts).extend_from_slice(b"\r\n");
            let mut parts = parts.into_iter().map(Secret::new);
            let first = parts.next().unwrap_or_else(|| Secret::new([]));
            self.state = State::LoggingIn(parts.collect());
            return Ok((first, "LOGIN ***"));
        } else {
            return Err("it takes no passwords (LOGINDISABLED, no AUTH=PLAIN)".to_owned());
        };
        self.state = State::LoggingIn(rest);
        Ok((Secret::new(said), shown))
    }

    /// What comes of the octets received so far; `None`: more are needed.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let line = match self.line() {
                Ok(line) => line?,
                Err(why) => return self.end(Event::Garbage(why)),
            };
            if let Some(event) = self.heard(&line) {
                return Some(event);
            }
        }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some(end) = self.input.iter().position(|octet| *octet == b'\n') else {
            return if self.input.len() > LINE { Err("an endless line".to_owned()) } else { Ok(None) };
        };
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        self.lines += 1;
        if line.len() > LINE || self.lines > LINES {
            return Err("too long an answer".to_owned());
        }
        if !line.ends_with(b"\r\n") {
            return Err(format!("a line without CR: {}", printable(&line, 80)));
        }
        line.truncate(line.len() - 2);
        Ok(Some(line))
    }

    fn heard(&mut self, line: &[u8]) -> Option<Event> {
        if let Some(rest) = line.strip_prefix(b"* ") {
            return self.untagged(&String::from_utf8_lossy(rest));
        }
        if line == b"+" || line.starts_with(b"+ ") {
            if let State::LoggingIn(rest) = &mut self.state
                && !rest.is_empty()
            {
                return Some(Event::Say(rest.remove(0), "***"));
            }
            return self.end(Event::Garbage("a continuation of nothing".to_owned()));
        }
        let text = String::from_utf8_lossy(line);
        match text.strip_prefix(&format!("a{} ", self.tag)).and_then(answer) {
            Some(answer) => self.tagged(answer),
            None => self.end(Event::Garbage(format!("not an answer: {}", printable(line, 80)))),
        }
    }

    fn untagged(&mut self, text: &str) -> Option<Event> {
        let word = text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        if text.ends_with('}') {
            return self.end(Event::Garbage("a literal".to_owned()));
        }
        match (&self.state, &*word) {
            (_, "BYE") => self.end(Event::Bye(printable(text.get(4..).unwrap_or_default().as_bytes(), 200))),
            (State::Greeting, "OK") => match text
                .get(3..)
                .and_then(|rest| rest.trim_start().strip_prefix('['))
            {
                Some(code) if code.get(..11).is_some_and(|word| word.eq_ignore_ascii_case("CAPABILITY ")) => {
                    let list = code.split(']').next().unwrap_or_default().to_owned();
                    self.offers(&list);
                    self.state = State::Ready;
                    Some(Event::Open)
                }
                _ => {
                    self.state = State::Capability;
                    self.tag += 1;
                    Some(Event::Say(Secret::new(format!("a{} CAPABILITY\r\n", self.tag)), "CAPABILITY"))
                }
            },
            // A server that lets us in without a login tells nothing of one.
            (State::Greeting, _) => {
                self.end(Event::Garbage(format!("an unfitting greeting: {}", printable(text.as_bytes(), 80))))
            }
            (State::Capability, "CAPABILITY") => {
                self.offers(text);
                None
            }
            _ => None,
        }
    }

    fn tagged(&mut self, answer: ImapAnswer) -> Option<Event> {
        match (&self.state, answer.condition) {
            (State::Capability, Condition::Ok) => {
                self.state = State::Ready;
                Some(Event::Open)
            }
            (State::LoggingIn(_), _) => {
                self.state = State::Over;
                Some(Event::Answered(answer))
            }
            _ => self.end(Event::Garbage(format!("an answer out of place: {}", answer.text))),
        }
    }

    fn offers(&mut self, list: &str) {
        let has = |name: &str| list.split(' ').any(|word| word.eq_ignore_ascii_case(name));
        (self.plain, self.initial, self.login) = (has("AUTH=PLAIN"), has("SASL-IR"), !has("LOGINDISABLED"));
    }

    fn end(&mut self, event: Event) -> Option<Event> {
        self.state = State::Over;
        Some(event)
    }
}

/// `OK|NO|BAD [CODE ...] text`.
fn answer(text: &str) -> Option<ImapAnswer> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let condition = match &*word.to_ascii_uppercase() {
        "OK" => Condition::Ok,
        "NO" => Condition::No,
        "BAD" => Condition::Bad,
        _ => return None,
    };
    let (code, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((code, rest)) => {
            let word = code.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            (Some(printable(word.as_bytes(), 40)), rest.trim_start())
        }
        None => (None, rest),
    };
    Some(ImapAnswer { condition, code, text: printable(rest.as_bytes(), 200) })
}

fn last(parts: &mut Vec<Vec<u8>>) -> &mut Vec<u8> {
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let at = parts.len() - 1;
    &mut parts[at]
}

/// Appends a string: quoted if it is printable ASCII, else as a literal, behind which the next part begins.
fn string(octets: &[u8], parts: &mut Vec<Vec<u8>>) {
    let part = last(parts);
    if octets.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        part.push(b'"');
        for octet in octets {
            if matches!(octet, b'"' | b'\\') {
                part.push(b'\\');
            }
            part.push(*octet);
        }
        part.push(b'"');
    } else {
        part.extend_from_slice(format!("{{{}}}\r\n", octets.len()).as_bytes());
        parts.push(octets.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(machine: &mut Machine, text: &str) -> Option<Event> {
        machine.receive(text.as_bytes());
        machine.next()
    }

    fn open(capabilities: &str) -> Machine {
        let mut machine = Machine::new();
        assert_eq!(
            hear(&mut machine, &format!("* OK [CAPABILITY IMAP4rev1 {capabilities}] hi\r\n")),
            Some(Event::Open)
        );
        machine
    }

    fn say(machine: &mut Machine, user: &str, password: &str) -> String {
        let (said, shown) = machine.log_in(user, &Secret::new(password)).unwrap();
        assert!(!shown.contains(password));
        String::from_utf8_lossy(said.expose()).into_owned()
    }

    #[test]
    fn plain_goes_in_one_line_or_waits_to_be_asked() {
        let mut machine = open("SASL-IR AUTH=PLAIN");
        assert_eq!(say(&mut machine, "a", "b"), "a1 AUTHENTICATE PLAIN AGEAYg==\r\n");
        let answered = hear(&mut machine, "* 1 EXISTS\r\na1 NO [AUTHENTICATIONFAILED] no\r\n");
        let no = ImapAnswer {
            condition: Condition::No,
            code: Some("AUTHENTICATIONFAILED".to_owned()),
            text: "no".to_owned(),
        };
        assert_eq!(answered, Some(Event::Answered(no)));
        let mut machine = open("AUTH=PLAIN LOGINDISABLED");
        assert_eq!(say(&mut machine, "a", "b"), "a1 AUTHENTICATE PLAIN\r\n");
        assert_eq!(hear(&mut machine, "+ \r\n"), Some(Event::Say(Secret::new("AGEAYg==\r\n"), "***")));
    }

    #[test]
    fn login_quotes_what_is_safe_and_counts_the_rest() {
        let mut machine = open("");
        assert_eq!(say(&mut machine, "a b", "p\"\\w"), "a1 LOGIN \"a b\" \"p\\\"\\\\w\"\r\n");
        let mut machine = open("");
        assert_eq!(say(&mut machine, "å", "pä"), "a1 LOGIN {2}\r\n");
        assert_eq!(hear(&mut machine, "+ go\r\n"), Some(Event::Say(Secret::new("å {3}\r\n"), "***")));
        assert_eq!(hear(&mut machine, "+ go\r\n"), Some(Event::Say(Secret::new("pä\r\n"), "***")));
        assert!(matches!(hear(&mut machine, "a1 OK in\r\n"), Some(Event::Answered(_))));
    }

    #[test]
    fn what_is_offered_is_asked_for_where_the_greeting_does_not_say() {
        let mut machine = Machine::new();
        assert!(matches!(hear(&mut machine, "* OK hello\r\n"), Some(Event::Say(_, "CAPABILITY"))));
        assert_eq!(hear(&mut machine, "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n"), None);
        assert_eq!(hear(&mut machine, "a1 OK done\r\n"), Some(Event::Open));
        assert!(!machine.takes_passwords());
        assert!(machine.log_in("a", &Secret::new("b")).is_err());
    }

    #[test]
    fn nothing_that_could_end_a_line_is_said() {
        for (user, password) in [("a\r\nb", "c"), ("a", "c\nd"), ("a", "c\0"), ("", "c"), ("a", "")] {
            assert!(open("").log_in(user, &Secret::new(password)).is_err());
        }
    }

    #[test]
    fn whatever_is_out_of_step_ends_the_session() {
        for bad in ["* PREAUTH welcome\r\n", "220 smtp\r\n", "* OK lf only\n", "+ go\r\n"] {
            assert!(matches!(hear(&mut Machine::new(), bad), Some(Event::Garbage(_))), "{bad}");
        }
        assert!(matches!(hear(&mut Machine::new(), "* BYE busy\r\n"), Some(Event::Bye(_))));
        assert!(matches!(hear(&mut Machine::new(), &"x".repeat(LINE + 1)), Some(Event::Garbage(_))));
        let mut machine = open("AUTH=PLAIN");
        say(&mut machine, "a", "b");
        assert!(matches!(hear(&mut machine, "a2 OK not ours\r\n"), Some(Event::Garbage(_))));
        let mut machine = open("");
        say(&mut machine, "a", "b");
        assert!(matches!(hear(&mut machine, &"* 1 FETCH\r\n".repeat(LINES + 1)), Some(Event::Garbage(_))));
    }
}
