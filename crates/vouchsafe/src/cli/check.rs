//! `check`: the settings' own faults, then what only this machine knows: certificate, data directory, and names that
//! lead back to ourselves. Asks no server anything.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vouchsafe_config::{DkimKey, Fault, Notice, Settings};
use vouchsafe_core::Endpoint;
use vouchsafe_gateway::examination::own_listener;
use vouchsafe_net::authentication::signing::Key;

use super::args::{Place, ServeArgs};
use super::failure::Failure;
use super::load::{self, Unread, place_of};
use super::output::{Output, count};

/// Names that do not resolve by then are told, not waited for.
const RESOLVE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<Fault>,
    notices: Vec<Notice>,
}

/// Runs the command.
pub fn run(place: &Place, flags: &ServeArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let source = load::source(place, flags);
    let found = match load::read(&source) {
        Err(Unread::File(why)) => {
            return Err(Failure::refused(why, "name the settings file with --config FILE"));
        }
        Err(Unread::Faults(faults)) => Findings { faults, notices: Vec::new() },
        Ok(reading) => {
            let mut found = Findings { faults: Vec::new(), notices: reading.notices };
            certificate(&reading.settings, &mut found);
            dkim(&reading.settings, &mut found);
            data_dir(&reading.settings.data_dir, &mut found);
            if let Err(why) = crate::blobs::keys(&reading.settings.attachments.keeping) {
                let advice = "one key on its line; several keys are several files in a list";
                found.faults.push(fault("attachments.encryption_key", &"", why, advice));
            }
            names(&reading.settings, &mut found);
            found
        }
    };
    if !out.json {
        for notice in &found.notices {
            eprintln!("vouchsafe: note: {}{notice}", place_of(&source, notice.line.is_some()));
        }
        for fault in &found.faults {
            eprintln!("vouchsafe: {}{fault}", place_of(&source, fault.line.is_some()));
        }
    }
    out.give(|| summary(&found), || to_json(&found))?;
    if found.faults.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

fn summary(found: &Findings) -> String {
    let notes = match found.notices.len() as u64 {
        0 => String::new(),
        n => format!(", {}", count(n, "note", "notes")),
    };
    match found.faults.len() as u64 {
        0 => format!("The settings are good{notes}.\n"),
        n => format!("{}{notes}.\n", count(n, "fault", "faults")),
    }
}

fn to_json(found: &Findings) -> Value {
    let faults: Vec<Value> = found
        .faults
        .iter()
        .map(
            |f| json!({ "line": f.line, "key": f.key, "value": f.value, "what": f.what, "advice": f.advice }),
        )
        .collect();
    let notices: Vec<Value> =
        found.notices.iter().map(|n| json!({ "line": n.line, "key": n.key, "what": n.what })).collect();
    json!({ "good": found.faults.is_empty(), "faults": faults, "notices": notices })
}

fn fault(key: &str, value: &dyn std::fmt::Display, what: String, advice: &str) -> Fault {
    Fault { line: None, key: key.to_owned(), value: value.to_string(), what, advice: advice.to_owned() }
}

fn notice(key: &str, what: String) -> Notice {
    Notice { line: None, key: key.to_owned(), what }
}

fn certificate(settings: &Settings, found: &mut Findings) {
    let Some(tls) = &settings.tls else { return };
    let mut readable = true;
    for (key, path) in [("tls.certificate", &tls.certificate), ("tls.key", &tls.key)] {
        if let Err(e) = std::fs::File::open(path) {
            readable = false;
            let what = format!("cannot be read: {}", load::plain(&e));
            match e.kind() {
                // The server may run as another user than the one who checks.
                std::io::ErrorKind::PermissionDenied => {
                    found.notices.push(notice(key, format!("{} {what}", path.display())));
                }
                _ => found.faults.push(fault(key, &path.display(), what, "name a PEM file")),
            }
        }
    }
    if readable && let Err(why) = vouchsafe_net::server_tls::from_files(&tls.certificate, &tls.key) {
        let advice = "give a PEM certificate with its chain, and its key";
        found.faults.push(fault("tls", &"", why, advice));
    }
}

/// Each key that signs is read, as the start will read it.
fn dkim(settings: &Settings, found: &mut Findings) {
    for (at, DkimKey { domain, selector, key }) in settings.dkim.iter().enumerate() {
        let name = format!("dkim[#{}].key", at + 1);
        match std::fs::File::open(key) {
            // The server may run as another user than the one who checks.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                let what = format!("{} cannot be read: {}", key.display(), load::plain(&e));
                found.notices.push(notice(&name, what));
            }
            Err(e) => {
                let what = format!("cannot be read: {}", load::plain(&e));
                let advice = "name a file that `vouchsafe dkim make` wrote";
                found.faults.push(fault(&name, &key.display(), what, advice));
            }
            Ok(_) => {
                if let Err(why) = Key::from_file(domain, selector, key) {
                    let advice = "name a PEM file with an RSA or Ed25519 key";
                    found.faults.push(fault(&name, &"", why, advice));
                }
            }
        }
    }
}

