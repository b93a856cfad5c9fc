//! Measurements: builds the release binaries and hands over to `vouchsafe-bench`.

use crate::install;
use crate::run::{cargo, output, root, shown};
use std::path::PathBuf;
use std::process::Command;

/// `cargo xtask bench [search | pages] [--against postfix] [...]`: what follows goes to `vouchsafe-bench`, to `compare` unless it
/// names another of its measurements.
pub fn run(rest: &[&str]) -> Result<(), String> {
    if rest.contains(&"postfix") {
        install::programs(&["postfix"])?;
    }
    cargo(&["build", "--release", "--package", "vouchsafe", "--package", "vouchsafe-bench"], &[])?;
    let release = target()?.join("release");
    let mut bench = Command::new(release.join("vouchsafe-bench"));
    match rest {
        ["search", ..] => bench.args(rest),
        ["pages", ..] => bench.args(rest).arg("--gateway").arg(release.join("vouchsafe")),
        _ => bench.arg("compare").args(rest).arg("--gateway").arg(release.join("vouchsafe")),
    };
    shown(&mut bench)
}

/// Where cargo builds.
fn target() -> Result<PathBuf, String> {
    let text = output(Command::new(env!("CARGO")).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(metadata["target_directory"].as_str().map(PathBuf::from).unwrap_or_else(|| root().join("target")))
}
