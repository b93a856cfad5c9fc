//! `vouchsafe-bench`: sizes a machine. Loads any SMTP server, plays the servers behind it, compares the gateway with Postfix.
//!
//! Every run is bounded by a count and a time; nothing is stopped that was not started here, and what was made goes.
//! Figures of one run are comparable with each other, not with those of another day.

mod args;
mod browser;
mod client;
mod compare;
mod detach;
mod figures;
mod fill;
mod load;
mod made;
mod pages;
mod play;
mod proc;
mod search;
mod tls;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

/// What went wrong, in words.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    proc::raise_open_files();
    // One thread: the load shall not take the cores from what it measures.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("vouchsafe-bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Load(load) => load::messages::run(&load).await.map(|figures| figures.print()),
            Command::Rcpt(load) => load::recipients::run(&load).await.map(|figures| figures.print()),
            Command::Auth(load) => load::logins::run(&load).await.map(|figures| figures.print()),
            Command::Idle(load) => load::idle::run(&load).await.map(|figures| figures.print()),
            Command::Large(load) => load::large::run(&load).await.map(|figures| figures.print()),
            Command::Detach(detach) => detach::run(&detach).await.map(|figures| figures.print()),
            Command::Download(load) => load::download::run(&load).await.map(|figures| figures.print()),
            Command::Sink(play) => play::sink(&play).await,
            Command::Delegate(play) => play::delegate(&play).await,
            Command::Compare(compare) => compare::run(&compare).await,
            Command::Search(search) => search::run(&search).await,
            Command::Pages(pages) => pages::run(&pages).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("vouchsafe-bench: {fault}");
            ExitCode::FAILURE
        }
    }
}
