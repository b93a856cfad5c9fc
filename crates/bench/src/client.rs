//! The load's client: as little work as possible for each message. Knows no more of replies than their codes.

use crate::args::Target;
use crate::tls;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use vouchsafe_net::stream::BoxStream;

/// Octets of replies read at once.
const READ: usize = 4096;

/// A connection, from where the target says.
pub async fn connect(target: &Target) -> io::Result<TcpStream> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = target.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One session.
pub struct Client {
    stream: BoxStream,
    input: Vec<u8>,
    used: usize,
}

impl Client {
    /// Connects and greets; with `--tls`, does so again under TLS.
    pub async fn open(target: &Target) -> io::Result<Client> {
        let stream = Box::new(connect(target).await?);
        let mut client = Client { stream, input: Vec::new(), used: 0 };
        client.expect(220).await?;
        client.ehlo().await?;
        if target.tls {
            client.command("STARTTLS\r\n", 220).await?;
            let connector = tls::connector().map_err(io::Error::other)?;
            let secured = connector.connect(target.address.ip().into(), client.stream).await?;
            client.stream = Box::new(secured);
            client.ehlo().await?;
        }
        Ok(client)
    }
    async fn ehlo(&mut self) -> io::Result<()> {
        self.command("EHLO load.bench.example\r\n", 250).await
    }
    /// Sends octets as they are.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }
    /// Sends a line and wants this code.
    pub async fn command(&mut self, line: &str, code: u16) -> io::Result<()> {
        self.send(line.as_bytes()).await?;
        self.expect(code).await
    }
    /// Wants this code next.
    pub async fn expect(&mut self, code: u16) -> io::Result<()> {
        match self.reply().await? {
            (got, _) if got == code => Ok(()),
            (_, text) => Err(io::Error::other(text)),
        }
    }
    /// The next reply: its code and its last line.
    pub async fn reply(&mut self) -> io::Result<(u16, String)> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input[self.used..]) {
                let line = &self.input[self.used..self.used + end];
                self.used += end + 1;
                if line.get(3) == Some(&b'-') {
                    continue;
                }
                let text = String::from_utf8_lossy(line).trim_end().to_owned();
                let code = text.get(..3).and_then(|digits| digits.parse().ok());
                return code.map(|code| (code, text)).ok_or_else(|| io::Error::other("not a reply"));
            }
            self.input.drain(..self.used);
            self.used = 0;
            let mut buffer = [0; READ];
            let read = self.stream.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&buffer[..read]);
        }
    }
    /// QUIT; whatever the answer is, the session is over.
    pub async fn quit(mut self) {
        // The load has been measured: a peer that is gone already is no fault of the run.
        let _ = self.command("QUIT\r\n", 221).await;
    }
}
