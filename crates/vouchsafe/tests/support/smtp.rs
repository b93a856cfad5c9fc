//! A plain SMTP client of a few lines, for tests that count what was acknowledged.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

/// One session.
pub struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    /// Connects and greets.
    pub fn open(address: SocketAddr) -> io::Result<Smtp> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        let mut smtp = Smtp { stream: BufReader::new(stream) };
        smtp.reply()?;
        smtp.command("EHLO client.example")?;
        Ok(smtp)
    }
    /// Sends a line, gives the last line of the reply.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }
    /// Sends a message (CRLF line ends, no line begins with a dot); the reply to the dot.
    pub fn message(&mut self, from: &str, to: &str, content: &str) -> io::Result<String> {
        for (line, wanted) in [
            (format!("MAIL FROM:<{from}>"), "250"),
            (format!("RCPT TO:<{to}>"), "250"),
            ("DATA".into(), "354"),
        ] {
            let reply = self.command(&line)?;
            if !reply.starts_with(wanted) {
                return Err(io::Error::other(format!("{line}: {reply}")));
            }
        }
        self.send(format!("{content}.\r\n").as_bytes())?;
        self.reply()
    }
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }
    pub fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}
