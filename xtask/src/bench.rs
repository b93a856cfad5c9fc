//! Measurements: builds the release binaries and hands over to `vouchsafe-bench`.

use crate::install;
use crate::run::{cargo, output, root, shown};
use std::path::PathBuf;
use std::process::Command;

/// Servers and programs to compare with, and so to have in place.
const PEERS: [&str; 3] = ["postfix", "nginx", "ripmime"];

/// `cargo xtask bench [search | pages] [--against postfix,nginx,ripmime] [...]`: what follows goes to `vouchsafe-bench`, to
/// `compare` unless it names another of its measurements.
pub fn run(rest: &[&str]) -> Result<(), String> {
    let named: Vec<&str> = rest.iter().flat_map(|word| word.split([',', '='])).collect();
    install::programs(&PEERS.into_iter().filter(|peer| named.contains(peer)).collect::<Vec<_>>())?;
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
