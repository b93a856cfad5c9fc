//! The table is the truth: every row's default parses and is the default in force, every word of a choice is taken,
//! and the reference page says what the table says.

mod common;

use common::World;
use vouchsafe_config::table::{Effect, Fallback, Row, Shape, TABLE};
use vouchsafe_config::{parse, read, reference_markdown};

/// A small file that is good, with `key = value` put where it belongs.
fn file_with(row: &Row, kind: &str, value: &str) -> String {
    let (section, key) = row.key.split_once('.').unwrap_or(("", row.key));
    let at = |name: &str| if section == name { format!("{key} = {value}\n") } else { String::new() };
    let top = match section {
        "" => format!("{key} = {value}\n"),
        "log" => format!("log.{key} = {value}\n"),
        _ => String::new(),
    };
    let endpoint = match section {
        "endpoint" => format!("{{ host = \"h.example\", {key} = {value} }}"),
        _ => "\"h.example\"".to_owned(),
    };
    let relay_hop =
        if row.key == "relay.next_hop" { String::new() } else { format!("next_hop = {endpoint}\n") };
    // A delegate that is tried out cannot be the one that decides.
    let logins = if value == r#""logins""# { "logins = \"local\"\n" } else { "" };
    format!(
        "{top}[[listener]]\nname = \"l\"\nkind = \"{kind}\"\naddress = \"127.0.0.1:25\"\n{}\
         [delegate.d]\nhost = \"d.example\"\n{}\
         [[domain]]\nname = \"x.example\"\nrecipients = [\"delegate:d\", \"local\"]\nnext_hop = \"n.example\"\n{}\
         [relay]\n{relay_hop}{logins}{}\
         [queue]\n{}[limits]\n{}[guard]\n{}[attachments]\n{}[web]\n{}[authentication]\n{}",
        at("listener"),
        at("delegate"),
        at("domain"),
        at("relay"),
        at("queue"),
        at("limits"),
        at("guard"),
        at("attachments"),
        at("web"),
        at("authentication"),
    )
}

fn is_good(row: &Row, kind: &str, value: &str) {
    let text = file_with(row, kind, value);
    if let Err(faults) = parse(&text, &World) {
        panic!("{} = {value}\n{faults:#?}\n{text}", row.key);
    }
}

#[test]
fn every_default_can_be_written_down_and_is_the_default() {
    for row in TABLE {
        let values: Vec<(&str, &str)> = match (row.default, row.effect) {
            (_, Effect::Later(values)) => values.iter().map(|v| ("mx", *v)).collect(),
            (Fallback::Value(value), _) => vec![("mx", value)],
            (Fallback::ByKind([mx, submission, trusted]), _) => {
                vec![("mx", mx), ("submission", submission), ("trusted", trusted)]
            }
            (Fallback::Unset(_) | Fallback::Required, _) => continue,
        };
        for (kind, value) in values {
            is_good(row, kind, value);
            let with = read(&file_with(row, kind, value), &World).unwrap();
            let without = read(&file_with(&Row { key: "none.none", ..*row }, kind, ""), &World).unwrap();
            assert_eq!(with.settings, without.settings, "{} = {value} is not the default in force", row.key);
            if !matches!(row.effect, Effect::Later(_)) && !row.key.starts_with("endpoint.") {
                let key = row.key.rsplit('.').next().unwrap();
                let given = with.shown.iter().any(|s| s.path.ends_with(key) && s.line.is_some() && s.default);
                assert!(given, "{} = {value} is not shown as the default", row.key);
            }
        }
    }
}

#[test]
fn every_word_of_a_choice_and_both_ends_of_a_range_are_taken() {
    for row in TABLE.iter().filter(|r| r.default != Fallback::Required) {
        let values: Vec<String> = match row.shape {
            // Scanned needs a scanner.
            Shape::Choice(words) if row.key == "attachments.inbound" => {
                words.iter().map(|w| format!("{w:?}\nclamd = \"127.0.0.1:3310\"")).collect()
            }
            Shape::Choice(words) => words.iter().map(|w| format!("{w:?}")).collect(),
            // A refresh longer than its yes is a fault of its own.
            Shape::Time(from, to)
                if row.key != "delegate.verdicts.refresh" && row.key != "delegate.verdicts.yes" =>
            {
                vec![format!("{from:?}"), format!("{to:?}")]
            }
            Shape::Count(from, to) => vec![from.to_string(), to.to_string()],
            Shape::Flag => vec!["true".into(), "false".into()],
            _ => continue,
        };
        if matches!(row.effect, Effect::Later(_)) {
            continue;
        }
        for value in values {
            is_good(row, "mx", &value);
        }
    }
}

#[test]
fn every_setting_in_force_has_a_row() {
    let text = include_str!("../../../vouchsafe.example.toml");
    let shown = read(text, &World).unwrap().shown;
    for row in TABLE.iter().filter(|r| {
        !matches!(r.effect, Effect::Later(_)) && !r.key.starts_with("endpoint.") && has_default(r)
    }) {
        let key = row.key.split_once('.').map_or(row.key, |(_, k)| k);
        assert!(shown.iter().any(|s| s.path.ends_with(key)), "{} is never read", row.key);
    }
}

fn has_default(row: &Row) -> bool {
    !matches!(row.default, Fallback::Unset(_))
}

#[test]
fn the_reference_page_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/settings.md");
    let page = reference_markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == page, "docs/reference/settings.md is stale: UPDATE=1 cargo test -p vouchsafe-config");
}
