//! The project's chores: `cargo xtask dev | ci | peers | tidy | docs | bench`.
//!
//! Depends on no product crate, so that it builds in seconds and judges them from outside. Run from anywhere.

mod bench;
mod ci;
mod docs;
mod install;
mod run;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask dev                        the gateway with its stand-ins, on loopback
cargo xtask ci                         format, lints, tidy, docs drift, all tests; installs the real peers (Debian)
cargo xtask peers                      installs what the tests need beside cargo: real peers, a browser
cargo xtask tidy                       layers, licences, transcripts, file heads
cargo xtask docs [--check]             writes docs/reference, or tells whether it is stale
cargo xtask bench [ARGUMENTS]          builds the release and compares: --against postfix (see vouchsafe-bench --help)
cargo xtask bench search               how long a search takes in a history of a million events
cargo xtask bench pages                how large and how quick each page of the administration is";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["dev", rest @ ..] => run::cargo(&["run", "--package", "vouchsafe", "--", "demo"], rest),
        ["ci"] => ci::run(),
        ["peers"] => install::peers(),
        ["tidy"] => tidy::run(),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(),
        ["bench", rest @ ..] => bench::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("xtask: {fault}");
            ExitCode::FAILURE
        }
    }
}
