//! The client's side of an SMTP session as a state machine without I/O: callouts, AUTH and delivery alike.
//!
//! Input: [`Client::receive`], [`Client::eof`], [`Client::tls_started`], [`Client::tls_failed`], [`Client::tick`],
//! [`Client::wrote`], a chunk by [`Client::body`], and one task at a time: [`Client::callout`],
//! [`Client::callout_by_data`], [`Client::authenticate`], [`Client::exchange`], [`Client::xclient`], [`Client::deliver`], [`Client::quit`].
//! After each, [`Client::poll`] is called until it
//! says [`Output::Wait`] or [`Output::Fault`]; then [`Client::outgoing`] is written in one go.
//!
//! Rules kept here (a transcript each, `transcripts/client/`): each reply belongs to the oldest command that has
//! none; a reply nobody asked for, one of an unfitting code, garbage, a timeout or a drop ends the connection, which
//! is never continued; nothing said before STARTTLS counts after it, and octets behind its reply are an attack; no
//! credential leaves without TLS unless that was allowed in words; parameters go only where they were offered.
//! What a reply means for a recipient or a login is never decided here (`vouchsafe_core::verdict`).

mod callout;
mod deliver;
mod exchange;
mod fault;
mod identity;
mod lines;
mod login;
mod parse;

pub use deliver::DeliveryReplies;
pub use exchange::CHALLENGE_LINE;
pub use fault::{FaultKind, Phase, Timeouts};
pub use identity::Identity;
pub use lines::{not_carried, too_many_recipients};
pub use parse::{REPLY_LINE, REPLY_LINES, REPLY_OCTETS};

use crate::address::Mailbox;
use crate::extension::Capabilities;
use crate::params::{MailFrom, RcptTo};
use crate::reply::{Reply, printable};
use crate::secret::Secret;
use crate::time::Tick;
use deliver::Delivery;
use exchange::Exchange;
use login::Login;
use parse::Incoming;
use std::collections::VecDeque;
use zeroize::Zeroize;

/// Octets of a body that wait to be written before more of it is asked for.
const BODY_AHEAD: usize = 64 * 1024;
/// A buffer larger than this is given back when a task ends.
const BUFFER_KEPT: usize = 4 * 1024;

/// Whether STARTTLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseTls {
    /// The session ends unless TLS is on before anything but EHLO is said.
    Demanded,
    /// If it is offered and taken; clear text otherwise.
    IfOffered,
    /// Never.
    Never,
}

/// How a session is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in EHLO.
    pub hello: String,
    /// LHLO is said instead of EHLO (RFC 2033 §4.1).
    pub lmtp: bool,
    /// STARTTLS; unused when TLS is on from the start.
    pub tls: UseTls,
    /// Credentials may leave without TLS: the administrator said so of this endpoint.
    pub auth_in_clear: bool,
    /// Log in while opening.
    pub login: Option<(String, Secret)>,
    /// Timeouts; `connect` is the driver's.
    pub timeouts: Timeouts,
    /// Keep the dialogue for [`Client::take_trace`].
    pub trace: bool,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Shake hands (everything was written); report with `tls_started` or `tls_failed`.
    StartTls,
    /// The reply to the callout's recipient of this index.
    Answer {
        /// Place in the recipients given to [`Client::callout`].
        index: usize,
        /// What the peer said, or [`not_carried`].
        reply: Reply,
    },
    /// Give the next chunk of the body with [`Client::body`].
    Body,
    /// The task is done; the session is ready for another one, unless it says otherwise.
    Done(Done),
    /// The session is over: close.
    Fault(Phase, FaultKind),
    /// Write [`Client::outgoing`], read, or call [`Client::tick`] at `until`.
    Wait {
        /// When patience ends; `None` when nothing is awaited.
        until: Option<Tick>,
    },
}

/// A task that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Greeted, TLS as wanted, logged in if wanted.
    Open,
    /// Every recipient was answered, or the peer ended the batch.
    Callout,
    /// The recipient was answered by a 354: the peer waits for a message, so the session is over.
    Taken,
    /// 235, or why not.
    Auth(Reply),
    /// XCLIENT was refused: the session stands as it did.
    NotTold(Reply),
    /// The peer's challenge, decoded: go on with [`Client::respond`] or [`Client::cancel`].
    Challenge(Vec<u8>),
    /// The transaction is over.
    Delivery(DeliveryReplies),
    /// The peer took QUIT, or closed.
    Quit,
}

