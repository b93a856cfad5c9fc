//! Dialogues of the whole gateway, as the second rung (in one process, on a paused clock) and the third (the real
//! binary on loopback) play them. What differs between the two is a [`World`]; everything else is here.
//!
//! On top of what [`crate::script`] knows: `set:` is a line of the settings file ([`settings`]); events are those of
//! [`Stands::event`], those of [`play`] (`!: connect LISTENER`, `!: also connect LISTENER`: the session before stays,
//! `!: disconnect`, `!: tls`) and those of the world; end states are listed at [`Check`].
//!
//! Proof: `crates/gateway/tests/dialogues.rs`, `crates/vouchsafe/tests/dialogues.rs`.

mod check;
mod client;
pub mod settings;
mod stands;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vouchsafe_net::stream::BoxStream;

use crate::script::{Act, Script, reply_fits};
pub use check::{Check, Queue};
use client::Client;
pub use stands::Stands;

/// What a rung does in its own way.
pub trait World {
    /// Longest wait for a reply.
    const PATIENCE: Duration;
    /// How long an end state may take to come.
    const TIME_TO_END: Duration;

    /// The stand-ins around the gateway.
    fn stands(&self) -> &Stands;
    /// A connection to a listener.
    fn connect(&mut self, listener: &str) -> impl Future<Output = Result<BoxStream, String>>;
    /// An event that neither the stand-ins nor the client know.
    fn event(&mut self, words: &[&str]) -> impl Future<Output = Result<(), String>>;
    /// The clock moves.
    fn wait(&mut self, time: Duration) -> impl Future<Output = Result<(), String>>;
    /// What is in the queue now.
    fn queue(&mut self) -> impl Future<Output = Result<Queue, String>>;
    /// Detached files of all messages.
    fn files(&mut self) -> impl Future<Output = Result<u64, String>>;
    /// Everything that the gateway has written down.
    fn written(&mut self) -> impl Future<Output = Result<String, String>>;
    /// Lets everything that is due now come to rest, where that can be told.
    fn settle(&mut self) -> impl Future<Output = ()>;
    /// Between two looks at an end state.
    fn pause(&mut self) -> impl Future<Output = ()>;
}

/// The transcripts of a folder whose path holds the word in `ONLY`, in order.
pub fn scripts(folder: &Path) -> Result<Vec<(PathBuf, Script)>, String> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let entries = std::fs::read_dir(folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.retain(|path| path.to_string_lossy().contains(&only));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|fault| format!("{}: {fault}", path.display()))?;
        let script =
            Script::parse(&text).map_err(|bad| format!("{}:{}: {}", path.display(), bad.line, bad.fault))?;
        Ok((path, script))
    };
    paths.into_iter().map(read).collect()
}

/// Fails with all that failed, and says how to run one alone.
pub fn report(ran: usize, failed: &[String]) {
    assert!(ran > 0, "no transcript matches ONLY");
    assert!(
        failed.is_empty(),
        "{} of {ran} dialogues differ; run one alone with ONLY=name\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}

/// Plays a transcript; the error names the line, what differs, and what the stand-ins heard.
pub async fn play(world: &mut impl World, path: &Path, script: &Script) -> Result<(), String> {
    let mut client = Client::default();
    let told = |line: usize, why: String, stands: &Stands| {
        format!("{}:{line}: {why}\n{}", path.display(), stands.dialogues())
    };
    let stream = world.connect(&script.listener).await;
    client.take(stream.map_err(|why| told(1, why, world.stands()))?);
    for step in &script.steps {
        let outcome = step_of(world, &mut client, &step.act, script.exact).await;
        outcome.map_err(|why| told(step.line, why, world.stands()))?;
    }
    Ok(())
}

async fn step_of<W: World>(world: &mut W, client: &mut Client, act: &Act, exact: bool) -> Result<(), String> {
    match act {
        Act::Reply(expected) => match client.reply(W::PATIENCE).await {
            Ok(got) if reply_fits(expected, &got, exact) => Ok(()),
            Ok(got) => Err(format!("expected {expected:?}\n     got {got:?}")),
            Err(why) => Err(format!("expected {expected:?}, but {why}")),
        },
        Act::Write(octets) => client.write(octets).await,
        Act::Wait(time) => world.wait(*time).await,
        Act::Event(event) => {
            let words: Vec<&str> = event.split(' ').collect();
            match words[..] {
                ["connect", listener] => client.take(world.connect(listener).await?),
                ["also", "connect", listener] => {
                    client.keep();
                    client.take(world.connect(listener).await?);
                }
                ["disconnect"] => client.leave(),
                ["tls"] => client.start_tls().await?,
                _ if world.stands().event(&words)? => {}
                _ => world.event(&words).await?,
            }
            Ok(())
        }
        Act::Check(check) => match Check::parse(check)? {
            Check::Closed => client.closed(W::PATIENCE).await,
            check => check.hold(world).await,
        },
        Act::Question { .. } => Err("questions are for the machine's rung".to_owned()),
    }
}
