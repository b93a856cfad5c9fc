//! One large message, made as it is sent.

use crate::Outcome;
use crate::args::Large;
use crate::client::Client;
use crate::figures::Figures;
use std::io;
use std::time::Instant;

/// Octets written at once.
const CHUNK: usize = 256 * 1024;

/// Runs the load.
pub async fn run(load: &Large) -> Outcome<Figures> {
    let start = Instant::now();
    let sent = tokio::time::timeout(load.target.seconds, send(load)).await;
    sent.map_err(|_| format!("not done in {:?}", load.target.seconds))?.map_err(|error| error.to_string())?;
    let took = start.elapsed();
    let mut figures = Figures { done: 1, took, ..Figures::of("large message") };
    figures.notes.push(format!("{:.0} MB/s", load.size as f64 / 1e6 / took.as_secs_f64()));
    Ok(figures)
}

async fn send(load: &Large) -> io::Result<()> {
    let mut client = Client::open(&load.target).await?;
    client.command("MAIL FROM:<load@bench.example>\r\n", 250).await?;
    client.command(&format!("RCPT TO:<{}>\r\n", load.to), 250).await?;
    client.command("DATA\r\n", 354).await?;
    let line = [[b'y'; 76].as_slice(), b"\r\n"].concat();
    let chunk = line.repeat(CHUNK / line.len());
    let chunks = load.size / chunk.len() as u64;
    let head = format!(
        "From: load@bench.example\r\nTo: {}\r\nSubject: large\r\nX-Len: {}\r\n\r\n",
        load.to,
        chunks * chunk.len() as u64
    );
    client.send(head.as_bytes()).await?;
    for _ in 0..chunks {
        client.send(&chunk).await?;
    }
    client.command(".\r\n", 250).await?;
    client.quit().await;
    Ok(())
}
