//! One session at the stand-in delegate.

use super::auth::{Offered, exchange};
use super::{Behaviour, Counters, RefuseAt};
use crate::fault::Point;
use crate::host::Host;
use crate::talk::{Flow, Talk, path, split};
use crate::telling::{Sign, reply_for};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use vouchsafe_net::stream::BoxStream;

/// What stands for a reply where garbage was asked for.
const GARBAGE: &[u8] = b"\xff\xfe garbage without a code\r\n";

/// What came of a telling name.
enum Told {
    /// It tells nothing.
    Nothing,
    /// It was carried out.
    Done(Flow),
    /// It asks for this reply.
    Refuse(String),
}

/// State of a session.
pub(super) struct Session {
    talk: Talk<Behaviour, Counters>,
    secure: bool,
    greeted: bool,
    user: Option<String>,
    mail: bool,
    recipients: u32,
    unknown: Option<String>,
    errors: u32,
    bad_logins: u32,
}

impl Session {
    /// From the banner to the end; an error is the stream's.
    pub(super) async fn run(
        host: Arc<Host<Behaviour, Counters>>,
        stream: BoxStream,
        number: u32,
    ) -> io::Result<()> {
        let mut talk = Talk::new(host.clone(), stream);
        let behaviour = host.behaviour();
        let secure = behaviour.implicit_tls && behaviour.tls.is_some();
        if let (true, Some(config)) = (secure, &behaviour.tls) {
            talk = talk.secure(config.clone()).await?;
            host.count(|counters| counters.tls += 1);
        }
        let mut session = Session {
            talk,
            secure,
            greeted: false,
            user: None,
            mail: false,
            recipients: 0,
            unknown: None,
            errors: 0,
            bad_logins: 0,
        };
        let mut flow = session.banner(&behaviour, number).await?;
        while flow == Flow::On {
            let Some(line) = session.talk.command().await? else { return Ok(()) };
            let behaviour = host.behaviour();
            let (verb, argument) = split(&line);
            if verb == "STARTTLS" {
                (session, flow) = session.start_tls(&behaviour).await?;
                continue;
            }
            flow = session.command(&behaviour, &verb, argument).await?;
        }
        match flow {
            Flow::Cut => Ok(()),
            Flow::On | Flow::Close => session.talk.wire.close().await,
        }
    }