/// A command whose reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    AuthPlain,
    AuthLogin,
    AuthUser,
    AuthPassword,
    XClient,
    XForward,
    Auth,
    AuthResponse,
    AuthCancel,
    Mail,
    Rcpt(usize),
    Data,
    Dot,
    Rset,
    Quit,
}

impl Command {
    fn phase(self) -> Phase {
        match self {
            Command::Banner => Phase::Banner,
            Command::Ehlo | Command::Helo => Phase::Ehlo,
            Command::StartTls => Phase::StartTls,
            Command::AuthPlain | Command::AuthLogin | Command::AuthUser | Command::AuthPassword => {
                Phase::Auth
            }
            Command::XClient | Command::XForward => Phase::Identity,
            Command::Auth | Command::AuthResponse | Command::AuthCancel => Phase::Auth,
            Command::Mail => Phase::Mail,
            Command::Rcpt(_) => Phase::Rcpt,
            Command::Data => Phase::Data,
            Command::Dot => Phase::Dot,
            Command::Rset => Phase::Reset,
            Command::Quit => Phase::Quit,
        }
    }
}

/// What the session is busy with.
#[derive(Debug)]
enum Task {
    Opening,
    Handshake,
    Ready,
    Callout,
    /// A callout whose answer comes in reply to DATA.
    CalloutByData,
    Login(Login),
    Exchange(Exchange),
    /// A challenge was told; the response to it is waited for.
    Challenged,
    Delivery(Box<Delivery>),
    Quitting,
    Over,
}

/// The client machine. One per connection; small when idle (buffers are given back).
pub struct Client {
    config: Config,
    tls: bool,
    capabilities: Capabilities,
    task: Task,
    /// Commands that were written, oldest first.
    awaiting: VecDeque<Command>,
    /// Commands that wait for the reply to the one before, where the peer takes no PIPELINING.
    held: VecDeque<(Command, Vec<u8>)>,
    incoming: Incoming,
    out: Vec<u8>,
    written: usize,
    /// `out` holds a credential: it is wiped as soon as it is written.
    out_secret: bool,
    /// XFORWARD of the next delivery.
    forward: Option<String>,
    /// The name in EHLO since XCLIENT; before, ours.
    speaks_as: Option<String>,
    outputs: VecDeque<Output>,
    deadline: Tick,
    now: Tick,
    trace: Vec<(bool, String)>,
}

impl Client {
    /// A session on a fresh connection; `tls` is true when TLS is already on (implicit).
    pub fn new(config: Config, tls: bool, now: Tick) -> Client {
        let deadline = now + config.timeouts.command;
        Client {
            config,
            tls,
            capabilities: Capabilities::default(),
            task: Task::Opening,
            awaiting: VecDeque::from([Command::Banner]),
            held: VecDeque::new(),
            incoming: Incoming::default(),
            out: Vec::new(),
            written: 0,
            out_secret: false,
            forward: None,
            speaks_as: None,
            outputs: VecDeque::new(),
            deadline,
            now,
            trace: Vec::new(),
        }
    }

    /// What the peer offered in its last reply to EHLO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// True if a task may be started: the last one is done, and nothing came that was not asked for.
    pub fn is_ready(&self) -> bool {
        matches!(self.task, Task::Ready) && self.incoming.is_empty() && self.outputs.is_empty()
    }

    /// The dialogue since the last call: (true: we said it, line). Empty unless [`Config::trace`] is set.
    pub fn take_trace(&mut self) -> Vec<(bool, String)> {
        std::mem::take(&mut self.trace)
    }

    /// Keeps the dialogue from now on, or no longer.
    pub fn set_traced(&mut self, traced: bool) {
        self.config.trace = traced;
    }

