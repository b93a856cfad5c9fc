//! The first rung of the transcripts: the server machine alone, with scripted answers and a clock moved by hand.
//!
//! Besides what a script says it holds, in every script, the rules that no script needs to say: classes of codes
//! agree, `Dropped` comes once and only for an open transaction, a body flows only inside one, Commit is never
//! cancelled.
//!
//! Questions: `connect`, `mail <path> [PARAMETERS]`, `recipient <address> [PARAMETERS]`, `sasl MECHANISM [base64]`,
//! `sasl response <base64>`, `client ADDRESS PORT [HELO=name]`, `body data|bdat`, `commit`; `rest`: all recipients without an answer. Answers: `yes`,
//! `accept`, `no`, `reject`, `later`, `hold` (answered by a later `?:`), `challenge text`, or a whole reply; what a
//! script leaves out is answered `yes`. Events: `tls`, `tls failed`, `eof`, `drain`, `refuse <reply>`. States:
//! `messages N`, `message "octets"` (each tells the next one), `dropped N`, `cancelled N`, `closed <why>`, `open`,
//! `reading yes|no`, `hello <name>`.

use std::sync::Arc;
use std::time::Duration;

use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::limits::Limits;
use vouchsafe_smtp::params::{BodyKind, MailFrom, RcptTo, Ret};
use vouchsafe_smtp::sasl::encode_base64;
use vouchsafe_smtp::server::{Answer, BodyVerb, Claim, Config, Output, Question, QuestionId, Server, Why};
use vouchsafe_smtp::{Reply, Tick};
use vouchsafe_testkit::script::{Script, duration, escape, unescape};

/// A scripted answer that waits for its question.
pub struct Scripted {
    pub line: usize,
    pub question: String,
    pub answer: String,
}

/// One thing that a question asks about.
struct Item {
    id: QuestionId,
    kind: Kind,
    text: String,
    index: usize,
    state: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Connect,
    Mail,
    Recipient,
    Sasl,
    Client,
    Body,
    Commit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Open,
    Held,
    Answered,
}

/// A machine and all that it said.
pub struct World {
    server: Server,
    config: Arc<Config>,
    now: Tick,
    until: Tick,
    read: bool,
    pub scripted: Vec<Scripted>,
    items: Vec<Item>,
    open: Option<QuestionId>,
    pub replies: Vec<Vec<String>>,
    transaction: bool,
    body: Vec<u8>,
    messages: Vec<Vec<u8>>,
    told: usize,
    dropped: usize,
    cancelled: usize,
    pub closed: Option<Why>,
    pub faults: Vec<String>,
}

impl World {
    pub fn new(config: Config, tls: bool) -> World {
        let config = Arc::new(config);
        World {
            server: Server::new(Arc::clone(&config), tls, Tick(0)),
            config,
            now: Tick(0),
            until: Tick(0),
            read: true,
            scripted: Vec::new(),
            items: Vec::new(),
            open: None,
            replies: Vec::new(),
            transaction: false,
            body: Vec::new(),
            messages: Vec::new(),
            told: 0,
            dropped: 0,
            cancelled: 0,
            closed: None,
            faults: Vec::new(),
        }
    }

    /// Octets from the client, if anyone still reads them.
    pub fn write(&mut self, octets: &[u8]) {
        if self.closed.is_none() {
            self.server.receive(octets, self.now);
            self.run();
        }
    }

