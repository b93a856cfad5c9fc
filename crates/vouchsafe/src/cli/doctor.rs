//! `doctor`: looks at a delegate or a next hop, shows the report, and with `--apply` writes what it proposes.
//! What is asked is `vouchsafe_gateway::doctor`'s, what it means `vouchsafe_core::doctor`'s.

use std::io::IsTerminal;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use vouchsafe_config::Settings;
use vouchsafe_core::doctor::Role;
use vouchsafe_gateway::doctor::{Examination, PORTS, examine, made_up_local_part};
use vouchsafe_net::client::{Connector, Hello};
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_smtp::Mailbox;

use super::args::{DoctorArgs, Place};
use super::failure::Failure;
use super::output::Output;
use super::{apply, ask, check, password};

/// Runs the command. Ends 0 if nothing has to be changed, else 1: the report says what.
pub async fn run(place: &Place, args: DoctorArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let file = match (&place.config, args.apply) {
        (None, true) => {
            return Err(Failure::misused("--apply needs a file to write to", "name it with --config FILE"));
        }
        (Some(file), true) => {
            apply::check_name(file, &args.name)?;
            Some(file)
        }
        _ => None,
    };
    let settings = ask::settings(place)?;
    let mut examination = examination(&settings, &args).await?;
    if let Some(name) = args.login {
        let password = password::ask(&format!("Password of {name}: "))?;
        examination.login = Some((name, password));
    }
    let connector = Connector::new(Arc::new(TcpDialer::new()));
    let hello = Hello { name: settings.hostname };
    let tells = std::io::stderr().is_terminal();
    let mut progress = |what: &str| {
        if tells {
            eprintln!("vouchsafe: asking {what} ...");
        }
    };
    let report = examine(&connector, &hello, examination, &mut progress).await;
    out.give(|| report.to_string(), || serde_json::to_value(&report).unwrap_or_default())?;
    if let Some(file) = file {
        let Some(lines) = &report.settings else {
            return Err(Failure::refused("there is nothing to write", "change what the report says first"));
        };
        apply::delegate(file, &args.name, lines)?;
        eprintln!("vouchsafe: wrote delegate.{} into {}", args.name, file.display());
    }
    if report.good { Ok(()) } else { Err(Failure::Told) }
}

async fn examination(settings: &Settings, args: &DoctorArgs) -> Result<Examination, Failure> {
    let (host, ports, role) = target(args)?;
    let known = args.known.as_deref().map(mailbox).transpose()?;
    let of_login = args.login.as_deref().and_then(|name| Mailbox::parse(name, true).ok());
    let domain = known.as_ref().or(of_login.as_ref()).map(Mailbox::domain_key);
    let domain = domain.or_else(|| settings.domains.first().map(|domain| domain.name.clone()));
    let made_up = domain.as_ref().map(|domain| mailbox(&format!("{}@{domain}", made_up_local_part())));
    // Reserved for documentation (RFC 2606 §3): nobody's mail, and nobody's domain at home.
    let foreign = match domain.as_deref() {
        Some("example.org") => "postmaster@example.net",
        _ => "postmaster@example.org",
    };
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect).unwrap_or_default();
    let ours = |port: u16| {
        let mut at = addresses.iter().map(|address| SocketAddr::new(address.ip(), port));
        at.any(|address| check::own_listener(settings, address).is_some())
    };
    Ok(Examination {
        own_ports: ports.iter().copied().filter(|port| ours(*port)).collect(),
        our_address: addresses.first().and_then(address_towards),
        host,
        ports,
        role,
        name: args.name.clone(),
        known,
        made_up: made_up.transpose()?,
        foreign: mailbox(args.foreign.as_deref().unwrap_or(foreign))?,
        login: None,
    })
}

/// Host, ports and role.
fn target(args: &DoctorArgs) -> Result<(String, Vec<u16>, Role), Failure> {
    let parse = |text: &str| {
        vouchsafe_config::parse_server(text)
            .map_err(|what| Failure::misused(format!("{text}: {what}"), "give HOST or HOST:PORT"))
    };
    match (&args.host, &args.next_hop) {
        (Some(text), _) => {
            let (host, port) = parse(text)?;
            Ok((host, port.map_or(PORTS.to_vec(), |port| vec![port]), Role::Delegate))
        }
        (None, Some(text)) => {
            let (host, port) = parse(text)?;
            Ok((host, vec![port.unwrap_or(25)], Role::NextHop))
        }
        (None, None) => Err(Failure::misused("no server was named", "give HOST, or --next-hop HOST")),
    }
}

fn mailbox(text: &str) -> Result<Mailbox, Failure> {
    Mailbox::parse(text, true)
        .map_err(|bad| Failure::misused(format!("{text}: {}", bad.0), "give an address, user@domain"))
}

/// The address that this machine uses towards another one. No packet leaves.
fn address_towards(server: &SocketAddr) -> Option<String> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(SocketAddr::new(server.ip(), 25)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}
