//! What an attempt at the next hop means for each recipient (DESIGN section 6).
//!
//! Three rules come before the next hop's digits: a wrong route bounces nothing; a stranger's message makes no
//! backscatter; what cannot be told now is tried again. Never asks, never sends, never counts time.
//! Proof: tests below, `crates/gateway/tests/delivery/refusals.rs`.

use std::collections::HashSet;

use vouchsafe_smtp::client::{DeliveryReplies, FaultKind, Phase};
use vouchsafe_smtp::extension::Capabilities;
use vouchsafe_smtp::{BodyKind, Enhanced, MailFrom, RcptTo, Reply};

use crate::envelope::{MessageId, Origin};

/// What is done with a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next hop took it.
    Delivered,
    /// Tried again later.
    Retry,
    /// Given up; its sender gets a DSN unless the reverse path is null or NOTIFY forbids.
    Fail,
    /// Kept for the administrator.
    Hold,
}

/// Who is to blame for what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nobody.
    Nobody,
    /// The next hop, or the way to it.
    NextHop,
    /// We, or our settings.
    Us,
}

impl Blame {
    /// As [`crate::ports::HistoryEvent`] names it.
    pub fn word(self) -> &'static str {
        match self {
            Blame::Nobody => "",
            Blame::NextHop => "next_hop",
            Blame::Us => "us",
        }
    }
}

/// How an attempt ended for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is done.
    pub end: End,
    /// For the DSN.
    pub status: Enhanced,
    /// The next hop's reply, if it gave one.
    pub said: Option<Reply>,
    /// Words for `queue show`, log and history.
    pub words: String,
    /// Who is to blame.
    pub blame: Blame,
    /// The route is at fault: the administrator must act, the message never bounces for it.
    pub route_fault: bool,
}

/// Whether senders on `mx` listeners get DSNs for a next hop's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BounceStrangers {
    /// Never.
    Never,
    /// When SPF or an aligned DKIM signature proved the reverse path: else the bounce would go to whoever was forged.
    Verified,
    /// Always: makes backscatter.
    Always,
}

impl BounceStrangers {
    /// Whether a stranger's message of this origin bounces.
    pub fn allows(self, origin: &Origin) -> bool {
        match self {
            BounceStrangers::Never => false,
            BounceStrangers::Verified => origin.proven,
            BounceStrangers::Always => true,
        }
    }
}

/// What decides between failing and holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The sender authenticated or is in a trusted network.
    pub known_sender: bool,
    /// This message bounces although its sender is a stranger ([`BounceStrangers::allows`]).
    pub bounce_strangers: bool,
    /// `soft_bounce`.
    pub soft_bounce: bool,
}

impl Rules {
    /// Whether the sender is told of what failed and of what was handed on: others may have been forged.
    pub fn tells(self) -> bool {
        self.known_sender || self.bounce_strangers
    }
}

/// The end of an attempt as the client's side of the session saw it.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// The dialogue was completed.
    Replies(&'a DeliveryReplies),
    /// The session broke; the words name the peer and the phase.
    Fault {
        /// What was under way.
        phase: Phase,
        /// What happened.
        kind: &'a FaultKind,
        /// In a sentence.
        words: &'a str,
    },
}

/// The outcome for each of `recipients`, in order. `memory` is the route's.
pub fn judge(
    attempt: Attempt<'_>,
    message: MessageId,
    recipients: &[&RcptTo],
    rules: Rules,
    memory: &mut RouteMemory,
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = match attempt {
        Attempt::Replies(replies) => (0..recipients.len()).map(|n| of_replies(replies, n, rules)).collect(),
        Attempt::Fault { phase, kind, words } => {
            let outcome = of_fault(phase, kind, words, rules);
            vec![outcome; recipients.len()]
        }
    };
    if outcomes.iter().any(|outcome| outcome.end == End::Delivered) {
        memory.forget();
    } else if rules.known_sender && memory.same_refusal(message, recipients, &outcomes) {
        for outcome in &mut outcomes {
            *outcome = Outcome { end: End::Retry, route_fault: true, ..outcome.clone() };
            outcome.words = format!("the route refuses all mail: {}", outcome.words);
        }
    }
    outcomes
}

