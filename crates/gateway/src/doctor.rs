//! The doctor's questions: one connection a port, one after the other, and one more for a login. Where every address is
//! taken at RCPT, two more at the most, for what is said to DATA.
//!
//! Polite: takes leave with QUIT, asks about three addresses a port at the most, sends no octet of a message, closing where
//! one is waited for, and tries no password but the one it was given, once. What the answers mean is `vouchsafe_core::doctor`'s.
//! Proof: `tests/doctor.rs`, whose stand-ins count what they were asked.

use std::fmt::Write;
use std::slice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use vouchsafe_core::doctor::{
    About, Answer, Examined, LoginTried, Report, Role, Seen, TlsSeen, Trouble, diagnose, goes_on,
    is_asked_at_data, login_port,
};
use vouchsafe_core::verdict::{Verdict, classify_auth, classify_fault};
use vouchsafe_core::{Endpoint, Protocol, Tell, TlsMode};
use vouchsafe_net::client::{Connection, Connector, Fault, FaultKind, Hello, Timeouts, TraceSink};
use vouchsafe_net::tls::TlsFacts;
use vouchsafe_smtp::{Mailbox, Reply, ReversePath, Secret};

use crate::delegate::lock;

/// Where delegates answer, in the order in which they are asked.
pub const PORTS: [u16; 4] = [587, 465, 25, 2525];
/// A port behind a firewall swallows the call: with four of them nobody waits longer.
const CONNECT: Duration = Duration::from_secs(5);
/// Above any tarpit known.
const PATIENCE: Duration = Duration::from_secs(45);

/// What is to be looked at.
pub struct Examination {
    /// Host name or address.
    pub host: String,
    /// Ports, in order.
    pub ports: Vec<u16>,
    /// What the server is for.
    pub role: Role,
    /// What the delegate will be called in the settings.
    pub name: String,
    /// An address that exists there.
    pub known: Option<Mailbox>,
    /// A made-up address in a domain of theirs.
    pub made_up: Option<Mailbox>,
    /// An address in a domain that is not theirs.
    pub foreign: Mailbox,
    /// A login to try once.
    pub login: Option<(String, Secret)>,
    /// Ports at which the host's address is one of our own listeners.
    pub own_ports: Vec<u16>,
    /// Our address towards the host.
    pub our_address: Option<String>,
}

/// A local part that nobody has.
pub fn made_up_local_part() -> String {
    let octets: [u8; 6] = rand::random();
    octets.iter().fold("no-such-user-".to_owned(), |mut name, octet| {
        // A String takes everything.
        let _ = write!(name, "{octet:02x}");
        name
    })
}

