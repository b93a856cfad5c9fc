//! Notices to senders: what failed, is late, or was handed to a server that will not report (RFC 3461, 3464, 6522).
//!
//! Never made for the null reverse path, so two gateways cannot bounce at each other (RFC 5321 §4.5.5). Whether a
//! notice is due at all is [`crate::outcome`]'s decision; here NOTIFY is obeyed and the text is written.
//! Proof: `crates/core/tests/dsn/*.eml`.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::Bytes;
use vouchsafe_smtp::params::decode_xtext;
use vouchsafe_smtp::reply::printable;
use vouchsafe_smtp::{BodyKind, Enhanced, Mailbox, Notify, RcptTo, Ret};

use crate::automatic::from_nobody;
use crate::envelope::MessageId;
use crate::outcome::Outcome;
use crate::ports::{Accepted, Body, Message};
use crate::time::Timestamp;

/// Octets of a message that a notice returns at most.
pub const RETURNED: usize = 64 * 1024;
/// Characters of a server's words that a notice repeats: its lines stay far below 998 octets (RFC 5322 §2.1.1).
const WORDS: usize = 400;

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Given up.
    Failed,
    /// Late, still tried.
    Delayed {
        /// Until when.
        until: Timestamp,
    },
    /// Handed to a next hop without DSN.
    Relayed,
}

/// True if the sender wants to be told of this about this recipient (RFC 3461 §4.1; without NOTIFY: failures and
/// delays).
pub fn wanted(to: &RcptTo, action: Action) -> bool {
    let notify = to.notify.unwrap_or(Notify { success: false, failure: true, delay: true });
    match action {
        Action::Failed => notify.failure,
        Action::Delayed { .. } => notify.delay,
        Action::Relayed => notify.success,
    }
}

/// A recipient in a notice.
#[derive(Clone, Copy, Debug)]
pub struct Reported<'a> {
    /// Who.
    pub to: &'a RcptTo,
    /// What happened.
    pub outcome: &'a Outcome,
    /// The host that said so, if one was reached.
    pub remote: Option<&'a str>,
}

/// What a notice is made of.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// What it tells.
    pub action: Action,
    /// Our name.
    pub hostname: &'a str,
    /// The notice's own id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// The message it is about.
    pub message: &'a Message,
    /// Recipients; those that do not want this notice are left out.
    pub recipients: &'a [Reported<'a>],
    /// The first octets of the message as it is sent on, at most [`RETURNED`]; empty if they cannot be read.
    pub content: &'a [u8],
    /// The accepted domain of the reverse path, if it is one: it chooses the notice's route.
    pub accepted_domain: Option<&'a str>,
}

/// Writes the notice; `None` when nobody is to be told.
pub fn notice(notice: &Notice<'_>) -> Option<Accepted> {
    let sender = notice.message.mail.reverse_path.mailbox()?;
    let told: Vec<Reported<'_>> =
        notice.recipients.iter().filter(|r| wanted(r.to, notice.action)).copied().collect();
    if told.is_empty() {
        return None;
    }
    let writer = Writer { notice, sender, utf8: sender.needs_utf8(), boundary: format!("=_{}", notice.id) };
    let body = writer.body(&told);
    let head = writer.head();
    let eight_bit = !body.is_ascii() || !head.is_ascii();
    let kind = if eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit };
    let envelope = from_nobody(notice.id, notice.now, sender, notice.accepted_domain, kind);
    Some(Accepted {
        envelope,
        head: Bytes::from(head),
        body: Body::Memory(Bytes::from(body)),
        due: notice.now,
        claim: false,
        detached: None,
        news: None,
    })
}

struct Writer<'a> {
    notice: &'a Notice<'a>,
    sender: &'a Mailbox,
    /// The sender has an internationalized address: it reads UTF-8 anywhere (RFC 6533). Others get ASCII, but for
    /// addresses in the text.
    utf8: bool,
    boundary: String,
}

