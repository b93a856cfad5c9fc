//! Each product's stand-in says what FACTS sections 2 to 5 tell of it, draws its limits and counts them. On a clock that
//! stands still, so a tarpit of five seconds is seen to the millisecond and takes no time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use vouchsafe_fakes::Peer;
use vouchsafe_fakes::delegate::{Behaviour, Delegate, Limit, SwitchedOff};
use vouchsafe_fakes::tls::SelfSigned;
use vouchsafe_smtp::sasl::encode_base64;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A client that says a line and hears one reply, over any stream.
struct Client<S = DuplexStream> {
    stream: S,
    heard: Vec<u8>,
}

fn from(delegate: &Delegate, source: [u8; 4]) -> Client {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(delegate.session(Box::new(theirs), IpAddr::V4(Ipv4Addr::from(source))));
    Client { stream: ours, heard: Vec::new() }
}

/// Connected and greeted.
async fn greeted(delegate: &Delegate) -> Client {
    let mut client = from(delegate, [192, 0, 2, 1]);
    client.hear().await;
    client.say("EHLO gw.example").await;
    client
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Client<S> {
    /// The next reply, its lines parted by `/`; empty: the connection was closed.
    async fn hear(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            if let Some(end) = self.heard.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line);
                if last {
                    return lines.join("/");
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(read) if read > 0 => self.heard.extend_from_slice(&buffer[..read]),
                _ => return lines.join("/"),
            }
        }
    }
    async fn say(&mut self, line: &str) -> String {
        let _ = self.stream.write_all(format!("{line}\r\n").as_bytes()).await;
        self.hear().await
    }
    /// AUTH LOGIN to its end.
    async fn login(&mut self, name: &str, password: &str) -> String {
        let offered = self.say("AUTH LOGIN").await;
        if !offered.starts_with("334") {
            return offered;
        }
        let asked = self.say(&encode_base64(name.as_bytes())).await;
        assert!(asked.starts_with("334"), "{asked}");
        self.say(&encode_base64(password.as_bytes())).await
    }
    /// MAIL and RCPT in a transaction of its own; the reply to RCPT, and how long it took.
    async fn recipient(&mut self, address: &str) -> (String, Duration) {
        let sender = self.say("MAIL FROM:<>").await;
        if !sender.starts_with("250") {
            return (sender, Duration::ZERO);
        }
        let begun = Instant::now();
        let said = self.say(&format!("RCPT TO:<{address}>")).await;
        let took = begun.elapsed();
        if !said.is_empty() {
            self.say("RSET").await;
        }
        (said, took)
    }
}

/// alice may log in, bob exists.
fn staffed(behaviour: Behaviour) -> Behaviour {
    behaviour.user("alice@example.com", "secret").recipient("bob@example.com")
}