fn data_dir(dir: &Path, found: &mut Findings) {
    let existing = dir.ancestors().find(|p| p.exists() || p.as_os_str().is_empty());
    let existing = existing.filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        let what = format!("{} is not a directory", existing.display());
        found.faults.push(fault("data_dir", &dir.display(), what, "name a directory"));
    } else if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        let what = format!("{} cannot be written by the user who runs this", existing.display());
        found.notices.push(notice("data_dir", what));
    }
}

/// Resolves every server's name; a name that is one of our listeners is a loop.
fn names(settings: &Settings, found: &mut Findings) {
    let asked: Vec<(String, Endpoint)> =
        endpoints(settings).into_iter().filter(|(_, e)| e.host.parse::<IpAddr>().is_err()).collect();
    let (give, take) = mpsc::channel();
    for (at, (_, endpoint)) in asked.iter().enumerate() {
        let (give, host, port) = (give.clone(), endpoint.host.clone(), endpoint.port);
        thread::spawn(move || {
            let addresses = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            // Nobody listens any more once the time is up.
            let _ = give.send((at, addresses));
        });
    }
    drop(give);
    let until = Instant::now() + RESOLVE;
    let mut answers: Vec<Option<Vec<SocketAddr>>> = vec![None; asked.len()];
    while let Ok((at, addresses)) = take.recv_timeout(until.saturating_duration_since(Instant::now())) {
        answers[at] = addresses.ok();
    }
    for ((key, endpoint), answer) in asked.iter().zip(answers) {
        match answer {
            None => found.notices.push(notice(key, format!("{} does not resolve now", endpoint.host))),
            Some(addresses) => {
                if let Some(listener) = addresses.iter().find_map(|a| own_listener(settings, *a)) {
                    let what = format!("resolves to our own listener {listener}: mail would run in a circle");
                    found.faults.push(fault(key, endpoint, what, "give the other server's address"));
                }
            }
        }
    }
}

fn endpoints(settings: &Settings) -> Vec<(String, Endpoint)> {
    let mut all: Vec<(String, &[Endpoint])> = Vec::new();
    for (name, delegate) in &settings.delegates {
        all.push((format!("delegate.{name}.auth"), &delegate.auth));
        all.push((format!("delegate.{name}.recipients"), &delegate.recipients));
    }
    for domain in &settings.domains {
        all.push((format!("domain[{}].next_hop", domain.name), &domain.next_hop));
    }
    all.push(("relay.next_hop".to_owned(), &settings.relay.next_hop));
    all.into_iter().flat_map(|(key, list)| list.iter().map(move |e| (key.clone(), e.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Result<(), Failure>, Value) {
        let dir = std::env::temp_dir().join(format!("vouchsafe-check-{}-{}", std::process::id(), text.len()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("settings.toml");
        std::fs::write(&file, text).unwrap();
        let place = Place { config: Some(file), data_dir: None };
        let mut said = Vec::new();
        let mut out = Output { json: true, to: &mut said };
        let end = run(&place, &ServeArgs::default(), &mut out);
        std::fs::remove_dir_all(&dir).unwrap();
        (end, serde_json::from_slice(&said).unwrap())
    }

    const LISTENER: &str = "[[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"\n";

    #[test]
    fn good_settings_end_well() {
        let (end, said) = check(LISTENER);
        assert_eq!(end, Ok(()));
        assert_eq!(said["good"], json!(true));
        let notices = said["notices"].as_array().unwrap();
        assert!(notices.iter().any(|n| n["key"] == "domain"), "{notices:?}");
    }

    #[test]
    fn faults_are_told_with_their_lines() {
        let (end, said) = check(&format!("{LISTENER}tsl = \"off\"\n[limits]\nsessions = 0\n"));
        assert_eq!(end, Err(Failure::Told));
        assert_eq!(said["faults"][0]["line"], json!(5));
        assert_eq!(said["faults"][0]["advice"], json!("did you mean tls?"));
        assert_eq!(said["faults"][1]["key"], json!("limits.sessions"));
    }

    #[test]
    fn a_dkim_key_that_is_none_is_a_fault() {
        let (end, said) = check(&format!(
            "{LISTENER}[[dkim]]\ndomain = \"x.example\"\nselector = \"s\"\nkey = \"/none.pem\"\n"
        ));
        assert_eq!(end, Err(Failure::Told));
        let first = &said["faults"][0];
        assert_eq!(
            (&first["key"], &first["what"]),
            (&json!("dkim[#1].key"), &json!("cannot be read: there is no such file"))
        );
    }

    #[test]
    fn a_missing_certificate_is_a_fault() {
        let (end, said) =
            check(&format!("{LISTENER}[tls]\ncertificate = \"/none.pem\"\nkey = \"/none.key\"\n"));
        assert_eq!(end, Err(Failure::Told));
        let first = &said["faults"][0];
        assert_eq!((&first["key"], &first["value"]), (&json!("tls.certificate"), &json!("/none.pem")));
        assert_eq!(first["what"], json!("cannot be read: there is no such file"));
    }
}
