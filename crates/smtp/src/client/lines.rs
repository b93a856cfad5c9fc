//! MAIL and RCPT as we say them: a parameter is passed on only to a peer that offered its extension.

use crate::address::{Mailbox, ReversePath};
use crate::extension::Capabilities;
use crate::params::{BodyKind, MailFrom, Notify, RcptTo, Ret};
use crate::reply::Reply;

/// What is said about an address that needs SMTPUTF8 where the peer does not offer it; then it is not asked
/// (RFC 6531 §3.5: never sent raw to such a peer).
pub fn not_carried() -> Reply {
    Reply::new(550, (5, 6, 7), "Address needs SMTPUTF8, which the destination does not offer")
}

/// The reply that ends a batch without a word about the recipient: too many in one transaction
/// (RFC 5321 §4.5.3.1.10; 552 in older servers). The rest are asked anew.
pub fn too_many_recipients(reply: &Reply) -> bool {
    let told = || reply.text.to_ascii_lowercase().contains("too many recipients");
    match reply.code {
        452 => reply.enhanced.is_some_and(|e| (e.1, e.2) == (5, 3)) || told(),
        552 => told(),
        _ => false,
    }
}

pub(super) fn carries(capabilities: &Capabilities, mailbox: &Mailbox) -> bool {
    capabilities.smtputf8 || !mailbox.needs_utf8()
}

/// MAIL of a callout: nothing but the path, and SMTPUTF8 if an address of the batch needs it.
pub(super) fn mail_of_callout(sender: &ReversePath, utf8: bool, out: &mut Vec<u8>) {
    put(out, &["MAIL FROM:<", sender.as_str(), ">", if utf8 { " SMTPUTF8" } else { "" }]);
}

pub(super) fn mail(mail: &MailFrom, utf8: bool, size: u64, peer: &Capabilities, out: &mut Vec<u8>) {
    put(out, &["MAIL FROM:<", mail.reverse_path.as_str(), ">"]);
    if peer.size.is_some() {
        put(out, &[" SIZE=", &size.to_string()]);
    }
    if peer.eight_bit_mime && mail.body == BodyKind::EightBitMime {
        put(out, &[" BODY=8BITMIME"]);
    }
    if peer.smtputf8 && utf8 {
        put(out, &[" SMTPUTF8"]);
    }
    if peer.dsn {
        match mail.ret {
            Some(Ret::Full) => put(out, &[" RET=FULL"]),
            Some(Ret::Hdrs) => put(out, &[" RET=HDRS"]),
            None => {}
        }
        if let Some(envid) = &mail.envid {
            put(out, &[" ENVID=", envid]);
        }
    }
}

pub(super) fn rcpt_of_callout(mailbox: &Mailbox, out: &mut Vec<u8>) {
    put(out, &["RCPT TO:<", mailbox.as_str(), ">"]);
}

pub(super) fn rcpt(to: &RcptTo, peer: &Capabilities, out: &mut Vec<u8>) {
    put(out, &["RCPT TO:<", to.mailbox.as_str(), ">"]);
    if !peer.dsn {
        return;
    }
    if let Some(notify) = to.notify {
        put(out, &[" NOTIFY=", &told(notify)]);
    }
    if let Some(orcpt) = &to.orcpt {
        // RFC 6533 §3: a utf-8 address in ORCPT goes raw only where SMTPUTF8 is offered.
        if peer.smtputf8 || orcpt.xtext.is_ascii() {
            put(out, &[" ORCPT=", &orcpt.address_type, ";", &orcpt.xtext]);
        }
    }
}

/// `NEVER`, or the list (RFC 3461 §4.1).
fn told(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let said: Vec<&str> = words.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    if said.is_empty() { "NEVER".to_owned() } else { said.join(",") }
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}