    /// Octets to write.
    pub fn outgoing(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// The first `count` octets of `outgoing` were written.
    pub fn wrote(&mut self, count: usize, now: Tick) {
        self.now = now;
        self.written = (self.written + count).min(self.out.len());
        if self.written == self.out.len() {
            if std::mem::take(&mut self.out_secret) {
                self.out.zeroize();
            }
            self.out.clear();
            self.written = 0;
        }
        // RFC 5321 §4.5.3.2.5 and .6: as long as the body advances there is no hurry; then the long wait begins.
        let timeouts = &self.config.timeouts;
        match self.awaiting.front() {
            Some(Command::Dot) if self.out.is_empty() => self.deadline = now + timeouts.dot,
            Some(Command::Dot) => self.deadline = now + timeouts.data_block,
            None if matches!(self.task, Task::Delivery(_)) => self.deadline = now + timeouts.data_block,
            _ => {}
        }
    }

    /// Octets came from the peer.
    pub fn receive(&mut self, bytes: &[u8], now: Tick) {
        self.now = now;
        self.incoming.push(bytes);
    }

    /// The peer closed its side, or the connection broke. What came before is to be polled dry first.
    pub fn eof(&mut self, now: Tick) {
        self.now = now;
        self.fail(FaultKind::Closed);
    }

    /// Time went by.
    pub fn tick(&mut self, now: Tick) {
        self.now = now;
        if self.until().is_some_and(|until| now >= until) {
            self.fail(FaultKind::Timeout);
        }
    }

    /// The handshake succeeded: everything said before is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self, now: Tick) {
        self.now = now;
        self.tls = true;
        self.task = Task::Opening;
        self.greet(Command::Ehlo);
    }

    /// The handshake failed.
    pub fn tls_failed(&mut self, why: String) {
        self.fail(FaultKind::TlsRefused(why));
    }

    /// Logs in with PLAIN, or with LOGIN where only that is offered.
    pub fn authenticate(&mut self, user: &str, password: &Secret, now: Tick) {
        if self.start(Task::Opening, now) {
            self.log_in(user.to_owned(), password.clone(), false);
        }
    }

    /// Starts a transaction of a message of `size` octets.
    pub fn deliver(&mut self, mail: &MailFrom, recipients: &[RcptTo], size: u64, now: Tick) {
        let forward = self.forward.take();
        if !self.start(Task::Opening, now) {
            return;
        }
        let peer = &self.capabilities;
        if mail.reverse_path.mailbox().is_some_and(|mailbox| !lines::carries(peer, mailbox)) {
            let replies = DeliveryReplies { mail: Some(not_carried()), reusable: true, ..Default::default() };
            return self.done(Done::Delivery(replies), Task::Ready);
        }
        let delivery = Delivery::new(recipients, peer);
        if delivery.nobody_left() {
            return self.done(Done::Delivery(delivery.replies(true)), Task::Ready);
        }
        let utf8 = mail.smtputf8
            || mail.reverse_path.mailbox().is_some_and(Mailbox::needs_utf8)
            || recipients.iter().any(|to| to.mailbox.needs_utf8());
        let peer = peer.clone();
        self.task = Task::Delivery(Box::new(delivery));
        if let Some(line) = forward {
            self.say(Command::XForward, |out| out.extend_from_slice(line.as_bytes()));
        }
        self.say(Command::Mail, |out| lines::mail(mail, utf8, size, &peer, out));
        for (index, to) in recipients.iter().enumerate() {
            if lines::carries(&peer, &to.mailbox) {
                self.say(Command::Rcpt(index), |out| lines::rcpt(to, &peer, out));
            }
        }
        // RFC 2920 §3.1: DATA may end a group of commands.
        self.say(Command::Data, |out| out.extend_from_slice(b"DATA"));
    }

    /// The next chunk of the body, in answer to [`Output::Body`]. The final dot leaves with the `last` chunk: hold a
    /// chunk back until it is known whether another one follows.
    pub fn body(&mut self, chunk: &[u8], last: bool, now: Tick) {
        self.now = now;
        let Task::Delivery(delivery) = &mut self.task else { return };
        let Some(stuffer) = &mut delivery.body else { return };
        self.out.drain(..std::mem::take(&mut self.written));
        stuffer.push(chunk, &mut self.out);
        delivery.sent += chunk.len() as u64;
        if last {
            stuffer.finish(&mut self.out);
            delivery.body = None;
            let sent = delivery.sent;
            self.awaiting.push_back(Command::Dot);
            if self.config.trace {
                self.trace.push((true, format!("({sent} octets of body)")));
                self.trace.push((true, ".".to_owned()));
            }
        }
        self.deadline = now + self.config.timeouts.data_block;
    }

