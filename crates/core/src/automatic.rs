//! Mail that we write ourselves to one recipient: from nobody, answered by nothing, reported by nobody. ASCII on the wire, so
//! that it passes every next hop.

use bytes::Bytes;
use vouchsafe_smtp::{BodyKind, MailFrom, Mailbox, Notify, RcptTo, ReversePath};

use crate::envelope::{Envelope, MessageId, Origin};
use crate::policy::permit_notice;
use crate::ports::{Accepted, Body};
use crate::recipe::base64_lines;
use crate::time::Timestamp;

/// What it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Automatic<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// Its id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// The recipient.
    pub to: &'a Mailbox,
    /// The accepted domain of the recipient, if it is one: it chooses the route.
    pub accepted_domain: Option<&'a str>,
    /// The name beside our address.
    pub from: &'a str,
    /// Subject; what is not ASCII is told as `?`.
    pub subject: &'a str,
    /// The text, its lines ended by CRLF but for the last; what is not ASCII makes it UTF-8 in base64, which every next
    /// hop takes.
    pub text: &'a str,
}

impl Automatic<'_> {
    /// Writes the mail.
    pub fn mail(&self) -> Accepted {
        let Automatic { hostname, id, now, to, from, .. } = self;
        let ascii =
            |text: &str| -> String { text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect() };
        // RFC 3834 §5: nothing automatic shall answer this.
        let head = format!(
            "From: {from} <MAILER-DAEMON@{hostname}>\r\nTo: <{to}>\r\nSubject: {}\r\nDate: {}\r\n\
             Message-ID: <{id}@{hostname}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset={}\r\n",
            ascii(self.subject),
            now.rfc5322(),
            if self.text.is_ascii() { "us-ascii" } else { "utf-8\r\nContent-Transfer-Encoding: base64" },
        );
        let text = format!("{}\r\n", self.text);
        let text = if text.is_ascii() { text } else { base64_lines(text.as_bytes()) };
        let envelope = from_nobody(*id, *now, to, self.accepted_domain, BodyKind::SevenBit);
        Accepted {
            envelope,
            head: Bytes::from(head),
            body: Body::Memory(Bytes::from(format!("\r\n{text}"))),
            due: *now,
            claim: false,
            detached: None,
            news: None,
        }
    }
}

/// The envelope of what we write ourselves: from `<>`, so that it is never returned; to one recipient, about whom no
/// report is made (RFC 3461 §6.1); as a sender that is known.
pub(crate) fn from_nobody(
    id: MessageId,
    now: Timestamp,
    to: &Mailbox,
    accepted_domain: Option<&str>,
    body: BodyKind,
) -> Envelope {
    let sender = MailFrom { body, smtputf8: to.needs_utf8(), ..MailFrom::new(ReversePath::Null) };
    let origin = Origin {
        session: String::new(),
        listener: String::new(),
        client: None,
        port: None,
        helo: String::new(),
        esmtp: true,
        login: None,
        known_sender: true,
        proven: false,
    };
    let mut envelope = Envelope::new(id, now, origin, sender);
    let never = Notify { success: false, failure: false, delay: false };
    let recipient = RcptTo { mailbox: to.clone(), notify: Some(never), orcpt: None };
    envelope.add(recipient, permit_notice(accepted_domain));
    envelope
}
