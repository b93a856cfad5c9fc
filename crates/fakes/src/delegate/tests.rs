//! The delegate's dialogues, read from a pipe.

use super::*;
use crate::fault::{Action, Fault, Point};
use crate::tls::SelfSigned;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Everything that the delegate says to these octets, up to its close.
async fn said(delegate: &Delegate, octets: &str) -> String {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let session = delegate.session(Box::new(theirs), Ipv4Addr::LOCALHOST.into());
    let client = async {
        // A peer that has cut the connection takes no more octets: what it said counts.
        let _ = ours.write_all(octets.as_bytes()).await;
        let _ = ours.shutdown().await;
        let mut said = Vec::new();
        ours.read_to_end(&mut said).await.unwrap();
        String::from_utf8_lossy(&said).into_owned()
    };
    tokio::join!(session, client).1
}

#[tokio::test]
async fn known_and_unknown_recipients_are_told_apart() {
    let delegate = Delegate::demo();
    let text = said(
        &delegate,
        "EHLO gw\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\nRCPT TO:<nobody@example.com>\r\n\
         RCPT TO:<a@foreign.example>\r\nRCPT TO:<full@example.com>\r\nRSET\r\nQUIT\r\n",
    )
    .await;
    let replies: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("250 2.1.0")).collect();
    assert_eq!(
        replies,
        [
            "250 2.1.0 Sender ok",
            "250 2.1.5 Recipient ok",
            "550 5.1.1 User unknown",
            "550 5.7.1 Relaying denied",
            "552 5.2.2 Mailbox full",
            "250 2.0.0 Ok",
            "221 2.0.0 Bye"
        ]
    );
    let counters = delegate.counters();
    assert_eq!((counters.recipients_good, counters.recipients_bad, counters.data_commands), (1, 3, 0));
    assert_eq!(counters.open, 0);
}

#[tokio::test]
async fn logins_by_plain_and_login_are_checked_and_never_shown() {
    let delegate = Delegate::demo();
    // NUL alice@example.com NUL "correct horse", then a wrong password by LOGIN on a second session.
    let good = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAGNvcnJlY3QgaG9yc2U=";
    let text = said(&delegate, &format!("EHLO gw\r\n{good}\r\n{good}\r\nQUIT\r\n")).await;
    assert!(text.contains("235 2.7.0"), "{text}");
    assert!(text.contains("503 5.5.1 Already authenticated"), "{text}");
    let text =
        said(&delegate, "EHLO gw\r\nAUTH LOGIN\r\nYWxpY2VAZXhhbXBsZS5jb20=\r\nd3Jvbmc=\r\nQUIT\r\n").await;
    assert!(text.contains("535 5.7.8"), "{text}");
    let dialogue: Vec<String> = delegate.dialogue().iter().map(ToString::to_string).collect();
    assert!(dialogue.contains(&"> AUTH PLAIN ***".to_owned()), "{dialogue:?}");
    assert!(!dialogue.join("\n").contains("d3Jvbmc="), "{dialogue:?}");
    assert_eq!((delegate.counters().logins_good, delegate.counters().logins_bad), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn exchange_waits_five_seconds_and_closes_after_its_limit() {
    let delegate = Delegate::new(Behaviour::exchange("ex").recipient("bob@example.com"));
    let start = tokio::time::Instant::now();
    let text =
        said(&delegate, &format!("EHLO gw\r\nMAIL FROM:<>\r\n{}", "RCPT TO:<x@example.com>\r\n".repeat(6)))
            .await;
    assert_eq!(text.matches("550 5.1.10 RESOLVER").count(), 5, "{text}");
    assert!(text.ends_with("421 4.7.0 Too many errors on this connection, closing transmission channel\r\n"));
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    assert_eq!(delegate.counters().closed_by_limit, 1);
}

#[tokio::test]
async fn a_message_is_a_violation() {
    let delegate = Delegate::demo();
    said(&delegate, "EHLO gw\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nx\r\n.\r\n").await;
    assert_eq!((delegate.counters().data_commands, delegate.counters().violations), (1, 1));
    let delegate = Delegate::demo();
    said(&delegate, "EHLO gw\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n").await;
    assert_eq!((delegate.counters().data_commands, delegate.counters().violations), (1, 0));
}

#[tokio::test]
async fn faults_and_the_switch_cut_sessions() {
    let behaviour = Behaviour::new("d").fault(Fault::at(Point::Mail, Action::Cut).times(1));
    let delegate = Delegate::new(behaviour);
    assert!(!said(&delegate, "EHLO gw\r\nMAIL FROM:<>\r\nQUIT\r\n").await.contains("221"));
    assert!(said(&delegate, "EHLO gw\r\nMAIL FROM:<>\r\nQUIT\r\n").await.contains("221"));
    delegate.set_down(true);
    assert_eq!(said(&delegate, "QUIT\r\n").await.matches("221").count(), 0);
}

#[tokio::test]
async fn mechanisms_change_under_tls_and_what_was_said_before_is_forgotten() {
    let identity = SelfSigned::new("ex").unwrap();
    let delegate =
        Delegate::new(Behaviour { tls: Some(identity.config.clone()), ..Behaviour::exchange("ex") });
    let text = said(&delegate, "EHLO gw\r\nSTARTTLS\r\n").await;
    assert!(text.contains("250-STARTTLS\r\n250 AUTH NTLM\r\n220 2.0.0 Ready\r\n"), "{text}");
    assert!(identity.setting().ends_with('='), "a pin has 44 characters of base64");
}
