//! The comparison: the gateway and, in turns, Postfix, each with a sink of its own behind it, on this machine, now.
//!
//! The same load, the same sink, queues on the same disk. What counts is the ratio within this run.

mod distance;
mod files;
pub mod gateway;
mod memory;
mod nginx;
mod pages;
mod postfix;
mod questions;
mod table;

use crate::Outcome;
use crate::args::{Compare, Idle, Large, Messages, Peer, Target};
use crate::figures::{Figures, median};
use crate::load;
use crate::proc::{Peak, cpu};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use table::{Row, Table};
use tokio::net::TcpListener;
use vouchsafe_fakes::{NextHop, next_hop::Behaviour, serve_tcp};

/// Longest wait for what was accepted to arrive.
const DRAIN: Duration = Duration::from_secs(120);
/// Longest load of one round.
const ROUND: Duration = Duration::from_secs(180);

/// A server under test.
struct Contender {
    name: &'static str,
    pid: u32,
    address: SocketAddr,
    sink: NextHop,
    /// Messages in a round.
    count: u64,
    /// Next number of X-Seq.
    first: u64,
    rounds: Vec<Round>,
}

/// What a round found.
struct Round {
    accepted: f64,
    delivered: f64,
    cpu_ms: f64,
    p50: f64,
    p99: f64,
    peak_mb: f64,
}

/// Runs the comparison and prints the table.
pub async fn run(compare: &Compare) -> Outcome {
    let folder = folder(compare.folder.as_deref())?;
    let outcome = within(compare, folder.path()).await;
    folder.close().map_err(|error| format!("the folder of the queues: {error}"))?;
    outcome
}

/// A folder of the run's own, below `within` or where temporary files are; gone when dropped.
pub fn folder(within: Option<&Path>) -> Outcome<tempfile::TempDir> {
    let mut named = tempfile::Builder::new();
    named.prefix("vouchsafe-bench-");
    let made = within.map_or_else(|| named.tempdir(), |within| named.tempdir_in(within));
    made.map_err(|error| format!("a folder for the run: {error}"))
}

async fn within(compare: &Compare, folder: &Path) -> Outcome {
    if compare.count > 0 {
        messages(compare, folder).await?;
    }
    if compare.questions > 0 {
        questions::run(compare, folder).await?;
        memory::run()?;
    }
    if compare.files > 0 {
        files::run(compare, folder).await?;
    }
    Ok(())
}

