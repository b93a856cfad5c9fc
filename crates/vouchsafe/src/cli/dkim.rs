//! `dkim`: makes a key that signs for a domain, with the DNS record and the settings to paste; and says whether DNS has
//! what receivers need to verify with it. What a key is, is `vouchsafe_net::authentication::signing`'s to say.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use vouchsafe_config::DkimKey;
use vouchsafe_net::authentication::Verifier;
use vouchsafe_net::authentication::signing::{self, Key, Kind};

use super::args::{DkimCommand, Place, ServeArgs};
use super::failure::Failure;
use super::load;
use super::output::Output;

/// Runs the command.
pub async fn run(place: &Place, command: DkimCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        DkimCommand::Make { domain, selector, ed25519, key } => make(&domain, &selector, ed25519, key, out),
        DkimCommand::Check { domain } => check(place, &domain, out).await,
    }
}

fn make(
    domain: &str,
    selector: &str,
    ed25519: bool,
    file: Option<PathBuf>,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    for (what, name) in [("domain", domain), ("selector", selector)] {
        let fits = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        };
        if !name.split('.').all(fits) {
            let advice = "give it as it stands in DNS: letters, digits, dots and hyphens";
            return Err(Failure::misused(format!("{name} is no {what}"), advice));
        }
    }
    let kind = if ed25519 { Kind::Ed25519 } else { Kind::Rsa };
    let failed = |why: String| Failure::refused(format!("no key was made: {why}"), "try again");
    let pem = signing::make(kind).map_err(failed)?;
    let key = Key::from_pem(domain, selector, &pem).map_err(failed)?;
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{}.pem", key.name())));
    write(&file, &pem)?;
    // The gateway may run elsewhere than here.
    let file = std::path::absolute(&file).unwrap_or(file);
    let settings = format!(
        "[[dkim]]\ndomain   = {domain:?}\nselector = {selector:?}\nkey      = {:?}\n",
        file.display().to_string()
    );
    out.give(
        || {
            format!(
                "Wrote the private key to {}. Whoever runs the gateway must be able to read it, and nobody else.\n\n\
                 1. Put this into the zone of {domain}:\n\n{}\n\n   In one piece, for a form: name {}, type TXT, value\n\n{}\n\n\
                 2. Put this into the settings, once `vouchsafe dkim check {domain}` finds the record:\n\n{settings}",
                file.display(),
                key.zone_line(),
                key.name(),
                key.record(),
            )
        },
        || {
            json!({ "key": file, "name": key.name(), "record": key.record(), "zone_line": key.zone_line(),
                "settings": settings })
        },
    )?;
    Ok(())
}

/// A new file that only its owner reads; one that is there stays.
fn write(file: &Path, pem: &str) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut to| to.write_all(pem.as_bytes()).and_then(|()| to.sync_all()));
    written.map_err(|fault| {
        let what = match fault.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{} is there already", file.display()),
            _ => format!("{} cannot be written: {}", file.display(), load::plain(&fault)),
        };
        Failure::refused(what, "give another selector, or another file with --key FILE")
    })
}

/// Signs with each key of the domain that the settings name, and verifies by DNS.
async fn check(place: &Place, domain: &str, out: &mut Output<'_>) -> Result<(), Failure> {
    let settings = load::settings(place, &ServeArgs::default())?.settings;
    let of_domain = |key: &&DkimKey| key.domain.eq_ignore_ascii_case(domain);
    let keys: Vec<&DkimKey> = settings.dkim.iter().filter(of_domain).collect();
    if keys.is_empty() {
        let advice = format!("make one with: vouchsafe dkim make {domain}, and name it in [[dkim]]");
        return Err(Failure::refused(format!("the settings have no key of {domain}"), advice));
    }
    let resolver = Verifier::default()
        .resolver(&settings.authentication.name_servers)
        .map_err(|why| Failure::refused(why, "look at authentication.name_servers"))?;
    let mut rows = Vec::new();
    for DkimKey { domain, selector, key } in keys {
        let key = Key::from_file(domain, selector, key)
            .map_err(|why| Failure::refused(why, "name a file that `vouchsafe dkim make` wrote"))?;
        let verified = key.check(&resolver).await;
        rows.push((key, verified));
    }
    out.give(
        || {
            let row = |(key, verified): &(Key, Result<(), String>)| match verified {
                Ok(()) => format!("{}: good, receivers can verify what it signs.\n", key.name()),
                Err(why) => {
                    format!("{}: {why}. It should hold the TXT record:\n{}\n", key.name(), key.record())
                }
            };
            rows.iter().map(row).collect()
        },
        || {
            let row = |(key, verified): &(Key, Result<(), String>)| {
                json!({ "name": key.name(), "good": verified.is_ok(), "why": verified.as_ref().err(),
                    "record": key.record() })
            };
            rows.iter().map(row).collect()
        },
    )?;
    if rows.iter().all(|(_, verified)| verified.is_ok()) { Ok(()) } else { Err(Failure::Told) }
}
