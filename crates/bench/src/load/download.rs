//! Fetches a file by HTTP/1.1 again and again: octets a second of any server that serves it.

use crate::Outcome;
use crate::args::Download;
use crate::client;
use crate::figures::Figures;
use crate::load::{Numbers, together};
use rustls::pki_types::ServerName;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Octets read at once.
const CHUNK: usize = 256 * 1024;

/// Runs the load.
pub async fn run(load: &Download) -> Outcome<Figures> {
    let numbers = Numbers::new(0, load.count, load.target.seconds);
    let octets = Rc::new(Cell::new(0_u64));
    let session = || {
        let (load, numbers, octets) = (load.clone(), numbers.clone(), octets.clone());
        async move {
            let mut figures = Figures::of("downloads");
            while numbers.next().is_some() {
                match fetch(&load).await {
                    Ok(len) => {
                        figures.done += 1;
                        octets.set(octets.get() + len);
                    }
                    Err(error) => figures.odd(error),
                }
            }
            figures
        }
    };
    let mut figures = together("downloads", load.sessions, session).await?;
    figures.octets = octets.get();
    figures.notes.push(format!("{:.0} MB/s", octets.get() as f64 / 1e6 / figures.took.as_secs_f64()));
    Ok(figures)
}

async fn fetch(load: &Download) -> io::Result<u64> {
    let stream = client::connect(&load.target).await?;
    if !load.target.tls {
        return read(stream, load).await;
    }
    let connector = crate::tls::connector().map_err(io::Error::other)?;
    let name = ServerName::IpAddress(load.target.address.ip().into());
    read(connector.connect(name, stream).await?, load).await
}

/// Sends the request and counts the body.
async fn read(mut stream: impl AsyncRead + AsyncWrite + Unpin, load: &Download) -> io::Result<u64> {
    let request =
        format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", load.path, load.target.address);
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (mut buffer, mut head) = (vec![0; CHUNK], Vec::new());
    let end = loop {
        let count = stream.read(&mut buffer).await?;
        head.extend_from_slice(&buffer[..count]);
        match head.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None if count == 0 || head.len() > CHUNK => return Err(io::ErrorKind::InvalidData.into()),
            None => {}
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    match length {
        Some(length) if text.starts_with("http/1.1 200") => {
            let mut left: u64 = length;
            left = left.saturating_sub((head.len() - end) as u64);
            while left > 0 {
                match stream.read(&mut buffer).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => left = left.saturating_sub(count as u64),
                }
            }
            Ok(length)
        }
        _ => Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned())),
    }
}
