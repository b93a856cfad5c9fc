//! The comparison: builds the release binaries and hands over to `vouchsafe-bench compare`.

use crate::install;
use crate::run::{cargo, output, root, shown};
use std::path::PathBuf;
use std::process::Command;

/// `cargo xtask bench [--against postfix] [...]`: what follows goes to `vouchsafe-bench compare`.
pub fn run(rest: &[&str]) -> Result<(), String> {
    if rest.contains(&"postfix") {
        install::programs(&["postfix"])?;
    }
    cargo(&["build", "--release", "--package", "vouchsafe", "--package", "vouchsafe-bench"], &[])?;
    let release = target()?.join("release");
    shown(
        Command::new(release.join("vouchsafe-bench"))
            .arg("compare")
            .args(rest)
            .arg("--gateway")
            .arg(release.join("vouchsafe")),
    )
}

/// Where cargo builds.
fn target() -> Result<PathBuf, String> {
    let text = output(Command::new(env!("CARGO")).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(metadata["target_directory"].as_str().map(PathBuf::from).unwrap_or_else(|| root().join("target")))
}
