//! Reference pages: written by the binary from its own tables, checked for drift.

use crate::run::{output, root};
use std::path::PathBuf;
use std::process::Command;

/// Page and the words that make the binary print it.
const PAGES: &[(&str, &[&str])] = &[("docs/reference/settings.md", &["settings", "reference"])];

/// Writes every page anew.
pub fn write() -> Result<(), String> {
    for (page, words) in PAGES {
        let path = root().join(page);
        let text = printed(words)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| fault(&path, &error))?;
        }
        std::fs::write(&path, text).map_err(|error| fault(&path, &error))?;
        println!("xtask: wrote {page}");
    }
    Ok(())
}

/// Tells whether a page is stale.
pub fn check() -> Result<(), String> {
    for (page, words) in PAGES {
        let path = root().join(page);
        let stored = std::fs::read_to_string(&path).map_err(|error| fault(&path, &error))?;
        if stored != printed(words)? {
            return Err(format!("{page} is stale: run `cargo xtask docs` and commit it"));
        }
    }
    Ok(())
}

fn printed(words: &[&str]) -> Result<String, String> {
    output(Command::new(env!("CARGO")).args(["run", "--quiet", "--package", "vouchsafe", "--"]).args(words))
}

fn fault(path: &std::path::Path, error: &std::io::Error) -> String {
    format!("{}: {error}", PathBuf::from(path).display())
}
