//! The client of a dialogue: writes what is told, reads whole replies. Judges nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use vouchsafe_core::TlsMode;
use vouchsafe_net::stream::BoxStream;
use vouchsafe_net::tls::TlsClients;

/// The end of a session, as [`Client::reply`] tells it.
const CLOSED: &str = "the gateway closed";

/// One session that is talked to, and those that are only kept open.
#[derive(Default)]
pub(super) struct Client {
    stream: Option<BoxStream>,
    kept: Vec<BoxStream>,
    said: Vec<u8>,
}

impl Client {
    /// Talks on this connection from now on.
    pub(super) fn take(&mut self, stream: BoxStream) {
        self.stream = Some(stream);
        self.said.clear();
    }

    /// The session stays open, silent.
    pub(super) fn keep(&mut self) {
        self.kept.extend(self.stream.take());
    }

    /// Ends the session without a word.
    pub(super) fn leave(&mut self) {
        self.stream = None;
    }

    pub(super) async fn write(&mut self, octets: &[u8]) -> Result<(), String> {
        let stream = self.stream.as_mut().ok_or("not connected")?;
        stream.write_all(octets).await.map_err(|fault| fault.to_string())?;
        stream.flush().await.map_err(|fault| fault.to_string())
    }

    /// The handshake, whatever the certificate.
    pub(super) async fn start_tls(&mut self) -> Result<(), String> {
        let stream = self.stream.take().ok_or("not connected")?;
        if !self.said.is_empty() {
            return Err("there are octets behind the 220 to STARTTLS".to_owned());
        }
        let (stream, _) =
            TlsClients::default().connect(&TlsMode::Opportunistic, "gate.example", stream).await?;
        self.stream = Some(stream);
        Ok(())
    }

    /// One whole reply, its lines.
    pub(super) async fn reply(&mut self, patience: Duration) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            while let Some(end) = self.said.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.said.drain(..end + 2).collect();
                let line = String::from_utf8_lossy(&line[..end]).into_owned();
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line);
                if last {
                    return Ok(lines);
                }
            }
            let stream = self.stream.as_mut().ok_or("not connected")?;
            let mut buffer = [0; 4096];
            match timeout(patience, stream.read(&mut buffer)).await {
                Ok(Ok(0)) => return Err(CLOSED.to_owned()),
                Ok(Ok(n)) => self.said.extend_from_slice(&buffer[..n]),
                Ok(Err(fault)) => return Err(fault.to_string()),
                Err(_) => return Err(format!("no reply within {} s", patience.as_secs())),
            }
        }
    }

    /// The session has ended, and nothing was said before.
    pub(super) async fn closed(&mut self, patience: Duration) -> Result<(), String> {
        match self.reply(patience).await {
            Err(why) if why == CLOSED => Ok(()),
            other => Err(format!("expected the end of the session, got {other:?}")),
        }
    }
}
