//! `doctor`: looks at a delegate or a next hop, shows the report, and with `--apply` writes what it proposes.
//! What is asked is `vouchsafe_gateway::doctor`'s, what it means `vouchsafe_core::doctor`'s.

use std::io::IsTerminal;
use std::sync::Arc;

use vouchsafe_config::Settings;
use vouchsafe_core::doctor::Role;
use vouchsafe_gateway::doctor::{Examination, examine};
use vouchsafe_gateway::examination::{Wanted, prepare};
use vouchsafe_net::client::{Connector, Hello};
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_smtp::{Mailbox, Secret};

use super::args::{DoctorArgs, Place};
use super::failure::Failure;
use super::output::Output;
use super::{apply, ask, password};

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
    let (server, role) = match (&args.host, &args.next_hop) {
        (Some(text), _) => (text, Role::Delegate),
        (None, Some(text)) => (text, Role::NextHop),
        (None, None) => {
            return Err(Failure::misused("no server was named", "give HOST, or --next-hop HOST"));
        }
    };
    let wanted = Wanted {
        server: server.clone(),
        role,
        name: args.name.clone(),
        known: args.known.as_deref().map(mailbox).transpose()?,
        foreign: args.foreign.as_deref().map(mailbox).transpose()?,
        // Its domain is one of theirs; the password is asked for later.
        login: args.login.as_ref().map(|name| (name.clone(), Secret::new(""))),
    };
    prepare(settings, wanted).await.map_err(|why| Failure::misused(why, "give HOST or HOST:PORT"))
}

fn mailbox(text: &str) -> Result<Mailbox, Failure> {
    Mailbox::parse(text, true)
        .map_err(|bad| Failure::misused(format!("{text}: {}", bad.0), "give an address, user@domain"))
}
