//! Each setting once: text in, typed settings out, every fault told with line and advice.
//! Pure: opens no file and no socket, reads no clock; secrets and names come through a [`Lookup`] that the caller gives.
//! Proof: `tests/bad/*.toml` with the faults they must give, `tests/table.rs` for defaults and the reference page.

mod any_domain;
mod check;
mod endpoint;
mod flags;
mod keeping;
mod layers;
mod listing;
mod read;
mod reference;
mod report;
mod section;
mod settings;
pub mod table;
mod tree;
mod units;

use std::path::Path;

pub use flags::Flags;
pub use layers::{Change, Layers, changes_of, edit};
pub use listing::{Shown, export};
pub use reference::reference_markdown;
pub use report::{Fault, Notice};
pub use settings::*;
pub use units::{parse_size, parse_time, show_time};

/// What settings refer to outside of the file.
pub trait Lookup {
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
    /// A file's text, or why not in a few words.
    fn file(&self, path: &Path) -> Result<String, String>;
    /// The machine's name.
    fn hostname(&self) -> Option<String>;
}

/// Settings, and what is to be said about them.
#[derive(Debug)]
pub struct Reading {
    /// The settings.
    pub settings: Settings,
    /// Worth knowing.
    pub notices: Vec<Notice>,
    /// Every setting as text, for `settings show` and `settings export`.
    pub shown: Vec<Shown>,
}

/// The data directory that a settings file names, whatever else is wrong with it: the store must be known before what it
/// holds.
pub fn data_dir(text: &str) -> std::path::PathBuf {
    let given = tree::parse(text).ok().and_then(|root| match root.get("data_dir") {
        Some(tree::Node { value: tree::Value::Text(dir), .. }) => Some(dir.into()),
        _ => None,
    });
    given.unwrap_or_else(|| "./vouchsafe-data".into())
}

/// Reads `host` or `host:port`, as the settings take it; an address is given without brackets. `Err` says what is wrong.
pub fn parse_server(text: &str) -> Result<(String, Option<u16>), String> {
    endpoint::host(text).map(|host| (host.name, host.port)).map_err(|bad| bad.what)
}

/// Reads a settings file. All faults are told at once, in the order of their lines.
pub fn parse(text: &str, lookup: &dyn Lookup) -> Result<(Settings, Vec<Notice>), Vec<Fault>> {
    read(text, lookup).map(|r| (r.settings, r.notices))
}

/// As [`parse`], with every setting as text beside the typed ones.
pub fn read(text: &str, lookup: &dyn Lookup) -> Result<Reading, Vec<Fault>> {
    read_root(&root(text)?, lookup)
}

pub(crate) fn root(text: &str) -> Result<tree::Table, Vec<Fault>> {
    tree::parse(text).map_err(|bad| {
        let (line, key, value) = (Some(bad.line), String::new(), String::new());
        vec![Fault { line, key, value, what: bad.what, advice: "mend the line: it is not TOML".to_owned() }]
    })
}

pub(crate) fn read_root(root: &tree::Table, lookup: &dyn Lookup) -> Result<Reading, Vec<Fault>> {
    let findings = section::Findings::default();
    let settings = read::settings(root, &findings, lookup);
    let (mut faults, mut notices, mut shown) = findings.into_parts();
    let real = |line: Option<usize>| line.filter(|line| ![layers::STORED, layers::BASE].contains(line));
    faults.iter_mut().for_each(|fault| fault.line = real(fault.line));
    notices.iter_mut().for_each(|notice| notice.line = real(notice.line));
    for shown in &mut shown {
        shown.default |= shown.line == Some(layers::BASE);
        shown.stored = shown.line == Some(layers::STORED);
        shown.line = real(shown.line);
    }
    if !faults.is_empty() {
        faults.sort_by_key(|f| f.line);
        return Err(faults);
    }
    notices.sort_by_key(|n| n.line);
    Ok(Reading { settings, notices, shown })
}
