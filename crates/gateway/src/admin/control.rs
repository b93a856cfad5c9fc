//! The requests of `control` that are about settings, administrators and tests.
//!
//! A test at the page's word reaches only the usual ports of mail servers, and shows our words about what a server
//! said, never its raw banner: a button must not be a window into the network behind us.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_config::ListenerKind;
use vouchsafe_core::doctor::{Grade, Role as Server};
use vouchsafe_core::endpoint::Tell;
use vouchsafe_core::ports::{BodyReader, BoxFuture, Clock, StoreFault};
use vouchsafe_core::{Endpoint, TlsMode};
use vouchsafe_net::client::{Connection, Connector, Fault, Hello, Timeouts, TraceSink};
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath, Secret};

use super::Caller;
use crate::control::{Request, Response};
use crate::delegate::lock;
use crate::doctor::examine;
use crate::examination::{Wanted, prepare};
use crate::gateway::Gateway;

/// Ports that a test from the page may reach.
const PORTS: [u16; 6] = [24, 25, 26, 465, 587, 2525];

/// The doctor's report in our words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Examined {
    /// The server.
    pub server: String,
    /// What it looks like.
    pub product: String,
    /// Nothing has to be changed.
    pub good: bool,
    /// What was found.
    pub findings: Vec<Found>,
    /// Lines for the settings.
    pub settings: Option<String>,
}

/// A finding of the doctor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub struct Found {
    /// `good`, `note`, `change`, `danger`.
    pub grade: String,
    /// What was found and what it means.
    pub what: String,
    /// What to do at the other server.
    pub there: Vec<String>,
}

/// A test message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentTest {
    /// `C: ...`, `S: ...`.
    pub dialogue: Vec<String>,
    /// It was taken.
    pub accepted: bool,
    /// What it means.
    pub meaning: String,
}

/// Settings.
pub(crate) async fn settings(
    gateway: &Gateway,
    caller: &Caller,
    request: Request,
) -> Result<Response, String> {
    let (stored, now) = (&gateway.stored, gateway.clock.now());
    let lines = |faults: Vec<String>| faults.join("\n");
    Ok(match request {
        Request::SettingsDraft { changes } => Response::Draft(stored.draft(&changes).await.map_err(words)?),
        Request::SettingsChange { changes } => {
            Response::Version(stored.change(&changes, &caller.name, now).await.map_err(lines)?)
        }
        Request::SettingsHistory => Response::Versions { versions: stored.history().await.map_err(words)? },
        Request::SettingsRollback { version } => {
            Response::Version(stored.roll_back(version, &caller.name, now).await.map_err(lines)?)
        }
        _ => Response::Settings {
            version: stored.current().await.map_err(words)?.number,
            rows: stored.rows().await.map_err(lines)?,
        },
    })
}

/// Administrators, their sessions, tokens, the audit log.
pub(crate) async fn people(gateway: &Gateway, request: Request) -> Result<Response, String> {
    let (admins, now) = (&gateway.admins, gateway.clock.now());
    Ok(match request {
        Request::AdminsList => Response::Admins { admins: admins.accounts().await.map_err(words)? },
        Request::AdminAdd { name, password, role } => {
            admins.add(&name, password, role, now).await?;
            Response::Done
        }
        Request::AdminPassword { name, password } => {
            admins.set_password(&name, password, None).await?;
            Response::Done
        }
        Request::AdminRole { name, role } => {
            admins.set_role(&name, role).await?;
            Response::Done
        }
        Request::AdminCodesOff { name } => {
            admins.clear_totp(&name).await?;
            Response::Done
        }
        Request::AdminRemove { name } => {
            admins.remove(&name).await?;
            Response::Done
        }
        Request::TokensList => Response::Tokens { tokens: admins.tokens().list().await.map_err(words)? },
        Request::TokenAdd { name, role, days } => {
            let token = admins.tokens().add(&name, role, days, now).await?;
            Response::Token { name, token }
        }
        Request::TokenRemove { name } => {
            admins.tokens().remove(&name).await?;
            Response::Done
        }
        Request::SessionsList => {
            Response::Sessions { sessions: admins.sessions().list().await.map_err(words)? }
        }
        Request::SessionEnd { id } => match admins.sessions().end(&id).await.map_err(words)? {
            true => Response::Done,
            false => return Err("that session is over already".to_owned()),
        },
        Request::AuditList { text, limit } => {
            Response::Audit { entries: admins.audit(&text, limit.clamp(1, 1000)).await.map_err(words)? }
        }
        _ => return Err("not understood".to_owned()),
    })
}

