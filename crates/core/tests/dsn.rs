//! Notices against their exact expected text in `tests/dsn/*.eml`, with LF line ends there.
//! `UPDATE=1 cargo test -p vouchsafe-core --test dsn` rewrites the files: read the diff.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::path::Path;

use vouchsafe_core::dsn::{Action, Notice, Reported, notice};
use vouchsafe_core::outcome::{Blame, End, Outcome};
use vouchsafe_core::policy::PermitReason;
use vouchsafe_core::ports::{Accepted, Body, Message};
use vouchsafe_core::{MessageId, Origin, RouteKey, Timestamp};
use vouchsafe_smtp::{BodyKind, Enhanced, MailFrom, Mailbox, Notify, Orcpt, RcptTo, Reply, Ret, ReversePath};

const ARRIVAL: Timestamp = Timestamp(1_795_415_738_000_000);
const NOW: Timestamp = Timestamp(1_795_419_338_000_000);
const CONTENT: &str = "Received: from pc.example\r\n\tby gate.example; now\r\nFrom: alice@example.com\r\n\
                       Subject: Lunch\r\n\r\nAt noon?\r\n";
const NEVER: Notify = Notify { success: false, failure: false, delay: false };

fn id(last: &str) -> MessageId {
    format!("0190a8c5b8f07c2f8b5d3f1f2a6b7c{last}").parse().unwrap()
}

fn message(from: &str, ret: Option<Ret>) -> Message {
    let reverse_path = match from {
        "" => ReversePath::Null,
        text => ReversePath::Mailbox(Mailbox::parse(text, true).unwrap()),
    };
    let smtputf8 = !from.is_ascii();
    let mail = MailFrom {
        reverse_path,
        size: None,
        body: BodyKind::SevenBit,
        smtputf8,
        auth: None,
        ret,
        envid: None,
    };
    let origin = Origin {
        session: "s".into(),
        listener: "submission".into(),
        client: None,
        port: None,
        helo: String::new(),
        esmtp: true,
        login: None,
        known_sender: true,
        proven: false,
    };
    Message { id: id("01"), received_at: ARRIVAL, origin, mail, size: CONTENT.len() as u64 }
}

fn to(text: &str) -> RcptTo {
    RcptTo { mailbox: Mailbox::parse(text, true).unwrap(), notify: None, orcpt: None }
}

fn outcome(end: End, status: (u8, u16, u16), said: Option<Reply>, words: &str) -> Outcome {
    let status = Enhanced(status.0, status.1, status.2);
    Outcome { end, status, said, words: words.to_owned(), blame: Blame::NextHop, route_fault: false }
}

fn unknown() -> Outcome {
    let said = Reply::new(550, (5, 1, 1), "No such user\nask the postmaster \u{2026}");
    outcome(End::Fail, (5, 1, 1), Some(said), "550 5.1.1 No such user")
}

fn make(action: Action, message: &Message, recipients: &[Reported<'_>], content: &[u8]) -> Option<Accepted> {
    notice(&Notice {
        action,
        hostname: "gate.example",
        id: id("ff"),
        now: NOW,
        message,
        recipients,
        content,
        accepted_domain: None,
    })
}

fn text(accepted: &Accepted) -> String {
    let Body::Memory(body) = &accepted.body else { panic!("a notice is small") };
    let bytes = [accepted.head.as_ref(), body.as_ref()].concat();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "only CRLF ends a line");
    text.replace("\r\n", "\n")
}

#[track_caller]
fn same(name: &str, accepted: Option<Accepted>) -> Accepted {
    let accepted = accepted.expect("a notice is due");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dsn").join(name);
    let got = text(&accepted);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, want, "{name} differs; UPDATE=1 rewrites it");
    accepted
}

#[test]
fn a_failure_names_each_recipient_with_the_servers_words() {
    let mut message = message("alice@example.com", None);
    message.mail.envid = Some("QQ314+2B159".into());
    let (bob, carol) = (to("bob@example.org"), to("carol@example.org"));
    let bob = RcptTo {
        orcpt: Some(Orcpt { address_type: "rfc822".into(), xtext: "Bob+2Bx@example.org".into() }),
        ..bob
    };
    let gone = unknown();
    let expired =
        outcome(End::Fail, (5, 4, 7), None, "expired: smtp.example:25 is unreachable: connection refused");
    let recipients = [
        Reported { to: &bob, outcome: &gone, remote: Some("smtp.example") },
        Reported { to: &carol, outcome: &expired, remote: None },
    ];
    let accepted = same("failed.eml", make(Action::Failed, &message, &recipients, CONTENT.as_bytes()));
    assert_eq!(accepted.envelope.mail.reverse_path, ReversePath::Null);
    let [(to, permit)] = accepted.envelope.recipients() else { panic!("one recipient") };
    assert_eq!((to.mailbox.as_str(), to.notify), ("alice@example.com", Some(NEVER)));
    assert_eq!((permit.reason(), permit.route()), (&PermitReason::Notice, &RouteKey::Relay));
    assert!(accepted.envelope.origin.known_sender && accepted.due == NOW);
}