    /// Takes leave.
    pub fn quit(&mut self, now: Tick) {
        if self.start(Task::Quitting, now) {
            self.say(Command::Quit, |out| out.extend_from_slice(b"QUIT"));
        }
    }

    /// The next thing to do. Call until `Wait` or `Fault`.
    pub fn poll(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            match self.task {
                Task::Over => return Output::Fault(Phase::Reset, FaultKind::Closed),
                Task::Handshake => return Output::Wait { until: self.until() },
                _ => {}
            }
            match self.next_reply() {
                Ok(Some(reply)) => self.heard(reply),
                Ok(None) if self.wants_body() => return Output::Body,
                Ok(None) => return Output::Wait { until: self.until() },
                Err(garbage) => self.fail(FaultKind::Garbage(garbage)),
            }
        }
    }

    /// All moves of the session: what a reply to a command does.
    fn heard(&mut self, reply: Reply) {
        let Some(command) = self.awaiting.front().copied() else { return self.heard_unasked(reply) };
        // RFC 5321 §3.8: 421 may answer any command, and the peer closes. The dot's is a word on the message.
        if reply.code == 421 && command != Command::Dot {
            return self.fail(FaultKind::Refused(reply));
        }
        match (command, reply.code) {
            (Command::Banner, 220) => {
                self.answered();
                self.greet(Command::Ehlo);
            }
            // RFC 5321 §3.2: a peer that does not know EHLO, where nothing that only EHLO brings is needed.
            (Command::Ehlo, 500 | 502) if self.may_say_helo() => {
                self.answered();
                self.greet(Command::Helo);
            }
            (Command::Ehlo | Command::Helo, 250) => {
                self.answered();
                let offered = if command == Command::Ehlo { reply.text.as_ref() } else { "" };
                self.capabilities = Capabilities::parse(offered);
                self.greeted();
            }
            // CVE-2021-38371: what stands behind this reply was not said under TLS.
            (Command::StartTls, 220) if !self.incoming.is_empty() => {
                self.fail(FaultKind::Garbage("octets in clear text behind the reply".to_owned()));
            }
            (Command::StartTls, 220) => {
                self.answered();
                self.capabilities = Capabilities::default();
                self.task = Task::Handshake;
                self.deadline = self.now + self.config.timeouts.command;
                self.outputs.push_back(Output::StartTls);
            }
            (Command::StartTls, 400..) if self.config.tls == UseTls::IfOffered => {
                self.answered();
                self.secured();
            }
            (Command::StartTls, 400..) => {
                self.fail(FaultKind::TlsRefused(format!("refused STARTTLS ({reply})")))
            }
            (Command::AuthPlain | Command::AuthPassword, 235) => self.logged_in(reply),
            (Command::AuthPlain, 334) if self.is_held_back() => {
                self.answered();
                self.say_what_was_held_back();
            }
            (Command::AuthLogin | Command::AuthUser, 334) => {
                self.answered();
                self.next_login_step(command);
            }
            (Command::AuthPlain | Command::AuthLogin | Command::AuthUser | Command::AuthPassword, 400..) => {
                self.logged_in(reply)
            }
            (Command::Auth | Command::AuthResponse, 235 | 334 | 400..) => {
                self.answered();
                self.heard_of_exchange(reply);
            }
            (Command::AuthCancel, 400..) => self.done(Done::Auth(reply), Task::Ready),
            // As after a connection: nothing said before counts (XCLIENT_README).
            (Command::XClient, 220) => {
                self.answered();
                self.capabilities = Capabilities::default();
                self.greet(Command::Ehlo);
            }
            (Command::XClient, code) if Client::is_not_told(code) => {
                self.answered();
                self.not_told(reply);
            }
            (Command::Mail | Command::XForward, 250) => self.answered(),
            (Command::Rcpt(index), 250..=252 | 400..) if matches!(self.task, Task::Callout) => {
                self.answered();
                if too_many_recipients(&reply) {
                    self.held.retain(|(command, _)| *command == Command::Rset);
                }
                self.outputs.push_back(Output::Answer { index, reply });
            }
            (Command::Rcpt(_), 250..=252) if matches!(self.task, Task::CalloutByData) => {
                self.answered();
                self.say(Command::Data, |out| out.extend_from_slice(b"DATA"));
            }
            (Command::Data, 354) if matches!(self.task, Task::CalloutByData) => {
                self.outputs.push_back(Output::Answer { index: 0, reply });
                self.done(Done::Taken, Task::Over);
            }
            (Command::Rcpt(_) | Command::Data, 400..) if matches!(self.task, Task::CalloutByData) => {
                self.answered();
                self.outputs.push_back(Output::Answer { index: 0, reply });
                self.say(Command::Rset, |out| out.extend_from_slice(b"RSET"));
            }
            (Command::Rset, 250) if matches!(self.task, Task::Callout | Task::CalloutByData) => {
                self.answered();
                self.done(Done::Callout, Task::Ready);
            }
            (Command::Quit, 221) => self.done(Done::Quit, Task::Over),
            (Command::Mail | Command::XForward, 400..)
            | (Command::Rcpt(_), 250..=252 | 400..)
            | (Command::Data, 354 | 400..)
            | (Command::Dot, 200..=299 | 400..)
            | (Command::Rset, 250)
                if matches!(self.task, Task::Delivery(_)) =>
            {
                self.answered();
                self.heard_of_delivery(command, reply);
            }
            (_, 400..) => self.fail(FaultKind::Refused(reply)),
            (_, code) => self.fail(FaultKind::Garbage(format!("an unfitting {code}"))),
        }
        self.say_held();
    }

    fn heard_unasked(&mut self, reply: Reply) {
        let busy = reply.code == 421 || (reply.code >= 400 && matches!(self.task, Task::Delivery(_)));
        self.fail(match busy {
            true => FaultKind::Refused(reply),
            false => FaultKind::Garbage(format!(
                "a reply to nothing: {}",
                printable(reply.to_string().as_bytes(), 200)
            )),
        });
    }

    /// The oldest command has its reply; the next one's time begins.
    fn answered(&mut self) {
        self.awaiting.pop_front();
        self.deadline = self.now + self.config.timeouts.command;
    }

    fn greet(&mut self, command: Command) {
        let verb = match command {
            Command::Helo => "HELO ",
            _ if self.config.lmtp => "LHLO ",
            _ => "EHLO ",
        };
        let line = format!("{verb}{}", self.speaks_as.as_ref().unwrap_or(&self.config.hello));
        self.say(command, |out| out.extend_from_slice(line.as_bytes()));
    }

    fn may_say_helo(&self) -> bool {
        !self.config.lmtp && !self.tls && self.config.tls != UseTls::Demanded && self.config.login.is_none()
    }

    fn greeted(&mut self) {
        match (self.tls, self.config.tls, self.capabilities.starttls) {
            (true, _, _) | (_, UseTls::Never, _) | (_, UseTls::IfOffered, false) => self.secured(),
            (_, _, true) => self.say(Command::StartTls, |out| out.extend_from_slice(b"STARTTLS")),
            (_, UseTls::Demanded, false) => {
                self.fail_at(Phase::StartTls, FaultKind::TlsRefused("STARTTLS is not offered".to_owned()));
            }
        }
    }

    /// TLS is as it was wanted.
    fn secured(&mut self) {
        match self.config.login.take() {
            Some((user, password)) => self.log_in(user, password, true),
            None => self.done(Done::Open, Task::Ready),
        }
    }

    fn wants_body(&self) -> bool {
        match &self.task {
            Task::Delivery(delivery) => delivery.body.is_some() && self.outgoing().len() < BODY_AHEAD,
            _ => false,
        }
    }

    fn until(&self) -> Option<Tick> {
        let idle = matches!(self.task, Task::Ready | Task::Challenged | Task::Over);
        (!idle).then_some(self.deadline)
    }

    fn next_reply(&mut self) -> Result<Option<Reply>, String> {
        let challenge = matches!(self.awaiting.front(), Some(command) if command.phase() == Phase::Auth);
        let trace = &mut self.trace;
        let wanted = self.config.trace;
        // One more than may be: a longer one is noticed.
        let keep = if challenge { CHALLENGE_LINE + 1 } else { REPLY_LINE };
        self.incoming.next(keep, |line| {
            if wanted {
                let masked = challenge && line.starts_with(b"334");
                trace.push((false, if masked { "334 ***".to_owned() } else { printable(line, REPLY_LINE) }));
            }
        })
    }

    /// Begins a task. False, and the session over, if it does not stand idle.
    fn start(&mut self, task: Task, now: Tick) -> bool {
        self.now = now;
        if !matches!(self.task, Task::Ready) {
            self.fail(FaultKind::Local("the session is not idle".to_owned()));
            return false;
        }
        self.go_on(task)
    }

    /// Goes on where the peer has nothing left to say.
    fn go_on(&mut self, task: Task) -> bool {
        // What came since the last task was done: a farewell, or a reply that would be taken for ours.
        match self.next_reply() {
            Ok(Some(reply)) => self.heard_unasked(reply),
            Err(garbage) => self.fail(FaultKind::Garbage(garbage)),
            Ok(None) if !self.incoming.is_empty() => {
                self.fail(FaultKind::Garbage("octets that nobody asked for".to_owned()));
            }
            Ok(None) => self.task = task,
        }
        !matches!(self.task, Task::Over)
    }

    /// Says a command line: at once, or after the reply to the one before where the peer takes no PIPELINING.
    fn say(&mut self, command: Command, write: impl FnOnce(&mut Vec<u8>)) {
        if matches!(self.task, Task::Over) {
            return;
        }
        if !self.capabilities.pipelining && !self.awaiting.is_empty() {
            let mut line = Vec::new();
            write(&mut line);
            self.held.push_back((command, line));
            return;
        }
        if self.awaiting.is_empty() {
            self.deadline = self.now + self.config.timeouts.command;
        }
        let start = self.out.len();
        write(&mut self.out);
        self.end_line(command, start);
    }

    fn say_held(&mut self) {
        if self.awaiting.is_empty()
            && let Some((command, line)) = self.held.pop_front()
        {
            self.say(command, |out| out.extend_from_slice(&line));
        }
    }

    /// Ends the line that starts at `start` of `out`. Whatever it was made of, it is one line.
    fn end_line(&mut self, command: Command, start: usize) {
        let line = &self.out[start..];
        if line.iter().any(u8::is_ascii_control) {
            self.out.truncate(start);
            return self
                .fail_at(command.phase(), FaultKind::Local("a control character in a command".to_owned()));
        }
        if self.config.trace {
            self.trace.push((true, printable(line, REPLY_LINE)));
        }
        self.out.extend_from_slice(b"\r\n");
        self.awaiting.push_back(command);
    }

    fn phase(&self) -> Phase {
        match (self.awaiting.front(), &self.task) {
            (Some(command), _) => command.phase(),
            (None, Task::Handshake) => Phase::StartTls,
            (None, Task::Delivery(_)) => Phase::Body,
            (None, Task::Exchange(_) | Task::Challenged) => Phase::Auth,
            (None, _) => Phase::Reset,
        }
    }

    fn done(&mut self, done: Done, task: Task) {
        self.awaiting.clear();
        self.held.clear();
        self.incoming.shrink();
        if self.out.capacity() > BUFFER_KEPT && self.out.is_empty() {
            self.out = Vec::new();
        }
        self.task = task;
        self.outputs.push_back(Output::Done(done));
    }

    fn fail(&mut self, kind: FaultKind) {
        self.fail_at(self.phase(), kind);
    }

    fn fail_at(&mut self, phase: Phase, kind: FaultKind) {
        if matches!(self.task, Task::Over) {
            return;
        }
        if self.out_secret {
            self.out.zeroize();
        }
        let output = match std::mem::replace(&mut self.task, Task::Over) {
            // All that was asked has been said: a peer that then goes its way takes nothing back.
            Task::Delivery(delivery) if delivery.settled() => {
                Output::Done(Done::Delivery(delivery.replies(false)))
            }
            Task::Quitting => Output::Done(Done::Quit),
            _ => Output::Fault(phase, kind),
        };
        self.awaiting.clear();
        self.held.clear();
        self.out = Vec::new();
        self.written = 0;
        self.outputs.push_back(output);
    }
}