fn of_replies(replies: &DeliveryReplies, n: usize, rules: Rules) -> Outcome {
    let refusal = match (&replies.mail, replies.recipients.get(n), &replies.data) {
        (Some(mail), ..) => Some((Phase::Mail, mail)),
        (None, Some(rcpt), _) if !rcpt.is_positive() => Some((Phase::Rcpt, rcpt)),
        (None, Some(_), Some(data)) if data.is_positive() => {
            return Outcome {
                end: End::Delivered,
                status: Enhanced(2, 0, 0),
                said: Some(data.clone()),
                words: data.to_string(),
                blame: Blame::Nobody,
                route_fault: false,
            };
        }
        (None, Some(_), Some(data)) => Some((Phase::Dot, data)),
        (None, ..) => None,
    };
    match refusal {
        Some((phase, reply)) => of_reply(phase, reply, rules),
        // Not asked: the peer ended the transaction early.
        None => retry(Enhanced(4, 4, 2), "the next hop was not asked about it".to_owned(), Blame::NextHop),
    }
}

/// A refusal by the next hop.
fn of_reply(phase: Phase, reply: &Reply, rules: Rules) -> Outcome {
    let words = reply.to_string();
    let outcome = if is_route_fault(phase, reply) {
        Outcome {
            route_fault: true,
            ..retry(status(reply, 4), format!("the route is at fault: {words}"), Blame::NextHop)
        }
    } else if reply.is_permanent() && !too_many_recipients(reply) {
        permanent(status(reply, 5), words, Blame::NextHop, rules)
    } else {
        retry(status(reply, 4), words, Blame::NextHop)
    };
    Outcome { said: Some(reply.clone()), ..outcome }
}

fn of_fault(phase: Phase, kind: &FaultKind, words: &str, rules: Rules) -> Outcome {
    let words = words.to_owned();
    match kind {
        FaultKind::Refused(reply) => Outcome { words, ..of_reply(phase, reply, rules) },
        FaultKind::Unreachable(_) => retry(Enhanced(4, 4, 1), words, Blame::NextHop),
        FaultKind::Timeout | FaultKind::Closed => retry(Enhanced(4, 4, 2), words, Blame::NextHop),
        FaultKind::TlsRefused(_) => {
            Outcome { route_fault: true, ..retry(Enhanced(4, 7, 5), words, Blame::NextHop) }
        }
        FaultKind::Garbage(_) => retry(Enhanced(4, 5, 0), words, Blame::NextHop),
        FaultKind::Local(_) => retry(Enhanced(4, 3, 0), words, Blame::Us),
    }
}

/// Tried again for a reason of ours or of the way to the next hop.
pub fn retry(status: Enhanced, words: String, blame: Blame) -> Outcome {
    Outcome { end: End::Retry, status, said: None, words, blame, route_fault: false }
}

/// Why a recipient is held, before the words of the refusal.
const REFUSED: &str = "refused by next hop: ";
const SOFT_BOUNCE: &str = "held by soft_bounce: ";

/// Why links in a message that still waits lead nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinksGone {
    /// The files were deleted.
    Deleted,
    /// All links were taken back.
    TakenBack,
}

impl LinksGone {
    fn what(self) -> &'static str {
        match self {
            LinksGone::Deleted => "its files were deleted",
            LinksGone::TakenBack => "its links were taken back",
        }
    }

    /// What these last words of a recipient tell of its link.
    pub fn of(words: &str) -> Option<LinksGone> {
        [LinksGone::Deleted, LinksGone::TakenBack].into_iter().find(|gone| words.starts_with(gone.what()))
    }

    /// The last words of what is held for it, for the administrator: who did it, and what can be done now.
    pub fn words(self, who: &str) -> String {
        let mend = match self {
            LinksGone::Deleted => "",
            LinksGone::TakenBack => "give its links more time and release it, or ",
        };
        format!(
            "{} by {who}: {mend}bounce or delete it; released as it is, it goes out with links that lead nowhere",
            self.what()
        )
    }
}

