//! What live pages of the administration cost the mail path: the same load with and without them, in turns.
//!
//! A page does what a browser does with it: it logs in once, follows the dialogues of all sessions, and asks for the running
//! sessions anew every three seconds.

use super::gateway::Running;
use super::table::{Row, Table};
use super::{Contender, Round};
use crate::Outcome;
use crate::args::Compare;
use crate::browser;
use crate::figures::median;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How often a page asks for the running sessions.
const AGAIN: Duration = Duration::from_secs(3);

/// Loads in turns and adds rows.
pub async fn measure(
    compare: &Compare,
    gateway: &Running,
    contender: &mut Contender,
    table: &mut Table,
) -> Outcome {
    let (page, once) = gateway.page()?;
    let cookie = browser::log_in(page, &once).await?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let octets = Arc::new(AtomicU64::new(0));
    for round in 1..=compare.rounds {
        println!("round {round}: without pages, with {}", compare.pages);
        without.extend(one(compare, contender).await?);
        let mut pages = JoinSet::new();
        for _ in 0..compare.pages {
            pages.spawn(page_open(page, cookie.clone(), Arc::clone(&octets)));
        }
        with.extend(one(compare, contender).await?);
        // A page that was closed early has measured nothing.
        if let Some(ended) = pages.try_join_next() {
            return Err(format!("a page ended: {ended:?}"));
        }
        let told = |rounds: &[Round]| {
            rounds.last().map_or_else(String::new, |round| {
                format!("{:.0}/s at {:.1} us", round.accepted, round.cpu_ms * 1000.0)
            })
        };
        println!("  {}, {}", told(&without), told(&with));
    }
    println!("the pages got {:.1} MB", octets.load(Ordering::Relaxed) as f64 / 1e6);
    let rate = |rounds: &[Round]| median(rounds.iter().map(|round| round.accepted).collect());
    let cpu = |rounds: &[Round]| median(rounds.iter().map(|round| round.cpu_ms * 1000.0).collect());
    table.row(Row::new("without live pages, messages/s", vec![rate(&without)]));
    table.row(Row::new("with live pages, messages/s", vec![rate(&with)]));
    let base = cpu(&without);
    table.row(Row::new("without live pages, CPU a message, us", vec![base]));
    table.row(Row::new("with live pages, CPU a message, us", vec![cpu(&with)]).at_most(base * 1.05));
    Ok(())
}

async fn one(compare: &Compare, contender: &mut Contender) -> Outcome<Option<Round>> {
    contender.load(compare).await?;
    Ok(contender.rounds.pop())
}

/// A page until it is closed; returns only when something breaks.
async fn page_open(page: SocketAddr, cookie: String, octets: Arc<AtomicU64>) -> std::io::Error {
    let feed = get(page, "/live/feed", &cookie, &octets);
    let rows = async {
        loop {
            if let Err(error) = get(page, "/live/now", &cookie, &octets).await {
                return error;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        ended = feed => ended.err().unwrap_or_else(|| std::io::Error::other("the feed ended")),
        error = rows => error,
    }
}

async fn get(page: SocketAddr, path: &str, cookie: &str, octets: &AtomicU64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(page).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {page}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 16 * 1024];
    let mut first = true;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if std::mem::take(&mut first) && !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(std::io::Error::other(
                String::from_utf8_lossy(&buffer[..count.min(80)]).into_owned(),
            ));
        }
        octets.fetch_add(count as u64, Ordering::Relaxed);
    }
}