    async fn banner(&mut self, behaviour: &Behaviour, number: u32) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Banner).await? {
            return Ok(flow);
        }
        if behaviour.max_connections.is_some_and(|max| number > max) {
            self.talk.host.count(|counters| counters.over_connections += 1);
            return Ok(self.talk.say_and_close(behaviour.wording.too_many_connections()));
        }
        Ok(self.talk.say(&format!("220 {} ESMTP", behaviour.hostname)))
    }

    async fn command(&mut self, behaviour: &Behaviour, verb: &str, argument: &str) -> io::Result<Flow> {
        match verb {
            "EHLO" | "HELO" => self.greet(behaviour, verb, argument).await,
            "AUTH" => self.auth(behaviour, argument).await,
            "MAIL" => self.mail(argument).await,
            "RCPT" => self.rcpt(behaviour, argument).await,
            "DATA" => self.data(behaviour).await,
            "RSET" => {
                self.talk.host.count(|counters| counters.resets += 1);
                if let Some(flow) = self.talk.fault(Point::Rset).await? {
                    return Ok(flow);
                }
                self.reset();
                Ok(self.talk.say("250 2.0.0 Ok"))
            }
            "NOOP" => Ok(self.talk.say("250 2.0.0 Ok")),
            "QUIT" => Ok(self.talk.say_and_close("221 2.0.0 Bye")),
            "XCLIENT" => {
                self.talk.host.count(|counters| counters.xclient.push(argument.to_owned()));
                self.greeted = false;
                Ok(self.talk.say(&format!("220 {} ESMTP", behaviour.hostname)))
            }
            "BDAT" => {
                self.talk.host.count(|counters| counters.violations += 1);
                Ok(self.talk.say_and_close("503 5.5.1 This server is asked, not sent to"))
            }
            _ => self.refuse(behaviour, "500 5.5.2 Command not recognized").await,
        }
    }

    async fn greet(&mut self, behaviour: &Behaviour, verb: &str, name: &str) -> io::Result<Flow> {
        self.talk.host.count(|counters| name.clone_into(&mut counters.greeted_as));
        if let Some(flow) = self.talk.fault(Point::Ehlo).await? {
            return Ok(flow);
        }
        self.reset();
        self.greeted = true;
        let mut reply = format!("250 {}", behaviour.hostname);
        if verb == "EHLO" {
            for extension in &behaviour.extensions {
                reply += &format!("\n{extension}");
            }
            if behaviour.tls.is_some() && !self.secure {
                reply += "\nSTARTTLS";
            }
            let mechanisms = self.mechanisms(behaviour);
            if !mechanisms.is_empty() {
                reply += &format!("\nAUTH {}", mechanisms.join(" "));
            }
        }
        Ok(self.talk.say(&reply))
    }

    /// RFC 3207 §4.2: everything known of the peer is forgotten.
    async fn start_tls(mut self, behaviour: &Behaviour) -> io::Result<(Session, Flow)> {
        if let Some(flow) = self.talk.fault(Point::StartTls).await? {
            return Ok((self, flow));
        }
        let Some(config) = behaviour.tls.clone().filter(|_| !self.secure) else {
            let flow = self.refuse(behaviour, "502 5.5.1 STARTTLS not offered").await?;
            return Ok((self, flow));
        };
        if self.talk.wire.has_more() {
            self.talk.host.count(|counters| counters.violations += 1);
        }
        self.talk.say("220 2.0.0 Ready");
        let talk = self.talk.secure(config).await?;
        talk.host.count(|counters| counters.tls += 1);
        Ok((Session { talk, secure: true, greeted: false, user: None, ..self }, Flow::On))
    }

    async fn auth(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Auth).await? {
            return Ok(flow);
        }
        // RFC 4954 §4: no second AUTH, none within a transaction.
        if self.user.is_some() || self.mail {
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
        if !self.mechanisms(behaviour).contains(&mechanism) {
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
        let known =
            behaviour.users.get(&name.to_lowercase()).is_some_and(|known| known.as_bytes() == password);
        let right = known && !self.is_locked(behaviour, &name);
        if right {
            self.talk.host.count(|counters| {
                counters.logins_good += 1;
                counters.directory.succeeded(&name);
            });
            self.user = Some(name);
            return Ok(self.talk.say("235 2.7.0 Authentication successful"));
        }
        if bearer {
            // RFC 7628 §3.2.3: the error is told in a challenge, the client answers with a dummy.
            self.talk.say("334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=");
            if self.talk.secret_line().await?.is_none() {
                return Ok(Flow::Cut);
            }
        }
        self.talk.host.count(|counters| {
            counters.logins_bad += 1;
            if let Some(lockout) = behaviour.lockout {
                let (locked, recent) = counters.directory.failed(&name, lockout);
                counters.locked += u64::from(locked);
                counters.bad_in_30_minutes = counters.bad_in_30_minutes.max(recent);
            }
        });
        self.bad_logins += 1;
        let flow = self.refuse(behaviour, behaviour.wording.wrong_login()).await?;
        if flow == Flow::On && behaviour.max_bad_logins.is_some_and(|max| self.bad_logins >= max) {
            return Ok(self.limit(behaviour));
        }
        Ok(flow)
    }

    fn is_locked(&self, behaviour: &Behaviour, name: &str) -> bool {
        let Some(lockout) = behaviour.lockout else { return false };
        let mut locked = false;
        self.talk.host.count(|counters| locked = counters.directory.is_locked(name, lockout));
        locked
    }

    async fn mail(&mut self, argument: &str) -> io::Result<Flow> {
        self.talk.host.count(|counters| counters.mails += 1);
        if let Some(flow) = self.talk.fault(Point::Mail).await? {
            return Ok(flow);
        }
        let Some((reverse_path, _)) = path(argument, "FROM:") else {
            return Ok(self.talk.say("501 5.5.4 Syntax: MAIL FROM:<address>"));
        };
        if !self.greeted || self.mail {
            return Ok(self.talk.say("503 5.5.1 Bad sequence of commands"));
        }
        self.talk.host.count(|counters| reverse_path.clone_into(&mut counters.reverse_path));
        self.mail = true;
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
        if !self.mail {
            return self.refuse(behaviour, "503 5.5.1 Need MAIL first").await;
        }
        if behaviour.login_required && self.user.is_none() {
            return self.refuse(behaviour, "530 5.7.0 Authentication required").await;
        }
        if behaviour.max_recipients.is_some_and(|max| self.recipients >= max) {
            return Ok(self.talk.say(behaviour.wording.too_many_recipients()));
        }
        self.recipients += 1;
        match self.told(behaviour, Sign::of(address)).await? {
            Told::Nothing => {}
            Told::Done(flow) => return Ok(flow),
            Told::Refuse(reply) => return self.refuse_recipient(behaviour, &reply).await,
        }
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase();
        if !behaviour.domains.contains(&domain) && !behaviour.relays {
            return self.refuse_recipient(behaviour, &behaviour.wording.relaying_denied(address)).await;
        }
        if behaviour.domains.contains(&domain) && !behaviour.known.contains(&address.to_lowercase()) {
            let reply = behaviour.wording.unknown_recipient(address);
            match behaviour.refuse_at {
                RefuseAt::Rcpt => return self.refuse_recipient(behaviour, &reply).await,
                RefuseAt::Data => self.unknown = Some(reply),
                RefuseAt::Never => {}
            }
        }
        self.talk.host.count(|counters| counters.recipients_good += 1);
        Ok(self.talk.say("250 2.1.5 Recipient ok"))
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
            Sign::TooMany if self.recipients > 1 => behaviour.wording.too_many_recipients().into(),
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
        if let Some(reply) = self.unknown.take() {
            return self.refuse_recipient(behaviour, &reply).await;
        }
        if self.recipients == 0 {
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
            self.pause(behaviour.tarpit).await?;
            self.errors += 1;
        }
        self.talk.say(reply);
        if behaviour.max_errors.is_some_and(|max| self.errors >= max) {
            return Ok(self.limit(behaviour));
        }
        Ok(Flow::On)
    }

    fn limit(&mut self, behaviour: &Behaviour) -> Flow {
        self.talk.host.count(|counters| counters.closed_by_limit += 1);
        self.talk.say_and_close(behaviour.wording.too_many_errors())
    }

    async fn pause(&mut self, time: Duration) -> io::Result<()> {
        if !time.is_zero() {
            self.talk.wire.flush().await?;
            tokio::time::sleep(time).await;
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.mail = false;
        self.recipients = 0;
        self.unknown = None;
    }

    fn mechanisms<'a>(&self, behaviour: &'a Behaviour) -> &'a [String] {
        match behaviour.tls.is_some() && !self.secure {
            true => &behaviour.mechanisms_before_tls,
            false => &behaviour.mechanisms,
        }
    }
}
