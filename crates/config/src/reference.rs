//! The reference page of settings, written from the table.
//! Leaves out what comes with a later version.

use crate::table::{Effect, Fallback, Row, SECTIONS, TABLE};

/// `docs/reference/settings.md`.
pub fn reference_markdown() -> String {
    let mut out = String::from(concat!(
        "# Settings\n\n",
        "Written by `cargo xtask docs` from `crates/config/src/table.rs`; edit that.\n\n",
        "Sizes are written `\"5 MB\"` or `\"64 KiB\"`, times `\"30s\"`, `\"15m\"`, `\"1h30m\"`, `\"7d\"`. ",
        "A server is `\"host\"`, `\"host:port\"` or a table, see the last section; a list names several, tried in order. ",
        "Secrets stand in a file or the environment, never in the settings. ",
        "`vouchsafe check` tells every fault with its line.\n",
    ));
    for (prefix, heading, sentence) in SECTIONS {
        let title = if prefix.is_empty() { "Top of the file".to_owned() } else { format!("`{heading}`") };
        out.push_str(&format!("\n## {title}\n\n{sentence}\n"));
        for row in TABLE.iter().filter(|r| section_of(r) == prefix) {
            if let Some(takes) = effect(row.effect) {
                let key = row.key.strip_prefix(prefix).unwrap_or(row.key).trim_start_matches('.');
                out.push_str(&format!(
                    "\n### {key}\n\n{}\n\n- Value: {}\n- Default: {}\n- A change counts {takes}.\n",
                    row.help,
                    row.shape.words(),
                    default(row.default),
                ));
            }
        }
    }
    out
}

/// The section of a row: `log.format` belongs to the top.
fn section_of(row: &Row) -> &'static str {
    let first = row.key.split('.').next().unwrap_or_default();
    match SECTIONS.iter().any(|(prefix, ..)| *prefix == first) && row.key.contains('.') {
        true => first,
        false => "",
    }
}

fn effect(effect: Effect) -> Option<&'static str> {
    match effect {
        Effect::Live => Some("at once"),
        Effect::NewSessions => Some("for new sessions"),
        Effect::Restart => Some("at the next start"),
        Effect::Later(_) => None,
    }
}

fn default(default: Fallback) -> String {
    match default {
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::ByKind([mx, submission, trusted]) => {
            format!("`{mx}` on mx, `{submission}` on submission, `{trusted}` on trusted")
        }
        Fallback::Unset(words) => words.to_owned(),
        Fallback::Required => "none, it must be given".to_owned(),
    }
}
