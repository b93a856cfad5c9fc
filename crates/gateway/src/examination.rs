//! What the doctor needs to know before it looks at a server: addresses to ask about, ports that are our own.

use std::net::SocketAddr;

use vouchsafe_config::Settings;
use vouchsafe_core::doctor::Role;
use vouchsafe_net::machine::{address_towards, is_ours};
use vouchsafe_smtp::{Mailbox, Secret};

use crate::doctor::{Examination, PORTS, made_up_local_part};

/// What an administrator says about the server.
pub struct Wanted {
    /// `host` or `host:port`.
    pub server: String,
    /// What the server is for.
    pub role: Role,
    /// What the delegate will be called in the settings.
    pub name: String,
    /// An address that exists there.
    pub known: Option<Mailbox>,
    /// An address in a domain that is not theirs.
    pub foreign: Option<Mailbox>,
    /// A login to try once.
    pub login: Option<(String, Secret)>,
}

/// The examination of that server. `Err`: the server's name is none.
pub async fn prepare(settings: &Settings, wanted: Wanted) -> Result<Examination, String> {
    let Wanted { server, role, name, known, foreign, login } = wanted;
    let (host, port) = vouchsafe_config::parse_server(&server).map_err(|what| format!("{server}: {what}"))?;
    let ports = match (role, port) {
        (Role::Delegate, port) => port.map_or(PORTS.to_vec(), |port| vec![port]),
        (Role::NextHop, port) => vec![port.unwrap_or(25)],
    };
    let of_login = login.as_ref().and_then(|(name, _)| Mailbox::parse(name, true).ok());
    let domain = known.as_ref().or(of_login.as_ref()).map(Mailbox::domain_key);
    let domain = domain.or_else(|| settings.domains.first().map(|domain| domain.name.clone()));
    let made_up = domain.as_ref().map(|domain| parse(&format!("{}@{domain}", made_up_local_part())));
    // Reserved for documentation (RFC 2606 §3): nobody's mail, and nobody's domain at home.
    let nobodys = match domain.as_deref() {
        Some("example.org") => "postmaster@example.net",
        _ => "postmaster@example.org",
    };
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect).unwrap_or_default();
    let ours = |port: u16| {
        let mut at = addresses.iter().map(|address| SocketAddr::new(address.ip(), port));
        at.any(|address| own_listener(settings, address).is_some())
    };
    Ok(Examination {
        own_ports: ports.iter().copied().filter(|port| ours(*port)).collect(),
        our_address: addresses.first().and_then(address_towards).map(|address| address.to_string()),
        host,
        ports,
        role,
        name,
        known,
        made_up: made_up.transpose()?,
        foreign: match foreign {
            Some(foreign) => foreign,
            None => parse(nobodys)?,
        },
        login,
    })
}

fn parse(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text, true).map_err(|bad| format!("{text}: {}; give an address, user@domain", bad.0))
}

/// The listener of ours at this address.
pub fn own_listener(settings: &Settings, address: SocketAddr) -> Option<&str> {
    let hit = |a: &SocketAddr| {
        a.port() == address.port()
            && (a.ip() == address.ip() || (a.ip().is_unspecified() && is_ours(address.ip())))
    };
    settings.listeners.iter().find(|l| l.addresses.iter().any(hit)).map(|l| l.name.as_str())
}
