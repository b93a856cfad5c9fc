//! Transcripts: the text format of the dialogues that are the main test suite. Parsing only; each rung has its runner.
//!
//! ```text
//! # RFC 5321 §4.5.3.1.10: past the limit 452, and the first ones stand.
//! covers: limits.recipients
//! listener: mx
//! set: limits.recipients = 1
//! S: 220 gate.example ESMTP
//! C: EHLO client.example
//! S: 250-gate.example
//! S: 250 CHUNKING
//! ?: mail a@x.example -> yes
//! T: 300s
//! !: eof
//! =: closed eof
//! ```
//!
//! Head lines: `covers:` (needed), `listener:`, `set: key = value`, `cuts: all | bytes | none` (in which other cuts of
//! the client's octets the dialogue must be the same; all: byte by byte and in one write), `ehlo: exact` (replies of
//! several lines are listed whole; else some of their lines, in order), `rung: binary` (runs at the real binary, too).
//! Steps: `S:` a line of ours, `...` at its end matches any rest; `C:` lines of the client, consecutive ones are one
//! write; `C~:` raw octets with the escapes `\r \n \0 \\ \xNN`, no line end added; `?:` a question and its scripted
//! answer; `T:` the clock moves; `!:` something happens; `=:` what must be true now. The last step is a `=:`.
//! In all of them: `{plain user password}`, `{plain actas user password}`, `{b64 text}`, `{repeat N text}`.
//!
//! Proof: the tests below, and every transcript.

use std::time::Duration;

use vouchsafe_smtp::Secret;
use vouchsafe_smtp::sasl::{self, Plain};

/// In which other cuts of the client's octets the dialogue must stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// Any, one single write included.
    All,
    /// Smaller ones; joining writes would change the meaning.
    Bytes,
    /// None: the writes are the point.
    None,
}

/// A transcript.
#[derive(Clone, Debug)]
pub struct Script {
    /// What it proves, e.g. `limits.recipients`.
    pub covers: Vec<String>,
    /// `mx`, `submission` or `trusted`.
    pub listener: String,
    /// Changed settings, in order.
    pub settings: Vec<(String, String)>,
    /// See [`Cuts`].
    pub cuts: Cuts,
    /// Replies of several lines are listed whole.
    pub exact: bool,
    /// Runs at the real binary, too.
    pub binary: bool,
    /// The dialogue.
    pub steps: Vec<Step>,
}

/// One step and where it stands.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line in the file, from 1.
    pub line: usize,
    /// The step.
    pub act: Act,
}

/// What a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// One reply of ours, its lines.
    Reply(Vec<String>),
    /// One write of the client.
    Write(Vec<u8>),
    /// A question and the answer to give.
    Question {
        /// As the runner prints the question.
        question: String,
        /// The word or reply behind `->`.
        answer: String,
    },
    /// The clock moves.
    Wait(Duration),
    /// An event: tls, eof, drain ...
    Event(String),
    /// What must be true.
    Check(String),
}

/// A fault in a transcript: line and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadScript {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: String,
}

impl Script {
    /// Parses a transcript; all its rules are checked here.
    pub fn parse(text: &str) -> Result<Script, BadScript> {
        let mut script = Script {
            covers: Vec::new(),
            listener: "mx".to_owned(),
            settings: Vec::new(),
            cuts: Cuts::All,
            exact: false,
            binary: false,
            steps: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            script.take(number, line).map_err(|fault| BadScript { line: number, fault })?;
        }
        let last = script.steps.last();
        if script.covers.is_empty() {
            return Err(BadScript { line: 1, fault: "no `covers:` line".to_owned() });
        }
        if !matches!(last, Some(Step { act: Act::Check(_), .. })) {
            let line = last.map_or(1, |step| step.line);
            return Err(BadScript { line, fault: "the last step must be an end state `=:`".to_owned() });
        }
        Ok(script)
    }

    fn take(&mut self, line: usize, text: &str) -> Result<(), String> {
        let (tag, rest) = text.split_once(':').ok_or("a line is `tag: text`")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if self.steps.is_empty() && self.head(tag, rest)? {
            return Ok(());
        }
        let rest = expand(rest)?;
        let act = match tag {
            "S" => {
                self.reply(line, rest);
                return Ok(());
            }
            "C" | "C~" => {
                self.write(
                    line,
                    if tag == "C" { [rest.as_bytes(), b"\r\n"].concat() } else { unescape(&rest)? },
                );
                return Ok(());
            }
            "?" => {
                let (question, answer) = rest.split_once(" -> ").ok_or("`?: question -> answer` expected")?;
                Act::Question { question: question.to_owned(), answer: answer.to_owned() }
            }
            "T" => Act::Wait(duration(&rest)?),
            "!" => Act::Event(rest),
            "=" => Act::Check(rest),
            _ => return Err(format!("unknown tag `{tag}`")),
        };
        self.steps.push(Step { line, act });
        Ok(())
    }

