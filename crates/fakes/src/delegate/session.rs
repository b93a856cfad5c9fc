//! One session at the stand-in delegate.

use super::auth::{Offered, exchange};
use super::{Behaviour, Counters, Junk, Limit, RefuseAt};
use crate::fault::Point;
use crate::session::{Part, Session};
use crate::talk::{Flow, path};
use crate::telling::{Sign, reply_for};
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// What stands for a reply where garbage was asked for.
const GARBAGE: &[u8] = b"\xff\xfe garbage without a code\r\n";
/// How late answers come once a session made too many errors.
const SLOWED: Duration = Duration::from_secs(1);

/// What came of a telling name.
enum Told {
    /// It tells nothing.
    Nothing,
    /// It was carried out.
    Done(Flow),
    /// It asks for this reply.
    Refuse(String),
}

/// What a session of the delegate has in mind.
pub(super) struct Asked {
    source: IpAddr,
    user: Option<String>,
    mail: bool,
    recipients: u32,
    unknown: Option<String>,
    errors: u32,
    bad_logins: u32,
    slowed: bool,
    /// Commands that brought no mail, and those of them that came for the first time.
    junk: u32,
    free: Vec<String>,
}

impl Asked {
    pub(super) fn by(source: IpAddr) -> Asked {
        Asked {
            source,
            user: None,
            mail: false,
            recipients: 0,
            unknown: None,
            errors: 0,
            bad_logins: 0,
            slowed: false,
            junk: 0,
            free: Vec::new(),
        }
    }

    /// Counts a command that brings no mail; true if it was one too many.
    fn is_too_much(&mut self, junk: Junk, verb: &str) -> bool {
        match (junk, verb) {
            (Junk::Counted(free), "RSET" | "NOOP" | "VRFY" | "HELO" | "EHLO") => {
                self.junk += 1;
                self.junk > free
            }
            (Junk::Dropped(_), "MAIL" | "RCPT" | "DATA" | "BDAT" | "QUIT") => false,
            (Junk::Dropped(free), verb) => {
                let first = matches!(verb, "EHLO" | "HELO" | "STARTTLS" | "AUTH" | "RSET")
                    && !self.free.iter().any(|had| had == verb);
                match first {
                    true => self.free.push(verb.to_owned()),
                    false => self.junk += 1,
                }
                self.junk > free
            }
            _ => false,
        }
    }
}

impl Part for Asked {
    type Behaviour = Behaviour;
    type Counters = Counters;

    async fn command(
        session: &mut Session<Asked>,
        behaviour: &Behaviour,
        verb: &str,
        argument: &str,
    ) -> io::Result<Option<Flow>> {
        if let Some(flow) = session.manners(behaviour, verb).await? {
            return Ok(Some(flow));
        }
        let flow = match verb {
            "AUTH" => session.auth(behaviour, argument).await?,
            "MAIL" => session.mail(behaviour, argument).await?,
            "RCPT" => session.rcpt(behaviour, argument).await?,
            "DATA" => session.data(behaviour).await?,
            "RSET" => {
                session.talk.host.count(|counters| counters.resets += 1);
                return Ok(None);
            }
            // What is said behind STARTTLS in clear would be taken for something said under TLS.
            "STARTTLS" => {
                let early = session.talk.wire.has_more() && !session.secure;
                session.talk.host.count(|counters| counters.violations += u64::from(early));
                return Ok(None);
            }
            "VRFY" => session.talk.say("252 2.5.2 Cannot verify"),
            "XCLIENT" => {
                session.talk.host.count(|counters| counters.xclient.push(argument.to_owned()));
                session.greeted = false;
                session.talk.say(&behaviour.wording.banner(&behaviour.hostname))
            }
            "BDAT" => {
                session.talk.host.count(|counters| counters.violations += 1);
                session.talk.say_and_close("503 5.5.1 This server is asked, not sent to")
            }
            _ => return Ok(None),
        };
        Ok(Some(flow))
    }

    async fn refuse(session: &mut Session<Asked>, behaviour: &Behaviour, reply: &str) -> io::Result<Flow> {
        session.refuse(behaviour, reply).await
    }

    fn mechanisms<'a>(&self, behaviour: &'a Behaviour, secure: bool) -> Vec<&'a str> {
        let offered = match behaviour.tls.is_some() && !secure {
            true => &behaviour.mechanisms_before_tls,
            false => &behaviour.mechanisms,
        };
        offered.iter().map(String::as_str).collect()
    }

    fn reset(&mut self) {
        self.mail = false;
        self.recipients = 0;
        self.unknown = None;
    }

    fn forget(&mut self) {
        self.user = None;
    }
}

