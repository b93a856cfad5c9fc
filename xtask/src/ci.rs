//! Everything that must be green, cheapest first. `.ci/run` runs this and nothing else.

use crate::run::cargo;
use crate::{docs, install, tidy};

/// Runs all of it; stops at the first fault.
pub fn run() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    tidy::run()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    install::peers()?;
    docs::check()?;
    cargo(&["test", "--workspace"], &[])
}