/// A recipient that the administrator gives up. `last`: its last words in the queue, which its sender is told, too.
pub fn returned(last: &str) -> Outcome {
    let last = last.strip_prefix(REFUSED).or_else(|| last.strip_prefix(SOFT_BOUNCE)).unwrap_or(last);
    let words = match (LinksGone::of(last), last) {
        (Some(gone), _) => format!("given up by the administrator: {}", gone.what()),
        (None, "") => "given up by the administrator".to_owned(),
        (None, last) => format!("given up by the administrator; last attempt: {last}"),
    };
    // RFC 3463 §3.1: nothing more is to be said of it in digits.
    let status = Enhanced(5, 0, 0);
    Outcome { end: End::Fail, status, said: None, words, blame: Blame::Nobody, route_fault: false }
}

/// A refusal for good, ours or the next hop's: failed for who gets bounces, held for who gets none.
pub fn permanent(status: Enhanced, words: String, blame: Blame, rules: Rules) -> Outcome {
    let (end, words) = match (rules.tells(), blame) {
        (false, Blame::NextHop) => (End::Hold, format!("{REFUSED}{words}")),
        (false, _) => (End::Hold, words),
        (true, _) if rules.soft_bounce => (End::Hold, format!("{SOFT_BOUNCE}{words}")),
        (true, _) => (End::Fail, words),
    };
    Outcome { end, status, said: None, words, blame, route_fault: false }
}

/// What becomes of a recipient that would be tried again although its time is up. A route's fault never bounces.
pub fn give_up(outcome: Outcome, rules: Rules) -> Outcome {
    let end = if outcome.route_fault || !rules.tells() { End::Hold } else { End::Fail };
    // RFC 3463 §3.5: X.4.7 delivery time expired.
    Outcome { end, status: Enhanced(5, 4, 7), words: format!("expired: {}", outcome.words), ..outcome }
}

/// Refusals of *us*, not of the message: anything before MAIL, a demand for a login, 5.7.x at MAIL, and words about
/// our commands.
fn is_route_fault(phase: Phase, reply: &Reply) -> bool {
    let policy = reply.enhanced.is_some_and(|enhanced| enhanced.0 == 5 && enhanced.1 == 7);
    match (phase, reply.code) {
        (_, ..500) => false,
        (_, 530 | 534 | 535 | 538 | 500 | 502 | 503 | 504) => true,
        (Phase::Mail, _) => policy,
        (Phase::Rcpt | Phase::Data | Phase::Body | Phase::Dot, _) => false,
        _ => true,
    }
}

/// RFC 5321 §4.5.3.1.10: the rest of the recipients belong in another transaction; old servers say 552.
pub fn too_many_recipients(reply: &Reply) -> bool {
    let told = reply.enhanced.is_some_and(|enhanced| enhanced.1 == 5 && enhanced.2 == 3);
    matches!(reply.code, 452 | 552)
        && (told || reply.text.to_ascii_lowercase().contains("too many recipients"))
}

/// The reply's own status if it has the right class, else the class alone.
fn status(reply: &Reply, class: u8) -> Enhanced {
    reply.enhanced.filter(|enhanced| enhanced.0 == class).unwrap_or(Enhanced(class, 0, 0))
}

/// What a message asks of the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Octets above 127 in the content.
    pub eight_bit: bool,
    /// Octets above 127 in the header.
    pub utf8_header: bool,
}

/// MAIL as this next hop can take it: what is not needed is not asked for. The error tells why it cannot be carried
/// (RFC 6152 §3, RFC 6531 §3.2: never converted, so returned).
pub fn fit_mail(mail: &MailFrom, needs: Needs, offers: &Capabilities) -> Result<MailFrom, Reply> {
    let sender = mail.reverse_path.mailbox().is_some_and(|mailbox| mailbox.needs_utf8());
    if mail.smtputf8 && !offers.smtputf8 && (sender || needs.utf8_header) {
        return Err(no_smtputf8());
    }
    if mail.body == BodyKind::EightBitMime && !offers.eight_bit_mime && needs.eight_bit {
        return Err(Reply::new(554, (5, 6, 3), "The next hop does not take 8-bit content (8BITMIME)"));
    }
    let body = if offers.eight_bit_mime { mail.body } else { BodyKind::SevenBit };
    Ok(MailFrom { body, smtputf8: mail.smtputf8 && offers.smtputf8, ..mail.clone() })
}

