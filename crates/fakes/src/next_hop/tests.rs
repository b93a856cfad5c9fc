//! The next hop's dialogues, over the dialer.

use super::*;
use crate::dial::PipeDialer;
use crate::fault::{Action, Fault, Point};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vouchsafe_net::stream::Dial;

/// Everything that the next hop says to these octets, up to its close.
async fn said(next_hop: &NextHop, octets: &str) -> String {
    let dialer = PipeDialer::new().with("Next.example:25", next_hop);
    let mut stream = dialer.dial("next.example", 25).await.unwrap();
    // A peer that has cut the connection takes no more octets: what it said counts.
    let _ = stream.write_all(octets.as_bytes()).await;
    let _ = stream.shutdown().await;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

fn message(recipient: &str, seq: u32) -> String {
    format!(
        "MAIL FROM:<a@b.example> BODY=8BITMIME\r\nRCPT TO:<{recipient}> NOTIFY=NEVER\r\nDATA\r\n\
         X-Seq: {seq}\r\nX-Len: 8\r\n\r\n..a\r\nb\r\n.\r\n"
    )
}

#[tokio::test]
async fn messages_are_kept_and_numbered() {
    let next_hop = NextHop::demo();
    let text = said(
        &next_hop,
        &format!("EHLO gw\r\n{}{}QUIT\r\n", message("bob@example.com", 0), message("bob@example.com", 0)),
    )
    .await;
    assert_eq!(text.matches("250 2.0.0 Message taken").count(), 2, "{text}");
    let kept = next_hop.messages();
    assert_eq!(kept[0].text(), "X-Seq: 0\r\nX-Len: 8\r\n\r\n.a\r\nb\r\n");
    assert_eq!(kept[0].recipients, ["bob@example.com"]);
    assert_eq!(
        (kept[0].mail_parameters.as_str(), kept[0].recipient_parameters[0].as_str()),
        ("BODY=8BITMIME", "NOTIFY=NEVER")
    );
    let counters = next_hop.wait(|counters| counters.messages == 2 && counters.open == 0).await;
    assert_eq!((counters.doubled, counters.partial), (1, 0));
    assert_eq!(next_hop.missing(2), [1]);
}

#[tokio::test]
async fn telling_recipients_are_refused_where_they_say() {
    let next_hop = NextHop::demo();
    let text = said(
        &next_hop,
        &format!(
            "EHLO gw\r\nMAIL FROM:<>\r\nRCPT TO:<b+550@x>\r\nRCPT TO:<b+450@x>\r\nRSET\r\n{}QUIT\r\n",
            message("b+dot554@x", 1)
        ),
    )
    .await;
    for reply in ["550 5.1.1 ", "450 4.2.1 ", "554 5.7.1 Message refused"] {
        assert!(text.contains(reply), "{reply} in {text}");
    }
    assert_eq!(next_hop.counters().messages, 0);
    said(&next_hop, &format!("EHLO gw\r\n{}", message("b+dropdot@x", 1))).await;
    assert_eq!(next_hop.counters().messages, 1, "kept, and the reply lost");
}

#[tokio::test]
async fn a_body_without_its_dot_is_not_kept() {
    let next_hop = NextHop::demo();
    said(&next_hop, "EHLO gw\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nX-Seq: 1\r\n\r\nhalf").await;
    let counters = next_hop.wait(|counters| counters.open == 0).await;
    assert_eq!((counters.messages, counters.cut), (0, 1));
}

#[tokio::test]
async fn faults_hit_every_nth_message() {
    let fault = Fault::at(Point::Dot, Action::Reply("451 4.3.0 Not now".into())).every(2);
    let next_hop = NextHop::new(Behaviour::new("n").fault(fault));
    let all: String = (0..4).map(|seq| message("b@x", seq)).collect();
    let text = said(&next_hop, &format!("EHLO gw\r\n{all}QUIT\r\n")).await;
    assert_eq!((text.matches("451 4.3.0").count(), text.matches("Message taken").count()), (2, 2), "{text}");
    assert_eq!(next_hop.missing(4), [1, 3]);
}

#[tokio::test]
async fn a_login_is_asked_for_and_an_old_hop_knows_only_helo() {
    let next_hop = NextHop::new(Behaviour { login: Some(("gw".into(), "pw".into())), ..Behaviour::new("n") });
    assert!(said(&next_hop, "EHLO gw\r\nMAIL FROM:<>\r\n").await.contains("530 5.7.0"));
    assert!(
        said(&next_hop, "EHLO gw\r\nAUTH PLAIN AGd3AHB3\r\nMAIL FROM:<>\r\n").await.contains("250 2.1.0")
    );
    let text = said(&next_hop, "EHLO gw\r\nAUTH LOGIN\r\nZ3c=\r\ncHc=\r\n").await;
    assert!(text.ends_with("235 2.7.0 Authentication successful\r\n"), "{text}");
    let old = NextHop::new(Behaviour { helo_only: true, ..Behaviour::new("old") });
    assert!(said(&old, "EHLO gw\r\nHELO gw\r\nQUIT\r\n").await.contains("502 5.5.1"));
    assert_eq!(Behaviour::new("x").without("dsn").extensions.iter().filter(|line| *line == "DSN").count(), 0);
}

#[tokio::test]
async fn a_host_that_is_down_refuses_connections_and_unknown_names_do_not_resolve() {
    let next_hop = NextHop::demo();
    next_hop.set_down(true);
    let dialer = PipeDialer::new().with("n.example:25", &next_hop);
    let refused = dialer.dial("n.example", 25).await.err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(dialer.dial("other.example", 25).await.err().unwrap().kind(), io::ErrorKind::NotFound);
}