    /// Moves the clock, stopping wherever the machine wants to be woken.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.closed.is_none() {
            self.now = self.until.min(end);
            self.server.tick(self.now);
            self.run();
            if self.now >= end {
                return;
            }
            assert!(
                self.closed.is_some() || self.until > self.now,
                "the machine wants to be woken in the past"
            );
        }
        self.now = end;
    }

    pub fn event(&mut self, event: &str) -> Result<(), String> {
        let (word, rest) = event.split_once(' ').unwrap_or((event, ""));
        match (word, rest) {
            ("tls", "") => self.server.tls_started(self.now),
            ("tls", "failed") => self.server.tls_failed(),
            ("eof", "") => self.server.eof(self.now),
            ("drain", "") => self.server.drain(),
            ("refuse", reply) => {
                self.server.refuse_body(parse_reply(reply).ok_or("`!: refuse reply` expected")?)
            }
            _ => return Err(format!("unknown event `{event}`")),
        }
        self.run();
        Ok(())
    }

    /// Answers that nothing asked for: stale ones are given all the same, odd ones are faults.
    pub fn leftovers(&mut self) {
        // A held question may have got its answer now.
        if self.open.is_some() {
            self.run();
        }
        for scripted in std::mem::take(&mut self.scripted) {
            let stale = self.items.iter().rev().find(|item| fits(&scripted.question, &item.text));
            match stale.map(|item| (item.id, answer(item, &scripted.answer))) {
                Some((id, Ok(Some(answer)))) if self.closed.is_none() => {
                    self.server.answer(id, answer, self.now);
                    self.run();
                }
                Some((_, Ok(_))) => {}
                Some((_, Err(fault))) => self.faults.push(format!("line {}: {fault}", scripted.line)),
                None => {
                    self.faults.push(format!("line {}: never asked: {}", scripted.line, scripted.question))
                }
            }
        }
    }

    /// Checks an end state.
    pub fn check(&mut self, text: &str) -> Result<(), String> {
        if let Some(quoted) = text.strip_prefix("message ") {
            let inner =
                quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or("quotes expected")?;
            let message = self.messages.get(self.told).ok_or("no such message was committed")?;
            self.told += 1;
            let same = *message == unescape(inner)?;
            return if same { Ok(()) } else { Err(format!("the message is \"{}\"", escape(message))) };
        }
        for part in text.split(", ") {
            let (word, rest) = part.split_once(' ').unwrap_or((part, ""));
            let actual = match word {
                "messages" => self.messages.len().to_string(),
                "dropped" => self.dropped.to_string(),
                "cancelled" => self.cancelled.to_string(),
                "closed" => self.closed.map_or("open".to_owned(), why),
                "open" => self.closed.map_or(String::new(), why),
                "reading" => if self.read { "yes" } else { "no" }.to_owned(),
                "hello" => self.server.hello().map_or("none".to_owned(), |(name, _)| name.to_owned()),
                _ => return Err(format!("unknown state `{word}`")),
            };
            if actual != rest {
                return Err(format!("{word} is `{actual}`, not `{rest}`"));
            }
        }
        Ok(())
    }

    /// Polls the machine dry, answering what it asks.
    pub fn run(&mut self) {
        loop {
            match self.server.poll() {
                Output::Send(reply) => self.said(&reply),
                Output::Ask(id, question) => self.asked(id, question),
                Output::Cancel(id) => {
                    self.cancelled += 1;
                    self.open = self.open.filter(|open| *open != id);
                    if self.items.iter().any(|item| item.id == id && item.kind == Kind::Commit) {
                        self.faults.push("Commit was cancelled".to_owned());
                    }
                }
                Output::Body(octets) => {
                    self.body.extend_from_slice(octets);
                    if !self.transaction {
                        self.faults.push("body outside a transaction".to_owned());
                    }
                }
                Output::BodyEnd => {}
                Output::Dropped => {
                    self.dropped += 1;
                    self.body.clear();
                    if !std::mem::take(&mut self.transaction) {
                        self.faults.push("dropped what was not there".to_owned());
                    }
                }
                Output::StartTls => {}
                Output::Close(why) => {
                    self.closed = Some(why);
                    if self.transaction {
                        self.faults.push("closed without Dropped".to_owned());
                    }
                    return;
                }
                Output::Idle { until, read } => {
                    (self.until, self.read) = (until, read);
                    match self.next_answer() {
                        Some((id, answer)) => self.server.answer(id, answer, self.now),
                        None => return,
                    }
                }
            }
        }
    }

    fn said(&mut self, reply: &Reply) {
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        let text = String::from_utf8(wire).expect("replies are text");
        let lines =
            text.strip_suffix("\r\n").expect("a reply ends with CRLF").split("\r\n").map(str::to_owned);
        self.replies.push(lines.collect());
        // RFC 2034 §3: all but banner, EHLO, HELO and 3yz.
        let bare = reply.code / 100 == 3 || reply.text.starts_with(&self.config.hostname);
        if !bare && reply.enhanced.map(|enhanced| u16::from(enhanced.0)) != Some(reply.code / 100) {
            self.faults.push(format!("code and enhanced code disagree: {reply}"));
        }
    }

    fn asked(&mut self, id: QuestionId, question: Question) {
        if self.open.replace(id).is_some() {
            self.faults.push("two questions are open".to_owned());
        }
        for (index, (kind, text)) in describe(&question).into_iter().enumerate() {
            self.items.push(Item { id, kind, text, index, state: Asked::Open });
        }
    }

    /// The next answer to the open question: scripted ones in their order, then the defaults.
    fn next_answer(&mut self) -> Option<(QuestionId, Answer)> {
        let open = self.open?;
        loop {
            if self.scripted.first().is_some_and(|scripted| scripted.question == "rest") {
                return self.answer_rest(open);
            }
            let scripted = self.scripted.iter().enumerate().find_map(|(n, scripted)| {
                let item = self.items.iter().position(|item| {
                    item.id == open && item.state != Asked::Answered && fits(&scripted.question, &item.text)
                })?;
                Some((n, item))
            });
            let (item, verdict) = match scripted {
                Some((n, item)) => (item, self.scripted.remove(n).answer),
                None => {
                    let item =
                        self.items.iter().position(|item| item.id == open && item.state == Asked::Open)?;
                    (item, "yes".to_owned())
                }
            };
            let item = &mut self.items[item];
            match answer(item, &verdict) {
                Err(fault) => self.faults.push(fault),
                Ok(None) => item.state = Asked::Held,
                Ok(Some(answer)) => {
                    item.state = Asked::Answered;
                    let kind = item.kind;
                    let answer = match (kind, answer) {
                        (Kind::Client, Answer::Yes(_)) => Answer::Anew(Arc::clone(&self.config)),
                        (_, answer) => answer,
                    };
                    self.note(kind, &answer);
                    if self.items.iter().all(|item| item.id != open || item.state == Asked::Answered) {
                        self.open = None;
                    }
                    return Some((open, answer));
                }
            }
        }
    }

    /// `?: rest -> reply`: one No for all recipients that have no answer yet.
    fn answer_rest(&mut self, open: QuestionId) -> Option<(QuestionId, Answer)> {
        let reply = parse_reply(&self.scripted.remove(0).answer)?;
        self.items.iter_mut().filter(|item| item.id == open).for_each(|item| item.state = Asked::Answered);
        self.open = None;
        Some((open, Answer::No(reply)))
    }

    /// What an answer does to the envelope.
    fn note(&mut self, kind: Kind, answer: &Answer) {
        match (kind, answer) {
            (Kind::Mail, Answer::Yes(_)) => self.transaction = true,
            (Kind::Commit, Answer::Yes(_)) => {
                self.transaction = false;
                self.messages.push(std::mem::take(&mut self.body));
            }
            _ => {}
        }
    }
}