impl Session<Asked> {
    /// What a session that asks too much brings upon itself, before a command is answered.
    async fn manners(&mut self, behaviour: &Behaviour, verb: &str) -> io::Result<Option<Flow>> {
        let source = self.part.source;
        if behaviour.dictionary.is_some() && !behaviour.gateways.contains(&source) {
            let mut shut_out = false;
            self.talk.host.count(|counters| shut_out = counters.sources.shut_out(source));
            if shut_out {
                return Ok(Some(self.talk.say_and_close(behaviour.wording.shut_out())));
            }
        }
        if behaviour.junk.is_some_and(|junk| self.part.is_too_much(junk, verb)) {
            self.trip(Limit::Junk);
            match behaviour.junk {
                Some(Junk::Dropped(_)) => {
                    return Ok(Some(self.talk.say_and_close(behaviour.wording.too_much_junk())));
                }
                _ => self.part.errors += 1,
            }
        }
        if behaviour.slow_after.is_some_and(|most| self.part.errors >= most) {
            if !self.part.slowed {
                self.part.slowed = true;
                self.trip(Limit::Slow);
            }
            self.pause(SLOWED).await?;
        }
        Ok(None)
    }

    fn trip(&self, limit: Limit) {
        self.talk.host.count(|counters| counters.trip(limit));
    }

