//! Settings for the tests: text alone, no files and two passwords behind it.

use std::path::Path;

use vouchsafe_config::{Lookup, Settings};

struct NoLookup;

impl Lookup for NoLookup {
    fn env(&self, name: &str) -> Option<String> {
        match name {
            "RIGHT_PASSWORD" => Some("secret".to_owned()),
            "WRONG_PASSWORD" => Some("was-right-once".to_owned()),
            _ => None,
        }
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        Err(format!("{}: no files here", path.display()))
    }
    fn hostname(&self) -> Option<String> {
        Some("gate.example".to_owned())
    }
}

/// The settings of this text; its faults fail the test.
pub fn settings_of(text: &str) -> Settings {
    match vouchsafe_config::parse(text, &NoLookup) {
        Ok((settings, _)) => settings,
        Err(faults) => {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!("{text}\n{}", lines.join("\n"))
        }
    }
}