#[test]
fn a_delay_says_until_when_it_is_tried() {
    let message = message("alice@example.com", Some(Ret::Full));
    let bob = to("bob@example.org");
    let late = Reply::new(451, (4, 7, 1), "Greylisted");
    let late = outcome(End::Retry, (4, 7, 1), Some(late), "451 4.7.1 Greylisted");
    let recipients = [Reported { to: &bob, outcome: &late, remote: Some("192.0.2.1") }];
    let until = Timestamp(1_795_847_738_000_000);
    same("delayed.eml", make(Action::Delayed { until }, &message, &recipients, CONTENT.as_bytes()));
}

#[test]
fn relayed_is_told_only_for_notify_success() {
    let message = message("alice@example.com", None);
    let bob = RcptTo { notify: Some(Notify { success: true, ..NEVER }), ..to("bob@example.org") };
    let carol = to("carol@example.org");
    let taken = Reply::new(250, (2, 0, 0), "queued");
    let taken = outcome(End::Delivered, (2, 0, 0), Some(taken), "250 2.0.0 queued");
    let reported = |to| Reported { to, outcome: &taken, remote: Some("2001:db8::1") };
    let both = [reported(&bob), reported(&carol)];
    same("relayed.eml", make(Action::Relayed, &message, &both, CONTENT.as_bytes()));
    assert!(make(Action::Relayed, &message, &both[1..], CONTENT.as_bytes()).is_none());
}

#[test]
fn ret_full_returns_the_message_of_a_failure_if_it_is_there_whole() {
    let message = message("alice@example.com", Some(Ret::Full));
    let (bob, gone) = (to("bob@example.org"), unknown());
    let recipients = [Reported { to: &bob, outcome: &gone, remote: None }];
    same("failed_full.eml", make(Action::Failed, &message, &recipients, CONTENT.as_bytes()));
    let part = &CONTENT.as_bytes()[..CONTENT.len() - 10];
    let cut = text(&make(Action::Failed, &message, &recipients, part).unwrap());
    assert!(cut.contains("text/rfc822-headers") && !cut.contains("message/rfc822"));
    let none = text(&make(Action::Failed, &message, &recipients, b"").unwrap());
    assert!(!none.contains("rfc822-headers"));
}

#[test]
fn an_internationalized_recipient_is_told_in_ascii_to_an_ascii_sender() {
    let (message, jorg, gone) = (message("alice@example.com", None), to("jörg@example.org"), unknown());
    let recipients = [Reported { to: &jorg, outcome: &gone, remote: Some("smtp.example") }];
    let accepted =
        same("failed_utf8_recipient.eml", make(Action::Failed, &message, &recipients, CONTENT.as_bytes()));
    assert!(!accepted.envelope.mail.smtputf8);
    assert_eq!(accepted.envelope.mail.body, BodyKind::EightBitMime);
}

#[test]
fn an_internationalized_sender_gets_a_global_report() {
    let (message, jorg, gone) = (message("jürgen@example.com", None), to("jörg@example.org"), unknown());
    let recipients = [Reported { to: &jorg, outcome: &gone, remote: Some("smtp.example") }];
    let accepted =
        same("failed_utf8_sender.eml", make(Action::Failed, &message, &recipients, CONTENT.as_bytes()));
    assert!(accepted.envelope.mail.smtputf8);
}

#[test]
fn the_null_reverse_path_and_notify_never_get_no_notice() {
    let gone = unknown();
    let bob = to("bob@example.org");
    let recipients = [Reported { to: &bob, outcome: &gone, remote: None }];
    assert!(make(Action::Failed, &message("", None), &recipients, CONTENT.as_bytes()).is_none());
    let never = RcptTo { notify: Some(NEVER), ..bob };
    let recipients = [Reported { to: &never, outcome: &gone, remote: None }];
    assert!(make(Action::Failed, &message("a@b.example", None), &recipients, CONTENT.as_bytes()).is_none());
    let success = RcptTo { notify: Some(Notify { success: true, ..NEVER }), ..never };
    let recipients = [Reported { to: &success, outcome: &gone, remote: None }];
    assert!(make(Action::Failed, &message("a@b.example", None), &recipients, CONTENT.as_bytes()).is_none());
}

#[test]
fn a_notice_to_an_accepted_domain_takes_that_domains_route() {
    let (message, bob, gone) = (message("alice@example.com", None), to("bob@example.org"), unknown());
    let accepted = notice(&Notice {
        action: Action::Failed,
        hostname: "gate.example",
        id: id("ff"),
        now: NOW,
        message: &message,
        recipients: &[Reported { to: &bob, outcome: &gone, remote: None }],
        content: b"",
        accepted_domain: Some("example.com"),
    });
    let route = accepted.unwrap().envelope.recipients()[0].1.route().clone();
    assert_eq!(route, RouteKey::Domain("example.com".into()));
}

#[test]
fn a_servers_words_cannot_add_a_line() {
    let message = message("alice@example.com", None);
    let evil =
        Reply::plain(550, format!("x\nAction: relayed\r\n\r\n--=_{}\r\n{}", id("ff"), "y".repeat(5000)));
    let (bob, gone) = (to("bob@example.org"), outcome(End::Fail, (5, 0, 0), Some(evil), ""));
    let recipients = [Reported { to: &bob, outcome: &gone, remote: Some("smtp.example") }];
    let notice = text(&make(Action::Failed, &message, &recipients, CONTENT.as_bytes()).unwrap());
    assert!(!notice.contains("\nAction: relayed"), "{notice}");
    assert_eq!(notice.matches(&format!("\n--=_{}", id("ff"))).count(), 4);
    assert!(notice.lines().all(|line| line.len() < 900));
}