/// Why this next hop cannot be named that recipient, if so.
pub fn unfit_recipient(to: &RcptTo, offers: &Capabilities) -> Option<Reply> {
    (to.mailbox.needs_utf8() && !offers.smtputf8).then(no_smtputf8)
}

fn no_smtputf8() -> Reply {
    Reply::new(553, (5, 6, 7), "The next hop does not take internationalized addresses or headers (SMTPUTF8)")
}

/// Messages in a row, all refused alike, after which the route is at fault.
const REFUSED_ALIKE: usize = 3;
/// The same where the reply names the mailbox as the reason: it takes many strangers to the next hop to doubt that.
const UNKNOWN_ALIKE: usize = 10;

/// A route's last refusals. A next hop that says the same to every recipient of several messages refuses the route,
/// not them.
#[derive(Debug, Default)]
pub struct RouteMemory {
    reply: String,
    messages: HashSet<MessageId>,
    recipients: HashSet<String>,
}

impl RouteMemory {
    /// Something was taken: the route works.
    fn forget(&mut self) {
        *self = RouteMemory::default();
    }

    /// Notes a message of which nothing was delivered; true if the route is at fault.
    fn same_refusal(&mut self, message: MessageId, recipients: &[&RcptTo], outcomes: &[Outcome]) -> bool {
        let refusals = || outcomes.iter().filter(|o| o.end == End::Fail || o.end == End::Hold);
        let Some(first) = refusals().next().and_then(|o| o.said.as_ref()) else { return false };
        let key = without_addresses(first);
        let alike = |o: &Outcome| o.said.as_ref().is_some_and(|reply| without_addresses(reply) == key);
        if !outcomes.iter().all(|o| matches!(o.end, End::Fail | End::Hold) && alike(o)) {
            self.forget();
            return false;
        }
        if self.reply != key {
            *self = RouteMemory { reply: key, ..RouteMemory::default() };
        }
        let enough = if names_the_mailbox(first) { UNKNOWN_ALIKE } else { REFUSED_ALIKE };
        if self.messages.len() < enough {
            self.messages.insert(message);
        }
        let new = recipients.iter().map(|to| to.mailbox.key());
        self.recipients.extend(new.take(enough.saturating_sub(self.recipients.len())));
        // One address that does not exist may be tried three times: that is no fault of the route.
        self.messages.len() >= enough && self.recipients.len() >= enough
    }
}

/// RFC 3463 §3.2, §3.3: the mailbox does not exist, or takes nothing.
fn names_the_mailbox(reply: &Reply) -> bool {
    reply.enhanced.is_some_and(|Enhanced(_, subject, detail)| {
        subject == 2 || (subject == 1 && matches!(detail, 1 | 3 | 6 | 10))
    })
}

