//! Transcripts of the client machine: what we say to a delegate or a next hop, and what comes back. Parsing only;
//! [`crate::client_world`] runs them.
//!
//! ```text
//! # RFC 5321 §3.2: HELO where EHLO is not known.
//! covers: client.helo
//! D< 220 old.example
//! D> EHLO gate.example
//! D< 502 what?
//! D> HELO gate.example
//! D< 250 old.example
//! =: open
//! ```
//!
//! Head lines: `covers:` (needed), `tls: never | offered | demanded | on` (never), `lmtp: yes` (LHLO), `clear: yes` (credentials may leave
//! without TLS), `login: user password`, `cuts: none` (the peer's writes are the point; else they are also cut into
//! single octets).
//! Steps: `D>` (delegate) or `N>` (next hop) a line of ours, consecutive ones must leave in one write; `D<`, `N<` a
//! line of the peer, consecutive ones are one write of it; `D>~`, `D<~` the same in raw octets with the escapes
//! `\r \n \0 \\ \xNN`; `do: callout a@x b@x`, `do: callout_by_data a@x`, `do: auth user password`, `do: exchange MECHANISM [initial]`,
//! `do: respond text`, `do: cancel`, `do: quit`, `do: deliver <a@x> RET=HDRS ->
//! <b@y> NOTIFY=NEVER, <c@y>`, `do: xclient address port HELO|EHLO name` a task; `do: xforward address port HELO|EHLO
//! name id` goes before the next delivery; `-`: not known; `body:` a chunk (raw octets) of the message to deliver; `T: 60s` the clock moves;
//! `!: tls on`, `!: tls failed why`, `!: eof` happen; `=:` what must be true now. The last step is a `=:`.
//! In all of them: `{plain user password}`, `{b64 text}`, `{repeat N text}`.

use std::time::Duration;

use vouchsafe_smtp::client::{Identity, UseTls};
use vouchsafe_smtp::sasl::Mechanism;
use vouchsafe_smtp::{BodyKind, MailFrom, Mailbox, Notify, Orcpt, RcptTo, Ret, ReversePath, Secret};

use crate::script::{duration, expand, unescape};

/// A transcript.
#[derive(Clone, Debug)]
pub struct ClientScript {
    /// What it proves.
    pub covers: Vec<String>,
    /// STARTTLS.
    pub tls: UseTls,
    /// LMTP is spoken.
    pub lmtp: bool,
    /// TLS is on from the start.
    pub tls_on: bool,
    /// Credentials may leave without TLS.
    pub clear: bool,
    /// Log in while opening.
    pub login: Option<(String, Secret)>,
    /// Run only as written.
    pub as_written: bool,
    /// The dialogue, each step with its line.
    pub steps: Vec<(usize, Step)>,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// One write of ours.
    Said(Vec<u8>),
    /// One write of the peer.
    Heard(Vec<u8>),
    /// A task begins.
    Do(Job),
    /// A chunk of the message's body.
    Body(Vec<u8>),
    /// The clock moves.
    Wait(Duration),
    /// `tls on`, `tls failed why`, `eof`.
    Event(String),
    /// What must be true.
    Check(String),
}

/// A task.
#[derive(Clone, Debug)]
pub enum Job {
    /// Ask about these.
    Callout(ReversePath, Vec<Mailbox>),
    /// Ask about this one, up to DATA.
    CalloutByData(Mailbox),
    /// Log in.
    Auth(String, Secret),
    /// Speak for this client from now on.
    XClient(Identity),
    /// Tell of this client in the next delivery.
    XForward(Identity),
    /// Begin an exchange.
    Exchange(Mechanism, Option<Secret>),
    /// Answer the challenge told last.
    Respond(Secret),
    /// Give the exchange up.
    Cancel,
    /// Deliver.
    Deliver(MailFrom, Vec<RcptTo>),
    /// Take leave.
    Quit,
}