#[tokio::test(start_paused = true)]
async fn exchange_front_end_587_takes_logins_by_login_under_tls_alone() {
    let identity = SelfSigned::new("ex1.example.com").unwrap();
    let server =
        Delegate::new(staffed(Behaviour::exchange_client_front_end("ex1.example.com").starttls(&identity)));
    let mut client = from(&server, [192, 0, 2, 1]);
    assert_eq!(client.hear().await, "220 ex1.example.com Microsoft ESMTP MAIL Service ready");
    let offers = client.say("EHLO gw.example").await;
    assert!(offers.ends_with("/250-STARTTLS/250 AUTH NTLM"), "{offers}");
    assert_eq!(client.say("STARTTLS").await, "220 2.0.0 Ready");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.certificate.clone().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("ex1.example.com".try_into().unwrap(), client.stream).await.unwrap();
    let mut client = Client { stream, heard: Vec::new() };

    let offers = client.say("EHLO gw.example").await;
    assert!(offers.ends_with("/250 AUTH NTLM LOGIN") && !offers.contains("STARTTLS"), "{offers}");
    assert_eq!(client.say("AUTH PLAIN AGEAYg==").await, "504 5.7.4 Unrecognized authentication type");
    assert_eq!(client.say("MAIL FROM:<>").await, "530 5.7.1 Client was not authenticated");
    assert!(client.login("alice@example.com", "secret").await.starts_with("235"));
    assert_eq!((server.counters().tls, server.counters().tripped()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn exchange_refuses_wrong_logins_after_5_s_and_closes_after_the_third() {
    let server = Delegate::new(staffed(Behaviour::exchange_client_front_end("ex1")));
    let mut client = greeted(&server).await;
    for _ in 0..3 {
        let begun = Instant::now();
        let said = client.login("alice@example.com", "wrong").await;
        assert_eq!(said, "535 5.7.3 Authentication unsuccessful");
        assert_eq!(begun.elapsed(), SECOND * 5);
    }
    assert!(client.hear().await.starts_with("421 4.7.0"));
    assert_eq!(client.hear().await, "");
    assert_eq!(server.counters().trips.get(&Limit::BadLogins), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn exchange_front_end_25_takes_every_recipient_and_no_login() {
    let server = Delegate::new(staffed(Behaviour::exchange_front_end("ex1")));
    let mut client = greeted(&server).await;
    assert_eq!(
        client.recipient("nobody@example.com").await,
        ("250 2.1.5 Recipient ok".into(), Duration::ZERO)
    );
    assert!(client.login("alice@example.com", "secret").await.starts_with("504 5.7.4"));
}

#[tokio::test(start_paused = true)]
async fn exchange_hub_checks_recipients_of_strangers_and_closes_after_5_errors() {
    let server = Delegate::new(staffed(Behaviour::exchange_hub("ex1")));
    let mut client = greeted(&server).await;
    assert_eq!(client.recipient("bob@example.com").await.1, Duration::ZERO);
    for n in 0..5 {
        let (said, took) = client.recipient(&format!("nobody{n}@example.com")).await;
        assert_eq!(
            said,
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
        );
        assert_eq!(took, SECOND * 5);
    }
    assert_eq!(server.counters().trips.get(&Limit::Errors), Some(&1));

    // The filter is for strangers.
    let mut client = greeted(&server).await;
    assert!(client.login("alice@example.com", "secret").await.starts_with("235"));
    let (said, took) = client.recipient("nobody@example.com").await;
    assert!(said.starts_with("250") && took.is_zero(), "{said}");
}

#[tokio::test(start_paused = true)]
async fn exchange_limits_connections_recipients_and_times() {
    let server = Delegate::new(staffed(Behaviour::exchange_hub("ex1")));
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(greeted(&server).await);
    }
    let mut one_more = from(&server, [192, 0, 2, 1]);
    assert_eq!(
        one_more.hear().await,
        "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"
    );
    assert!(from(&server, [192, 0, 2, 2]).hear().await.starts_with("220"), "another source has its own");
    held.truncate(1);

    let mut client = held.remove(0);
    client.say("MAIL FROM:<>").await;
    for _ in 0..200 {
        assert!(client.say("RCPT TO:<bob@example.com>").await.starts_with("250"));
    }
    assert_eq!(client.say("RCPT TO:<bob@example.com>").await, "452 4.5.3 Too many recipients");

    tokio::time::sleep(MINUTE * 5).await;
    assert_eq!(client.hear().await, "451 4.7.0 Timeout waiting for client input");
    let mut client = greeted(&server).await;
    for _ in 0..3 {
        tokio::time::sleep(MINUTE * 3).await;
        assert!(client.say("NOOP").await.starts_with("250"));
    }
    tokio::time::sleep(MINUTE).await;
    assert_eq!(client.hear().await, "421 4.4.1 Connection timed out");
    let trips = server.counters().trips;
    for limit in [Limit::Connections, Limit::Recipients, Limit::Life] {
        assert_eq!(trips.get(&limit), Some(&1), "{limit:?} of {trips:?}");
    }
    // The one that was held from another source, too.
    assert_eq!(trips.get(&Limit::Idle), Some(&1), "{trips:?}");
}

#[tokio::test(start_paused = true)]
async fn exchange_edge_has_other_words_and_shorter_times() {
    let server = Delegate::new(staffed(Behaviour::exchange_edge("edge")));
    let mut client = greeted(&server).await;
    assert_eq!(client.recipient("nobody@example.com").await, ("550 5.1.1 User unknown".into(), SECOND * 5));
    assert!(client.say("AUTH LOGIN").await.starts_with("504"));
    tokio::time::sleep(MINUTE).await;
    assert!(client.hear().await.starts_with("451 4.7.0"));
    let mut client = greeted(&server).await;
    for _ in 0..6 {
        tokio::time::sleep(SECOND * 50).await;
        client.say("NOOP").await;
    }
    assert_eq!(server.counters().trips.get(&Limit::Life), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn exchange_in_maintenance_greets_and_is_not_active() {
    let server = Delegate::new(staffed(Behaviour::exchange_hub("ex1").in_maintenance()));
    let mut client = greeted(&server).await;
    assert_eq!(client.recipient("bob@example.com").await.0, "421 4.3.2 Service not active");
}

#[tokio::test(start_paused = true)]
async fn microsoft_365_takes_passwords_and_tokens_and_challenges_a_wrong_token() {
    let server = Delegate::new(staffed(Behaviour::microsoft_365_submission("smtp.office365.com")));
    let bearer = |token: &str| {
        encode_base64(format!("user=alice@example.com\u{1}auth=Bearer {token}\u{1}\u{1}").as_bytes())
    };
    let mut client = greeted(&server).await;
    assert_eq!(client.say("MAIL FROM:<>").await, "530 5.7.57 Client not authenticated to send mail.");
    let challenge = client.say(&format!("AUTH XOAUTH2 {}", bearer("wrong"))).await;
    assert!(challenge.starts_with("334 ey"), "the error as JSON: {challenge}");
    assert_eq!(
        client.say("").await,
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect."
    );
    assert!(client.login("alice@example.com", "wrong").await.starts_with("535 5.7.139"));
    assert!(client.say(&format!("AUTH XOAUTH2 {}", bearer("secret"))).await.starts_with("235"));
    assert!(greeted(&server).await.login("alice@example.com", "secret").await.starts_with("235"));
}

#[tokio::test(start_paused = true)]
async fn microsoft_365_with_passwords_switched_off_still_takes_tokens() {
    let off = Behaviour::microsoft_365_submission("smtp.office365.com");
    let server = Delegate::new(staffed(off.passwords_switched_off(SwitchedOff::Tenant)));
    let mut client = greeted(&server).await;
    let said = client.login("alice@example.com", "secret").await;
    assert!(said.contains("SmtpClientAuthentication is disabled"), "{said}");
    let token = encode_base64(b"user=alice@example.com\x01auth=Bearer secret\x01\x01");
    assert!(client.say(&format!("AUTH XOAUTH2 {token}")).await.starts_with("235"));
}

#[tokio::test(start_paused = true)]
async fn microsoft_365_blocks_unknown_recipients_at_its_edge_or_takes_all() {
    let server = Delegate::new(staffed(Behaviour::microsoft_365_edge("mx")));
    let (said, _) = greeted(&server).await.recipient("nobody@example.com").await;
    assert!(
        said.starts_with("550 5.4.1 [nobody@example.com]: Recipient address rejected: Access denied"),
        "{said}"
    );
    server.change(|behaviour| *behaviour = behaviour.clone().without_edge_blocking());
    assert!(greeted(&server).await.recipient("nobody@example.com").await.0.starts_with("250"));
}

#[tokio::test(start_paused = true)]
async fn xeams_shuts_a_dictionary_out_unless_it_is_a_gateway() {
    let server = Delegate::new(staffed(Behaviour::xeams("xeams")));
    let mut client = greeted(&server).await;
    for n in 0..10 {
        let (said, _) = client.recipient(&format!("guess{n}@example.com")).await;
        assert!(said.starts_with("550 Requested") || n == 9, "{said}");
    }
    assert!(client.say("NOOP").await.is_empty(), "closed");
    let mut client = from(&server, [192, 0, 2, 1]);
    client.hear().await;
    assert!(client.say("EHLO gw.example").await.starts_with("554 "));
    assert_eq!(server.counters().trips.get(&Limit::Dictionary), Some(&1));

    let server = Delegate::new(staffed(Behaviour::xeams("xeams").gateway([192, 0, 2, 1])));
    let mut client = greeted(&server).await;
    for n in 0..100 {
        client.recipient(&format!("guess{n}@example.com")).await;
    }
    assert!(client.recipient("bob@example.com").await.0.starts_with("250"));
    assert_eq!(server.counters().tripped(), 0);
}

#[tokio::test(start_paused = true)]
async fn xeams_takes_no_login_from_an_address_with_five_wrong_ones_for_ten_minutes() {
    let server = Delegate::new(staffed(Behaviour::xeams("xeams").gateway([192, 0, 2, 1])));
    for n in 0..5 {
        let said = greeted(&server).await.login(&format!("user{n}@example.com"), "wrong").await;
        assert_eq!(said, "535 Authentication failed");
    }
    assert_eq!(
        greeted(&server).await.login("alice@example.com", "secret").await,
        "535 Authentication failed"
    );
    tokio::time::sleep(MINUTE * 10).await;
    assert!(greeted(&server).await.login("alice@example.com", "secret").await.starts_with("235"));
    assert_eq!(server.counters().trips.get(&Limit::Logins), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn xeams_remembers_a_no_for_a_day() {
    let server = Delegate::new(staffed(Behaviour::xeams("xeams")));
    assert!(greeted(&server).await.recipient("carol@example.com").await.0.starts_with("550"));
    server.change(|behaviour| *behaviour = behaviour.clone().recipient("carol@example.com"));
    tokio::time::sleep(MINUTE * 60 * 23).await;
    assert!(greeted(&server).await.recipient("carol@example.com").await.0.starts_with("550"));
    tokio::time::sleep(MINUTE * 60).await;
    assert!(greeted(&server).await.recipient("carol@example.com").await.0.starts_with("250"));
}

#[tokio::test(start_paused = true)]
async fn postfix_counts_junk_as_errors_slows_down_and_closes() {
    let server = Delegate::new(staffed(Behaviour::postfix("mail")));
    let mut client = greeted(&server).await;
    for _ in 0..99 {
        client.say("RSET").await;
    }
    assert_eq!(server.counters().tripped(), 0, "with the greeting, 100 are free");
    for _ in 0..10 {
        client.say("RSET").await;
    }
    let begun = Instant::now();
    client.say("MAIL FROM:<>").await;
    assert_eq!(begun.elapsed(), SECOND);
    for n in 0..10 {
        let said = client.say(&format!("RCPT TO:<nobody{n}@example.com>")).await;
        assert!(said.starts_with("550 5.1.1 <nobody"), "{said}");
    }
    assert_eq!(client.hear().await, "421 4.7.0 Error: too many errors");
    let trips = server.counters().trips;
    assert_eq!((trips.get(&Limit::Slow), trips.get(&Limit::Errors)), (Some(&1), Some(&1)));
}

#[tokio::test(start_paused = true)]
async fn postfix_under_stress_bears_one_error_and_ten_seconds() {
    let server = Delegate::new(staffed(Behaviour::postfix("mail").under_stress()));
    let mut client = greeted(&server).await;
    client.say("MAIL FROM:<>").await;
    assert!(client.say("RCPT TO:<nobody@example.com>").await.starts_with("550"));
    assert!(client.hear().await.starts_with("421"));
    let mut client = greeted(&server).await;
    tokio::time::sleep(SECOND * 10).await;
    assert!(client.hear().await.starts_with("421 4.4.2"));
}

#[tokio::test(start_paused = true)]
async fn exim_drops_after_ten_commands_without_mail() {
    let server = Delegate::new(staffed(Behaviour::exim("mail")));
    let mut client = greeted(&server).await;
    assert_eq!(client.recipient("nobody@example.com").await.0, "550 Unrouteable address");
    for _ in 0..10 {
        assert!(client.recipient("bob@example.com").await.0.starts_with("250"));
    }
    assert_eq!(server.counters().tripped(), 0, "the first RSET and ten more");
    assert_eq!(client.say("NOOP").await, "554 Too many nonmail commands");
    assert_eq!(client.hear().await, "");
    assert_eq!(server.counters().trips.get(&Limit::Junk), Some(&1));
    assert_eq!(
        greeted(&server).await.login("alice@example.com", "wrong").await,
        "535 Incorrect authentication data"
    );
}

#[tokio::test(start_paused = true)]
async fn dovecot_speaks_lmtp_and_knows_users_at_rcpt() {
    let server = Delegate::new(staffed(Behaviour::dovecot_lmtp("store")));
    let mut client = from(&server, [192, 0, 2, 1]);
    assert_eq!(client.hear().await, "220 store Dovecot ready.");
    assert!(client.say("EHLO gw.example").await.starts_with("500"));
    let offers = client.say("LHLO gw.example").await;
    assert!(offers.starts_with("250-store") && !offers.contains("AUTH"), "{offers}");
    assert!(client.recipient("bob@example.com").await.0.starts_with("250"));
    assert_eq!(
        client.recipient("nobody@example.com").await.0,
        "550 5.1.1 <nobody@example.com> User doesn't exist: nobody@example.com"
    );
}