/// The reply without the words that differ from recipient to recipient.
fn without_addresses(reply: &Reply) -> String {
    let text = reply.to_string();
    let words = text.split_whitespace().map(|word| if word.contains('@') { "@" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use vouchsafe_smtp::{Mailbox, ReversePath};

    const KNOWN: Rules = Rules { known_sender: true, bounce_strangers: false, soft_bounce: false };
    const STRANGER: Rules = Rules { known_sender: false, ..KNOWN };

    fn to(text: &str) -> RcptTo {
        RcptTo { mailbox: Mailbox::parse(text, true).unwrap(), notify: None, orcpt: None }
    }
    fn mail(from: &str, body: BodyKind, smtputf8: bool) -> MailFrom {
        let reverse_path = ReversePath::Mailbox(Mailbox::parse(from, true).unwrap());
        MailFrom { body, smtputf8, ..MailFrom::new(reverse_path) }
    }
    fn reply(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply {
        Reply::new(code, enhanced, text)
    }
    fn one(replies: &DeliveryReplies, rules: Rules) -> Outcome {
        let (id, bob) = (MessageId::at(Timestamp(0)), to("bob@a"));
        judge(Attempt::Replies(replies), id, &[&bob], rules, &mut RouteMemory::default()).remove(0)
    }
    fn at_mail(reply: Reply) -> DeliveryReplies {
        DeliveryReplies { mail: Some(reply), reusable: true, ..DeliveryReplies::default() }
    }
    fn at_rcpt(reply: Reply) -> DeliveryReplies {
        DeliveryReplies { recipients: vec![reply], reusable: true, ..DeliveryReplies::default() }
    }
    fn at_dot(reply: Reply) -> DeliveryReplies {
        let recipients = vec![Reply::new(250, (2, 1, 5), "ok")];
        DeliveryReplies { recipients, data: Some(reply), reusable: true, ..DeliveryReplies::default() }
    }
    fn fault(phase: Phase, kind: FaultKind, rules: Rules) -> Outcome {
        let (id, bob) = (MessageId::at(Timestamp(0)), to("bob@a"));
        let attempt = Attempt::Fault { phase, kind: &kind, words: "hop:25 broke" };
        judge(attempt, id, &[&bob], rules, &mut RouteMemory::default()).remove(0)
    }

    #[test]
    fn only_a_positive_reply_to_the_dot_is_a_delivery() {
        assert_eq!(one(&at_dot(reply(250, (2, 0, 0), "queued")), KNOWN).end, End::Delivered);
        let lost = DeliveryReplies { data: None, ..at_dot(reply(250, (2, 0, 0), "")) };
        assert_eq!(one(&lost, KNOWN).end, End::Retry);
        assert_eq!(one(&DeliveryReplies::default(), KNOWN).end, End::Retry);
    }

    #[test]
    fn a_permanent_refusal_fails_for_known_senders_and_is_held_for_strangers() {
        for replies in [
            at_mail(reply(552, (5, 3, 4), "too large")),
            at_rcpt(reply(550, (5, 1, 1), "no such user")),
            at_rcpt(reply(550, (5, 7, 1), "blocked")),
            at_dot(reply(554, (5, 7, 1), "spam")),
            at_dot(Reply::plain(554, "spam")),
        ] {
            assert_eq!(one(&replies, KNOWN).end, End::Fail, "{replies:?}");
            let held = one(&replies, STRANGER);
            assert_eq!(held.end, End::Hold, "{replies:?}");
            assert!(held.words.starts_with("refused by next hop: 55"), "{}", held.words);
            assert_eq!(one(&replies, Rules { soft_bounce: true, ..KNOWN }).end, End::Hold);
            assert_eq!(one(&replies, Rules { bounce_strangers: true, ..STRANGER }).end, End::Fail);
        }
    }

    #[test]
    fn who_gets_a_bounce_is_told_what_the_last_attempt_said() {
        assert_eq!(returned("").words, "given up by the administrator");
        for gone in [LinksGone::Deleted, LinksGone::TakenBack] {
            let outcome = returned(&gone.words("admin dave"));
            assert_eq!(
                outcome.words,
                format!("given up by the administrator: {}", gone.what()),
                "who did it is ours"
            );
        }
        for held in ["refused by next hop: 554 Spam", "held by soft_bounce: 554 Spam", "554 Spam"] {
            let outcome = returned(held);
            assert_eq!(outcome.words, "given up by the administrator; last attempt: 554 Spam");
            assert_eq!((outcome.end, outcome.status), (End::Fail, Enhanced(5, 0, 0)));
        }
        assert!(KNOWN.tells() && Rules { bounce_strangers: true, ..STRANGER }.tells() && !STRANGER.tells());
    }

    #[test]
    fn a_stranger_bounces_where_its_reverse_path_is_proven_or_the_settings_always_want_it() {
        let origin = |proven| Origin {
            session: String::new(),
            listener: "mx".to_owned(),
            client: None,
            port: None,
            helo: String::new(),
            esmtp: true,
            login: None,
            known_sender: false,
            proven,
        };
        for (policy, unproven, proven) in [
            (BounceStrangers::Never, false, false),
            (BounceStrangers::Verified, false, true),
            (BounceStrangers::Always, true, true),
        ] {
            assert_eq!((policy.allows(&origin(false)), policy.allows(&origin(true))), (unproven, proven));
        }
    }

    #[test]
    fn a_temporary_refusal_is_tried_again_whoever_sent_it() {
        for replies in [
            at_mail(reply(451, (4, 3, 0), "later")),
            at_rcpt(reply(450, (4, 2, 0), "later")),
            at_rcpt(reply(552, (5, 5, 3), "too many recipients")),
            at_dot(reply(452, (4, 3, 1), "full")),
        ] {
            for rules in [KNOWN, STRANGER, Rules { soft_bounce: true, ..KNOWN }] {
                let outcome = one(&replies, rules);
                assert_eq!((outcome.end, outcome.route_fault), (End::Retry, false), "{replies:?}");
            }
        }
    }

    #[test]
    fn a_wrong_route_bounces_nothing() {
        let refused = |code, enhanced| FaultKind::Refused(reply(code, enhanced, "no"));
        for (phase, kind) in [
            (Phase::Banner, refused(554, (5, 7, 1))),
            (Phase::Ehlo, refused(550, (5, 7, 1))),
            (Phase::StartTls, refused(502, (5, 5, 1))),
            (Phase::StartTls, FaultKind::TlsRefused("certificate".into())),
            (Phase::Auth, refused(535, (5, 7, 8))),
            (Phase::Mail, refused(550, (5, 7, 60))),
            (Phase::Rcpt, refused(530, (5, 7, 0))),
            (Phase::Dot, refused(530, (5, 7, 0))),
        ] {
            for rules in [KNOWN, STRANGER, Rules { soft_bounce: true, ..KNOWN }] {
                let outcome = fault(phase, kind.clone(), rules);
                assert_eq!((outcome.end, outcome.route_fault), (End::Retry, true), "{phase:?} {kind:?}");
                assert_eq!(give_up(outcome, rules).end, End::Hold);
            }
        }
        let mail = at_mail(reply(550, (5, 7, 1), "not authenticated"));
        assert!(one(&mail, KNOWN).route_fault);
        assert!(one(&at_rcpt(Reply::plain(530, "login first")), KNOWN).route_fault);
    }

    #[test]
    fn a_broken_session_is_tried_again_even_behind_the_dot() {
        for (phase, kind) in [
            (Phase::Connect, FaultKind::Unreachable("refused".into())),
            (Phase::Banner, FaultKind::Refused(reply(421, (4, 3, 2), "busy"))),
            (Phase::Dot, FaultKind::Timeout),
            (Phase::Dot, FaultKind::Closed),
            (Phase::Rcpt, FaultKind::Garbage("?".into())),
            (Phase::Body, FaultKind::Local("store".into())),
        ] {
            let outcome = fault(phase, kind, STRANGER);
            assert_eq!((outcome.end, outcome.route_fault), (End::Retry, false));
        }
    }

    #[test]
    fn what_expires_fails_for_known_senders_and_is_held_for_strangers() {
        let late = |rules| give_up(fault(Phase::Connect, FaultKind::Timeout, rules), rules);
        assert_eq!((late(KNOWN).end, late(KNOWN).status), (End::Fail, Enhanced(5, 4, 7)));
        assert_eq!(late(STRANGER).end, End::Hold);
        assert_eq!(late(Rules { bounce_strangers: true, ..STRANGER }).end, End::Fail);
    }

    #[test]
    fn the_same_refusal_of_several_messages_is_the_routes_fault() {
        let mut memory = RouteMemory::default();
        let mut send = |address: &str, said: Reply| {
            let (id, to) = (MessageId::at(Timestamp(0)), to(address));
            judge(Attempt::Replies(&at_rcpt(said)), id, &[&to], KNOWN, &mut memory).remove(0)
        };
        let denied = |who: &str| Reply::new(554, (5, 7, 1), format!("<{who}>: Relay access denied"));
        assert_eq!(send("a@x", denied("a@x")).end, End::Fail);
        assert_eq!(send("b@x", denied("b@x")).end, End::Fail);
        let third = send("c@x", denied("c@x"));
        assert_eq!((third.end, third.route_fault), (End::Retry, true));
        assert_eq!(
            send("d@x", reply(550, (5, 2, 1), "disabled")).end,
            End::Fail,
            "another reply starts anew"
        );
        assert_eq!(send("e@x", denied("e@x")).end, End::Fail);
    }

    #[test]
    fn one_wrong_address_tried_often_or_several_unknown_ones_are_no_route_fault() {
        let mut memory = RouteMemory::default();
        let mut send = |address: String, said: Reply| {
            let (id, to) = (MessageId::at(Timestamp(0)), to(&address));
            judge(Attempt::Replies(&at_rcpt(said)), id, &[&to], KNOWN, &mut memory).remove(0).end
        };
        for _ in 0..20 {
            assert_eq!(send("a@x".into(), reply(554, (5, 7, 1), "denied")), End::Fail);
        }
        for n in 0..UNKNOWN_ALIKE - 1 {
            assert_eq!(send(format!("u{n}@x"), reply(550, (5, 1, 1), "unknown")), End::Fail);
        }
        assert_eq!(send("last@x".into(), reply(550, (5, 1, 1), "unknown")), End::Retry);
    }

    #[test]
    fn a_delivery_in_between_clears_the_route() {
        let mut memory = RouteMemory::default();
        let mut send = |address: &str, replies: DeliveryReplies| {
            let (id, to) = (MessageId::at(Timestamp(0)), to(address));
            judge(Attempt::Replies(&replies), id, &[&to], KNOWN, &mut memory).remove(0).end
        };
        let denied = || at_rcpt(reply(554, (5, 7, 1), "denied"));
        send("a@x", denied());
        send("b@x", denied());
        assert_eq!(send("c@x", at_dot(reply(250, (2, 0, 0), "ok"))), End::Delivered);
        assert_eq!(send("d@x", denied()), End::Fail);
    }

    #[test]
    fn strangers_refused_alike_stay_held_and_blame_no_route() {
        let mut memory = RouteMemory::default();
        for n in 0..20 {
            let (id, to) = (MessageId::at(Timestamp(0)), to(&format!("u{n}@x")));
            let spam = at_dot(reply(554, (5, 7, 1), "spam"));
            let outcome = judge(Attempt::Replies(&spam), id, &[&to], STRANGER, &mut memory).remove(0);
            assert_eq!((outcome.end, outcome.route_fault), (End::Hold, false));
        }
    }

    #[test]
    fn a_next_hop_is_asked_only_for_what_the_message_needs() {
        let all = Capabilities { eight_bit_mime: true, smtputf8: true, ..Capabilities::default() };
        let none = Capabilities::default();
        let eight = mail("a@b", BodyKind::EightBitMime, true);
        assert_eq!(fit_mail(&eight, Needs { eight_bit: true, utf8_header: true }, &all), Ok(eight.clone()));
        let plain = fit_mail(&eight, Needs::default(), &none).unwrap();
        assert_eq!((plain.body, plain.smtputf8), (BodyKind::SevenBit, false));
        let code = |mail: &MailFrom, eight_bit, utf8_header| {
            let fit = fit_mail(mail, Needs { eight_bit, utf8_header }, &none);
            fit.map_err(|reply| reply.enhanced.unwrap())
        };
        assert_eq!(code(&eight, true, false), Err(Enhanced(5, 6, 3)));
        assert_eq!(code(&eight, true, true), Err(Enhanced(5, 6, 7)));
        assert_eq!(code(&mail("jörg@b", BodyKind::SevenBit, true), false, false), Err(Enhanced(5, 6, 7)));
        // Undeclared 8-bit content is passed as it came: we have promised nothing and change nothing.
        assert!(code(&mail("a@b", BodyKind::SevenBit, false), true, true).is_ok());
        assert!(
            unfit_recipient(&to("jörg@b"), &none).is_some() && unfit_recipient(&to("a@b"), &none).is_none()
        );
        assert!(unfit_recipient(&to("jörg@b"), &all).is_none());
    }
}
