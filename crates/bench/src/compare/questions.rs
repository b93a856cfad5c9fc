//! Questions to a delegate: asked of the gateway and, in turns, of the stand-in delegate itself, a process of its own.
//!
//! "Politeness raised" are the caps of `[delegate.NAME.sessions]` for a server that bears more; the default ones are
//! measured beside it. What counts is the ratio within this run.

use super::distance;
use super::gateway::{self, Running};
use super::table::{Row, Table};
use super::{DRAIN, ROUND};
use crate::Outcome;
use crate::args::{Compare, Logins, Recipients, Target};
use crate::figures::{Figures, median};
use crate::load;
use crate::play::DOMAIN;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use vouchsafe_fakes::{Delegate, delegate::Behaviour, serve_tcp};

/// Sessions of the load.
const SESSIONS: u64 = 20;
/// One way to the distant delegate.
const WAY: Duration = Duration::from_millis(10);
/// How long the slow delegate holds a refusal back, in seconds.
const HELD_BACK: &str = "5";
/// Caps for a delegate that bears more.
const RAISED: &str = "{ recipients = 20, auth = 20, refusals = 1000, questions = 1000000 }";
/// Caps for a distant one that does.
const FEW: &str = "{ recipients = 4, refusals = 1000, questions = 1000000 }";

fn far(server: SocketAddr) -> Outcome<SocketAddr> {
    distance::far(server, WAY).map_err(|error| format!("the long way: {error}"))
}

/// Runs all of it and prints the table.
pub async fn run(compare: &Compare, folder: &Path) -> Outcome {
    let mut table = Table::new(vec!["vouchsafe", "direct"]);
    recipients(compare, folder, &mut table).await?;
    distant(compare, folder, &mut table).await?;
    equal(compare, folder, &mut table).await?;
    logins(compare, folder, &mut table).await?;
    wrong_logins(compare, folder, &mut table).await?;
    table.print();
    Ok(())
}

/// The stand-in delegate as a process; killed when dropped.
struct StandIn {
    _child: Child,
    address: SocketAddr,
    /// The value of a `tls` setting.
    tls: String,
}

async fn stand_in(users: u64, more: &[&str]) -> Outcome<StandIn> {
    let fault = |error: std::io::Error| format!("the stand-in delegate: {error}");
    let mut child = Command::new(std::env::current_exe().map_err(fault)?)
        .args(["delegate", "--listen", "127.0.0.1:0", "--users", &users.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(fault)?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("the stand-in delegate says nothing")?).lines();
    let mut tls = "off".to_owned();
    while let Some(line) = lines.next_line().await.map_err(fault)? {
        if let Some(pin) = line.strip_prefix("tls = ") {
            tls = pin.trim_matches('"').to_owned();
        }
        if let Some(address) = line.strip_prefix("listening on ") {
            let address = address.parse().map_err(|_| format!("the stand-in delegate: {line}"))?;
            return Ok(StandIn { _child: child, address, tls });
        }
    }
    Err("the stand-in delegate has ended".to_owned())
}

/// A gateway that asks this delegate.
async fn asking(
    compare: &Compare,
    folder: &Path,
    name: &str,
    kind: &str,
    delegate: (SocketAddr, &str),
    more: &str,
) -> Outcome<Running> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (address, tls) = delegate;
    let settings = format!(
        r#"[[listener]]
name = "load"
kind = "{kind}"
address = ["127.0.0.1:0"]
tls = "starttls"

[relay]
next_hop = {{ host = "127.0.0.1:9", tls = "off" }}

[guard]
account.failures = 1000
address.failures = 1000000
network.failures = 1000000

[[domain]]
name = "{DOMAIN}"
recipients = ["delegate:asked"]
next_hop = {{ host = "127.0.0.1:9", tls = "off" }}

[delegate.asked]
host = "{address}"
tls = "{tls}"
credentials = {{ yes = "0s", no = "0s" }}
{more}
"#
    );
    gateway::start(&compare.gateway, &folder, &settings).await
}

