//! What rows and records hold, as JSON: types of their own, so that core knows nothing of it and a later format can
//! read an earlier one. Fields at their usual value are left out.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vouchsafe_core::policy::PermitReason;
use vouchsafe_core::{Envelope, Origin, QueuedRecipient, RecipientState};
use vouchsafe_smtp::{BodyKind, MailFrom, Mailbox, Notify, Orcpt, RcptTo, Ret, ReversePath};

/// Origin and MAIL of a message.
#[derive(Serialize, Deserialize)]
pub struct Meta {
    #[serde(rename = "s")]
    session: String,
    #[serde(rename = "l")]
    listener: String,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(rename = "h", default, skip_serializing_if = "is_default")]
    helo: String,
    /// It said HELO.
    #[serde(rename = "o", default, skip_serializing_if = "is_default")]
    old: bool,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(rename = "k", default, skip_serializing_if = "is_default")]
    known_sender: bool,
    #[serde(rename = "v", default, skip_serializing_if = "is_default")]
    proven: bool,
    /// Empty for the null reverse path.
    #[serde(rename = "f")]
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "8", default, skip_serializing_if = "is_default")]
    eight_bit: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    smtputf8: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    /// True: the whole message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ret: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envid: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Meta {
    /// The row's form.
    pub fn of(origin: &Origin, mail: &MailFrom) -> Meta {
        Meta {
            session: origin.session.clone(),
            listener: origin.listener.clone(),
            client: origin.client,
            port: origin.port,
            helo: origin.helo.clone(),
            old: !origin.esmtp,
            login: origin.login.clone(),
            known_sender: origin.known_sender,
            proven: origin.proven,
            from: mail.reverse_path.as_str().to_owned(),
            size: mail.size,
            eight_bit: mail.body == BodyKind::EightBitMime,
            smtputf8: mail.smtputf8,
            auth: mail.auth.clone(),
            ret: mail.ret.map(|ret| ret == Ret::Full),
            envid: mail.envid.clone(),
        }
    }

    /// The core's form; the error names the address that does not parse.
    pub fn into_core(self) -> Result<(Origin, MailFrom), String> {
        let reverse_path = match self.from.as_str() {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(mailbox(text)?),
        };
        let origin = Origin {
            session: self.session,
            listener: self.listener,
            client: self.client,
            port: self.port,
            helo: self.helo,
            esmtp: !self.old,
            login: self.login,
            known_sender: self.known_sender,
            proven: self.proven,
        };
        let mail = MailFrom {
            reverse_path,
            size: self.size,
            body: if self.eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit },
            smtputf8: self.smtputf8,
            auth: self.auth,
            ret: self.ret.map(|full| if full { Ret::Full } else { Ret::Hdrs }),
            envid: self.envid,
        };
        Ok((origin, mail))
    }
}

/// A recipient beneath a delivery.
#[derive(Serialize, Deserialize)]
pub struct Recipient {
    #[serde(rename = "i")]
    index: u32,
    #[serde(rename = "a")]
    address: String,
    /// success, failure, delay.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    notify: Option<(bool, bool, bool)>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    orcpt: Option<(String, String)>,
    #[serde(rename = "h", default, skip_serializing_if = "is_default")]
    held: bool,
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    last_reply: String,
    #[serde(rename = "w", default, skip_serializing_if = "is_default")]
    warned: bool,
}

impl Recipient {
    fn of(recipient: &QueuedRecipient) -> Recipient {
        let QueuedRecipient { index, to, state, last_reply, warned } = recipient;
        Recipient {
            index: *index,
            address: to.mailbox.as_str().to_owned(),
            notify: to.notify.map(|notify| (notify.success, notify.failure, notify.delay)),
            orcpt: to.orcpt.as_ref().map(|orcpt| (orcpt.address_type.clone(), orcpt.xtext.clone())),
            held: *state == RecipientState::Held,
            last_reply: last_reply.clone(),
            warned: *warned,
        }
    }

    fn into_core(self) -> Result<QueuedRecipient, String> {
        Ok(QueuedRecipient {
            index: self.index,
            to: RcptTo {
                mailbox: mailbox(&self.address)?,
                notify: self.notify.map(|(success, failure, delay)| Notify { success, failure, delay }),
                orcpt: self.orcpt.map(|(address_type, xtext)| Orcpt { address_type, xtext }),
            },
            state: if self.held { RecipientState::Held } else { RecipientState::Pending },
            last_reply: self.last_reply,
            warned: self.warned,
        })
    }
}

/// The recipients column.
pub fn recipients_to_json(recipients: &[QueuedRecipient]) -> String {
    to_json(&recipients.iter().map(Recipient::of).collect::<Vec<_>>())
}

/// The recipients column, read.
pub fn recipients_from_json(json: &str) -> Result<Vec<QueuedRecipient>, String> {
    let rows: Vec<Recipient> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    rows.into_iter().map(Recipient::into_core).collect()
}

/// The envelope as a record keeps it: enough to make the rows again.
#[derive(Serialize)]
struct EnvelopeRecord<'a> {
    received_at: i64,
    due: i64,
    meta: &'a Meta,
    /// Address, route, why it was let in.
    recipients: Vec<(Recipient, String, &'static str)>,
}

/// The envelope of a record.
pub fn envelope_to_json(envelope: &Envelope, meta: &Meta, due: i64) -> String {
    let recipients = (0u32..).zip(envelope.recipients()).map(|(index, (to, permit))| {
        let recipient = Recipient::of(&QueuedRecipient {
            index,
            to: to.clone(),
            state: RecipientState::Pending,
            last_reply: String::new(),
            warned: false,
        });
        let reason = match permit.reason() {
            PermitReason::AcceptedDomain => "accepted domain",
            PermitReason::AnyDomain => "any domain",
            PermitReason::Authenticated => "authenticated",
            PermitReason::TrustedNetwork => "trusted network",
            PermitReason::OpenRelay => "open relay",
            PermitReason::Notice => "notice",
        };
        (recipient, permit.route().to_string(), reason)
    });
    to_json(&EnvelopeRecord {
        received_at: envelope.received_at.0,
        due,
        meta,
        recipients: recipients.collect(),
    })
}

/// JSON of a type that always has one.
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("rows have text keys and no failing parts")
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text, true).map_err(|fault| format!("stored address does not parse: {}", fault.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_an_earlier_version_is_read() {
        let earlier = r#"{"s":"s-1","l":"mx","c":"192.0.2.7","k":true,"f":"a@x.example"}"#;
        let (origin, mail) = serde_json::from_str::<Meta>(earlier).unwrap().into_core().unwrap();
        assert_eq!((origin.port, origin.helo.as_str(), origin.esmtp), (None, "", true));
        assert_eq!(to_json(&Meta::of(&origin, &mail)), earlier, "and written as it was");
        assert!(!origin.proven);
        let proven = to_json(&Meta::of(&Origin { proven: true, ..origin }, &mail));
        assert!(serde_json::from_str::<Meta>(&proven).unwrap().into_core().unwrap().0.proven);
    }
}
