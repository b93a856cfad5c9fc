//! Rules of the house that no compiler checks. All faults are told at once, each with its file.

mod heads;
mod layers;
mod licences;
mod transcripts;

use crate::run::{output, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks everything.
pub fn run() -> Result<(), String> {
    let metadata = metadata()?;
    let files = tracked()?;
    let mut faults = layers::check(&metadata);
    faults.extend(licences::check(&compiled()?, &read(&root().join("deny.toml"))?));
    faults.extend(heads::check(&files)?);
    faults.extend(transcripts::check(&files)?);
    if faults.is_empty() {
        println!("xtask: tidy");
        return Ok(());
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    Err(format!("tidy: {} faults", faults.len()))
}

/// What cargo knows of our own crates.
fn metadata() -> Result<serde_json::Value, String> {
    let text = output(Command::new(env!("CARGO")).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// What is really compiled here, with its licences. (`cargo metadata` also lists optional crates that are not.)
fn compiled() -> Result<String, String> {
    let words =
        ["tree", "--workspace", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"];
    output(Command::new(env!("CARGO")).args(words))
}

/// Files that are in the repository or could be: what `git` tracks and what it does not ignore.
fn tracked() -> Result<Vec<PathBuf>, String> {
    let list = output(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    Ok(list.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect())
}

/// A file's text.
fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