fn target(address: SocketAddr, tls: bool) -> Target {
    Target { address, tls, from: None, seconds: ROUND }
}

/// As most servers send: one recipient a transaction, each command after the reply to the last one.
fn one_by_one(address: SocketAddr, first: u64, count: u64) -> Recipients {
    Recipients {
        target: target(address, false),
        sessions: SESSIONS,
        count,
        per_transaction: 1,
        first,
        again: 0,
        step_by_step: true,
        unknown_percent: 0,
    }
}

async fn asked(load: Recipients) -> Outcome<Figures> {
    let figures = load::recipients::run(&load).await?;
    told(&figures);
    Ok(figures)
}

fn told(figures: &Figures) {
    for (ending, count) in &figures.odd {
        println!("  {count} ended otherwise: {ending}");
    }
}

async fn recipients(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let count = compare.questions;
    // Each round of each gateway names recipients that it has not heard of.
    let delegate = stand_in(count * (compare.rounds * 2 + 2), &[]).await?;
    let whom = (delegate.address, "off");
    let raised = asking(compare, folder, "raised", "mx", whom, &format!("sessions = {RAISED}")).await?;
    let polite = asking(compare, folder, "polite", "mx", whom, "").await?;
    let (mut direct, mut cold, mut defaults) = (Vec::new(), Vec::new(), Vec::new());
    let (mut warm, mut tens, mut tens_direct) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0;
    for round in 1..=compare.rounds {
        println!("round {round}: recipients");
        let known = one_by_one(raised.address, first, count);
        direct.push(asked(one_by_one(delegate.address, first, count)).await?.rate());
        cold.push(asked(known.clone()).await?.rate());
        defaults.push(asked(one_by_one(polite.address, first, count)).await?.rate());
        warm.push(asked(known).await?.rate());
        first += count;
        let ten = |address| Recipients {
            per_transaction: 10,
            step_by_step: false,
            ..one_by_one(address, first, count)
        };
        tens_direct.push(asked(ten(delegate.address)).await?.rate());
        tens.push(asked(ten(raised.address)).await?.rate());
        first += count;
    }
    raised.stop().await?;
    polite.stop().await?;
    let (direct, tens_direct) = (median(direct), median(tens_direct));
    table.row(Row::new("new recipients/s", vec![median(cold), direct]).times_at_least(0.8));
    table.row(Row::new("the same, default politeness", vec![median(defaults), direct]));
    table.row(Row::new("known recipients/s", vec![median(warm), direct]).times_at_least(1.5));
    table.row(Row::new("new, by pipelined tens/s", vec![median(tens), tens_direct]).at_least(20_000.0));
    Ok(())
}

/// Many clients and a distant delegate that is asked on few sessions.
async fn distant(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let count = compare.questions;
    let delegate = stand_in(count + 1, &[]).await?;
    let whom = (far(delegate.address)?, "off");
    let raised = asking(compare, folder, "few", "mx", whom, &format!("sessions = {FEW}")).await?;
    let polite = asking(compare, folder, "far", "mx", whom, "").await?;
    println!("recipients, {} ms to the delegate and back", 2 * WAY.as_millis());
    let load = |address, count| Recipients { sessions: 100, ..one_by_one(address, 0, count) };
    // Sessions are opened before it counts.
    asked(load(raised.address, 1000)).await?;
    let mut figures =
        asked(Recipients { first: 1000, ..load(raised.address, count.saturating_sub(1000).max(1000)) })
            .await?;
    let defaults = asked(load(polite.address, (count / 10).max(100))).await?;
    raised.stop().await?;
    polite.stop().await?;
    table.row(Row::new("new/s, delegate 20 ms away", vec![figures.rate()]).at_least(4000.0));
    table.row(Row::new("the same, p99, ms", vec![figures.times.permille(990)]).at_most(120.0));
    table.row(Row::new("the same/s, default politeness", vec![defaults.rate()]));
    Ok(())
}

