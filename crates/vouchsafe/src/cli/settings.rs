//! `settings show | export | reference | set | unset | history | rollback`. Secrets stand in the settings by reference, so nothing here needs masking.

use serde_json::{Value, json};
use vouchsafe_config::{Shown, export, reference_markdown};
use vouchsafe_gateway::control::Request;
use vouchsafe_gateway::stored::Wish;

use super::args::{Place, SettingsCommand};
use super::failure::Failure;
use super::output::{Output, cell, table};
use super::{load, stored};

/// Runs the command.
pub async fn run(place: &Place, command: &SettingsCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        SettingsCommand::Show { changed, flags } => {
            let shown = in_force(place, load::settings(place, flags)?.shown);
            let wanted: Vec<&Shown> = shown.iter().filter(|s| !(*changed && s.default)).collect();
            out.give(|| text(&wanted), || to_json(&wanted))?;
        }
        SettingsCommand::Export { flags } => {
            let shown = in_force(place, load::settings(place, flags)?.shown);
            out.give(|| export(&shown), || json!({ "toml": export(&shown) }))?;
        }
        SettingsCommand::Set { key, value } => {
            let wish = Wish { key: key.clone(), value: Some(value.clone()) };
            stored::run(place, Request::SettingsChange { changes: vec![wish] }, out).await?;
        }
        SettingsCommand::Unset { key } => {
            let wish = Wish { key: key.clone(), value: None };
            stored::run(place, Request::SettingsChange { changes: vec![wish] }, out).await?;
        }
        SettingsCommand::History => stored::run(place, Request::SettingsHistory, out).await?,
        SettingsCommand::Rollback { version } => {
            stored::run(place, Request::SettingsRollback { version: *version }, out).await?;
        }
        SettingsCommand::Reference => {
            out.give(reference_markdown, || json!({ "markdown": reference_markdown() }))?;
        }
    }
    Ok(())
}

/// `--data-dir` wins over the file here too.
fn in_force(place: &Place, mut shown: Vec<Shown>) -> Vec<Shown> {
    if let Some(dir) = &place.data_dir {
        for s in shown.iter_mut().filter(|s| s.path == "data_dir") {
            s.value = format!("{:?}", dir.to_string_lossy());
            (s.default, s.line) = (false, None);
        }
    }
    shown
}

fn text(shown: &[&Shown]) -> String {
    let row = |s: &&Shown| {
        let from = match (s.stored, s.default, s.line) {
            (true, ..) => "stored".to_owned(),
            (_, _, Some(line)) => format!("line {line}"),
            (_, true, None) => "default".to_owned(),
            (_, false, None) => "flag".to_owned(),
        };
        vec![s.path.clone(), from, cell(&s.value, 200)]
    };
    table(&["SETTING", "FROM", "VALUE"], &shown.iter().map(row).collect::<Vec<_>>())
}

fn to_json(shown: &[&Shown]) -> Value {
    let of = |s: &&Shown| json!({ "key": s.path, "value": s.value, "default": s.default, "line": s.line, "stored": s.stored });
    Value::Array(shown.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::ServeArgs;

    fn said(command: &SettingsCommand, json: bool) -> String {
        let place = Place { config: None, data_dir: Some("/var/lib/x".into()) };
        let mut said = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&place, command, &mut Output { json, to: &mut said })).unwrap();
        String::from_utf8(said).unwrap()
    }

    fn flags() -> ServeArgs {
        let host = |h: &str| Some(h.to_owned());
        ServeArgs { delegate: host("127.0.0.1:2500"), next_hop: host("127.0.0.1:26"), domains: Vec::new() }
    }

    #[test]
    fn changed_settings_are_listed_with_where_they_come_from() {
        let text = said(&SettingsCommand::Show { changed: true, flags: flags() }, false);
        assert!(text.starts_with("SETTING"), "{text}");
        assert!(text.contains("data_dir               flag  \"/var/lib/x\"\n"), "{text}");
        assert!(text.contains("relay.next_hop         flag  \"127.0.0.1:26\"\n"), "{text}");
        assert!(!text.contains("queue.retry"), "{text}");
    }

    #[test]
    fn all_settings_are_listed_for_scripts() {
        let all: Value =
            serde_json::from_str(&said(&SettingsCommand::Show { changed: false, flags: flags() }, true))
                .unwrap();
        let expire = all.as_array().unwrap().iter().find(|s| s["key"] == "queue.expire").unwrap();
        assert_eq!(
            *expire,
            json!({ "key": "queue.expire", "value": "\"5d\"", "default": true, "line": null, "stored": false })
        );
    }

    #[test]
    fn an_export_is_a_settings_file() {
        let toml = said(&SettingsCommand::Export { flags: flags() }, false);
        let again = vouchsafe_config::parse(&toml, &crate::lookup::Machine).unwrap();
        assert_eq!(again.0.data_dir.to_str(), Some("/var/lib/x"));
        assert_eq!(again.0.delegates["default"].auth[0].port, 2500);
    }
}
