//! The binary: the command line, and the only place where concrete stores and clocks are chosen (`serve`, `door`).

mod blobs;
mod cli;
mod demo;
mod door;
mod lookup;
mod serve;
mod web;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::Run;
use cli::failure::Failure;
use vouchsafe_fakes::delegate::SITES;

fn main() -> ExitCode {
    let cli = match cli::args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and version come this way too. Whoever does not read them needs no other word.
            let _ = said.print();
            return ExitCode::from(if said.use_stderr() { 2 } else { 0 });
        }
    };
    // A second one can only be the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = match threads.worker_threads(workers()).enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            return Failure::refused(format!("no threads: {why}"), "raise the limits of processes").end();
        }
    };
    let end = runtime.block_on(run(cli));
    runtime.shutdown_timeout(Duration::from_secs(5));
    end
}

/// Threads that serve sessions: one for each core but one, which is for what blocks (digests, syncs, the database) and
/// for the system's half of every octet. On two cores that answers a sixth more questions about recipients and a tenth
/// more logins than two threads, which wake each other for work that one has done by then.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

async fn run(cli: cli::args::Cli) -> ExitCode {
    let ended = match cli::carry_out(cli).await {
        Ok(None) => Ok(()),
        Ok(Some(Run::Serve(source))) => serve::run(source).await,
        Ok(Some(Run::Demo(demo))) => {
            let like = SITES.iter().find(|site| demo.like.as_deref() == Some(site.name));
            return demo::run(demo.once, like)
                .await
                .map_or_else(|failure| failure.end(), |()| ExitCode::SUCCESS);
        }
        Err(failure) => return failure.end(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            why.lines().for_each(|line| eprintln!("vouchsafe: {line}"));
            ExitCode::from(1)
        }
    }
}