/// A thousand ask about the same recipient at the same time.
async fn equal(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let fault = |error: std::io::Error| format!("the stand-in delegate: {error}");
    let mut behaviour = Behaviour::new("delegate.bench.example");
    for number in 0..2 {
        behaviour = behaviour.recipient(&format!("user{number}@{DOMAIN}"));
    }
    let delegate = Delegate::quiet(behaviour);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fault)?;
    let whom = (far(listener.local_addr().map_err(fault)?)?, "off");
    tokio::spawn(serve_tcp(listener, delegate.clone()));
    let gateway = asking(compare, folder, "equal", "mx", whom, "").await?;
    println!("one recipient, a thousand sessions");
    // With the first yes of a domain comes the question whether it says yes to everything.
    asked(one_by_one(gateway.address, 1, 1)).await?;
    tokio::time::sleep(20 * WAY).await;
    let before = delegate.counters().recipients;
    let load = Recipients { sessions: 1000, again: 1, ..one_by_one(gateway.address, 0, 1000) };
    let answered = asked(load).await?.done;
    let probes = delegate.counters().recipients - before;
    gateway.stop().await?;
    if answered != 1000 {
        return Err(format!("{answered} of 1000 questions were answered"));
    }
    table.row(Row::new("probes for a thousand equal ones", vec![probes as f64]).at_most(1.0));
    Ok(())
}

async fn logins(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let count = (compare.questions / 10).max(1);
    let delegate = stand_in(count * (compare.rounds * 2 + 1), &["--tls"]).await?;
    let whom = (delegate.address, &*delegate.tls);
    let raised =
        asking(compare, folder, "logins", "submission", whom, &format!("sessions = {RAISED}")).await?;
    let polite = asking(compare, folder, "few-logins", "submission", whom, "").await?;
    let (mut direct, mut through, mut defaults) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..compare.rounds {
        println!("round {}: logins", round + 1);
        let load = |address| Logins {
            target: target(address, true),
            sessions: SESSIONS,
            count,
            first: round * count,
            wrong_percent: 0,
        };
        for (address, rates) in
            [(delegate.address, &mut direct), (raised.address, &mut through), (polite.address, &mut defaults)]
        {
            let figures = load::logins::run(&load(address)).await?;
            told(&figures);
            rates.push(figures.rate());
        }
    }
    raised.stop().await?;
    polite.stop().await?;
    let direct = median(direct);
    table.row(Row::new("logins under STARTTLS/s", vec![median(through), direct]).times_at_least(0.4));
    table.row(Row::new("the same, default politeness", vec![median(defaults), direct]));
    Ok(())
}

/// Others guess, and the delegate holds its refusals back.
async fn wrong_logins(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let count = (compare.questions / 10).max(1);
    let delegate = stand_in(count * (compare.rounds * 2 + 1), &["--tls", "--tarpit", HELD_BACK]).await?;
    let whom = (delegate.address, &*delegate.tls);
    let gateway =
        asking(compare, folder, "guesses", "submission", whom, &format!("sessions = {RAISED}")).await?;
    let right = |first| Logins {
        target: target(gateway.address, true),
        sessions: SESSIONS * 4 / 5,
        count,
        first,
        wrong_percent: 0,
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..compare.rounds {
        println!("round {}: logins beside guesses", round + 1);
        let first = 2 * round * count;
        alone.push(load::logins::run(&right(first)).await?.rate());
        let guesses = Logins {
            target: Target { from: Some(IpAddr::from([127, 0, 0, 2])), ..target(gateway.address, true) },
            sessions: SESSIONS / 5,
            count,
            first,
            wrong_percent: 100,
        };
        // They end with the right ones.
        let guessing = tokio::time::timeout(DRAIN, load::logins::run(&guesses));
        let wanted = right(first + count);
        let figures = tokio::select! {
            figures = load::logins::run(&wanted) => figures?,
            _ = guessing => return Err("guesses ended before the right logins".to_owned()),
        };
        told(&figures);
        beside.push(figures.rate());
    }
    gateway.stop().await?;
    let row = Row::new("logins/s beside held guesses; alone", vec![median(beside), median(alone)]);
    table.row(row.times_at_least(0.8));
    Ok(())
}