async fn messages(compare: &Compare, folder: &Path) -> Outcome {
    let (sink, sink_address) = sink().await?;
    let gateway = gateway::start(&compare.gateway, folder, &gateway::relaying(sink_address)).await?;
    let mut contenders = vec![Contender {
        name: "vouchsafe",
        pid: gateway.pid(),
        address: gateway.address,
        sink: sink.clone(),
        count: compare.count,
        first: 0,
        rounds: Vec::new(),
    }];
    let postfix = match compare.against.contains(&Peer::Postfix) {
        true => {
            let (sink, address) = self::sink().await?;
            let postfix = postfix::start(folder, address).await?;
            contenders.push(Contender {
                name: "postfix",
                pid: postfix.pid,
                address: postfix.address,
                sink,
                count: (compare.count / 4).max(1),
                first: 0,
                rounds: Vec::new(),
            });
            Some(postfix)
        }
        false => None,
    };
    for round in 1..=compare.rounds {
        for contender in &mut contenders {
            println!("round {round}: {}", contender.name);
            contender.load(compare).await?;
        }
    }
    let mut table = Table::new(contenders.iter().map(|contender| contender.name).collect());
    rows(&mut table, &contenders);
    drop(postfix);
    // The large message first: the allocator keeps what thousands of sessions had, which is not the message's.
    if compare.large > 0 {
        large(compare, &gateway, &sink, sink_address, &mut table).await?;
    }
    if compare.idle > 0 {
        for (name, tls, at_most) in
            [("idle session, kB", false, 10.0), ("idle session under TLS, kB", true, 25.0)]
        {
            println!("{name}");
            let target = Target { address: gateway.address, tls, from: None, seconds: ROUND };
            let octets =
                load::idle::per_session(&Idle { target, sessions: compare.idle, pid: gateway.pid() }).await?;
            table.row(Row::new(name, vec![octets / 1000.0]).at_most(at_most));
        }
    }
    if compare.pages > 0 {
        pages::measure(compare, &gateway, &mut contenders[0], &mut table).await?;
    }
    let warnings = gateway.warnings();
    gateway.stop().await?;
    table.print();
    if !warnings.is_empty() {
        println!("\nthe gateway warned {} times, first:", warnings.len());
        warnings.iter().take(5).for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// A sink on loopback, served until the program ends.
async fn sink() -> Outcome<(NextHop, SocketAddr)> {
    let fault = |error: std::io::Error| format!("the sink: {error}");
    let sink = NextHop::quiet(Behaviour::new("sink.bench.example"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    tokio::spawn(serve_tcp(listener, sink.clone()));
    Ok((sink, address))
}

/// An address on loopback where nobody listens.
async fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").await?.local_addr()
}

impl Contender {
    async fn load(&mut self, compare: &Compare) -> Outcome {
        let before = self.sink.counters();
        let (cpu_before, peak, start) = (cpu(self.pid), Peak::watch(self.pid), Instant::now());
        let load = Messages {
            target: Target { address: self.address, tls: false, from: None, seconds: ROUND },
            sessions: compare.sessions,
            count: self.count,
            size: compare.size,
            per_session: 500,
            first: self.first,
            to: "user1@bench.example".to_owned(),
        };
        let mut figures: Figures = load::messages::run(&load).await?;
        self.first += self.count;
        for (ending, count) in &figures.odd {
            println!("  {}: {count} ended otherwise: {ending}", self.name);
        }
        let wanted = before.messages - before.doubled + figures.done;
        let arrived = self.sink.wait(|counters| counters.messages - counters.doubled >= wanted);
        let counters = tokio::time::timeout(DRAIN, arrived)
            .await
            .map_err(|_| format!("{}: accepted and not delivered within {DRAIN:?}", self.name))?;
        let took = start.elapsed();
        if counters.partial > before.partial || counters.doubled > before.doubled {
            println!(
                "  {}: {} partial, {} doubled",
                self.name,
                counters.partial - before.partial,
                counters.doubled - before.doubled
            );
        }
        let used = cpu(self.pid).saturating_sub(cpu_before);
        self.rounds.push(Round {
            accepted: figures.rate(),
            delivered: figures.done as f64 / took.as_secs_f64(),
            cpu_ms: used.as_secs_f64() * 1000.0 / figures.done as f64,
            p50: figures.times.permille(500),
            p99: figures.times.permille(990),
            peak_mb: peak.octets() as f64 / 1e6,
        });
        Ok(())
    }
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }
}

fn rows(table: &mut Table, contenders: &[Contender]) {
    let all = |of: fn(&Round) -> f64| contenders.iter().map(|contender| contender.median(of)).collect();
    table.row(Row::new("accepted, messages/s", all(|round| round.accepted)));
    table.row(Row::new("delivered, messages/s", all(|round| round.delivered)).times_at_least(4.0));
    table.row(Row::new("CPU a message, ms", all(|round| round.cpu_ms)).at_most(0.6));
    table.row(Row::new("final dot p50, ms", all(|round| round.p50)).at_most(5.0));
    table.row(Row::new("final dot p99, ms", all(|round| round.p99)).at_most(25.0));
    table.row(Row::new("memory at most, MB", all(|round| round.peak_mb)));
}

/// One large message: to the sink itself, then through the gateway.
async fn large(
    compare: &Compare,
    gateway: &gateway::Running,
    sink: &NextHop,
    sink_address: SocketAddr,
    table: &mut Table,
) -> Outcome {
    let load = |address| Large {
        target: Target { address, tls: false, from: None, seconds: ROUND },
        size: compare.large,
        parts: 0,
        to: "user1@bench.example".to_owned(),
    };
    println!("large message to the sink itself");
    let direct = load::large::run(&load(sink_address)).await?.took.as_secs_f64();
    println!("large message through the gateway");
    let (before, start) = (sink.counters(), Instant::now());
    let peak = Peak::watch(gateway.pid());
    let accepted = load::large::run(&load(gateway.address)).await?.took.as_secs_f64();
    let counters = tokio::time::timeout(DRAIN, sink.wait(|counters| counters.messages > before.messages))
        .await
        .map_err(|_| format!("the large message was not delivered within {DRAIN:?}"))?;
    if counters.partial > before.partial {
        return Err("the large message arrived cut".to_owned());
    }
    let arrived = start.elapsed().as_secs_f64();
    table.row(Row::new("large message to the sink itself, s", vec![direct]));
    table.row(Row::new("large message accepted, s", vec![accepted]).at_most(3.0 * direct));
    table.row(Row::new("large message at the sink, s", vec![arrived]));
    table.row(Row::new("memory at most meanwhile, MB", vec![peak.octets() as f64 / 1e6]).at_most(40.0));
    Ok(())
}