    /// True if it was a head line.
    fn head(&mut self, tag: &str, rest: &str) -> Result<bool, String> {
        match (tag, rest) {
            ("covers", _) => self.covers.extend(rest.split(',').map(|word| word.trim().to_owned())),
            ("listener", "mx" | "submission" | "trusted") => self.listener = rest.to_owned(),
            ("set", _) => {
                let (key, value) = rest.split_once(" = ").ok_or("`set: key = value` expected")?;
                self.settings.push((key.to_owned(), value.to_owned()));
            }
            ("cuts", "all") => self.cuts = Cuts::All,
            ("cuts", "bytes") => self.cuts = Cuts::Bytes,
            ("cuts", "none") => self.cuts = Cuts::None,
            ("ehlo", "exact") => self.exact = true,
            ("rung", "binary") => self.binary = true,
            ("listener" | "cuts" | "ehlo" | "rung", _) => return Err(format!("unknown {tag} `{rest}`")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A line of a reply; one with a dash behind its code is joined by the next.
    fn reply(&mut self, line: usize, text: String) {
        if let Some(Step { act: Act::Reply(lines), .. }) = self.steps.last_mut()
            && lines.last().is_some_and(|last| last.as_bytes().get(3) == Some(&b'-'))
        {
            lines.push(text);
        } else {
            self.steps.push(Step { line, act: Act::Reply(vec![text]) });
        }
    }

    /// Octets of the client; those of consecutive lines are one write.
    fn write(&mut self, line: usize, octets: Vec<u8>) {
        if let Some(Step { act: Act::Write(before), .. }) = self.steps.last_mut() {
            before.extend(octets);
        } else {
            self.steps.push(Step { line, act: Act::Write(octets) });
        }
    }
}

/// Replaces `{plain ...}`, `{b64 ...}` and `{repeat N ...}`; other braces stay.
pub fn expand(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let inner = &rest[open + 1..];
        let macro_end =
            inner.find('}').filter(|_| ["plain ", "b64 ", "repeat "].iter().any(|m| inner.starts_with(m)));
        let Some(close) = macro_end else {
            out.push('{');
            rest = inner;
            continue;
        };
        let (name, argument) = inner[..close].split_once(' ').unwrap_or_default();
        match name {
            "plain" => out.push_str(&plain(argument)?),
            "b64" => out.push_str(&sasl::encode_base64(&unescape(argument)?)),
            _ => {
                let (times, what) = argument.split_once(' ').ok_or("`{repeat N text}` expected")?;
                out.push_str(&what.repeat(times.parse().map_err(|_| "bad count in `{repeat}`")?));
            }
        }
        rest = &inner[close + 1..];
    }
    Ok(out + rest)
}

fn plain(words: &str) -> Result<String, String> {
    let words: Vec<&str> = words.split(' ').collect();
    let (authzid, authcid, password) = match words[..] {
        [user, password] => ("", user, password),
        [act_as, user, password] => (act_as, user, password),
        _ => return Err("`{plain user password}` expected".to_owned()),
    };
    let plain = Plain { authzid: authzid.into(), authcid: authcid.into(), password: Secret::new(password) };
    let response = sasl::encode_plain(&plain).map_err(|fault| fault.0)?;
    Ok(sasl::encode_base64(response.expose()))
}

/// Octets of a text with the escapes `\r \n \0 \\ \" \xNN`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        out.push(match octets.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'0') => 0,
            Some(same @ (b'\\' | b'"')) => same,
            Some(b'x') => {
                let digits = [octets.next(), octets.next()].map(|digit| digit.unwrap_or(b'?'));
                let hex = std::str::from_utf8(&digits).map_err(|_| "bad \\xNN")?;
                u8::from_str_radix(hex, 16).map_err(|_| "bad \\xNN")?
            }
            _ => return Err("unknown escape".to_owned()),
        });
    }
    Ok(out)
}

