//! The command line. A command parses, asks `vouchsafe_gateway::control`, and shows the answer; it decides nothing
//! about mail. `serve` and `demo` stand beside this folder.

pub mod admin;
pub mod apply;
pub mod args;
pub mod ask;
pub mod attachments;
pub mod check;
pub mod delegate;
pub mod dkim;
pub mod doctor;
pub mod failure;
pub mod file;
pub mod generated;
pub mod guard;
pub mod history;
pub mod load;
pub mod output;
pub mod password;
pub mod queue;
pub mod recipients;
pub mod settings;
pub mod status;
pub mod stored;
pub mod trace;
pub mod trial;
pub mod users;

use std::io;

use args::{Command, DemoArgs};
use failure::Failure;
use output::Output;

use crate::serve::Source;

/// What is left for `main`: commands that run a gateway.
#[derive(Debug)]
pub enum Run {
    /// `serve`
    Serve(Source),
    /// `demo`
    Demo(DemoArgs),
}

/// Carries a command out, but for those that run a gateway.
pub async fn carry_out(cli: args::Cli) -> Result<Option<Run>, Failure> {
    let (place, stdout) = (cli.place, &mut io::stdout());
    let out = &mut Output { json: cli.json, to: stdout };
    match cli.command {
        Command::Serve(flags) => return Ok(Some(Run::Serve(load::source(&place, &flags)))),
        Command::Demo(demo) => return Ok(Some(Run::Demo(demo))),
        Command::Check(flags) => check::run(&place, &flags, out)?,
        Command::Settings(command) => settings::run(&place, &command, out).await?,
        Command::Queue(command) => queue::run(&place, command, out).await?,
        Command::Attachments(command) => attachments::run(&place, command, out).await?,
        Command::Users(command) => users::run(&place, command, out).await?,
        Command::Delegate(command) => delegate::run(&place, command, out).await?,
        Command::Admin(command) => admin::run(&place, command, out).await?,
        Command::Recipients(command) => recipients::run(command, out)?,
        Command::Doctor(args) => doctor::run(&place, args, out).await?,
        Command::Dkim(command) => dkim::run(&place, command, out).await?,
        Command::Guard(command) => guard::run(&place, command, out).await?,
        Command::Trace(args) => trace::run(&place, args, out).await?,
        Command::History(args) => history::run(&place, args, out).await?,
        Command::Trial => trial::run(&place, out).await?,
        Command::Status => status::run(&place, out).await?,
        Command::Completions { shell } => generated::completions(shell, out)?,
        Command::Man => generated::man(out)?,
    }
    Ok(None)
}