impl ClientScript {
    /// Parses a transcript. `Err` holds the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<ClientScript, String> {
        let mut script = ClientScript {
            covers: Vec::new(),
            tls: UseTls::Never,
            lmtp: false,
            tls_on: false,
            clear: false,
            login: None,
            as_written: false,
            steps: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                script.take(number + 1, line).map_err(|fault| format!("line {}: {fault}", number + 1))?;
            }
        }
        match script.steps.last() {
            _ if script.covers.is_empty() => Err("no `covers:` line".to_owned()),
            Some((_, Step::Check(_))) => Ok(script),
            _ => Err("the last step must be an end state `=:`".to_owned()),
        }
    }

    fn take(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
        if self.steps.is_empty() && self.head(tag, rest)? {
            return Ok(());
        }
        let rest = expand(rest)?;
        let with_end = |text: &str| [text.as_bytes(), b"\r\n"].concat();
        let step = match tag {
            "D>" | "N>" => Step::Said(with_end(&rest)),
            "D>~" | "N>~" => Step::Said(unescape(&rest)?),
            "D<" | "N<" => Step::Heard(with_end(&rest)),
            "D<~" | "N<~" => Step::Heard(unescape(&rest)?),
            "body:" => Step::Body(unescape(&rest)?),
            "do:" => Step::Do(job(&rest)?),
            "T:" => Step::Wait(duration(&rest)?),
            "!:" => Step::Event(rest),
            "=:" => Step::Check(rest),
            _ => return Err(format!("unknown tag `{tag}`")),
        };
        match (self.steps.last_mut(), step) {
            (Some((_, Step::Said(before))), Step::Said(more)) => before.extend(more),
            (Some((_, Step::Heard(before))), Step::Heard(more)) => before.extend(more),
            (_, step) => self.steps.push((number, step)),
        }
        Ok(())
    }

    /// True if it was a head line.
    fn head(&mut self, tag: &str, rest: &str) -> Result<bool, String> {
        match (tag, rest) {
            ("covers:", _) => self.covers.extend(rest.split(',').map(|word| word.trim().to_owned())),
            ("tls:", "never") => self.tls = UseTls::Never,
            ("tls:", "offered") => self.tls = UseTls::IfOffered,
            ("tls:", "demanded") => self.tls = UseTls::Demanded,
            ("tls:", "on") => self.tls_on = true,
            ("lmtp:", "yes") => self.lmtp = true,
            ("clear:", "yes") => self.clear = true,
            ("cuts:", "none") => self.as_written = true,
            ("login:", _) => self.login = Some(credentials(rest)?),
            ("tls:" | "lmtp:" | "clear:" | "cuts:", _) => return Err(format!("unknown {tag} `{rest}`")),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn credentials(text: &str) -> Result<(String, Secret), String> {
    let (user, password) = text.split_once(' ').ok_or("`user password` expected")?;
    let user = String::from_utf8(unescape(user)?).map_err(|_| "the user is not UTF-8")?;
    Ok((user, Secret::new(unescape(password)?)))
}

fn job(text: &str) -> Result<Job, String> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verb {
        "callout" => {
            let (sender, rest) = match rest.strip_prefix("from ") {
                Some(named) => named.split_once(' ').ok_or("`from a@x b@x` expected")?,
                None => ("", rest),
            };
            let asked: Result<_, String> = rest.split_ascii_whitespace().map(mailbox).collect();
            Ok(Job::Callout(path(sender)?, asked?))
        }
        "callout_by_data" => mailbox(rest).map(Job::CalloutByData),
        "auth" => credentials(rest).map(|(user, password)| Job::Auth(user, password)),
        "exchange" => {
            let (mechanism, initial) = rest.split_once(' ').map_or((rest, None), |(m, i)| (m, Some(i)));
            let mechanism = Mechanism::from_name(mechanism).ok_or("no such mechanism")?;
            Ok(Job::Exchange(mechanism, initial.map(unescape).transpose()?.map(Secret::new)))
        }
        "respond" => Ok(Job::Respond(Secret::new(unescape(rest)?))),
        "cancel" => Ok(Job::Cancel),
        "quit" => Ok(Job::Quit),
        "xclient" => identity(rest).map(Job::XClient),
        "xforward" => identity(rest).map(Job::XForward),
        "deliver" => {
            let (mail, recipients) = rest.split_once(" -> ").ok_or("`deliver <a@x> -> <b@y>` expected")?;
            let recipients: Result<_, String> = recipients.split(", ").map(rcpt).collect();
            Ok(Job::Deliver(mail_from(mail)?, recipients?))
        }
        _ => Err(format!("unknown task `{verb}`")),
    }
}

/// `address port HELO|EHLO name [id]`
fn identity(text: &str) -> Result<Identity, String> {
    let mut words = text.split(' ');
    let mut known = || words.next().filter(|word| *word != "-");
    let address =
        known().and_then(|word| word.parse().ok()).ok_or("`address port HELO|EHLO name` expected")?;
    let port = known().map(|port| port.parse().map_err(|_| "bad port")).transpose()?;
    let esmtp = known() == Some("EHLO");
    let helo = String::from_utf8(unescape(known().unwrap_or_default())?).map_err(|_| "not UTF-8")?;
    Ok(Identity { address, port, helo, esmtp, message: known().map(str::to_owned) })
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text, true).map_err(|bad| format!("{text}: {}", bad.0))
}

fn path(text: &str) -> Result<ReversePath, String> {
    Ok(if text.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox(text)?) })
}

/// `<address> PARAMETER ...`
fn bracketed(text: &str) -> Result<(&str, impl Iterator<Item = &str>), String> {
    let inner = text.strip_prefix('<').ok_or("`<address>` expected")?;
    let (address, rest) = inner.split_once('>').ok_or("`<address>` expected")?;
    Ok((address, rest.split_ascii_whitespace()))
}

fn mail_from(text: &str) -> Result<MailFrom, String> {
    let (address, parameters) = bracketed(text)?;
    let mut mail = MailFrom::new(path(address)?);
    for parameter in parameters {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("BODY", "8BITMIME") => mail.body = BodyKind::EightBitMime,
            ("SMTPUTF8", "") => mail.smtputf8 = true,
            ("RET", "FULL") => mail.ret = Some(Ret::Full),
            ("RET", "HDRS") => mail.ret = Some(Ret::Hdrs),
            ("ENVID", id) => mail.envid = Some(String::from_utf8(unescape(id)?).map_err(|_| "not UTF-8")?),
            _ => return Err(format!("unknown parameter `{parameter}`")),
        }
    }
    Ok(mail)
}

fn rcpt(text: &str) -> Result<RcptTo, String> {
    let (address, parameters) = bracketed(text)?;
    let mut to = RcptTo { mailbox: mailbox(address)?, notify: None, orcpt: None };
    for parameter in parameters {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("NOTIFY", words) => {
                let has = |word| words.split('+').any(|said| said == word);
                let notify = Notify { success: has("SUCCESS"), failure: has("FAILURE"), delay: has("DELAY") };
                to.notify = Some(notify);
            }
            ("ORCPT", value) => {
                let (address_type, xtext) = value.split_once(';').ok_or("`ORCPT=type;xtext` expected")?;
                to.orcpt = Some(Orcpt { address_type: address_type.to_owned(), xtext: xtext.to_owned() });
            }
            _ => return Err(format!("unknown parameter `{parameter}`")),
        }
    }
    Ok(to)
}
