//! Every Rust file begins with its manual page.

use super::read;
use crate::run::root;
use std::path::PathBuf;

pub fn check(files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "rs")) {
        let text = read(&root().join(file))?;
        // Lint levels of a whole file may stand above its head.
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            faults.push(format!(
                "{}: no head comment (//!): what is it for, what does it never do",
                file.display()
            ));
        }
    }
    Ok(faults)
}
