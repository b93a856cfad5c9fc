//! One session at the stand-in next hop.

use super::mail::{Mailbox, Received};
use super::{Behaviour, Counters};
use crate::fault::{Action, Point};
use crate::session::{Part, Session};
use crate::talk::{Flow, path};
use crate::telling::{Sign, reply_for};
use std::io;
use std::sync::Arc;
use vouchsafe_smtp::sasl::{decode_base64, decode_plain};

/// What a session of the next hop has in mind.
pub(super) struct Taking {
    mailbox: Arc<Mailbox>,
    logged_in: bool,
    messages: u32,
    /// The transaction, from MAIL on.
    mail: Option<Received>,
    /// What telling recipients want to hear at the dot.
    dot: Option<Sign>,
}

impl Taking {
    pub(super) fn into(mailbox: Arc<Mailbox>) -> Taking {
        Taking { mailbox, logged_in: false, messages: 0, mail: None, dot: None }
    }
}

impl Part for Taking {
    type Behaviour = Behaviour;
    type Counters = Counters;

    async fn command(
        session: &mut Session<Taking>,
        behaviour: &Behaviour,
        verb: &str,
        argument: &str,
    ) -> io::Result<Option<Flow>> {
        Ok(Some(match verb {
            "AUTH" => session.auth(behaviour, argument).await?,
            "MAIL" => session.mail(behaviour, argument).await?,
            "RCPT" => session.rcpt(behaviour, argument).await?,
            "DATA" => session.data(behaviour).await?,
            "XCLIENT" => session.talk.say(&format!("220 {} ESMTP", behaviour.hostname)),
            "XFORWARD" => session.talk.say("250 2.0.0 Ok"),
            _ => return Ok(None),
        }))
    }

    async fn refuse(session: &mut Session<Taking>, _: &Behaviour, reply: &str) -> io::Result<Flow> {
        Ok(session.talk.say(reply))
    }

    fn mechanisms<'a>(&self, behaviour: &'a Behaviour, _: bool) -> Vec<&'a str> {
        if behaviour.login.is_some() { vec!["PLAIN", "LOGIN"] } else { Vec::new() }
    }

    fn reset(&mut self) {
        self.mail = None;
    }

    fn forget(&mut self) {
        self.logged_in = false;
    }
}

impl Session<Taking> {
    async fn auth(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Auth).await? {
            return Ok(flow);
        }
        let Some((name, password)) = behaviour.login.as_ref().filter(|_| !self.part.logged_in) else {
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
        self.part.logged_in = right;
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
        if behaviour.login.is_some() && !self.part.logged_in {
            return Ok(self.talk.say("530 5.7.0 Authentication required"));
        }
        if behaviour.max_messages.is_some_and(|max| self.part.messages >= max) {
            return Ok(self.talk.say_and_close("421 4.7.0 Too many messages in this connection"));
        }
        if self.part.mail.is_some() {
            return Ok(self.talk.say("503 5.5.1 Bad sequence of commands"));
        }
        let Some((reverse_path, parameters)) = path(argument, "FROM:") else {
            return Ok(self.talk.say("501 5.5.4 Syntax: MAIL FROM:<address>"));
        };
        self.part.dot = None;
        self.part.mail = Some(Received {
            session: self.talk.session(),
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
        let Some(mail) = &mut self.part.mail else {
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
            Some(sign @ (Sign::Dot(_) | Sign::DropDot)) => self.part.dot = Some(sign),
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
        let Some(mut mail) = self.part.mail.take_if(|mail| !mail.recipients.is_empty()) else {
            return Ok(self.talk.say("554 5.5.1 No valid recipients"));
        };
        self.talk.say("354 Go ahead");
        let body_fault = self.talk.host.fault(Point::Body);
        if body_fault == Some(Action::Cut) {
            self.talk.wire.some().await?;
            return Ok(Flow::Cut);
        }
        let wanted = self.part.mailbox.wanted();
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
        if let Some(Sign::Dot(code)) = self.part.dot {
            self.talk.host.count(|counters| counters.refused += 1);
            return Ok(self.talk.say(&reply_for(code)));
        }
        if let Some(flow) = self.talk.fault(Point::Dot).await? {
            self.talk.host.count(|counters| counters.refused += 1);
            return Ok(flow);
        }
        let (octets, recipients) = (mail.octets, mail.recipients.len() as u64);
        let judged = self.part.mailbox.put(mail, stuffed);
        self.part.messages += 1;
        self.talk.host.count(|counters| {
            counters.messages += 1;
            counters.octets += octets;
            counters.recipients += recipients;
            counters.doubled += u64::from(judged.doubled);
            counters.partial += u64::from(judged.partial);
        });
        if self.part.dot == Some(Sign::DropDot) {
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