    async fn auth(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Auth).await? {
            return Ok(flow);
        }
        // RFC 4954 §4: no second AUTH, none within a transaction.
        if self.part.user.is_some() || self.part.mail {
            return self.refuse(behaviour, "503 5.5.1 Already authenticated").await;
        }
        let (mechanism, initial) = match argument.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial)),
            None => (argument, None),
        };
        let mechanism = mechanism.to_ascii_uppercase();
        if behaviour.tls.is_some() && !self.secure && matches!(&*mechanism, "PLAIN" | "LOGIN") {
            self.talk.host.count(|counters| counters.logins_in_clear += 1);
        }
        if !self.part.mechanisms(behaviour, self.secure).contains(&mechanism.as_str()) {
            return self.refuse(behaviour, behaviour.wording.unknown_mechanism()).await;
        }
        match exchange(&mut self.talk, &mechanism, initial, behaviour).await? {
            Offered::Gone => Ok(Flow::Cut),
            Offered::Refused(reply) => self.refuse(behaviour, &reply).await,
            Offered::Login { name, password, bearer } => self.login(behaviour, name, &password, bearer).await,
        }
    }

    async fn login(
        &mut self,
        behaviour: &Behaviour,
        name: String,
        password: &[u8],
        bearer: bool,
    ) -> io::Result<Flow> {
        match self.told(behaviour, Sign::of(&name)).await? {
            Told::Nothing => {}
            Told::Done(flow) => return Ok(flow),
            Told::Refuse(reply) => {
                self.talk.host.count(|counters| counters.logins_bad += u64::from(reply.starts_with("535")));
                return self.refuse(behaviour, &reply).await;
            }
        }
        if let Some(reply) = behaviour.passwords_refused.as_ref().filter(|_| !bearer) {
            self.talk.host.count(|counters| counters.logins_bad += u64::from(reply.starts_with("535")));
            return self.refuse(behaviour, reply).await;
        }
        let known =
            behaviour.users.get(&name.to_lowercase()).is_some_and(|known| known.as_bytes() == password);
        let right = known && !self.is_locked(behaviour, &name) && !self.logins_blocked(behaviour);
        if right {
            self.talk.host.count(|counters| {
                counters.logins_good += 1;
                counters.directory.succeeded(&name);
            });
            self.part.user = Some(name);
            return Ok(self.talk.say("235 2.7.0 Authentication successful"));
        }
        if bearer {
            // RFC 7628 §3.2.3: the error is told in a challenge, the client answers with a dummy.
            self.talk.say("334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=");
            if self.talk.secret_line().await?.is_none() {
                return Ok(Flow::Cut);
            }
        }
        let source = self.part.source;
        self.talk.host.count(|counters| {
            counters.logins_bad += 1;
            if let Some(lockout) = behaviour.lockout {
                let (locked, recent) = counters.directory.failed(&name, lockout);
                if locked {
                    counters.locked += 1;
                    counters.trip(Limit::Lockout);
                }
                counters.bad_in_30_minutes = counters.bad_in_30_minutes.max(recent);
            }
            if behaviour.wrong_logins.is_some_and(|most| counters.sources.wrong_login(source, most)) {
                counters.trip(Limit::Logins);
            }
        });
        self.part.bad_logins += 1;
        let flow = self.refuse(behaviour, behaviour.wording.wrong_login()).await?;
        if flow == Flow::On && behaviour.max_bad_logins.is_some_and(|max| self.part.bad_logins >= max) {
            return Ok(self.limit(behaviour, Limit::BadLogins));
        }
        Ok(flow)
    }

    /// Too many wrong logins came from this address.
    fn logins_blocked(&self, behaviour: &Behaviour) -> bool {
        let source = self.part.source;
        let mut blocked = false;
        if behaviour.wrong_logins.is_some() {
            self.talk.host.count(|counters| blocked = counters.sources.logins_blocked(source));
        }
        blocked
    }

    fn is_locked(&self, behaviour: &Behaviour, name: &str) -> bool {
        let Some(lockout) = behaviour.lockout else { return false };
        let mut locked = false;
        self.talk.host.count(|counters| locked = counters.directory.is_locked(name, lockout));
        locked
    }

    async fn mail(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        self.talk.host.count(|counters| counters.mails += 1);
        if let Some(flow) = self.talk.fault(Point::Mail).await? {
            return Ok(flow);
        }
        if behaviour.maintenance {
            return Ok(self.talk.say_and_close(behaviour.wording.not_in_service()));
        }
        if behaviour.login_required_at_mail && self.part.user.is_none() {
            return self.refuse(behaviour, behaviour.wording.login_required()).await;
        }
        let Some((reverse_path, _)) = path(argument, "FROM:") else {
            return Ok(self.talk.say("501 5.5.4 Syntax: MAIL FROM:<address>"));
        };
        if !self.greeted || self.part.mail {
            return Ok(self.talk.say("503 5.5.1 Bad sequence of commands"));
        }
        self.talk.host.count(|counters| reverse_path.clone_into(&mut counters.reverse_path));
        self.part.mail = true;
        Ok(self.talk.say("250 2.1.0 Sender ok"))
    }

    async fn rcpt(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        self.talk.host.count(|counters| counters.recipients += 1);
        if let Some(flow) = self.talk.fault(Point::Rcpt).await? {
            return Ok(flow);
        }
        let Some((address, _)) = path(argument, "TO:") else {
            return self.refuse(behaviour, "501 5.5.4 Syntax: RCPT TO:<address>").await;
        };
        if !self.part.mail {
            return self.refuse(behaviour, "503 5.5.1 Need MAIL first").await;
        }
        if behaviour.login_required && self.part.user.is_none() {
            return self.refuse(behaviour, behaviour.wording.login_required()).await;
        }
        if behaviour.max_recipients.is_some_and(|max| self.part.recipients >= max) {
            self.trip(Limit::Recipients);
            return Ok(self.talk.say(behaviour.wording.too_many_recipients()));
        }
        self.part.recipients += 1;
        match self.told(behaviour, Sign::of(address)).await? {
            Told::Nothing => {}
            Told::Done(flow) => return Ok(flow),
            Told::Refuse(reply) => return self.refuse_recipient(behaviour, &reply).await,
        }
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase();
        if !behaviour.domains.contains(&domain) && !behaviour.relays {
            return self.refuse_recipient(behaviour, &behaviour.wording.relaying_denied(address)).await;
        }
        let bypass = behaviour.logged_in_bypass && self.part.user.is_some();
        if behaviour.domains.contains(&domain) && !bypass && !self.is_known(behaviour, address) {
            let reply = behaviour.wording.unknown_recipient(address);
            match behaviour.refuse_at {
                RefuseAt::Rcpt => {
                    self.named_unknown(behaviour, address);
                    return self.refuse_recipient(behaviour, &reply).await;
                }
                RefuseAt::Data => self.part.unknown = Some(reply),
                RefuseAt::Never => {}
            }
        }
        self.talk.host.count(|counters| counters.recipients_good += 1);
        Ok(self.talk.say("250 2.1.5 Recipient ok"))
    }

    fn is_known(&self, behaviour: &Behaviour, address: &str) -> bool {
        let address = address.to_lowercase();
        let mut refused_lately = false;
        if !behaviour.remembers_no.is_zero() {
            self.talk.host.count(|counters| {
                refused_lately =
                    counters.unknown_until.get(&address).is_some_and(|end| Instant::now() < *end);
            });
        }
        behaviour.known.contains(&address) && !refused_lately
    }

    /// Counts an unknown recipient where that is counted, and remembers it where that is remembered.
    fn named_unknown(&self, behaviour: &Behaviour, address: &str) {
        let source = self.part.source;
        let budget = behaviour.dictionary.filter(|_| !behaviour.gateways.contains(&source));
        if budget.is_none() && behaviour.remembers_no.is_zero() {
            return;
        }
        self.talk.host.count(|counters| {
            if budget.is_some_and(|most| counters.sources.unknown_recipient(source, most)) {
                counters.trip(Limit::Dictionary);
            }
            // Asking again does not make it last longer.
            let end = Instant::now() + behaviour.remembers_no;
            let kept = counters.unknown_until.entry(address.to_lowercase()).or_insert(end);
            if *kept <= Instant::now() {
                *kept = end;
            }
        });
    }

    /// What an address or a login asks for.
    async fn told(&mut self, behaviour: &Behaviour, sign: Option<Sign>) -> io::Result<Told> {
        let Some(sign) = sign else { return Ok(Told::Nothing) };
        Ok(Told::Refuse(match sign {
            Sign::Code(code) => reply_for(code),
            Sign::Later => "451 4.3.0 Try again later".into(),
            Sign::Full => "552 5.2.2 Mailbox full".into(),
            Sign::Disabled => "550 5.2.1 Mailbox disabled, not accepting messages".into(),
            Sign::Relay => "550 5.7.1 Relaying denied".into(),
            Sign::TooMany if self.part.recipients > 1 => behaviour.wording.too_many_recipients().into(),
            Sign::Busy => return Ok(Told::Done(self.talk.say_and_close(&reply_for(421)))),
            Sign::Drop => return Ok(Told::Done(Flow::Cut)),
            Sign::Garbage => return Ok(Told::Done(self.talk.garbage(GARBAGE))),
            Sign::Hang => return self.talk.hang().await.map(Told::Done),
            Sign::Slow => {
                self.pause(behaviour.slow).await?;
                return Ok(Told::Nothing);
            }
            Sign::TooMany | Sign::Dot(_) | Sign::DropDot => return Ok(Told::Nothing),
        }))
    }

    /// Answers DATA; no octet of a message is ever right.
    async fn data(&mut self, behaviour: &Behaviour) -> io::Result<Flow> {
        self.talk.host.count(|counters| counters.data_commands += 1);
        if let Some(flow) = self.talk.fault(Point::Data).await? {
            return Ok(flow);
        }
        if let Some(reply) = self.part.unknown.take() {
            return self.refuse_recipient(behaviour, &reply).await;
        }
        if self.part.recipients == 0 {
            return self.refuse(behaviour, "554 5.5.1 No valid recipients").await;
        }
        self.talk.say("354 Go ahead");
        let mut octets = 0;
        // The stream's own end is the right one here.
        let whole = self.talk.wire.body(|chunk| octets += chunk.len()).await?;
        if whole || octets > 0 {
            self.talk.host.count(|counters| counters.violations += 1);
        }
        self.talk.note(|| format!("({octets} octets of a message)"));
        Ok(self.talk.say_and_close("554 5.5.0 This server is asked, not sent to"))
    }

    async fn refuse_recipient(&mut self, behaviour: &Behaviour, reply: &str) -> io::Result<Flow> {
        if reply.starts_with('5') {
            self.talk.host.count(|counters| counters.recipients_bad += 1);
        }
        self.refuse(behaviour, reply).await
    }

    /// A refusal: late by the tarpit, counted, and the last one when there were too many.
    async fn refuse(&mut self, behaviour: &Behaviour, reply: &str) -> io::Result<Flow> {
        if reply.starts_with('5') {
            if !(behaviour.logged_in_bypass && self.part.user.is_some()) {
                self.pause(behaviour.tarpit).await?;
            }
            self.part.errors += 1;
        }
        self.talk.say(reply);
        if behaviour.max_errors.is_some_and(|max| self.part.errors >= max) {
            return Ok(self.limit(behaviour, Limit::Errors));
        }
        Ok(Flow::On)
    }

    fn limit(&mut self, behaviour: &Behaviour, limit: Limit) -> Flow {
        self.talk.host.count(|counters| counters.closed_by_limit += 1);
        self.trip(limit);
        self.talk.say_and_close(behaviour.wording.too_many_errors())
    }

    async fn pause(&mut self, time: Duration) -> io::Result<()> {
        if !time.is_zero() {
            self.talk.wire.flush().await?;
            tokio::time::sleep(time).await;
        }
        Ok(())
    }
}
