//! One large message, made as it is sent: how long it takes, and how long the final dot is waited for.

use crate::Outcome;
use crate::args::Large;
use crate::client::Client;
use crate::figures::Figures;
use crate::made::Made;
use std::io;
use std::time::{Duration, Instant};

/// Runs the load; the time of one is that of its dot.
pub async fn run(load: &Large) -> Outcome<Figures> {
    let start = Instant::now();
    let sent = tokio::time::timeout(load.target.seconds, send(load)).await;
    let dot = sent.map_err(|_| format!("not done in {:?}", load.target.seconds))?;
    let dot = dot.map_err(|error| error.to_string())?;
    let took = start.elapsed();
    let mut figures = Figures { done: 1, took, ..Figures::of("large message") };
    figures.times.add(dot);
    figures.notes.push(format!("{:.0} MB/s", load.size as f64 / 1e6 / took.as_secs_f64()));
    figures.notes.push(format!("the dot was answered after {:.0} ms", dot.as_secs_f64() * 1000.0));
    Ok(figures)
}

async fn send(load: &Large) -> io::Result<Duration> {
    let made = Made::new(&load.to, load.size, load.parts);
    let mut client = Client::open(&load.target).await?;
    client.command("MAIL FROM:<load@bench.example>\r\n", 250).await?;
    client.command(&format!("RCPT TO:<{}>\r\n", load.to), 250).await?;
    client.command("DATA\r\n", 354).await?;
    for piece in made.pieces() {
        client.send(&piece).await?;
    }
    let last = Instant::now();
    client.command(".\r\n", 250).await?;
    let dot = last.elapsed();
    client.quit().await;
    Ok(dot)
}
