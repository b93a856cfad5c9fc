//! Running other programs, with their names in every fault.

use std::path::PathBuf;
use std::process::Command;

/// The repository's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// Runs `cargo` with `first` and then `rest`, in the root, its output shown.
pub fn cargo(first: &[&str], rest: &[&str]) -> Result<(), String> {
    shown(Command::new(env!("CARGO")).args(first).args(rest))
}

/// Runs a command in the root, its output shown.
pub fn shown(command: &mut Command) -> Result<(), String> {
    let name = name(command);
    println!("xtask: {name}");
    let status =
        command.current_dir(root()).status().map_err(|error| format!("cannot run {name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

/// Runs a command in the root and gives what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = name(command);
    let out = command
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if !out.status.success() {
        return Err(format!("{name}: {}", out.status));
    }
    String::from_utf8(out.stdout).map_err(|_| format!("{name}: its output is not UTF-8"))
}

fn name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}
