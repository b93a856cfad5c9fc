//! One session at the stand-in next hop.

use super::mail::{Mailbox, Received};
use super::{Behaviour, Counters};
use crate::fault::{Action, Point};
use crate::host::Host;
use crate::talk::{Flow, Talk, path, split};
use crate::telling::{Sign, reply_for};
use std::io;
use std::sync::Arc;
use vouchsafe_net::stream::BoxStream;
use vouchsafe_smtp::sasl::{decode_base64, decode_plain};

/// State of a session.
pub(super) struct Session {
    talk: Talk<Behaviour, Counters>,
    mailbox: Arc<Mailbox>,
    number: u64,
    secure: bool,
    logged_in: bool,
    messages: u32,
    /// The transaction, from MAIL on.
    mail: Option<Received>,
    /// What telling recipients want to hear at the dot.
    dot: Option<Sign>,
}

impl Session {
    /// From the banner to the end; an error is the stream's.
    pub(super) async fn run(
        host: Arc<Host<Behaviour, Counters>>,
        mailbox: Arc<Mailbox>,
        stream: BoxStream,
        connections: u32,
    ) -> io::Result<()> {
        let mut talk = Talk::new(host.clone(), stream);
        let behaviour = host.behaviour();
        let secure = behaviour.implicit_tls && behaviour.tls.is_some();
        if let (true, Some(config)) = (secure, &behaviour.tls) {
            talk = talk.secure(config.clone()).await?;
            host.count(|counters| counters.tls += 1);
        }
        let mut session = Session {
            number: talk.session(),
            talk,
            mailbox,
            secure,
            logged_in: false,
            messages: 0,
            mail: None,
            dot: None,
        };
        let mut flow = session.banner(&behaviour, connections).await?;
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

    async fn banner(&mut self, behaviour: &Behaviour, connections: u32) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Banner).await? {
            return Ok(flow);
        }
        if behaviour.max_connections.is_some_and(|max| connections > max) {
            return Ok(self.talk.say_and_close("421 4.7.0 Too many connections from your address"));
        }
        Ok(self.talk.say(&format!("220 {} ESMTP", behaviour.hostname)))
    }

    async fn command(&mut self, behaviour: &Behaviour, verb: &str, argument: &str) -> io::Result<Flow> {
        match verb {
            "EHLO" | "HELO" => self.greet(behaviour, verb, argument).await,
            "AUTH" => self.auth(behaviour, argument).await,
            "MAIL" => self.mail(behaviour, argument).await,
            "RCPT" => self.rcpt(behaviour, argument).await,
            "DATA" => self.data(behaviour).await,
            "RSET" => {
                if let Some(flow) = self.talk.fault(Point::Rset).await? {
                    return Ok(flow);
                }
                self.mail = None;
                Ok(self.talk.say("250 2.0.0 Ok"))
            }
            "NOOP" => Ok(self.talk.say("250 2.0.0 Ok")),
            "QUIT" => Ok(self.talk.say_and_close("221 2.0.0 Bye")),
            "XCLIENT" => Ok(self.talk.say(&format!("220 {} ESMTP", behaviour.hostname))),
            "XFORWARD" => Ok(self.talk.say("250 2.0.0 Ok")),
            _ => Ok(self.talk.say("500 5.5.2 Command not recognized")),
        }
    }

    async fn greet(&mut self, behaviour: &Behaviour, verb: &str, name: &str) -> io::Result<Flow> {
        self.talk.host.count(|counters| name.clone_into(&mut counters.greeted_as));
        if let Some(flow) = self.talk.fault(Point::Ehlo).await? {
            return Ok(flow);
        }
        self.mail = None;
        if verb == "HELO" {
            return Ok(self.talk.say(&format!("250 {}", behaviour.hostname)));
        }
        if behaviour.helo_only {
            return Ok(self.talk.say("502 5.5.1 Command not implemented"));
        }
        let mut reply = format!("250 {}", behaviour.hostname);
        for extension in &behaviour.extensions {
            reply += &format!("\n{extension}");
        }
        if behaviour.tls.is_some() && !self.secure {
            reply += "\nSTARTTLS";
        }
        if behaviour.login.is_some() {
            reply += "\nAUTH PLAIN LOGIN";
        }
        Ok(self.talk.say(&reply))
    }

    async fn start_tls(mut self, behaviour: &Behaviour) -> io::Result<(Session, Flow)> {
        if let Some(flow) = self.talk.fault(Point::StartTls).await? {
            return Ok((self, flow));
        }
        let Some(config) = behaviour.tls.clone().filter(|_| !self.secure) else {
            let flow = self.talk.say("502 5.5.1 STARTTLS not offered");
            return Ok((self, flow));
        };
        self.talk.say("220 2.0.0 Ready");
        let talk = self.talk.secure(config).await?;
        talk.host.count(|counters| counters.tls += 1);
        Ok((Session { talk, secure: true, logged_in: false, mail: None, ..self }, Flow::On))
    }

    async fn auth(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Auth).await? {
            return Ok(flow);
        }
        let Some((name, password)) = behaviour.login.as_ref().filter(|_| !self.logged_in) else {
            return Ok(self.talk.say("503 5.5.1 Bad sequence of commands"));
        };
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let given = match (&*mechanism.to_ascii_uppercase(), initial) {
            ("PLAIN", "") => self.ask("334 ").await?,
            ("PLAIN", initial) => decoded(initial),
            ("LOGIN", _) => match self.ask("334 VXNlcm5hbWU6").await? {
                Some(name) => self
                    .ask("334 UGFzc3dvcmQ6")
                    .await?
                    .map(|password| [&[0], &*name, &[0], &*password].concat()),
                None => None,
            },
            _ => return Ok(self.talk.say("504 5.5.4 Authentication mechanism not supported")),
        };
        let right = given
            .and_then(|octets| decode_plain(&octets).ok())
            .is_some_and(|plain| plain.authcid == *name && plain.password.expose() == password.as_bytes());
        self.logged_in = right;
        self.talk.host.count(|counters| match right {
            true => counters.logins_good += 1,
            false => counters.logins_bad += 1,
        });
        Ok(self.talk.say(match right {
            true => "235 2.7.0 Authentication successful",
            false => "535 5.7.8 Authentication credentials invalid",
        }))
    }

    async fn ask(&mut self, challenge: &str) -> io::Result<Option<Vec<u8>>> {
        self.talk.say(challenge);
        Ok(self.talk.secret_line().await?.and_then(|line| decoded(&line)))
    }

    async fn mail(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Mail).await? {
            return Ok(flow);
        }
        if behaviour.login.is_some() && !self.logged_in {
            return Ok(self.talk.say("530 5.7.0 Authentication required"));
        }
        if behaviour.max_messages.is_some_and(|max| self.messages >= max) {
            return Ok(self.talk.say_and_close("421 4.7.0 Too many messages in this connection"));
        }
        if self.mail.is_some() {
            return Ok(self.talk.say("503 5.5.1 Bad sequence of commands"));
        }
        let Some((reverse_path, parameters)) = path(argument, "FROM:") else {
            return Ok(self.talk.say("501 5.5.4 Syntax: MAIL FROM:<address>"));
        };
        self.dot = None;
        self.mail = Some(Received {
            session: self.number,
            reverse_path: reverse_path.to_owned(),
            mail_parameters: parameters.to_owned(),
            secure: self.secure,
            ..Received::default()
        });
        Ok(self.talk.say("250 2.1.0 Sender ok"))
    }

    async fn rcpt(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Rcpt).await? {
            return Ok(flow);
        }
        let Some(mail) = &mut self.mail else {
            return Ok(self.talk.say("503 5.5.1 Need MAIL first"));
        };
        let Some((address, parameters)) = path(argument, "TO:") else {
            return Ok(self.talk.say("501 5.5.4 Syntax: RCPT TO:<address>"));
        };
        if behaviour.max_recipients.is_some_and(|max| mail.recipients.len() >= max as usize) {
            return Ok(self.refuse("452 4.5.3 Too many recipients"));
        }
        match Sign::of(address) {
            Some(Sign::Code(code)) => return Ok(self.refuse(&reply_for(code))),
            Some(Sign::Later) => return Ok(self.refuse("451 4.3.0 Try again later")),
            Some(Sign::Full) => return Ok(self.refuse("552 5.2.2 Mailbox full")),
            Some(Sign::Disabled) => {
                return Ok(self.refuse("550 5.2.1 Mailbox disabled, not accepting messages"));
            }
            Some(Sign::Relay) => return Ok(self.refuse("550 5.7.1 Relaying denied")),
            Some(Sign::TooMany) if !mail.recipients.is_empty() => {
                return Ok(self.refuse("452 4.5.3 Too many recipients"));
            }
            Some(Sign::Busy) => return Ok(self.talk.say_and_close(&reply_for(421))),
            Some(Sign::Drop) => return Ok(Flow::Cut),
            Some(Sign::Hang) => return self.talk.hang().await,
            Some(Sign::Garbage) => return Ok(self.talk.garbage(b"\xff\xfe garbage without a code\r\n")),
            Some(Sign::Slow) => {
                self.talk.wire.flush().await?;
                tokio::time::sleep(behaviour.slow).await;
            }
            Some(sign @ (Sign::Dot(_) | Sign::DropDot)) => self.dot = Some(sign),
            Some(Sign::TooMany) | None => {}
        }
        mail.recipients.push(address.to_owned());
        mail.recipient_parameters.push(parameters.to_owned());
        Ok(self.talk.say("250 2.1.5 Recipient ok"))
    }

    fn refuse(&mut self, reply: &str) -> Flow {
        self.talk.host.count(|counters| counters.recipients_refused += 1);
        self.talk.say(reply)
    }

    async fn data(&mut self, behaviour: &Behaviour) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Data).await? {
            return Ok(flow);
        }
        let Some(mut mail) = self.mail.take_if(|mail| !mail.recipients.is_empty()) else {
            return Ok(self.talk.say("554 5.5.1 No valid recipients"));
        };
        self.talk.say("354 Go ahead");
        let body_fault = self.talk.host.fault(Point::Body);
        if body_fault == Some(Action::Cut) {
            self.talk.wire.some().await?;
            return Ok(Flow::Cut);
        }
        let wanted = self.mailbox.wanted();
        let mut stuffed = Vec::new();
        let whole = self
            .talk
            .wire
            .body(|chunk| {
                mail.octets += chunk.len() as u64;
                let room = wanted.saturating_sub(stuffed.len());
                stuffed.extend_from_slice(&chunk[..room.min(chunk.len())]);
            })
            .await?;
        if !whole {
            self.talk.host.count(|counters| counters.cut += 1);
            return Ok(Flow::Cut);
        }
        self.talk.note(|| format!("({} octets)", mail.octets));
        self.dot(behaviour, mail, &stuffed).await
    }

    /// Answers the final dot.
    async fn dot(&mut self, behaviour: &Behaviour, mail: Received, stuffed: &[u8]) -> io::Result<Flow> {
        if !behaviour.dot_delay.is_zero() {
            tokio::time::sleep(behaviour.dot_delay).await;
        }
        if let Some(Sign::Dot(code)) = self.dot {
            self.talk.host.count(|counters| counters.refused += 1);
            return Ok(self.talk.say(&reply_for(code)));
        }
        if let Some(flow) = self.talk.fault(Point::Dot).await? {
            self.talk.host.count(|counters| counters.refused += 1);
            return Ok(flow);
        }
        let (octets, recipients) = (mail.octets, mail.recipients.len() as u64);
        let judged = self.mailbox.put(mail, stuffed);
        self.messages += 1;
        self.talk.host.count(|counters| {
            counters.messages += 1;
            counters.octets += octets;
            counters.recipients += recipients;
            counters.doubled += u64::from(judged.doubled);
            counters.partial += u64::from(judged.partial);
        });
        if self.dot == Some(Sign::DropDot) {
            return Ok(Flow::Cut);
        }
        if let Some(flow) = self.talk.fault(Point::Reply).await? {
            return Ok(flow);
        }
        Ok(self.talk.say("250 2.0.0 Message taken"))
    }
}

fn decoded(line: &str) -> Option<Vec<u8>> {
    decode_base64(line.as_bytes()).ok().map(|secret| secret.expose().to_vec())
}