impl Writer<'_> {
    fn head(&self) -> String {
        let Notice { hostname, id, now, .. } = self.notice;
        let subject = match self.notice.action {
            Action::Failed => "Undelivered mail",
            Action::Delayed { .. } => "Delayed mail (still trying)",
            Action::Relayed => "Mail handed on",
        };
        // RFC 3834 §5: nothing automatic shall answer this.
        format!(
            "From: Mail Delivery <MAILER-DAEMON@{hostname}>\r\nTo: <{}>\r\nSubject: {subject}\r\nDate: {}\r\n\
             Message-ID: <{id}@{hostname}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type={};\r\n\tboundary=\"{}\"\r\n",
            self.sender,
            now.rfc5322(),
            self.kind("delivery-status"),
            self.boundary,
        )
    }

    fn body(&self, told: &[Reported<'_>]) -> Vec<u8> {
        let text = self.text(told);
        let charset = if text.is_ascii() { "us-ascii" } else { "utf-8" };
        let status = self.status(told);
        let mut body = Vec::new();
        self.part(&mut body, &format!("text/plain; charset={charset}"), text.as_bytes());
        self.part(&mut body, &format!("message/{}", self.kind("delivery-status")), status.as_bytes());
        if let Some((kind, content)) = self.returned() {
            self.part(&mut body, &kind, content);
        }
        body.extend_from_slice(format!("\r\n--{}--\r\n", self.boundary).as_bytes());
        body
    }

    /// RFC 6533 §4 to §6 name the internationalized kinds.
    fn kind(&self, name: &str) -> String {
        if self.utf8 { format!("global-{name}") } else { name.to_owned() }
    }

    fn part(&self, body: &mut Vec<u8>, kind: &str, content: &[u8]) {
        let coding = if content.is_ascii() { "7bit" } else { "8bit" };
        let head = format!(
            "\r\n--{}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {coding}\r\n\r\n",
            self.boundary
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
    }

    /// The part for people.
    fn text(&self, told: &[Reported<'_>]) -> String {
        let Notice { hostname, message, .. } = self.notice;
        let arrival = message.received_at.rfc5322();
        let mut text = format!("This is the mail system at {hostname}.\r\n\r\n");
        text += &match self.notice.action {
            Action::Failed => "Your message could not be delivered to the recipients below.\r\n\
                 No further attempt will be made.\r\n"
                .to_owned(),
            Action::Delayed { until } => format!(
                "Your message has not been delivered yet to the recipients below.\r\n\
                 You need not send it again: it is tried until {}.\r\n",
                until.rfc5322()
            ),
            Action::Relayed => {
                "Your message was handed on for the recipients below, to a server that does not\r\n\
                 report deliveries. This is the last notice about it.\r\n"
                    .to_owned()
            }
        };
        for Reported { to, outcome, remote } in told {
            let words = match (&outcome.said, remote) {
                // RFC 3463 §3.5: X.4.7 delivery time expired.
                (Some(said), Some(host)) if outcome.status == Enhanced(5, 4, 7) => {
                    format!("expired: {host} said: {said}")
                }
                (Some(said), Some(host)) => format!("{host} said: {said}"),
                _ => outcome.words.clone(),
            };
            let _ = write!(text, "\r\n<{}>\r\n    {}\r\n", to.mailbox, self.clean(&words));
        }
        let _ = write!(text, "\r\nThe message arrived on {arrival} and has the id {}.\r\n", message.id);
        text
    }

    /// RFC 3464 §2: the part for programs.
    fn status(&self, told: &[Reported<'_>]) -> String {
        let Notice { hostname, message, now, .. } = self.notice;
        let mut status = format!("Reporting-MTA: dns; {hostname}\r\n");
        if let Some(envid) = message.mail.envid.as_deref().and_then(decode_xtext) {
            let _ = write!(status, "Original-Envelope-Id: {}\r\n", self.clean(&envid));
        }
        let _ = write!(status, "Arrival-Date: {}\r\n", message.received_at.rfc5322());
        for Reported { to, outcome, remote } in told {
            status.push_str("\r\n");
            if let Some(orcpt) = &to.orcpt {
                let address = decode_xtext(&orcpt.xtext).unwrap_or_else(|| orcpt.xtext.clone());
                let _ = write!(
                    status,
                    "Original-Recipient: {}; {}\r\n",
                    orcpt.address_type,
                    self.address(&address)
                );
            }
            let kind = if to.mailbox.needs_utf8() { "utf-8" } else { "rfc822" };
            let _ = write!(status, "Final-Recipient: {kind}; {}\r\n", self.address(to.mailbox.as_str()));
            let action = match self.notice.action {
                Action::Failed => "failed",
                Action::Delayed { .. } => "delayed",
                Action::Relayed => "relayed",
            };
            let _ = write!(status, "Action: {action}\r\nStatus: {}\r\n", outcome.status);
            if let Some(host) = remote {
                // RFC 5321 §4.1.3: an address in place of a name stands in brackets.
                let _ = match host.parse() {
                    Ok(IpAddr::V6(v6)) => write!(status, "Remote-MTA: dns; [IPv6:{v6}]\r\n"),
                    Ok(IpAddr::V4(v4)) => write!(status, "Remote-MTA: dns; [{v4}]\r\n"),
                    Err(_) => write!(status, "Remote-MTA: dns; {}\r\n", self.clean(host)),
                };
            }
            if let Some(said) = &outcome.said {
                let _ = write!(status, "Diagnostic-Code: smtp; {}\r\n", self.clean(&said.to_string()));
            }
            let _ = write!(status, "Last-Attempt-Date: {}\r\n", now.rfc5322());
            if let Action::Delayed { until } = self.notice.action {
                let _ = write!(status, "Will-Retry-Until: {}\r\n", until.rfc5322());
            }
        }
        status
    }

    /// What of the message is returned, and as what. RET=FULL is obeyed for failures of messages up to [`RETURNED`].
    fn returned(&self) -> Option<(String, &[u8])> {
        let content = self.notice.content;
        let whole = u64::try_from(content.len()).is_ok_and(|len| len == self.notice.message.size);
        let full = self.notice.action == Action::Failed && self.notice.message.mail.ret == Some(Ret::Full);
        if content.is_empty() {
            return None;
        }
        if full && whole {
            let kind = if self.utf8 { "message/global" } else { "message/rfc822" };
            return Some((kind.to_owned(), content));
        }
        let end = content.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 2);
        // A header larger than what is returned is cut behind a line.
        let end = end.or_else(|| content.windows(2).rposition(|w| w == b"\r\n").map(|at| at + 2));
        let header = &content[..end.unwrap_or(0)];
        let kind = match (self.utf8, header.is_ascii()) {
            (false, true) => "text/rfc822-headers",
            (true, _) => "message/global-headers",
            // Raw octets in a header: told as what they are, without a claim of a character set.
            (false, false) => "text/rfc822-headers; charset=unknown-8bit",
        };
        Some((kind.to_owned(), header))
    }

    /// One line, printable, of bounded length, and ASCII for who does not read UTF-8.
    fn clean(&self, words: &str) -> String {
        let line = printable(words.replace('\n', " ").as_bytes(), WORDS);
        if self.utf8 {
            return line;
        }
        line.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }

    /// RFC 6533 §3: outside an internationalized report, a UTF-8 address is told as `\x{HEX}`.
    fn address(&self, address: &str) -> String {
        let line = printable(address.as_bytes(), WORDS);
        if self.utf8 {
            return line;
        }
        let mut ascii = String::new();
        for c in line.chars() {
            match c.is_ascii() {
                true => ascii.push(c),
                false => {
                    let _ = write!(ascii, "\\x{{{:X}}}", u32::from(c));
                }
            }
        }
        ascii
    }
}