/// Does a scripted question mean this one? It may leave parameters out.
fn fits(scripted: &str, asked: &str) -> bool {
    asked.strip_prefix(scripted).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// The verdict as an answer; `None`: hold it.
fn answer(item: &Item, verdict: &str) -> Result<Option<Answer>, String> {
    let (yes, no, later) = match item.kind {
        Kind::Connect => ("250 2.0.0 OK", "554 5.7.1 Go away", "421 4.3.2 Too many connections"),
        Kind::Mail => ("250 2.1.0 OK", "550 5.7.1 Sender refused", "451 4.4.3 Try again later"),
        Kind::Recipient => ("250 2.1.5 OK", "550 5.1.1 No such user", "451 4.4.3 Try again later"),
        Kind::Sasl => ("235 2.7.0 Welcome", "535 5.7.8 Wrong credentials", "454 4.7.0 Try again later"),
        Kind::Client => ("250 2.0.0 OK", "421 4.7.0 Too many sessions", "421 4.7.0 Too many sessions"),
        Kind::Body => ("250 2.0.0 OK", "552 5.3.4 Too big", "452 4.3.1 Disk full"),
        Kind::Commit => ("250 2.0.0 Taken", "554 5.7.1 Content refused", "451 4.3.0 Try again later"),
    };
    let text = match verdict {
        "hold" => return Ok(None),
        "yes" | "accept" => yes,
        "no" | "reject" => no,
        "later" => later,
        _ => verdict,
    };
    if let Some(challenge) = text.strip_prefix("challenge") {
        return Ok(Some(Answer::Challenge(unescape(challenge.strip_prefix(' ').unwrap_or(""))?)));
    }
    let reply = parse_reply(text).ok_or_else(|| format!("odd verdict `{text}`"))?;
    Ok(Some(match item.kind {
        Kind::Recipient => Answer::Recipient { index: item.index, reply },
        _ if reply.is_positive() => Answer::Yes(reply),
        _ => Answer::No(reply),
    }))
}

/// `550 5.1.1 text`.
fn parse_reply(text: &str) -> Option<Reply> {
    let mut words = text.splitn(3, ' ');
    let code = words.next()?.parse().ok()?;
    let mut numbers = words.next()?.split('.').map(str::parse);
    let enhanced = (numbers.next()?.ok()? as u8, numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Reply::new(code, enhanced, words.next().unwrap_or_default().to_owned()))
}

/// Questions as scripts write them.
fn describe(question: &Question) -> Vec<(Kind, String)> {
    match question {
        Question::Connect => vec![(Kind::Connect, "connect".to_owned())],
        Question::Mail(mail) => vec![(Kind::Mail, mail_text(mail))],
        Question::Recipients(all) => all.iter().map(|one| (Kind::Recipient, recipient_text(one))).collect(),
        Question::SaslStart { mechanism, initial } => {
            let initial = initial.as_ref().map(|secret| format!(" {}", encode_base64(secret.expose())));
            vec![(Kind::Sasl, format!("sasl {mechanism}{}", initial.unwrap_or_default()))]
        }
        Question::SaslStep(response) => {
            vec![(Kind::Sasl, format!("sasl response {}", encode_base64(response.expose())))]
        }
        Question::Client(claim) => vec![(Kind::Client, client_text(claim))],
        Question::Body(BodyVerb::Data) => vec![(Kind::Body, "body data".to_owned())],
        Question::Body(BodyVerb::Bdat) => vec![(Kind::Body, "body bdat".to_owned())],
        Question::Commit => vec![(Kind::Commit, "commit".to_owned())],
    }
}

fn mail_text(mail: &MailFrom) -> String {
    let path = mail.reverse_path.mailbox().map_or("<>", |mailbox| mailbox.as_str());
    let mut text = format!("mail {path}");
    let mut add = |word: Option<String>| text.extend(word.map(|word| format!(" {word}")));
    add(mail.size.map(|size| format!("SIZE={size}")));
    add((mail.body == BodyKind::EightBitMime).then(|| "BODY=8BITMIME".to_owned()));
    add(mail.smtputf8.then(|| "SMTPUTF8".to_owned()));
    add(mail.auth.as_ref().map(|auth| format!("AUTH={auth}")));
    add(mail.ret.map(|ret| if ret == Ret::Full { "RET=FULL" } else { "RET=HDRS" }.to_owned()));
    add(mail.envid.as_ref().map(|envid| format!("ENVID={envid}")));
    text
}

fn client_text(claim: &Claim) -> String {
    let helo = claim.helo.as_ref().map(|helo| format!(" HELO={helo}"));
    format!("client {} {}{}", claim.address, claim.port, helo.unwrap_or_default())
}

fn recipient_text(recipient: &RcptTo) -> String {
    let mut text = format!("recipient {}", recipient.mailbox);
    if let Some(notify) = recipient.notify {
        let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
        let told: Vec<&str> = words.iter().filter(|(said, _)| *said).map(|(_, word)| *word).collect();
        text += &format!(" NOTIFY={}", if told.is_empty() { "NEVER".to_owned() } else { told.join(",") });
    }
    if let Some(orcpt) = &recipient.orcpt {
        text += &format!(" ORCPT={};{}", orcpt.address_type, orcpt.xtext);
    }
    text
}

fn why(why: Why) -> String {
    match why {
        Why::Quit => "quit".to_owned(),
        Why::Eof => "eof".to_owned(),
        Why::Refused => "refused".to_owned(),
        Why::Timeout(what) => format!("timeout {what}"),
        Why::Limit(what) => format!("limit {what}"),
        Why::Protocol(what) => format!("protocol {what}"),
        Why::Drain => "drain".to_owned(),
    }
}

/// The settings of a script: its listener's defaults, changed by its `set:` lines. Also whether TLS is on at once.
pub fn settings(script: &Script) -> Result<(Config, bool), String> {
    let (mx, submission) = (script.listener == "mx", script.listener == "submission");
    let mut tls = false;
    let mut config = Config {
        hostname: "gate.example".to_owned(),
        starttls: true,
        mechanisms: if submission { vec!["PLAIN".to_owned(), "LOGIN".to_owned()] } else { Vec::new() },
        auth_in_clear: false,
        auth_required: submission,
        message_size: mx.then_some(200_000_000),
        bare_newline: if mx { BareNewline::Reject } else { BareNewline::Normalize },
        close_on_early_data: mx,
        greet_wait: Duration::ZERO,
        xclient: false,
        limits: Limits::default(),
    };
    for (key, value) in &script.settings {
        let number = || value.parse::<usize>().map_err(|_| format!("bad number `{value}`"));
        let limits = &mut config.limits;
        match key.as_str() {
            "tls" => tls = value == "on",
            "starttls" => config.starttls = value == "on",
            "mechanisms" => config.mechanisms = value.split(' ').map(str::to_owned).collect(),
            "auth_in_clear" => config.auth_in_clear = value == "yes",
            "xclient" => config.xclient = value == "yes",
            "message_size" => config.message_size = Some(number()? as u64),
            "bare_newline" if value == "reject" => config.bare_newline = BareNewline::Reject,
            "bare_newline" if value == "normalize" => config.bare_newline = BareNewline::Normalize,
            "greet_wait" => config.greet_wait = duration(value)?,
            "limits.command_line" => limits.command_line = number()?,
            "limits.recipients" => limits.recipients = number()?,
            "limits.errors" => limits.errors = number()?,
            "limits.refused_recipients" => limits.refused_recipients = number()?,
            "limits.commands" => limits.commands = number()?,
            "limits.auth_failures" => limits.auth_failures = number()?,
            "limits.messages" => limits.messages = number()?,
            "limits.minimum_data_rate" => limits.minimum_data_rate = number()? as u64,
            "limits.session_time" => limits.session_time = duration(value)?,
            _ => return Err(format!("unknown setting `{key} = {value}`")),
        }
    }
    Ok((config, tls))
}
