//! Lines and bodies over a stream, for the fakes: a loop of their own, not the gateway's machine.
//!
//! Replies are gathered and written when the peer's input is used up, as a server with PIPELINING does.
//! Bounded: a line of at most 64 KiB, a body passed on in chunks and never held here.

use memchr::memmem;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use vouchsafe_net::stream::BoxStream;

/// Octets in a line.
const LINE: usize = 64 * 1024;
/// Octets read at once.
const READ: usize = 64 * 1024;

/// One connection with what was read and not yet used, and what is to be written.
pub(crate) struct Wire {
    stream: BoxStream,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    buffer: Box<[u8]>,
}

impl Wire {
    pub(crate) fn new(stream: BoxStream) -> Wire {
        Wire { stream, input: Vec::new(), used: 0, output: Vec::new(), buffer: vec![0; READ].into() }
    }
    /// The next line without CRLF (a bare LF ends one too: the fakes are no judges of that). `None` at the end.
    pub(crate) async fn line(&mut self) -> io::Result<Option<String>> {
        let mut searched = 0;
        loop {
            let waiting = &self.input[self.used..];
            if let Some(end) = memchr::memchr(b'\n', &waiting[searched..]) {
                let line = &waiting[..searched + end];
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.used += searched + end + 1;
                return Ok(Some(line));
            }
            searched = waiting.len();
            if searched > LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "endless line"));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }
    /// A body up to CRLF.CRLF, still dot-stuffed, in chunks. `false`: the connection ended before that.
    pub(crate) async fn body(&mut self, mut chunk: impl FnMut(&[u8])) -> io::Result<bool> {
        const END: &[u8] = b"\r\n.\r\n";
        // An empty body is the dot alone.
        while self.input.len() - self.used < 3 {
            if !self.more().await? {
                return Ok(false);
            }
        }
        if self.input[self.used..].starts_with(&END[2..]) {
            self.used += 3;
            return Ok(true);
        }
        let end = memmem::Finder::new(END);
        loop {
            let waiting = &self.input[self.used..];
            if let Some(at) = end.find(waiting) {
                chunk(&waiting[..at + 2]);
                self.used += at + END.len();
                return Ok(true);
            }
            // The end may lie across two reads: four octets stay.
            let sure = waiting.len().saturating_sub(END.len() - 1);
            chunk(&waiting[..sure]);
            self.used += sure;
            if !self.more().await? {
                return Ok(false);
            }
        }
    }
    /// Puts a reply to what will be written; lines are parted by `\n`, the code stands in the first one only.
    pub(crate) fn say(&mut self, reply: &str) {
        let code = reply.get(..3).unwrap_or(reply);
        let mut lines = reply.get(4..).unwrap_or_default().split('\n').peekable();
        while let Some(line) = lines.next() {
            let sign = if lines.peek().is_some() { '-' } else { ' ' };
            self.output.extend_from_slice(format!("{code}{sign}{line}\r\n").as_bytes());
        }
    }
    /// Puts octets that are no reply.
    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }
    /// Whether the peer has sent more than was used: said too early, where nothing may follow.
    pub(crate) fn has_more(&self) -> bool {
        self.used < self.input.len()
    }
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        self.stream.flush().await
    }
    /// Says what is left and ends the connection properly.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }
    /// Waits until the peer goes, and says nothing.
    pub(crate) async fn hang(&mut self) -> io::Result<()> {
        while self.stream.read(&mut self.buffer).await? > 0 {}
        Ok(())
    }
    /// The server's side of the handshake; octets said before it are thrown away.
    pub(crate) async fn secure(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        self.flush().await?;
        let clear = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        *self = Wire::new(Box::new(TlsAcceptor::from(config).accept(clear).await?));
        Ok(())
    }
    /// Waits for some octets, whatever they are.
    pub(crate) async fn some(&mut self) -> io::Result<()> {
        if !self.has_more() {
            self.more().await?;
        }
        Ok(())
    }
    /// Writes what is due, then reads. `false` at the end of the stream.
    async fn more(&mut self) -> io::Result<bool> {
        self.flush().await?;
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        let read = self.stream.read(&mut self.buffer).await?;
        self.input.extend_from_slice(&self.buffer[..read]);
        Ok(read > 0)
    }
}

/// A body without its dot stuffing (RFC 5321 §4.5.2).
pub(crate) fn unstuff(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body.strip_prefix(b".").unwrap_or(body);
    while let Some(at) = memmem::find(rest, b"\r\n.") {
        out.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out for these octets, given in pieces of `size`.
    async fn body(octets: &[u8], size: usize) -> (Vec<u8>, bool, Option<String>) {
        let (mut ours, theirs) = tokio::io::duplex(size);
        let octets = octets.to_vec();
        let writer = tokio::spawn(async move { ours.write_all(&octets).await });
        let mut wire = Wire::new(Box::new(theirs));
        let mut out = Vec::new();
        let whole = wire.body(|chunk| out.extend_from_slice(chunk)).await.unwrap();
        let next = wire.line().await.unwrap();
        writer.await.unwrap().unwrap();
        (out, whole, next)
    }

    #[tokio::test]
    async fn only_crlf_dot_crlf_ends_a_body_however_it_is_split() {
        for size in [1, 2, 3, 7, 4096] {
            let (text, whole, next) = body(b"a\n.\nb\r\n..c\r\n.\r\nQUIT\r\n", size).await;
            assert_eq!(text, b"a\n.\nb\r\n..c\r\n", "in pieces of {size}");
            assert!(whole);
            assert_eq!(next.as_deref(), Some("QUIT"));
            assert_eq!(body(b".\r\nQUIT\r\n", size).await.0, b"");
            assert!(!body(b"cut\r\n.\r", size).await.1);
        }
    }

    #[test]
    fn dots_are_unstuffed() {
        assert_eq!(unstuff(b"..a\r\n..\r\nb.\r\n"), b".a\r\n.\r\nb.\r\n");
        assert_eq!(unstuff(b"a\r\n"), b"a\r\n");
    }
}