/// What reaches other servers.
pub(crate) async fn test(gateway: &Gateway, caller: &Caller, request: Request) -> Result<Response, String> {
    match request {
        Request::Doctor { server, next_hop, name, known, login, password } => {
            let role = if next_hop { Server::NextHop } else { Server::Delegate };
            let known = known.filter(|known| !known.trim().is_empty());
            let known = known.map(|known| address(known.trim())).transpose()?;
            let login = login.filter(|login| !login.is_empty());
            let login = login.map(|login| (login, Secret::new(password.unwrap_or_default())));
            let wanted = Wanted { server: server.trim().to_owned(), role, name, known, foreign: None, login };
            let settings = gateway.settings.load_full();
            let examination = prepare(&settings, wanted).await?;
            let odd = examination.ports.iter().find(|port| !PORTS.contains(port));
            if let (Some(port), true) = (odd, *caller != Caller::command_line()) {
                return Err(format!(
                    "port {port} is no port of a mail server; use `vouchsafe doctor` for it"
                ));
            }
            let hello = Hello { name: settings.hostname.clone() };
            let report = examine(&gateway.connector, &hello, examination, &mut |_| {}).await;
            let found = |finding: &vouchsafe_core::doctor::Finding| Found {
                grade: match finding.grade {
                    Grade::Good => "good",
                    Grade::Note => "note",
                    Grade::Change => "change",
                    Grade::Danger => "danger",
                }
                .to_owned(),
                what: finding.what.clone(),
                there: finding.there.clone(),
            };
            Ok(Response::Examined(Examined {
                product: report.product.to_string(),
                good: report.good,
                findings: report.findings.iter().map(found).collect(),
                settings: report.settings,
                server: report.host,
            }))
        }
        Request::TestMessage { sender, recipient } => {
            let (sender, recipient) = (address(sender.trim())?, address(recipient.trim())?);
            send(gateway, sender, recipient).await.map(Response::Sent)
        }
        _ => Err("not understood".to_owned()),
    }
}

/// Through our own listener, as a stranger on this machine would.
async fn send(gateway: &Gateway, sender: Mailbox, recipient: Mailbox) -> Result<SentTest, String> {
    let settings = gateway.settings.load_full();
    let mx = settings.listeners.iter().find(|listener| listener.kind == ListenerKind::Mx);
    let at = mx.and_then(|listener| listener.addresses.first());
    let at = at.ok_or("there is no mx listener to send it through; add one in the settings")?;
    let host = match at.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        one => one.to_string(),
    };
    let endpoint = Endpoint {
        protocol: vouchsafe_core::Protocol::Smtp,
        host,
        port: at.port(),
        tls: TlsMode::Opportunistic,
        implicit_tls: false,
        login: None,
        tell: Tell::Nothing,
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let sink: TraceSink = Some(Arc::new(move |sent, text: &str| {
        lock(&into).push(format!("{} {text}", if sent { "C:" } else { "S:" }));
    }));
    let body = format!(
        "From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: Test message from {}\r\nDate: {}\r\n\
         Message-ID: <{}@{}>\r\nAuto-Submitted: auto-generated\r\n\r\n\
         This message was sent from the administration page to try the way through the gateway.\r\n",
        settings.hostname,
        gateway.clock.now().rfc5322(),
        super::random_token().get(..24).unwrap_or_default(),
        settings.hostname,
        sender = sender.as_str(),
        recipient = recipient.as_str(),
    );
    let hello = Hello { name: format!("test.{}", settings.hostname) };
    let sent = async {
        // A connector of its own: this connection is meant to come back to us.
        let connector = Connector::new(Arc::new(TcpDialer::new()));
        let mut connection =
            Connection::open(&connector, &endpoint, &hello, &Timeouts::default(), sink).await?;
        let mail = MailFrom::new(ReversePath::Mailbox(sender));
        let to = [RcptTo { mailbox: recipient, notify: None, orcpt: None }];
        let size = body.len() as u64;
        let replies = connection.deliver(&mail, &to, size, &mut Text(Some(Bytes::from(body)))).await?;
        connection.quit().await;
        Ok::<_, Fault>(replies)
    };
    let (accepted, meaning) = match sent.await {
        Ok(replies) if replies.data.as_ref().is_some_and(|reply| reply.code / 100 == 2) => {
            (true, "The gateway has it, on disk. The queue shows what becomes of it.".to_owned())
        }
        Ok(_) => (false, "The gateway did not take it; its reply says why.".to_owned()),
        Err(fault) => (false, format!("The dialogue broke off: {fault}")),
    };
    let dialogue = lock(&lines).clone();
    Ok(SentTest { dialogue, accepted, meaning })
}

struct Text(Option<Bytes>);

impl BodyReader for Text {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(std::future::ready(Ok(self.0.take())))
    }
}

fn address(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text, true).map_err(|bad| format!("{text}: {}; give an address, user@domain", bad.0))
}

fn words(fault: StoreFault) -> String {
    fault.to_string()
}