/// Looks at a server and says what was found. `progress` is told what is asked next.
pub async fn examine(
    connector: &Connector,
    hello: &Hello,
    examination: Examination,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Report {
    let mut ports = Vec::new();
    let mut keys: Vec<(u16, [u8; 32])> = Vec::new();
    for port in &examination.ports {
        progress(&format!("port {port}"));
        let (seen, facts) = look(connector, hello, &examination, *port).await;
        keys.extend(facts.map(|facts| (*port, facts.spki_pin)));
        ports.push(seen);
    }
    let mut login = None;
    if let Some((name, password)) = &examination.login {
        progress("the login");
        let at = login_port(&ports).map(|seen| seen.port);
        let key = keys.iter().find(|(port, _)| Some(*port) == at);
        let verdict = match key {
            Some((port, key)) => {
                let endpoint = endpoint(&examination.host, *port, TlsMode::Pin(*key));
                Some(log_in(connector, hello, &endpoint, name, password).await)
            }
            None => None,
        };
        login = Some(LoginTried { port: at, name: name.clone(), verdict });
    }
    let text = |mailbox: &Mailbox| mailbox.as_str().to_owned();
    let our_address = ports.iter().find_map(address_in_greeting).or(examination.our_address);
    let examined = Examined {
        host: examination.host,
        role: examination.role,
        known: examination.known.as_ref().map(text),
        made_up: examination.made_up.as_ref().map(text),
        foreign: text(&examination.foreign),
        our_name: hello.name.clone(),
        our_address,
        ports,
        login,
    };
    diagnose(examined, &examination.name)
}

fn endpoint(host: &str, port: u16, tls: TlsMode) -> Endpoint {
    Endpoint {
        protocol: Protocol::Smtp,
        host: host.to_owned(),
        port,
        tls,
        implicit_tls: port == 465,
        login: None,
        tell: Tell::Nothing,
    }
}

fn timeouts() -> Timeouts {
    Timeouts { connect: CONNECT, command: PATIENCE, ..Timeouts::default() }
}

/// One connection: what is offered, and what is said of the addresses.
async fn look(
    connector: &Connector,
    hello: &Hello,
    examination: &Examination,
    port: u16,
) -> (Seen, Option<TlsFacts>) {
    let endpoint = endpoint(&examination.host, port, TlsMode::Opportunistic);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let sink: TraceSink = Some(Arc::new(move |sent, text: &str| lock(&into).push((sent, text.to_owned()))));
    let our_address = examination.own_ports.contains(&port);
    let mut seen = Seen { port, our_address, ..Seen::default() };
    let mut facts = None;
    match Connection::open(connector, &endpoint, hello, &timeouts(), sink.clone()).await {
        Err(fault) => seen.trouble = Some(trouble(&fault)),
        Ok(mut connection) => {
            facts = connection.tls().cloned();
            read_greeting(&mut seen, &lock(&lines));
            // Our own listener is no server to be asked.
            let asked = match seen.is_ourselves(&hello.name) {
                true => Ok(()),
                false => ask(&mut connection, examination, &mut seen.answers).await,
            };
            match asked {
                Ok(()) => connection.quit().await,
                Err(fault) => seen.trouble = Some(trouble(&fault)),
            }
        }
    }
    read_greeting(&mut seen, &lock(&lines));
    if is_asked_at_data(examination.role, &seen.answers) {
        seen.answers_at_data = ask_at_data(connector, hello, examination, &endpoint, &sink).await;
    }
    let mark = |sent: &bool| if *sent { "D>" } else { "D<" };
    seen.dialogue = lock(&lines).iter().map(|(sent, text)| format!("{} {text}", mark(sent))).collect();
    seen.tls = facts.as_ref().map(|facts| tls_seen(facts, &endpoint));
    (seen, facts)
}

/// One address after the other, so that each answer's time is its own.
async fn ask(
    connection: &mut Connection,
    examination: &Examination,
    answers: &mut Vec<Answer>,
) -> Result<(), Fault> {
    let questions = [
        (About::Known, examination.known.as_ref()),
        (About::MadeUp, examination.made_up.as_ref()),
        (About::Foreign, Some(&examination.foreign)),
    ];
    for (about, mailbox) in questions {
        let Some(mailbox) = mailbox else { continue };
        let start = Instant::now();
        let mut answer = None;
        let ended = connection
            .callout(&ReversePath::Null, slice::from_ref(mailbox), &mut |_, reply| {
                answer = Some((reply.clone(), start.elapsed()));
            })
            .await;
        if let Some((said, took)) = answer {
            answers.push(Answer { about, said, milliseconds: milliseconds(took) });
        }
        ended?;
        if !answers.last().is_some_and(|answer| goes_on(&examination.host, answer)) {
            break;
        }
    }
    Ok(())
}

/// Asks up to DATA, an address a connection: the made-up one, and the known one if that was refused.
async fn ask_at_data(
    connector: &Connector,
    hello: &Hello,
    examination: &Examination,
    endpoint: &Endpoint,
    sink: &TraceSink,
) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    for (about, mailbox) in [(About::MadeUp, &examination.made_up), (About::Known, &examination.known)] {
        let Some(mailbox) = mailbox else { continue };
        let mut answer = None;
        // Whatever cut it short, what was answered counts.
        if let Ok(mut connection) =
            Connection::open(connector, endpoint, hello, &timeouts(), sink.clone()).await
        {
            let start = Instant::now();
            let mut hear = |_, reply: &Reply| answer = Some((reply.clone(), start.elapsed()));
            if connection.callout_by_data(&ReversePath::Null, mailbox, &mut hear).await.is_ok() {
                connection.quit().await;
            }
        }
        let Some((said, took)) = answer else { break };
        let refused = said.is_permanent();
        answers.push(Answer { about, said, milliseconds: milliseconds(took) });
        if !refused {
            break;
        }
    }
    answers
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Asks once, at the very server whose key was seen before.
async fn log_in(
    connector: &Connector,
    hello: &Hello,
    endpoint: &Endpoint,
    name: &str,
    password: &Secret,
) -> Verdict {
    let asked = async {
        let mut connection = Connection::open(connector, endpoint, hello, &timeouts(), None).await?;
        let said = connection.auth(name, password).await?;
        connection.quit().await;
        Ok(classify_auth(endpoint, &said))
    };
    asked.await.unwrap_or_else(|fault: Fault| classify_fault(fault.to_string(), fault.phase, &fault.kind))
}

fn trouble(fault: &Fault) -> Trouble {
    let said = match &fault.kind {
        FaultKind::Refused(reply) => Some(reply.clone()),
        _ => None,
    };
    let told = match &fault.kind {
        FaultKind::Unreachable(why) => format!("not reachable: {why}"),
        _ => fault.to_string(),
    };
    Trouble { phase: fault.phase, said, told }
}

/// Banner and EHLO, in clear text and under TLS, from the dialogue.
fn read_greeting(seen: &mut Seen, lines: &[(bool, String)]) {
    let (mut hello, mut hello_tls, mut secure, mut asked) = (Vec::new(), Vec::new(), false, "");
    for (sent, text) in lines {
        if *sent {
            asked = text.split(' ').next().unwrap_or_default();
            continue;
        }
        match asked {
            // What the driver says of the handshake stands in parentheses.
            _ if text.starts_with('(') => secure = true,
            "" => {
                seen.banner.get_or_insert_with(|| text.clone());
            }
            "EHLO" | "HELO" if text.starts_with("250") => {
                let offered = text.get(4..).unwrap_or_default().to_owned();
                if secure { hello_tls.push(offered) } else { hello.push(offered) }
            }
            _ => {}
        }
    }
    (seen.hello, seen.hello_tls) = (hello, hello_tls);
}

fn tls_seen(facts: &TlsFacts, endpoint: &Endpoint) -> TlsSeen {
    let certificate = facts.certificate();
    TlsSeen {
        implicit: endpoint.implicit_tls,
        version: facts.to_string(),
        unverified: facts.verify(&endpoint.host).err(),
        pin: facts.pin_setting(),
        names: certificate.names,
        expires: certificate.expires,
    }
}

/// Many servers tell in their reply to EHLO from where they see us: `mail.example.com Hello [192.0.2.10]`.
fn address_in_greeting(seen: &Seen) -> Option<String> {
    let greeting = seen.hello.first().or(seen.hello_tls.first())?;
    let (_, rest) = greeting.split_once('[')?;
    let (inner, _) = rest.split_once(']')?;
    let address: std::net::IpAddr = inner.trim_start_matches("IPv6:").parse().ok()?;
    Some(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_are_read_before_and_after_tls() {
        let lines = [
            (false, "220 mail.example.com ESMTP Postfix"),
            (true, "EHLO gw"),
            (false, "250-mail.example.com Hello [192.0.2.10]"),
            (false, "250 STARTTLS"),
            (true, "STARTTLS"),
            (false, "220 2.0.0 Ready"),
            (false, "(TLSv1_3 TLS13_AES_256_GCM_SHA384)"),
            (true, "EHLO gw"),
            (false, "250-mail.example.com"),
            (false, "250 AUTH PLAIN"),
            (true, "MAIL FROM:<>"),
            (false, "250 2.1.0 Ok"),
        ];
        let lines: Vec<(bool, String)> = lines.map(|(sent, text)| (sent, text.to_owned())).into();
        let mut seen = Seen::default();
        read_greeting(&mut seen, &lines);
        assert_eq!(seen.banner.as_deref(), Some("220 mail.example.com ESMTP Postfix"));
        assert_eq!(seen.hello, ["mail.example.com Hello [192.0.2.10]", "STARTTLS"]);
        assert_eq!(seen.hello_tls, ["mail.example.com", "AUTH PLAIN"]);
        assert_eq!(address_in_greeting(&seen).as_deref(), Some("192.0.2.10"));
    }

    #[test]
    fn a_made_up_local_part_is_one_and_another_each_time() {
        let (one, other) = (made_up_local_part(), made_up_local_part());
        assert_ne!(one, other);
        assert!(Mailbox::parse(&format!("{one}@example.com"), false).is_ok());
    }
}