/// Octets as `C~:` and `=: message` write them.
pub fn escape(octets: &[u8]) -> String {
    let mut out = String::new();
    for octet in octets {
        match octet {
            b'\r' => out.push_str("\\r"),
            b'\n' => out.push_str("\\n"),
            0 => out.push_str("\\0"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*octet)),
            _ => out.push_str(&format!("\\x{octet:02x}")),
        }
    }
    out
}

/// `10ms`, `300s`, `5m`, `2h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("bad time `{text}`"))?;
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("bad time `{text}`")),
    }
}

/// Does a reply line fit the line of a transcript? `...` at the end matches any rest.
pub fn line_fits(expected: &str, actual: &str) -> bool {
    match expected.strip_suffix("...") {
        Some(start) => actual.starts_with(start),
        None => expected == actual,
    }
}

/// Does a reply fit? Unless `exact`, a reply of several lines may be told by its first and some others, in order.
pub fn reply_fits(expected: &[String], actual: &[String], exact: bool) -> bool {
    if exact || expected.len() < 2 {
        return expected.len() == actual.len() && expected.iter().zip(actual).all(|(e, a)| line_fits(e, a));
    }
    // The last line told need not be the last of the reply, so the mark behind the code says nothing.
    let split = |line: &str| {
        let (code, text) = line.split_at_checked(4).unwrap_or((line, ""));
        (code.get(..3).unwrap_or_default().to_owned(), text.to_owned())
    };
    let fits = |expected: &String, actual: &String| {
        let ((code, text), (actual_code, actual_text)) = (split(expected), split(actual));
        code == actual_code && line_fits(&text, &actual_text)
    };
    let mut rest = actual.iter();
    rest.next().is_some_and(|first| fits(&expected[0], first))
        && expected[1..].iter().all(|line| rest.any(|actual| fits(line, actual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_read_as_its_format_says() {
        let script = Script::parse(
            "# why\ncovers: a, b\nlistener: submission\nset: limits.errors = 1\ncuts: bytes\n\nS: 250-x\nS: 250 y\n\
             S: 354 z\nC: A {repeat 3 b}\nC~: \\r\\n\\0\\x7f\\\\\n?: mail a@b -> yes\nT: 5m\nC: X\n=: open\n",
        )
        .unwrap();
        assert_eq!(script.covers, ["a", "b"]);
        assert_eq!(script.settings, [("limits.errors".to_owned(), "1".to_owned())]);
        let acts: Vec<Act> = script.steps.into_iter().map(|step| step.act).collect();
        assert_eq!(acts[0], Act::Reply(vec!["250-x".into(), "250 y".into()]));
        assert_eq!(acts[1], Act::Reply(vec!["354 z".into()]));
        assert_eq!(acts[2], Act::Write(b"A bbb\r\n\r\n\0\x7f\\".to_vec()));
        assert_eq!(acts[3], Act::Question { question: "mail a@b".into(), answer: "yes".into() });
        assert_eq!(acts[4], Act::Wait(Duration::from_secs(300)));
    }

    #[test]
    fn a_transcript_without_end_state_or_cover_is_refused() {
        for (text, line) in [("C: x\n=: open\n", 1), ("covers: a\nC: x\n", 2), ("covers: a\nZ: x\n", 2)] {
            assert_eq!(Script::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn replies_are_told_whole_or_by_some_of_their_lines() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let ehlo = lines("250-h\n250-PIPELINING\n250-SIZE 0\n250 CHUNKING");
        assert!(reply_fits(&lines("250-h\n250 SIZE 0"), &ehlo, false));
        assert!(!reply_fits(&lines("250-h\n250 SIZE 0"), &ehlo, true));
        assert!(!reply_fits(&lines("250-h\n250-SIZE 0\n250 PIPELINING"), &ehlo, false));
        assert!(!reply_fits(&lines("250 h"), &ehlo, false));
        assert!(reply_fits(&lines("550 5.1.1 ..."), &lines("550 5.1.1 No"), false));
    }

    #[test]
    fn escapes_and_macros_come_out_as_octets() {
        assert_eq!(expand("AUTH PLAIN {plain a b} {x}").unwrap(), "AUTH PLAIN AGEAYg== {x}");
        assert_eq!(expand("{b64 \\0a}").unwrap(), "AGE=");
        assert_eq!(unescape(&escape(b"a\r\n\0\\\xff")).unwrap(), b"a\r\n\0\\\xff");
    }
}
