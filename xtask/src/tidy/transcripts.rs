//! Transcripts say what they cover and end in an end state, and everything that must be covered is.
//!
//! What must be: each row of `transcripts/COVERS.md` and each limit of `crates/smtp/src/limits.rs`. A transcript covers
//! with a `covers:` line, a test in Rust with a `// covers:` comment.

use super::read;
use crate::run::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The list of what must be covered.
const LIST: &str = "transcripts/COVERS.md";
/// Where limits have their names.
const LIMITS: &str = "crates/smtp/src/limits.rs";
/// Families of ids that are closed: one that is not in the list is a slip of the pen.
const CLOSED: &[&str] = &["promise.", "facts6.", "facts7."];

pub fn check(files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut needed = listed(&read(&root().join(LIST))?);
    needed.extend(limits(&read(&root().join(LIMITS))?));
    let mut covered = BTreeSet::new();
    let mut faults = Vec::new();
    for file in files {
        let is = |extension: &str| file.extension().is_some_and(|ext| ext == extension);
        if is("txt") && file.starts_with("transcripts") {
            let text = read(&root().join(file))?;
            faults.extend(judge(file, &text, &needed));
            covered.extend(ids(&text, "covers:"));
        } else if is("rs") {
            covered.extend(ids(&read(&root().join(file))?, "// covers:"));
        }
    }
    let missing = needed.iter().filter(|id| !covered.contains(*id));
    faults.extend(missing.map(|id| format!("{LIST}: nothing covers {id}")));
    Ok(faults)
}

/// The faults of one transcript.
fn judge(file: &Path, text: &str, needed: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let named = ids(text, "covers:");
    if named.is_empty() {
        faults.push(format!("{}: no covers: line", file.display()));
    }
    if !text.lines().any(|line| line.starts_with("=:")) {
        faults.push(format!("{}: no end state (=:)", file.display()));
    }
    for id in
        named.iter().filter(|id| CLOSED.iter().any(|family| id.starts_with(family)) && !needed.contains(*id))
    {
        faults.push(format!("{}: covers {id}, which is not in {LIST}", file.display()));
    }
    faults
}

/// The ids behind `mark`, parted by commas.
fn ids(text: &str, mark: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(mark));
    lines
        .flat_map(|line| line.split(','))
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .collect()
}

/// The ids of the list: the first cell of each table row, in backticks.
fn listed(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

/// `limits.NAME` for each field of the limits.
fn limits(text: &str) -> BTreeSet<String> {
    let fields = text.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    fields.filter(|name| !name.contains([' ', '('])).map(|name| format!("limits.{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_limits_are_read() {
        assert_eq!(
            listed("| id | x |\n|---|---|\n| `a.b` | text `c` |\n"),
            BTreeSet::from(["a.b".to_owned()])
        );
        let source =
            "pub struct Limits {\n    /// Octets.\n    pub errors: usize,\n}\n    pub fn new(a: u8) {}\n";
        assert_eq!(limits(source), BTreeSet::from(["limits.errors".to_owned()]));
        assert_eq!(ids("    // covers: a.b, c.d\n", "// covers:"), ["a.b", "c.d"]);
    }

    #[test]
    fn a_transcript_without_end_or_with_a_slip_is_told() {
        let needed = BTreeSet::from(["facts7.a".to_owned()]);
        let file = Path::new("x.txt");
        assert!(judge(file, "covers: facts7.a, rule.x\n=: open\n", &needed).is_empty());
        assert_eq!(judge(file, "covers: facts7.b\n", &needed).len(), 2);
        assert_eq!(judge(file, "=: open\n", &needed).len(), 1);
    }
}
